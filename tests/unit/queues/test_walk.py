"""A walk against a list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqpd.queues.entry import Entry
from amqpd.queues.measured import MeasuredReady
from amqpd.queues.priorities import PriorityReady
from amqpd.queues.ready import Ready, ReadyOrder
from amqpd.queues.walk import Walk
from tests.fakes.core import new_entry, new_queue

QUEUE = new_queue()
STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "pop", "put_back", "discard", "next"]), st.integers(0, 9)), max_size=40
)


def ids(entries: list[Entry]) -> list[int]:
    return [entry.message.message_id for entry in entries]


def do(order: ReadyOrder, out: list[Entry], what: str, number: int, message_id: int) -> None:
    entries = order.entries()
    if what == "append":
        order.append(new_entry(message_id, QUEUE))
    elif what == "pop" and entries:
        out.append(order.pop())
    elif what == "put_back" and out:
        order.put_back(out.pop(number % len(out)))
    elif what == "discard" and entries:
        order.discard(entries[number % len(entries)])


@given(STEPS, STEPS, st.sampled_from([Ready, lambda: PriorityReady(2), lambda: MeasuredReady(Ready())]))
def test_it_sees_once_what_was_there_and_still_is_and_nothing_else(
    before: list[tuple[str, int]], during: list[tuple[str, int]], make: type[ReadyOrder]
) -> None:
    order = make()
    out: list[Entry] = []
    for message_id, (what, number) in enumerate(before, 1):
        do(order, out, what, number, message_id)
    at_first = order.entries()
    walk = Walk(order)
    seen: list[Entry] = []
    for message_id, (what, number) in enumerate(during, 1000):
        if what == "next":
            looked = walk.looked
            found = walk.next(number)
            assert len(found) <= walk.looked - looked <= number
            assert all(entry.is_ready for entry in found)
            seen += found
        else:
            do(order, out, what, number, message_id)
    # Whatever was there all the time is seen.
    stayed = [entry for entry in at_first if entry in order.entries()]
    while not walk.is_over:
        seen += walk.next(2)
    assert ids(seen) == [message_id for message_id in reversed(ids(at_first)) if message_id in ids(seen)]
    assert set(ids(stayed)) <= set(ids(seen))


def test_nothing_is_over_at_once() -> None:
    walk = Walk(Ready())
    walk.next(1)
    assert walk.is_over
