"""What takes more than a turn: done a slice at a time, so that nobody waits longer for it than for a turn.

    start     a slice at once; most work is done with that, and nobody notices that it was work
    go_on     in each later turn, every unfinished work gets a slice, until there is nothing left

Owns who is at work, and that each gets its share. Does not own what a slice is: a work looks at `Agenda.budget`, does at
least a little, and says whether anything is left. Whoever asked for it is not heard before it is done (`Session.hold_work`),
so the order that clients see is the same as if it had been done in one go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

if TYPE_CHECKING:
    from amqpd.queues.agenda import Agenda
    from amqpd.queues.entry import Entry

# A work does this many steps before it looks at the budget, which may be used up by others.
STEPS_MIN: Final = 64


@mypyc_attr(allow_interpreted_subclasses=True)
class Work:
    def go_on(self) -> bool:
        """Do a slice; True if that was all."""
        raise NotImplementedError

    def entries(self) -> list[Entry]:
        """What it has of the messages of queues, and nobody else has: a checkpoint must know of them."""
        return []

    def failed(self) -> None:
        """A slice has raised: let go whatever is still held, for there will be no other."""


@final
class Works:
    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._works: list[Work] = []

    @property
    def count(self) -> i64:
        return len(self._works)

    def start(self, work: Work) -> bool:
        """A slice of it now; True if it is done."""
        if work.go_on():
            return True
        self._works.append(work)
        return False

    def go_on(self) -> None:
        """Once a turn."""
        works = self._works
        if len(works) == 0:
            return
        self._works = []
        agenda = self._agenda
        share = agenda.budget // len(works)
        for work in works:
            left = agenda.budget
            # What one does not need is for the next ones.
            agenda.budget = share if share < left else left
            before = agenda.budget
            if not self._is_done(work):
                self._works.append(work)
            agenda.budget = left - (before - agenda.budget)

    def _is_done(self, work: Work) -> bool:
        try:
            return work.go_on()
        except Exception as error:
            # Ours, and nobody is there to be told: it must not be tried for ever, nor end the node.
            self._agenda.failed("a long work", error)
            work.failed()
            return True

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        for work in self._works:
            found.extend(work.entries())
        return found
