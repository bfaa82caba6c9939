"""A queue whose options have changed by policy: what that means for what is in it already.

Each queue gets as much done at once as the turn has room for, and goes on by itself in the next ones. Does not own which
options a queue has (vhosts/policies.py), nor the new deadlines (retime.py).
"""

from __future__ import annotations

from amqpd.queues.arguments import QueueOptions
from amqpd.queues.dedup_window import window_of
from amqpd.queues.order import fitting
from amqpd.queues.overflow import DROP_HEAD
from amqpd.queues.queue import Queue
from amqpd.queues.retime import retime


def apply_options(queue: Queue, options: QueueOptions) -> None:
    """Act on these options from now on, also towards what is in the queue already."""
    old = queue.options
    agenda = queue.agenda
    queue.options = options
    queue.is_plain = options.is_plain
    queue.ready = fitting(queue.ready, options)
    if options.expires_ms != old.expires_ms:
        # RabbitMQ: time begins to count when it is set.
        queue.touch()
    if options.consumer_timeout_ms != old.consumer_timeout_ms:
        agenda.has_new_timeouts = True
    if options.message_ttl_ms != old.message_ttl_ms:
        queue.is_retimed = True
        # It knows the old deadline; it will look at nothing in particular.
        queue.head_timer = None
        retime(queue, old.message_ttl_ms)
    if options.overflow == DROP_HEAD:
        queue.drop_surplus()
    queue.dedup = window_of(queue)
