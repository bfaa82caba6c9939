"""A message on its way out of its queue by itself: as a dead letter, or because its x-delay is over.

It is neither ready nor unacked any more, and the log still has it where it was, until it has arrived wherever it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

if TYPE_CHECKING:
    from amqpd.queues.entry import Entry

# In the place of the reason for a death: it has waited for its x-delay, and is routed now.
DUE: Final = ""
# Places that are done with go in blocks of at least this many.
COMPACT_COUNT: Final = 1024


@final
@mypyc_attr(acyclic=True)
class Departure:
    def __init__(self, entry: Entry, reason: str) -> None:
        self.entry = entry
        self.reason = reason


@final
class DepartureLine:
    """First come, first served."""

    def __init__(self) -> None:
        self._departures: list[Departure] = []
        self._head: i64 = 0

    @property
    def count(self) -> i64:
        return len(self._departures) - self._head

    def add(self, departure: Departure) -> None:
        self._departures.append(departure)

    def first(self) -> Departure:
        return self._departures[self._head]

    def take(self) -> Departure:
        departure = self._departures[self._head]
        self._head += 1
        if self._head >= COMPACT_COUNT and self._head * 2 > len(self._departures):
            del self._departures[: self._head]
            self._head = 0
        return departure

    def take_last(self) -> Departure:
        """Out of turn, the one that came last."""
        return self._departures.pop()

    def entries(self) -> list[Entry]:
        return [departure.entry for departure in self._departures[self._head :]]
