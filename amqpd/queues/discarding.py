"""Everything that a queue held goes, a slice at a time: it was purged, or is deleted.

Owns what is left of it. For the queue it is gone already: not in its order, not counted. The log hears of it bit by bit; after
a crash in between some of it is there again, as after a crash just before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.queues.work import STEPS_MIN, Work
from amqpd.store.page import Page

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue


@final
class Discarding(Work):
    def __init__(self, queue: Queue, runs: list[list[Entry]], pages: list[Page]) -> None:
        """`runs`: what was in memory; what is not ready among it is passed over."""
        self._queue = queue
        self._runs = runs
        self._at: i64 = 0
        self._pages = pages

    def go_on(self) -> bool:
        agenda = self._queue.agenda
        steps: i64 = 0
        while len(self._runs) > 0 or len(self._pages) > 0:
            if steps >= STEPS_MIN and agenda.budget <= steps:
                break
            if len(self._runs) > 0:
                steps += self._discard_some(STEPS_MIN)
            else:
                page = self._pages.pop()
                self._queue.discard_page(page)
                steps += 1 + (page.count >> 2)
        agenda.budget -= steps
        return len(self._runs) == 0 and len(self._pages) == 0

    def _discard_some(self, count: i64) -> i64:
        """Of the last run; returns how many places."""
        run = self._runs[len(self._runs) - 1]
        queue = self._queue
        at = self._at
        end = at + count
        if end > len(run):
            end = len(run)
        self._at = end
        done = end - at
        while at < end:
            entry = run[at]
            at += 1
            if entry.is_ready:
                entry.is_ready = False
                queue.discard(entry)
        if end == len(run):
            self._runs.pop()
            self._at = 0
        return done + 1
