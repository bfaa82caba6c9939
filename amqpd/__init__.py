"""amqpd: a message broker that speaks AMQP 0-9-1."""

from typing import Final

__version__: Final = "0.1.0"
