"""The load generator behind `amqpd bench`: any AMQP 0-9-1 broker, one process, one thread, raw sockets.

Owns here: the one way in which a run fails, a sentence for the operator.
"""


class LoadError(Exception):
    """The run cannot go on: wrong settings, a broker that refuses, or bytes that are not AMQP."""
