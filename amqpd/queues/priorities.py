"""x-max-priority: one ready order per level, the highest level first, first in first out inside a level.

Owns which level a message is in: its priority property, 0 without one, the highest level if it is above it (RabbitMQ).
A queue that is too long drops from its lowest level first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.queues.ready import Ready, ReadyOrder
from amqpd.store.page import Page
from amqpd.wire.properties import priority

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue


@final
class PriorityReady(ReadyOrder):
    def __init__(self, max_priority: i64, home: Queue | None = None) -> None:
        self.count = 0
        self._levels: list[Ready] = [Ready(home) for _ in range(max_priority + 1)]
        # No level above this one has anything.
        self._top: i64 = 0

    def is_waiting(self) -> bool:
        return self.count > 0 and self._highest().is_waiting()

    def is_surplus_waiting(self) -> bool:
        for level in self._levels:
            if level.count > 0:
                return level.is_waiting()
        return False

    def _level_of(self, entry: Entry) -> i64:
        level = priority(entry.message.header)
        if level <= 0:
            return 0
        highest = len(self._levels) - 1
        return level if level < highest else highest

    def append(self, entry: Entry) -> None:
        level = self._level_of(entry)
        if level > self._top:
            self._top = level
        self.count += 1
        self._levels[level].append(entry)

    def put_back(self, entry: Entry) -> None:
        level = self._level_of(entry)
        if level > self._top:
            self._top = level
        self.count += 1
        self._levels[level].put_back(entry)

    def pop(self) -> Entry:
        self.count -= 1
        return self._highest().pop()

    def _highest(self) -> Ready:
        top = self._top
        levels = self._levels
        while top > 0 and levels[top].count == 0:
            top -= 1
        self._top = top
        return levels[top]

    def pop_surplus(self) -> Entry:
        self.count -= 1
        for level in self._levels:
            if level.count > 0:
                return level.pop()
        raise AssertionError("the order is empty")

    def discard(self, entry: Entry) -> None:
        self.count -= 1
        self._levels[self._level_of(entry)].discard(entry)

    def oldest(self) -> Entry | None:
        return self._highest().oldest() if self.count > 0 else None

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        for level in reversed(self._levels):
            found.extend(level.entries())
        return found

    def runs(self) -> list[list[Entry]]:
        found: list[list[Entry]] = []
        for level in reversed(self._levels):
            found.extend(level.runs())
        return found

    def pages(self) -> list[Page]:
        found: list[Page] = []
        for level in reversed(self._levels):
            found.extend(level.pages())
        return found

    def move_leaving(self) -> bool:
        is_done = True
        for level in self._levels:
            is_done = level.move_leaving() and is_done
        return is_done

    def page_out(self, position_max: i64) -> bool:
        for level in self._levels:
            if not level.page_out(position_max):
                return False
        return True

    def lose(self, part: ReadyOrder, count: i64, body_bytes: i64) -> None:
        self.count -= count
        part.lose(part, count, body_bytes)

    def dismantle(self) -> list[list[Entry]]:
        self.count = 0
        runs: list[list[Entry]] = []
        for level in self._levels:
            runs.extend(level.dismantle())
        return runs
