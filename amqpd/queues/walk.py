"""A walk through what a queue has in memory, a few entries at a time, while the queue goes on living.

Owns how far it has come. It sees what was ready when it began, the youngest first, and leaves out what is not ready any more
when its turn comes; what comes or comes back meanwhile is the business of whoever walks. Costs a copy of the head of the
order and of what came back; the chunks of a deep queue never change, so they are only named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry

if TYPE_CHECKING:
    from amqpd.queues.ready import ReadyOrder


@final
class Walk:
    def __init__(self, order: ReadyOrder) -> None:
        # The last one is walked through, from its end.
        self._runs = order.runs()
        # How many places it has looked at.
        self.looked: i64 = 0
        self._left: i64 = len(self._runs[len(self._runs) - 1]) if len(self._runs) > 0 else 0

    @property
    def is_over(self) -> bool:
        return len(self._runs) == 0

    def next(self, count_max: i64) -> list[Entry]:
        """Look at so many places more; may give nothing before it `is_over`."""
        found: list[Entry] = []
        runs = self._runs
        while count_max > 0 and len(runs) > 0:
            run = runs[len(runs) - 1]
            while self._left > 0 and count_max > 0:
                self._left -= 1
                self.looked += 1
                count_max -= 1
                entry = run[self._left]
                if entry.is_ready:
                    found.append(entry)
            if self._left == 0:
                runs.pop()
                if len(runs) > 0:
                    self._left = len(runs[len(runs) - 1])
        return found
