"""The TTL of a queue changed by policy: what is in it gets the deadlines that it would have had all along.

RabbitMQ lets what is there keep what it had; then a TTL that is set against a flood does nothing about the flood.

When a message came is known from the deadline that it has, or else from the time at which it was logged. A message that
was never logged and never had a deadline counts as if it came when the policy did, or just before what came after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.message import Message
from amqpd.base.timers import UNBOUNDED, Timer
from amqpd.queues.agenda import Agenda
from amqpd.queues.entry import Entry
from amqpd.queues.expiry import effective_ttl_ms, expire_overdue, is_timed_alone, set_deadline
from amqpd.queues.walk import Walk

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue

# So many are retimed at a time, whatever else the turn has done.
RETIMED_COUNT_MIN: Final = 64


@final
@mypyc_attr(acyclic=True)
class Retiming(Timer):
    """Everything ready or waiting in a queue whose options are new, and whose head timer is forgotten.

    As much as a turn has room for, and the rest in the next ones: as a timer it goes on where it was. Of two entries the
    younger one comes first, so that what came before something known is no younger than that. What is delivered meanwhile
    gets its deadline when it comes back, and the head is watched in the end.
    """

    def __init__(self, queue: Queue, old_ttl_ms: i64) -> None:
        agenda = queue.agenda
        self.due_ms = agenda.monotonic_ms
        self._queue = queue
        self._walk = Walk(queue.ready)
        self._tries = queue.waiting.copy()
        self._arrivals = Arrivals(old_ttl_ms, queue.options.max_priority < 0, agenda.monotonic_ms, agenda.wall_ms)

    def fire(self) -> None:
        agenda = self._queue.agenda
        count_max = agenda.budget
        if count_max < RETIMED_COUNT_MIN:
            count_max = RETIMED_COUNT_MIN
        if not self.go_on(count_max):
            agenda.wheel.put_off(self)

    def is_done(self) -> bool:
        return self._queue.retiming is not self

    def go_on(self, count_max: i64) -> bool:
        """Look at so many more; True once that was all."""
        queue = self._queue
        agenda = queue.agenda
        walk = self._walk
        looked = -walk.looked
        for entry in walk.next(count_max):
            _move_deadline(entry, self._arrivals.came_ms(entry), agenda)
        looked += walk.looked
        while walk.is_over and len(self._tries) > 0 and looked < count_max:
            looked += 1
            each = self._tries.pop()
            if not each.is_over:
                retime_unacked(each.entry, agenda)
                queue.waiting.rearm(each)
        agenda.budget -= looked
        if not walk.is_over or len(self._tries) > 0:
            return False
        queue.retiming = None
        if queue.options.message_ttl_ms >= 0:
            expire_overdue(queue)
        return True


def retime(queue: Queue, old_ttl_ms: i64) -> None:
    """Begin, and go on as far as this turn has room for it."""
    before = queue.retiming
    if before is not None:
        # Nobody knows from which TTL what it has not come to has its deadline.
        before.go_on(UNBOUNDED)
    retiming = Retiming(queue, old_ttl_ms)
    queue.retiming = retiming
    retiming.fire()


def retime_unacked(entry: Entry, agenda: Agenda) -> None:
    """A message that was delivered while its queue may have had another TTL, and comes back or waits.

    One that was never logged keeps a deadline that it has: which TTL it got that from is forgotten.
    """
    message = entry.message
    stays = effective_ttl_ms(entry.queue.options.message_ttl_ms, message.ttl_ms) < 0
    if stays or message.enqueued_ms != 0 or entry.due_ms == 0:
        _move_deadline(entry, arrived_ms(entry.message, agenda.monotonic_ms, agenda.wall_ms), agenda)


def _move_deadline(entry: Entry, came_ms: i64, agenda: Agenda) -> None:
    queue = entry.queue
    ttl_ms = effective_ttl_ms(queue.options.message_ttl_ms, entry.message.ttl_ms)
    # 0 is never, -1 long ago.
    due_ms: i64 = 0
    if ttl_ms >= 0:
        due_ms = came_ms + ttl_ms if came_ms + ttl_ms != 0 else -1
    if entry.is_timed:
        if due_ms >= entry.due_ms:
            # What is later than it stands in the timing wheel comes round again.
            entry.due_ms = due_ms
            return
        # Sooner, or never: where it stands it is of no use.
        entry.is_timed = False
        agenda.wheel.done()
    entry.due_ms = due_ms
    # Who only has the queue's TTL needs no timer of its own: the head is watched.
    if due_ms != 0 and entry.is_ready and is_timed_alone(queue, entry):
        set_deadline(queue, entry, due_ms)


def arrived_ms(message: Message, monotonic_ms: i64, wall_ms: i64) -> i64:
    """When a message came, on the clock of deadlines, as far as the log knows; now, if it does not."""
    if message.enqueued_ms == 0 or message.enqueued_ms > wall_ms:
        return monotonic_ms
    return monotonic_ms - (wall_ms - message.enqueued_ms)


@final
class Arrivals:
    """When each entry came, by the deadline that it got from this queue TTL, else by the log. The youngest is asked first.

    `in_order`: the entries stand as they came, so that what came before something known is no younger than that.
    """

    def __init__(self, queue_ttl_ms: i64, in_order: bool, monotonic_ms: i64, wall_ms: i64) -> None:
        self._queue_ttl_ms = queue_ttl_ms
        self._in_order = in_order
        self._monotonic_ms = monotonic_ms
        self._wall_ms = wall_ms
        self._latest_ms = monotonic_ms

    def came_ms(self, entry: Entry) -> i64:
        message = entry.message
        ttl_ms = effective_ttl_ms(self._queue_ttl_ms, message.ttl_ms)
        # What has come back may have its deadline by the new TTL.
        is_known = entry.delivery_count > 0 and message.enqueued_ms != 0
        if entry.due_ms != 0 and ttl_ms >= 0 and not is_known:
            came_ms = entry.due_ms - ttl_ms
        else:
            came_ms = arrived_ms(message, self._monotonic_ms, self._wall_ms)
        if self._in_order:
            if came_ms > self._latest_ms:
                came_ms = self._latest_ms
            self._latest_ms = came_ms
        return came_ms
