"""Leases: deliveries that must be settled in time, where a consumer timeout holds, and what becomes of those that are not.

Which timeout is RabbitMQ's rule, the nearest one that is set: the consumer's argument x-consumer-timeout, else the queue's
(argument or policy), else the server's. 0 is none. A lease that runs out gives back just that delivery; its tag is late
from then on, and what the client still says about it is ignored. `consumer_timeout_action = "close"` is RabbitMQ's form:
the channel is closed.

Owns when each delivery of a channel was handed out, and the late tags. Does not own what is unacked (unacked.py): a settle
says nothing here, and the lines find out by asking.
Invariants: the starts of a line never decrease, so its first unsettled lease is its oldest; a line holds at most twice what
is unacked and SWEEP_COUNT more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import Limits
from amqpd.channels.session import Session
from amqpd.channels.unacked import Unacked
from amqpd.queues.consumers import Consumer
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue

if TYPE_CHECKING:
    from amqpd.channels.channel import Channel

SWEEP_COUNT: Final = 1024
# So many are given back at a look, whatever else the turn has done.
LAPSED_COUNT_MIN: Final = 8
# Of each connection; beyond it a channel forgets the older half of its own, and settling one of those is an unknown tag
# again.
LATE_TAGS_MAX: Final = 65_536
# The log gets at most one line about a channel in the first time, and one about all of them in the second.
CHANNEL_NOTICE_MS: Final = 60_000
NOTICE_MS: Final = 1000


def lease_ms(consumer_ms: i64, queue: Queue, limits: Limits) -> i64:
    """How long a delivery may stay unacked, 0 for ever; `consumer_ms` is below 0 for a consumer that does not say."""
    if consumer_ms >= 0:
        return consumer_ms
    queue_ms = queue.options.consumer_timeout_ms
    return queue_ms if queue_ms >= 0 else limits.consumer_timeout_ms


def _lease_ms_of(entry: Entry, limits: Limits) -> i64:
    consumer = entry.consumer
    return lease_ms(consumer.timeout_ms if consumer is not None else -1, entry.queue, limits)


@final
class LeaseLine:
    """Leases of the same length, oldest first. Those of settled deliveries stay until they are come across, or swept."""

    def __init__(self, timeout_ms: i64) -> None:
        self.timeout_ms = timeout_ms
        self._tags: list[int] = []
        self._starts_ms: list[int] = []
        self._head: i64 = 0

    def add(self, delivery_tag: i64, start_ms: i64, unacked: Unacked) -> None:
        self._tags.append(int(delivery_tag))
        self._starts_ms.append(int(start_ms))
        if len(self._tags) - self._head > 2 * unacked.count + SWEEP_COUNT:
            self._keep(self.leases(unacked))

    def take_due(self, now_ms: i64, unacked: Unacked, count_max: i64) -> list[int]:
        """Tags whose time is over, oldest first, at most so many."""
        due: list[int] = []
        tags = self._tags
        size: i64 = len(tags)
        head = self._head
        while head < size and len(due) < count_max:
            if unacked.has(tags[head]):
                # By the difference: a timeout may be as long as a number can say.
                if now_ms - self._starts_ms[head] < self.timeout_ms:
                    break
                due.append(tags[head])
            head += 1
        self._head = head
        if head > SWEEP_COUNT and head * 2 > size:
            del self._tags[:head]
            del self._starts_ms[:head]
            self._head = 0
        return due

    def leases(self, unacked: Unacked) -> list[tuple[int, int]]:
        """(start, tag) of what is still unacked, each tag once: one that came back to the channel may stand here twice."""
        found: list[tuple[int, int]] = []
        seen: dict[int, bool] = {}
        for index in range(self._head, len(self._tags)):
            tag = self._tags[index]
            if unacked.has(tag) and tag not in seen:
                seen[tag] = True
                found.append((self._starts_ms[index], tag))
        return found

    def _keep(self, leases: list[tuple[int, int]]) -> None:
        self._starts_ms = [start_ms for start_ms, _ in leases]
        self._tags = [tag for _, tag in leases]
        self._head = 0

    @property
    def count(self) -> int:
        """Unsettled ones, and settled ones that nobody has come across."""
        return len(self._tags) - int(self._head)


@final
class Leases:
    """Those of one channel."""

    def __init__(self, session: Session, unacked: Unacked) -> None:
        self.noticed_ms: i64 = -CHANNEL_NOTICE_MS
        # By length; there are as many lines as consumers and queues of this channel have different timeouts.
        self.lines: dict[int, LeaseLine] = {}
        self._last: LeaseLine | None = None
        # Who had the delivery; None was a basic.get.
        self._late: dict[int, Consumer | None] = {}
        self._session = session
        self._unacked = unacked

    def begin(self, delivery_tag: i64, timeout_ms: i64) -> None:
        """A delivery was handed out just now, and is to be settled in this time."""
        session = self._session
        if not session.has_leases:
            session.expect_leases()
        self._add(delivery_tag, timeout_ms, session.agenda.monotonic_ms)

    def begin_for(self, delivery_tag: i64, entry: Entry) -> None:
        """The same, if there is a timeout at all."""
        timeout_ms = _lease_ms_of(entry, self._session.limits)
        if timeout_ms > 0:
            self.begin(delivery_tag, timeout_ms)

    def _add(self, delivery_tag: i64, timeout_ms: i64, start_ms: i64) -> None:
        line = self._last
        if line is None or line.timeout_ms != timeout_ms:
            line = self.lines.get(int(timeout_ms))
            if line is None:
                line = LeaseLine(timeout_ms)
                self.lines[int(timeout_ms)] = line
            self._last = line
        line.add(delivery_tag, start_ms, self._unacked)

    def take_due(self, now_ms: i64, count_max: i64) -> list[tuple[int, int]]:
        """(tag, timeout) of what has run out, each tag once, at most so many; they are not leased any more."""
        found: dict[int, int] = {}
        for timeout_ms, line in list(self.lines.items()):
            for tag in line.take_due(now_ms, self._unacked, count_max - len(found)):
                found[tag] = timeout_ms
            if line.count == 0:
                # A client may ask for any number of different timeouts, one after the other.
                del self.lines[timeout_ms]
                self._last = None
        return list(found.items())

    def renew(self) -> None:
        """Timeouts have changed: each delivery has the new one from when it was handed out, if that is known, or from now."""
        session = self._session
        starts_ms: dict[int, int] = {}
        for line in self.lines.values():
            for start_ms, tag in line.leases(self._unacked):
                starts_ms[tag] = min(start_ms, starts_ms.get(tag, start_ms))
        self.lines.clear()
        self._last = None
        now_ms = int(session.agenda.monotonic_ms)
        renewed: list[tuple[int, int, int]] = []
        for tag, entry in self._unacked.items():
            timeout_ms = int(_lease_ms_of(entry, session.limits))
            if timeout_ms > 0:
                renewed.append((starts_ms.get(tag, now_ms), tag, timeout_ms))
        if len(renewed) > 0 and not session.has_leases:
            session.expect_leases()
        for start_ms, tag, timeout_ms in sorted(renewed):
            self._add(tag, timeout_ms, start_ms)

    # Late tags

    def note_late(self, delivery_tag: int, consumer: Consumer | None) -> None:
        session = self._session
        if session.late_count >= LATE_TAGS_MAX:
            # Half at once: a dict that loses its first key again and again gets slow.
            forgotten = list(self._late)[: (len(self._late) + 1) // 2]
            for tag in forgotten:
                del self._late[tag]
            session.late_count -= len(forgotten)
        if delivery_tag not in self._late:
            session.late_count += 1
        self._late[delivery_tag] = consumer

    def take_late(self, delivery_tag: i64) -> bool:
        """True once for each tag whose lease has run out: a client that settles it twice makes its own mistake.

        Whoever says something about it, however late, does not hang any more.
        """
        tag = int(delivery_tag)
        if tag not in self._late:
            return False
        consumer = self._late.pop(tag)
        self._session.late_count -= 1
        if consumer is not None and consumer.is_hung:
            consumer.queue.consumers.settled(consumer)
            consumer.queue.wake()
        return True

    def forget_late(self) -> None:
        """The channel ends."""
        self._session.late_count -= len(self._late)
        self._late.clear()


def lapse_leases(channel: Channel, now_ms: i64) -> PreconditionFailed | None:
    """Give back what was not settled in time; or the error that the channel is to be closed with.

    As many as the turn has room for; the others at the next look.
    """
    leases = channel.leases
    agenda = channel.session.agenda
    count_max = agenda.budget
    if count_max < LAPSED_COUNT_MIN:
        count_max = LAPSED_COUNT_MIN
    due = leases.take_due(now_ms, count_max)
    agenda.budget -= len(due)
    is_first = True
    for tag, timeout_ms in due:
        entry = channel.unacked.find(tag)
        if entry is None:
            # Nobody has it any more.
            continue
        if entry.is_held:
            # A transaction has its ack: the time begins anew, for it may be rolled back.
            leases.begin(tag, timeout_ms)
            continue
        consumer = entry.consumer
        if channel.session.limits.consumer_timeout_action == "close":
            # Everything unacked goes back when the channel is closed.
            _notice(channel, entry, timeout_ms, "the channel is closed")
            _count(entry, consumer)
            return PreconditionFailed(
                f"delivery acknowledgement on channel {int(channel.number)} timed out. Timeout value used: {timeout_ms} ms. "
                "This timeout value can be configured, see consumers doc guide to learn more"
            )
        if is_first and _is_worth_a_line(channel, now_ms):
            returned = "it is returned" if len(due) == 1 else f"it and {len(due) - 1} more of the channel are returned"
            _notice(channel, entry, timeout_ms, returned)
        is_first = False
        channel.unacked.take(tag)
        leases.note_late(tag, consumer)
        channel.reject(entry, True)
        # After its credit has come back: that is not a settle of its own.
        _count(entry, consumer)
    return None


def _count(entry: Entry, consumer: Consumer | None) -> None:
    queue = entry.queue
    queue.agenda.lapsed_count += 1
    queue.lapsed_count += 1
    if consumer is not None:
        queue.consumers.lapsed(consumer)
        queue.wake()


def _is_worth_a_line(channel: Channel, now_ms: i64) -> bool:
    """Not everyone is, when a whole fleet of consumers hangs."""
    agenda = channel.session.agenda
    leases = channel.leases
    if now_ms - leases.noticed_ms < CHANNEL_NOTICE_MS or now_ms - agenda.lapse_noticed_ms < NOTICE_MS:
        return False
    leases.noticed_ms = now_ms
    agenda.lapse_noticed_ms = now_ms
    return True


def _notice(channel: Channel, entry: Entry, timeout_ms: int, consequence: str) -> None:
    session = channel.session
    consumer = entry.consumer
    who = f"consumer '{consumer.consumer_tag}'" if consumer is not None else "basic.get"
    session.agenda.notice(
        f"{who} on channel {int(channel.number)} of {session.peer} has not settled a delivery of queue '{entry.queue.name}' in "
        f"vhost '{entry.queue.vhost_name}' within {timeout_ms} ms: {consequence} (timed out before: "
        f"{int(session.agenda.lapsed_count)})"
    )
