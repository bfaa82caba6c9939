"""Message TTL: when a message is due, and the timer that watches the head of a queue.

Effective TTL is the lower of the queue's and the message's, counted from the arrival in this queue; a requeue keeps the
deadline (behaviour of RabbitMQ). Messages with a TTL of their own stand in the timing wheel one by one, so they expire on
time wherever they are in the queue. Those that only have the queue's expire in order: one timer for the oldest is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.message import Message
from amqpd.base.timers import Timer
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.delay import message_delay_ms
from amqpd.wire.properties import expiration

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue


def effective_ttl_ms(queue_ttl_ms: i64, message_ttl_ms: i64) -> i64:
    """The lower of two; below 0 is none."""
    if queue_ttl_ms < 0:
        return message_ttl_ms
    if message_ttl_ms < 0 or queue_ttl_ms < message_ttl_ms:
        return queue_ttl_ms
    return message_ttl_ms


def time_to_stay_ms(options: QueueOptions, message: Message) -> i64:
    """How long a message may stay ready; below 0 for ever."""
    if options.is_delay:
        return message_delay_ms(message.header)
    return effective_ttl_ms(options.message_ttl_ms, message.ttl_ms)


def own_ttl_ms(header: bytes) -> i64:
    """The property expiration of a message that was accepted before; -1 without one."""
    raw = expiration(header)
    return int(raw) if raw is not None else -1


@final
@mypyc_attr(acyclic=True)
class HeadTimer(Timer):
    """Looks at the oldest ready message of a queue when that should be due."""

    def __init__(self, queue: Queue) -> None:
        self.due_ms = 0
        self.is_armed = False
        self._queue = queue

    def fire(self) -> None:
        self.is_armed = False
        self._queue.expire_overdue()

    def is_done(self) -> bool:
        return self._queue.is_deleted
