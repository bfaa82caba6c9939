"""A message's place in one queue.

Which states there are, and what each verb does in them, stands at the head of queue.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64, mypyc_attr, u8

from amqpd.base.message import Message
from amqpd.base.timers import Timer

if TYPE_CHECKING:
    from amqpd.queues.consumers import Consumer
    from amqpd.queues.queue import Queue


# Not tracked by the garbage collector: a backlog of millions must not be walked. A queue that goes away empties its
# order, which is what would otherwise be a cycle.
@final
@mypyc_attr(acyclic=True)
class Entry(Timer):
    """As a timer it is the message's own expiry: `due_ms` is when, 0 for never."""

    def __init__(self, message: Message, queue: Queue) -> None:
        self.due_ms = 0
        self.message = message
        self.queue = queue
        # Who has it while it is unacked; None for basic.get and while it is ready.
        self.consumer: Consumer | None = None
        # How often it came back; `redelivered` is sent when it may have been delivered before.
        self.delivery_count: i64 = 0
        self.redelivered = False
        self.is_ready = False
        # Of which of the queue's times it is: what a purge has taken is of an older one, and not the queue's any more.
        self.era: u8 = queue.era
        self.is_settled = False
        # Unacked, and a transaction that is not committed yet has its ack, nack or reject.
        self.is_held = False
        # True while it stands in the timing wheel.
        self.is_timed = False

    def fire(self) -> None:
        self.is_timed = False
        if self.is_ready:
            self.queue.expire(self)

    def failed(self, error: Exception) -> None:
        self.queue.entry_failed(self, error)

    def is_done(self) -> bool:
        return self.is_settled

    def rank(self) -> i64:
        return self.message.message_id
