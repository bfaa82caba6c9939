"""Against a sorted list."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.sorted_timers import COMPACT_COUNT, SortedTimers
from amqpd.queues.entry import Entry
from tests.fakes.core import new_entry, new_queue
from tests.fakes.effort import effort_of, only_interpreted

QUEUE = new_queue()


def number(timer: object) -> int:
    assert isinstance(timer, Entry)
    return timer.message.message_id


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(-5, 5), st.integers(0, 2))), max_size=80))
def test_they_leave_by_key_then_rank_then_as_they_came(steps: list[tuple[int, int] | None]) -> None:
    found, model = SortedTimers(), []
    for at, step in enumerate(steps):
        if step is not None:
            found.push(step[0], step[1], new_entry(at, QUEUE))
            model = sorted([*model, (*step, at)])
        elif model:
            assert number(found.first()) == model[0][2]
            assert number(found.pop()) == model.pop(0)[2]
        assert found.count == len(model)
        assert sorted(map(number, found.timers())) == sorted(at for _, _, at in model)
    found.clear()
    assert (found.count, found.timers()) == (0, [])


@pytest.mark.parametrize("seed", range(4))
def test_many_leave_in_order_whatever_the_order_in_which_they_came(seed: int) -> None:
    keys = list(range(3 * COMPACT_COUNT))
    random.Random(seed).shuffle(keys)
    found = SortedTimers()
    for key in keys:
        found.push(key, 0, new_entry(key, QUEUE))
    assert [number(found.pop()) for _ in keys] == sorted(keys)


def test_the_numbers_that_count_are_those_it_came_with() -> None:
    found = SortedTimers()
    entries = [new_entry(message_id, QUEUE) for message_id in (1, 5, 3, 2)]
    for entry in entries:
        found.push(entry.message.message_id, 0, entry)
    for entry in entries:
        entry.message = new_entry(0, QUEUE).message
    assert [found.pop() for _ in entries] == [entries[0], entries[3], entries[2], entries[1]]


@only_interpreted
def test_twice_as_many_in_two_mixed_runs_are_little_more_than_twice_the_work() -> None:
    def come_and_leave(count: int) -> int:
        entries = [new_entry(key, QUEUE) for key in range(count)]
        found = SortedTimers()

        def deed() -> None:
            for key in [*range(0, count, 2), *range(1, count, 2)]:
                found.push(key, 0, entries[key])
            for _ in range(count):
                found.pop()

        effort = effort_of(deed)
        assert effort.inserts == 0
        return effort.lines

    assert come_and_leave(4000) < 2.4 * come_and_leave(2000)
