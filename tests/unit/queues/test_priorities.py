"""Levels against a sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.message import Message
from amqpd.queues.entry import Entry
from amqpd.queues.priorities import PriorityReady
from tests.fakes.core import new_queue

QUEUE = new_queue()


def entry(message_id: int, level: int) -> Entry:
    header = b"\x00\x3c\x00\x00" + bytes(8) + b"\x08\x00" + bytes([level])
    return Entry(Message(message_id, b"\x00\x01q", header, b""), QUEUE)


def order(each: Entry, highest: int) -> tuple[int, int]:
    return -min(each.message.header[14], highest), int(each.message.message_id)


@given(st.integers(0, 9), st.lists(st.tuples(st.sampled_from("aaapprd"), st.integers(0, 12)), max_size=60))
def test_the_highest_level_leaves_first_and_inside_it_the_oldest(highest: int, steps: list[tuple[str, int]]) -> None:
    ready = PriorityReady(highest)
    model: list[Entry] = []
    taken: list[Entry] = []
    for message_id, (step, level) in enumerate(steps, 1):
        if step == "a":
            added = entry(message_id, level)
            ready.append(added)
            model.append(added)
        elif step == "p" and model:
            expected = min(model, key=lambda each: order(each, highest))
            assert ready.oldest() is expected
            assert ready.pop() is expected
            model.remove(expected)
            taken.append(expected)
        elif step == "r" and taken:
            back = taken.pop()
            ready.put_back(back)
            model.append(back)
        elif step == "d" and model:
            gone = model.pop(level % len(model))
            ready.discard(gone)
        assert ready.count == len(model)
    assert ready.entries() == sorted(model, key=lambda each: order(each, highest))


def test_surplus_leaves_from_the_lowest_level() -> None:
    ready = PriorityReady(5)
    for message_id, level in ((1, 3), (2, 1), (3, 5)):
        ready.append(entry(message_id, level))
    assert [int(ready.pop_surplus().message.message_id) for _ in range(3)] == [2, 1, 3]


def test_clear_leaves_nothing() -> None:
    ready = PriorityReady(2)
    ready.append(entry(1, 2))
    ready.dismantle()
    assert (ready.count, ready.entries(), ready.oldest()) == (0, [], None)
