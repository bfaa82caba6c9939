"""A message's place in one queue.

A message is ready (in the queue's order), unacked (with a consumer or a basic.get) or settled; there is no other state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.message import Message

if TYPE_CHECKING:
    from amqpd.queues.consumers import Consumer
    from amqpd.queues.queue import Queue


# Not tracked by the garbage collector: a backlog of millions must not be walked. A queue that goes away empties its
# order, which is what would otherwise be a cycle.
@final
@mypyc_attr(acyclic=True)
class Entry:
    def __init__(self, message: Message, queue: Queue) -> None:
        self.message = message
        self.queue = queue
        # Who has it while it is unacked; None for basic.get and while it is ready.
        self.consumer: Consumer | None = None
        # How often it came back; `redelivered` is sent when it may have been delivered before.
        self.delivery_count: i64 = 0
        self.redelivered = False
        self.is_settled = False
