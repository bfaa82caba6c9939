"""Timers in the order of two numbers, whatever the order in which they come; cheap while they come in order.

A run takes what comes in order: one append, and one step when it leaves. What comes before the end of the run goes to a
binary heap, where coming and leaving cost log n; a list that everything is inserted into would cost n. Owns the order. Does
not own what the numbers mean: what came back to a queue (ready.py) has its message_id, a timer that is due its time.
Invariant: whatever stands in the heap comes before the end of the run; so with the run empty the heap is empty too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

if TYPE_CHECKING:
    from amqpd.base.timers import Timer

# Places of the run that have left are dropped in blocks of at least this many.
COMPACT_COUNT: Final = 4096


# Not tracked by the garbage collector, like the timers: very many may stand here.
@final
@mypyc_attr(acyclic=True)
class Place:
    """The numbers stand beside the timer: it may change while it waits."""

    def __init__(self, key: i64, rank: i64, number: i64, timer: Timer) -> None:
        self.key = key
        self.rank = rank
        # Of those that are equal the one that came first leaves first.
        self.number = number
        self.timer = timer

    def is_before(self, other: Place) -> bool:
        if self.key != other.key:
            return self.key < other.key
        if self.rank != other.rank:
            return self.rank < other.rank
        return self.number < other.number


@final
class SortedTimers:
    def __init__(self) -> None:
        self.count: i64 = 0
        self._pushed: i64 = 0
        self._run: list[Place] = []
        self._head: i64 = 0
        self._heap: list[Place] = []

    def push(self, key: i64, rank: i64, timer: Timer) -> None:
        """By key, those of one key by rank, those of one rank as they come."""
        self._pushed += 1
        place = Place(key, rank, self._pushed, timer)
        self.count += 1
        run = self._run
        size: i64 = len(run)
        if size == 0 or not place.is_before(run[size - 1]):
            run.append(place)
            return
        heap = self._heap
        at: i64 = len(heap)
        heap.append(place)
        while at > 0:
            above = (at - 1) >> 1
            if not place.is_before(heap[above]):
                break
            heap[at] = heap[above]
            at = above
        heap[at] = place

    def first(self) -> Timer:
        """The next one to leave, which stays; there must be one."""
        place = self._run[self._head]
        if len(self._heap) > 0 and self._heap[0].is_before(place):
            return self._heap[0].timer
        return place.timer

    def pop(self) -> Timer:
        """The next one leaves; there must be one."""
        self.count -= 1
        head = self._head
        run = self._run
        place = run[head]
        if len(self._heap) > 0 and self._heap[0].is_before(place):
            return self._pop_heap()
        head += 1
        if head == len(run):
            self._run = []
            head = 0
        elif head >= COMPACT_COUNT and head * 2 > len(run):
            del run[:head]
            head = 0
        self._head = head
        return place.timer

    def _pop_heap(self) -> Timer:
        heap = self._heap
        first = heap[0]
        place = heap.pop()
        size: i64 = len(heap)
        if size > 0:
            at: i64 = 0
            below: i64 = 1
            while below < size:
                if below + 1 < size and heap[below + 1].is_before(heap[below]):
                    below += 1
                if not heap[below].is_before(place):
                    break
                heap[at] = heap[below]
                at = below
                below = 2 * at + 1
            heap[at] = place
        return first.timer

    @property
    def is_in_order(self) -> bool:
        """Do `timers` give them in order?"""
        return len(self._heap) == 0

    def timers(self) -> list[Timer]:
        """All of them; those that came in order first, the others as they stand."""
        found = [place.timer for place in self._run[self._head :]]
        for place in self._heap:
            found.append(place.timer)
        return found

    def clear(self) -> None:
        self.count = 0
        self._run = []
        self._head = 0
        self._heap = []
