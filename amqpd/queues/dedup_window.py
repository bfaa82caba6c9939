"""Which messages a queue or an exchange has taken lately, by an id that their publisher gave them.

    publish --> has(id)? --yes--> a duplicate: confirmed, not taken
                   |
                   +------no----> taken, then note(id): known from now on, for `ttl_ms` or as long as the window

Owns the ids, when they are forgotten (by time; or the oldest when there are too many) and the log records that bring them
back after a restart. Does not own who asks (channels, vhosts/deduplication.py), nor where an id comes from
(dedup_id.py). An id that a restart must know is logged in the batch of its message: both are there or neither.
Invariants: what `has` says is exact to the millisecond, however late an id is swept out; `_order` holds every id of
`_noted` once, oldest first, beside places of ids that have been noted anew since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.timers import Timer
from amqpd.queues.agenda import Agenda
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.recovered import RecoveredId

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue

# How many ids a window keeps unless it is told otherwise: some 20 MB of them.
IDS_DEFAULT: Final = 100_000
# What nobody gets more of, whatever they ask for.
IDS_MAX: Final = 10_000_000
# Forgetting is not urgent: it is only for the memory.
SWEEP_INTERVAL_MS: Final = 1000
# Places at the front that are used up are cut off in pieces of this size.
COMPACT_COUNT: Final = 1024
# Every so many ids that had to go before their time the operator hears of it.
EVICTED_NOTICE_COUNT: Final = 100_000


@final
class NotedId:
    def __init__(self, dedup_id: bytes, noted_ms: i64, ttl_ms: i64, is_logged: bool) -> None:
        self.dedup_id = dedup_id
        # By the monotonic clock; below zero for what was noted long before the start.
        self.noted_ms = noted_ms
        self.ttl_ms = ttl_ms
        self.is_logged = is_logged


@final
class DedupWindow:
    def __init__(self, owner: str, owner_id: i64, window_ms: i64, ids_max: i64, agenda: Agenda) -> None:
        """`owner_id` is its number in the log, 0 if nothing of it survives a restart; `window_ms` is -1 for no end."""
        self.owner = owner
        self.owner_id = owner_id
        self.window_ms = window_ms
        self.ids_max: i64 = min(ids_max, IDS_MAX)
        self.is_closed = False
        self.evicted_count: i64 = 0
        self._agenda = agenda
        self._noted: dict[bytes, NotedId] = {}
        self._order: list[NotedId] = []
        self._head: i64 = 0
        self._is_armed = False

    @property
    def count(self) -> int:
        """How many ids are kept; some may have had their time since the last sweep."""
        return len(self._noted)

    def has(self, dedup_id: bytes) -> bool:
        noted = self._noted.get(dedup_id)
        return noted is not None and self._is_alive(noted)

    def note(self, dedup_id: bytes, ttl_ms: i64, is_durable: bool) -> None:
        """A message with this id was taken. `is_durable`: the message is in the log's open batch, so the id goes there too."""
        if ttl_ms == 0 or self.has(dedup_id):
            return
        agenda = self._agenda
        is_logged = is_durable and self.owner_id > 0
        self._add(NotedId(dedup_id, agenda.monotonic_ms, ttl_ms, is_logged))
        if is_logged:
            agenda.log.append_dedup(self.owner_id, agenda.wall_ms, ttl_ms, dedup_id)
        self._make_room()
        self._arm()

    def set_bounds(self, window_ms: i64, ids_max: i64) -> None:
        """A policy has changed: also for what was noted before."""
        self.window_ms = window_ms
        self.ids_max = min(ids_max, IDS_MAX)
        self._make_room()
        self._arm()

    def close(self) -> None:
        """Its owner is gone, or wants none any more."""
        self.is_closed = True
        if self._is_armed:
            self._agenda.wheel.done()
        self._noted = {}
        self._order = []
        self._head = 0

    # Restarts

    def restore(self, ids: list[RecoveredId]) -> None:
        """What recovery found, oldest first. Time went on meanwhile."""
        agenda = self._agenda
        for each in ids:
            # A wall clock that was put back makes nothing younger than now.
            age_ms: i64 = max(agenda.wall_ms - each.noted_ms, 0)
            self._add(NotedId(each.dedup_id, agenda.monotonic_ms - age_ms, each.ttl_ms, True))
        self._make_room()
        self._arm()

    def describe_to(self, checkpoint: CheckpointBuilder) -> None:
        """The log behind it may go: what it said of ids that still count is listed here."""
        agenda = self._agenda
        for index in range(self._head, len(self._order)):
            noted = self._order[index]
            if noted.is_logged and self._is_alive(noted) and self._noted.get(noted.dedup_id) is noted:
                wall_ms = agenda.wall_ms - (agenda.monotonic_ms - noted.noted_ms)
                checkpoint.add_dedup(self.owner_id, wall_ms, noted.ttl_ms, noted.dedup_id)

    # Forgetting

    def _add(self, noted: NotedId) -> None:
        self._noted[noted.dedup_id] = noted
        self._order.append(noted)

    def _ends_after_ms(self, noted: NotedId) -> i64:
        return noted.ttl_ms if noted.ttl_ms >= 0 else self.window_ms

    def _is_alive(self, noted: NotedId) -> bool:
        ttl_ms = self._ends_after_ms(noted)
        return ttl_ms < 0 or self._agenda.monotonic_ms - noted.noted_ms < ttl_ms

    def sweep(self) -> None:
        """The timer fired."""
        self._is_armed = False
        self._make_room()
        self._arm()

    def _make_room(self) -> None:
        """Forget what has had its time, from the oldest on, and the oldest as long as there are too many."""
        order = self._order
        while self._head < len(order):
            oldest = order[self._head]
            if self._noted.get(oldest.dedup_id) is oldest:
                if self._is_alive(oldest):
                    if len(self._noted) <= self.ids_max:
                        break
                    self._tell_of_eviction()
                del self._noted[oldest.dedup_id]
            self._head += 1
        if self._head >= COMPACT_COUNT and self._head * 2 > len(order):
            del order[: self._head]
            self._head = 0

    def _tell_of_eviction(self) -> None:
        """Where an id ends by time, a duplicate may now come through that should not."""
        self.evicted_count += 1
        if self.window_ms >= 0 and self.evicted_count % EVICTED_NOTICE_COUNT == 1:
            self._agenda.notice(
                f"{self.owner} had more than {self.ids_max} deduplication ids within its window and forgets the oldest "
                f"({self.evicted_count} so far)"
            )

    def _arm(self) -> None:
        if self._is_armed or self.is_closed or self._head >= len(self._order):
            return
        oldest = self._order[self._head]
        ttl_ms = self._ends_after_ms(oldest)
        if ttl_ms >= 0:
            now_ms = self._agenda.monotonic_ms
            self._is_armed = True
            self._agenda.wheel.add(SweepTimer(self, max(oldest.noted_ms + ttl_ms, now_ms + SWEEP_INTERVAL_MS)))


