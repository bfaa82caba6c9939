"""Who is next: the consumers of one queue, and the credit they have.

Owns the turn of the round robin, and who hangs. Does not own what a delivery looks like: a consumer writes its own.
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
        # x-priority (RabbitMQ): who has more comes first for as long as there is credit.
        self.priority: i64 = 0
        # x-consumer-timeout (RabbitMQ), 0 for none; -1: the queue's holds, or the server's.
        self.timeout_ms: i64 = -1
        # Deliveries that were not settled in time.
        self.lapsed_count: i64 = 0
        # True from such a one on until it settles something: others come first, see `Consumers.next`.
        self.is_hung = False
        self.served: i64 = 0
        self.unacked_count: i64 = 0

    def can_take(self) -> bool:
        shared = self.shared
        return self.credit > 0 and self.outbox.is_open and shared.remaining > 0 and shared.is_flowing

    def send(self, message: Message, redelivered: bool) -> None:
        """Deliver without waiting for an ack: the queue settles the message when this has returned."""
        raise NotImplementedError

    def deliver(self, entry: Entry) -> None:
        """Deliver and hold it as unacked; takes one credit."""
        raise NotImplementedError

    def took_last(self) -> None:
        """It took the last of what it shares with others: credit, outbox or turn. Next time they come first."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The queue is gone: tell the client, if it wants to hear of it."""
        raise NotImplementedError


@final
class Consumers:
    """Who hangs (it let a delivery lapse, and has settled nothing since) is passed over while there is anybody who does not,
    busy or not, whatever their priorities. If all hang they take turns, so that one that is better gets something to settle.
    """

    def __init__(self, single_active: bool = False) -> None:
        # By priority, the highest first; those of one priority in the order in which they came.
        self.all: list[Consumer] = []
        self._turn: i64 = 0
        # x-single-active-consumer: only the one that came first gets anything, until it goes or hangs.
        self._single_active = single_active
        # True once somebody has a priority other than 0: then the round robin is among equals.
        self._has_priorities = False
        self._hung_count: i64 = 0
        # False: nobody comes before others.
        self._is_unequal = single_active
        self._served: i64 = 0
        self._first: Consumer | None = None

    def next(self) -> Consumer | None:
        """The next consumer in turn that can take a message now."""
        if self._is_unequal:
            return self._next_of_unequal()
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

    def _next_of_unequal(self) -> Consumer | None:
        if self._single_active:
            first = self._first
            return first if first is not None and first.can_take() else None
        # Among those of the highest priority who can take something, the one whose last turn is longest ago.
        do_all_hang = self._hung_count == len(self.all)
        found: Consumer | None = None
        for consumer in self.all:
            if consumer.is_hung and not do_all_hang:
                continue
            if found is not None and consumer.priority < found.priority and not do_all_hang:
                break
            if consumer.can_take() and (found is None or consumer.served < found.served):
                found = consumer
        if found is not None:
            self._served += 1
            found.served = self._served
        return found

    def add(self, consumer: Consumer) -> None:
        if self._first is None or self._first.is_hung:
            self._first = consumer
        if consumer.priority != 0:
            self._has_priorities = True
        at = len(self.all)
        while at > 0 and self.all[at - 1].priority < consumer.priority:
            at -= 1
        self.all.insert(at, consumer)
        self._look_again()

    def remove(self, consumer: Consumer) -> bool:
        """False if it was not there."""
        if consumer not in self.all:
            return False
        index = self.all.index(consumer)
        del self.all[index]
        if index < self._turn:
            self._turn -= 1
        if consumer.is_hung:
            self._hung_count -= 1
        if self._first is consumer:
            self._first = self._successor(0)
        self._look_again()
        return True

    # Who hangs

    def lapsed(self, consumer: Consumer) -> None:
        """It has let a delivery lapse. A single active one is relieved; if all others hang too, by the next in line."""
        consumer.lapsed_count += 1
        if consumer not in self.all:
            return
        if not consumer.is_hung:
            consumer.is_hung = True
            self._hung_count += 1
        if self._first is consumer:
            self._first = self._successor(self.all.index(consumer) + 1)
        self._look_again()

    def settled(self, consumer: Consumer) -> None:
        """It hung, and has settled something."""
        consumer.is_hung = False
        if consumer not in self.all:
            return
        self._hung_count -= 1
        if self._first is not None and self._first.is_hung:
            self._first = consumer
        self._look_again()

    def _successor(self, index: i64) -> Consumer | None:
        """The first one that does not hang; if all do, the one in this place, or the first."""
        for consumer in self.all:
            if not consumer.is_hung:
                return consumer
        if len(self.all) == 0:
            return None
        return self.all[index] if index < len(self.all) else self.all[0]

    def _look_again(self) -> None:
        self._is_unequal = self._single_active or self._has_priorities or self._hung_count > 0

    @property
    def has_exclusive(self) -> bool:
        return len(self.all) == 1 and self.all[0].exclusive
