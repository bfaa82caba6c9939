"""Ready against a sorted list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from amqpd.queues.entry import Entry
from amqpd.queues.ready import COMPACT_COUNT, Ready
from tests.fakes.core import new_entry, new_queue
from tests.fakes.effort import effort_of, only_interpreted

QUEUE = new_queue()
# What to do, and how often or which one.
STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "pop", "put_back", "put_back", "forget", "clear"]), st.integers(0, 30)),
    max_size=60,
)


def ids(entries: list[Entry]) -> list[int]:
    return [entry.message.message_id for entry in entries]


@given(STEPS)
def test_whatever_comes_and_comes_back_leaves_in_order_of_its_id(steps: list[tuple[str, int]]) -> None:
    ready = Ready()
    model: list[int] = []
    out: list[Entry] = []
    next_id = 1
    for what, number in steps:
        if what == "append":
            for _ in range(number):
                ready.append(new_entry(next_id, QUEUE))
                model.append(next_id)
                next_id += 1
        elif what == "pop":
            for _ in range(min(number, len(model))):
                out.append(ready.pop())
                assert out[-1].message.message_id == model.pop(0)
        elif what == "put_back" and out:
            entry = out.pop(number % len(out))
            ready.put_back(entry)
            model = sorted([*model, entry.message.message_id])
        elif what == "forget" and out:
            del out[number % len(out)]
        elif what == "clear" and number == 0:
            ready.dismantle()
            model.clear()
        assert ready.count == len(model)
        assert ids(ready.entries()) == model


@settings(max_examples=settings().max_examples // 25)
@given(st.integers(1, 3 * COMPACT_COUNT), st.randoms(use_true_random=False))
def test_the_order_holds_when_cleared_places_are_dropped(taken: int, random: object) -> None:
    ready = Ready()
    for message_id in range(3 * COMPACT_COUNT):
        ready.append(new_entry(message_id, QUEUE))
    out = [ready.pop() for _ in range(taken)]
    assert ids(out) == list(range(taken))
    random.shuffle(out)  # type: ignore[attr-defined]
    for entry in out:
        ready.put_back(entry)
    assert [ready.pop().message.message_id for _ in range(3 * COMPACT_COUNT)] == list(range(3 * COMPACT_COUNT))
    assert ready.count == 0
    assert ready.entries() == []


def test_a_returned_entry_may_come_back_while_others_leave() -> None:
    ready = Ready()
    for message_id in range(1, 5):
        ready.append(new_entry(message_id, QUEUE))
    one, two, three = ready.pop(), ready.pop(), ready.pop()
    ready.put_back(three)
    ready.put_back(one)
    assert ready.pop() is one
    ready.put_back(two)
    assert ids(ready.entries()) == [2, 3, 4]


@given(st.integers(0, 40), st.lists(st.integers(1, 40), max_size=40), st.integers(0, 45), st.integers(0, 45))
def test_arrivals_are_found_by_id_and_listed_in_pages(
    popped: int, discarded: list[int], offset: int, count: int
) -> None:
    ready = Ready()
    entries = {message_id: new_entry(message_id, QUEUE) for message_id in range(1, 41)}
    for entry in entries.values():
        ready.append(entry)
    for _ in range(popped):
        entries.pop(int(ready.pop().message.message_id))
    for message_id in discarded:
        if message_id in entries:
            ready.discard(entries.pop(message_id))
    for message_id in range(42):
        assert ready.find(message_id) is entries.get(message_id)
    assert ids(ready.page(offset, count)) == list(entries)[offset : offset + count]


@only_interpreted
def test_what_two_consumers_held_in_turns_comes_back_without_moving_what_came_back_before() -> None:
    ready = Ready()
    for message_id in range(1000):
        ready.append(new_entry(message_id, QUEUE))
    out = [ready.pop() for _ in range(1000)]

    def deed() -> None:
        for entry in [*out[::2], *out[1::2]]:
            ready.put_back(entry)

    assert effort_of(deed).inserts == 0
    assert ids([ready.pop() for _ in range(1000)]) == list(range(1000))


@given(STEPS, st.sets(st.integers(1, 300)))
def test_what_leaves_from_the_middle_is_skipped_wherever_it_stands(
    steps: list[tuple[str, int]], leaving: set[int]
) -> None:
    ready = Ready()
    model: list[int] = []
    out: list[Entry] = []
    next_id = 1
    for what, number in steps:
        if what == "append":
            for _ in range(number):
                ready.append(new_entry(next_id, QUEUE))
                model.append(next_id)
                next_id += 1
        elif what == "pop" and model:
            out.append(ready.pop())
            model.pop(0)
        elif what == "put_back" and out:
            entry = out.pop(number % len(out))
            ready.put_back(entry)
            model = sorted([*model, entry.message.message_id])
        for entry in ready.entries():
            if entry.message.message_id in leaving:
                ready.discard(entry)
                model.remove(entry.message.message_id)
                # Whoever is done with it may take its message away.
                entry.message = new_entry(0, QUEUE).message
        assert ready.count == len(model)
        oldest = ready.oldest()
        assert (oldest.message.message_id if oldest is not None else 0) == (model[0] if model else 0)
    assert ids([ready.pop() for _ in range(len(model))]) == model
