"""Who is next: the consumers of one queue, and the credit they have.

Owns the turn of the round robin. Does not own what a delivery looks like: a consumer writes its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.queues.entry import Entry
from amqpd.wire.outbox import Outbox

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue

UNLIMITED: Final = 1 << 60


@final
class SharedCredit:
    """What all consumers of one channel share: basic.qos global=true, and channel.flow."""

    def __init__(self) -> None:
        self.remaining: i64 = UNLIMITED
        self.is_flowing = True


class Consumer:
    """One subscription to a queue, as the queue sees it."""

    def __init__(
        self,
        queue: Queue,
        consumer_tag: str,
        no_ack: bool,
        exclusive: bool,
        credit: i64,
        shared: SharedCredit,
        outbox: Outbox,
    ) -> None:
        self.queue = queue
        self.consumer_tag = consumer_tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.credit = credit
        self.shared = shared
        self.outbox = outbox
        self.unacked_count: i64 = 0

    def send(self, message: Message, redelivered: bool) -> None:
        """Deliver without waiting for an ack: the message is settled already."""
        raise NotImplementedError

    def deliver(self, entry: Entry) -> None:
        """Deliver and hold it as unacked; takes one credit."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The queue is gone: tell the client, if it wants to hear of it."""
        raise NotImplementedError


@final
class Consumers:
    def __init__(self) -> None:
        self.all: list[Consumer] = []
        self.had_any = False
        self._turn: i64 = 0

    def next(self) -> Consumer | None:
        """The next consumer in turn that can take a message now."""
        consumers = self.all
        count: i64 = len(consumers)
        turn = self._turn
        for _ in range(count):
            if turn >= count:
                turn = 0
            consumer = consumers[turn]
            turn += 1
            if consumer.credit > 0 and consumer.outbox.is_open:
                shared = consumer.shared
                if shared.remaining > 0 and shared.is_flowing:
                    self._turn = turn
                    return consumer
        return None

    def add(self, consumer: Consumer) -> None:
        self.all.append(consumer)
        self.had_any = True

    def remove(self, consumer: Consumer) -> bool:
        """False if it was not there."""
        if consumer not in self.all:
            return False
        index = self.all.index(consumer)
        del self.all[index]
        if index < self._turn:
            self._turn -= 1
        return True

    @property
    def has_exclusive(self) -> bool:
        return len(self.all) == 1 and self.all[0].exclusive
