"""What must not be said before it is durable: who waits, and for which mark.

Owns the list of waiters of a broker. Does not own what they say.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.queues.agenda import Agenda


class CommitWaiter:
    """Something that owes its client an answer once a mark is committed."""

    def __init__(self) -> None:
        self.is_waiting = False

    def committed(self, mark: i64) -> bool:
        """Everything up to `mark` is durable: say what may be said. True if it waits for a later mark."""
        raise NotImplementedError


@final
class Commits:
    def __init__(self, mark: i64, agenda: Agenda) -> None:
        self._agenda = agenda
        # The newest mark that the disk has reported.
        self.mark = mark
        self._waiting: list[CommitWaiter] = []
        # Waiters that joined during this turn: they may be payable already, without any disk.
        self._fresh: list[CommitWaiter] = []

    def wait(self, waiter: CommitWaiter) -> None:
        if not waiter.is_waiting:
            waiter.is_waiting = True
            self._fresh.append(waiter)

    def pay_fresh(self) -> None:
        """At the end of a turn: confirm what waits for nothing."""
        if len(self._fresh) == 0:
            return
        fresh = self._fresh
        self._fresh = []
        for waiter in fresh:
            self._pay(waiter)

    def committed(self, mark: i64) -> None:
        """The disk has everything up to `mark`."""
        assert mark >= self.mark
        self.mark = mark
        waiting = self._waiting
        self._waiting = []
        for waiter in waiting:
            self._pay(waiter)

    def _pay(self, waiter: CommitWaiter) -> None:
        try:
            if waiter.committed(self.mark):
                self._waiting.append(waiter)
                return
        except Exception as error:
            # One that can't be answered keeps no other waiting.
            self._agenda.failed("what waited for the disk", error)
        waiter.is_waiting = False