@final
@mypyc_attr(acyclic=True)
class SweepTimer(Timer):
    def __init__(self, window: DedupWindow, due_ms: i64) -> None:
        self.due_ms = due_ms
        self._window = window

    def fire(self) -> None:
        self._window.sweep()

    def is_done(self) -> bool:
        return self._window.is_closed


@final
class Note:
    """What to note in one window once the message is taken."""

    def __init__(self, window: DedupWindow, dedup_id: bytes, ttl_ms: i64) -> None:
        self.window = window
        self.dedup_id = dedup_id
        self.ttl_ms = ttl_ms

    @property
    def is_known(self) -> bool:
        return self.window.has(self.dedup_id)


def window_of(queue: Queue) -> DedupWindow | None:
    """The window that a queue has by its options: the one that it has already, with other bounds, or a new one, or none."""
    window = queue.dedup
    options = queue.options
    window_ms = options.dedup_window_ms
    ids_max = options.dedup_ids_max if options.dedup_ids_max > 0 else IDS_DEFAULT
    if window_ms < 0:
        if window is not None:
            window.close()
        return None
    if window is not None:
        window.set_bounds(window_ms, ids_max)
        return window
    owner = f"queue '{queue.name}' in vhost '{queue.vhost_name}'"
    return DedupWindow(owner, queue.queue_id if queue.is_stored else 0, window_ms, ids_max, queue.agenda)
