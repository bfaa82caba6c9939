"""Departures of one queue that a target would not have: held back, and tried again once a second.

Owns who waits for room in which target, and the timer. They stand in one line for each target that refused, oldest first,
so that a full queue holds up only what goes to it. Does not own where a departure goes (vhosts): whoever is tried again
is routed again, and may be refused by somebody else.
What is held back counts as the queue's own: x-max-length, if-empty, purge and delete know of it (queue.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.timers import Timer
from amqpd.queues.departure import Departure, DepartureLine
from amqpd.queues.entry import Entry

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue

RETRY_MS: Final = 1000
# Tried in one go at most, and the rest of very many in the next turns.
RETRIED_COUNT_MAX: Final = 1024


@final
@mypyc_attr(acyclic=True)
class RetryTimer(Timer):
    def __init__(self, refused: Refused, due_ms: i64) -> None:
        self.due_ms = due_ms
        self._refused = refused

    def fire(self) -> None:
        self._refused.retry()

    def failed(self, error: Exception) -> None:
        self._refused.failed(error)

    def is_done(self) -> bool:
        return False


@final
class Refusal:
    """Who waits for room in one target."""

    def __init__(self, target: Queue) -> None:
        self.target = target
        self.line = DepartureLine()


@final
class Refused:
    def __init__(self, queue: Queue) -> None:
        self.count: i64 = 0
        self.body_bytes: i64 = 0
        self._queue = queue
        # By the target's queue_id.
        self._refusals: dict[int, Refusal] = {}
        self._is_armed = False

    def add(self, departure: Departure, target: Queue) -> None:
        refusal = self._refusals.get(int(target.queue_id))
        if refusal is None:
            refusal = Refusal(target)
            self._refusals[int(target.queue_id)] = refusal
        refusal.line.add(departure)
        self.count += 1
        self.body_bytes += len(departure.entry.message.body)
        self._arm(RETRY_MS)

    def _arm(self, delay_ms: i64) -> None:
        if not self._is_armed:
            self._is_armed = True
            agenda = self._queue.agenda
            agenda.wheel.add(RetryTimer(self, agenda.monotonic_ms + delay_ms))

    def retry(self) -> None:
        """Let go whoever's target has room now, or is gone."""
        self._is_armed = False
        left: i64 = RETRIED_COUNT_MAX
        for number, refusal in list(self._refusals.items()):
            left = self._retry(refusal, left)
            if refusal.line.count == 0:
                del self._refusals[number]
        if self.count > 0:
            self._arm(RETRY_MS if left > 0 else 1)

    def failed(self, error: Exception) -> None:
        queue = self._queue
        queue.agenda.failed(f"what {queue.title} holds back", error)
        if self.count > 0:
            self._arm(RETRY_MS)

    def _retry(self, refusal: Refusal, left: i64) -> i64:
        target = refusal.target
        line = refusal.line
        coming: i64 = 0
        coming_bytes: i64 = 0
        while left > 0 and line.count > 0:
            size: i64 = len(line.first().entry.message.body)
            if not target.is_deleted and target.refuses(size, coming, coming_bytes):
                break
            coming += 1
            coming_bytes += size
            left -= 1
            self._queue.depart(self._take(line))
        return left

    def _take(self, line: DepartureLine) -> Departure:
        departure = line.take()
        self.count -= 1
        self.body_bytes -= len(departure.entry.message.body)
        return departure

    def take_oldest(self) -> Departure:
        """Of the line that is there longest."""
        for number, refusal in self._refusals.items():
            departure = self._take(refusal.line)
            if refusal.line.count == 0:
                del self._refusals[number]
            return departure
        raise AssertionError("nobody is held back")

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        for refusal in self._refusals.values():
            found.extend(refusal.line.entries())
        return found

    def clear(self) -> list[Entry]:
        """Nobody is held back any more; returns who was."""
        found = self.entries()
        self._refusals = {}
        self.count = 0
        self.body_bytes = 0
        return found
