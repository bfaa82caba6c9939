"""Messages of one queue that came back and wait for their next try.

    ready --delivered--> unacked --comes back, and its queue has a back-off--> waiting --its time is over--> ready

A waiting message is neither ready nor unacked: no consumer gets it, but length limits count it, and its time to live goes
on. Owns who waits and the timers. Does not own for how long (back_off.py), nor what happens then (queue.py); the log knows
of it by a RETRY record, and a restart brings it here again. Invariant: who waits is not settled and has one timer in the
wheel, which fires when the wait is over or, if that is sooner, the message's own time.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.timers import Timer
from amqpd.queues.agenda import Agenda
from amqpd.queues.entry import Entry

COMPACT_COUNT: Final = 1024


# The cycle of timer, entry, queue and the queue's waiting messages ends with the wait, at the latest with the queue.
@final
@mypyc_attr(acyclic=True)
class NextTry(Timer):
    def __init__(self, entry: Entry, ready_at_ms: i64) -> None:
        self.due_ms = ready_at_ms if entry.due_ms == 0 or entry.due_ms > ready_at_ms else entry.due_ms
        self.entry = entry
        self.message_id = entry.message.message_id
        self.ready_at_ms = ready_at_ms
        # True once another timer stands for the same message, or none needs to.
        self.is_over = False

    def fire(self) -> None:
        self.is_over = True
        self.entry.queue.try_again(self.entry)

    def failed(self, error: Exception) -> None:
        self.entry.queue.entry_failed(self.entry, error)

    def is_done(self) -> bool:
        return self.is_over

    def rank(self) -> i64:
        return self.message_id


@final
class Waiting:
    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        # By message_id.
        self._tries: dict[int, NextTry] = {}
        # As they came, those that are over among them until they are at the front.
        self._line: list[NextTry] = []
        self._head: i64 = 0
        self.body_bytes: i64 = 0

    @property
    def count(self) -> i64:
        return len(self._tries)

    def add(self, entry: Entry, ready_at_ms: i64) -> None:
        next_try = NextTry(entry, ready_at_ms)
        self._tries[int(next_try.message_id)] = next_try
        self.body_bytes += len(entry.message.body)
        self._line.append(next_try)
        if len(self._line) > 2 * len(self._tries) + COMPACT_COUNT:
            self._line = [each for each in self._line[self._head :] if not each.is_over]
            self._head = 0
        self._agenda.wheel.add(next_try)

    def remove(self, entry: Entry) -> None:
        """Its timer has fired."""
        del self._tries[int(entry.message.message_id)]
        self.body_bytes -= len(entry.message.body)

    def _longest(self) -> NextTry:
        while self._line[self._head].is_over:
            self._head += 1
        return self._line[self._head]

    def longest_id(self) -> i64:
        """The message_id of who has waited longest."""
        return self._longest().message_id

    def take_longest(self) -> Entry:
        """Who has waited longest waits no more."""
        next_try = self._longest()
        next_try.is_over = True
        self._agenda.wheel.done()
        self.remove(next_try.entry)
        return next_try.entry

    def tries(self) -> list[NextTry]:
        """All who wait, the oldest message first."""
        return [self._tries[message_id] for message_id in sorted(self._tries)]

    def entries(self) -> list[Entry]:
        return [each.entry for each in self.tries()]

    def copy(self) -> list[NextTry]:
        """All who wait, as they stand."""
        return list(self._tries.values())

    def rearm(self, next_try: NextTry) -> None:
        """Its message's own time has changed."""
        next_try.is_over = True
        self._agenda.wheel.done()
        self.add(next_try.entry, next_try.ready_at_ms)

    def clear(self) -> list[NextTry]:
        """Nobody waits any more; returns who did."""
        found = self.tries()
        self._tries = {}
        self._line = []
        self._head = 0
        self.body_bytes = 0
        for each in found:
            each.is_over = True
            self._agenda.wheel.done()
        return found

    def ready_at_wall_ms(self, next_try: NextTry) -> i64:
        """As a log record says it, so that it means something after a restart."""
        agenda = self._agenda
        return agenda.wall_ms + next_try.ready_at_ms - agenda.monotonic_ms
