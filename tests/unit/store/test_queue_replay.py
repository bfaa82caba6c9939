"""A queue during replay, against a plain dict."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amqpd.base.message import Message, SegmentUse
from amqpd.store.page import META_BYTES_MAX, Page, PageWriter
from amqpd.store.queue_replay import QueueReplay, can_be_in_page
from amqpd.store.recovered import RecoveredEntry

SEGMENTS = [SegmentUse(1), SegmentUse(2)]
SIZE = 50


def segment_of(message_id: int) -> SegmentUse:
    return SEGMENTS[message_id // 10 % 2]


def offset_of(message_id: int) -> int:
    return 100 + message_id * SIZE


def page_of(ids: list[int], counts: dict[int, int] | None = None) -> list[Page]:
    writer = PageWriter()
    for message_id in ids:
        count = counts.get(message_id, 0) if counts is not None else 0
        writer.add(message_id, segment_of(message_id), offset_of(message_id), 10, SIZE - 10, 0, count > 0, count)
    return writer.finish()


def entry_of(message_id: int) -> RecoveredEntry:
    message = Message(message_id, b"", b"", b"")
    message.segment = segment_of(message_id)
    message.offset = offset_of(message_id)
    message.logged_bytes = SIZE
    message.holders = 1
    entry = RecoveredEntry(message)
    entry.body_bytes = 10
    return entry


def ids_of(pages: list[Page]) -> list[int]:
    return [int(page.message_id(index)) for page in pages for index in range(page.count)]


@dataclass
class Known:
    delivery_count: int = 0
    redelivered: bool = False


@pytest.mark.parametrize(
    ("offset", "body_bytes", "meta_bytes", "fits"),
    [
        (0, 0, 1, True),
        ((1 << 32) - 1, (1 << 28) - 1, META_BYTES_MAX, True),
        (1 << 32, 0, 1, False),
        (0, 1 << 28, 1, False),
        (0, 0, META_BYTES_MAX + 1, False),
        (0, 0, 0, False),
    ],
)
def test_only_what_a_page_can_say_is_in_one(offset: int, body_bytes: int, meta_bytes: int, fits: bool) -> None:
    assert can_be_in_page(offset, body_bytes, meta_bytes) is fits


def check(queue: QueueReplay, model: dict[int, Known], all_redelivered: bool = False, delivered_to: int = 0) -> None:
    """Everything in pages that do not overlap, in order, at its address."""
    queue.settle_down()
    assert queue.wanted() == []
    pages = queue.pack(all_redelivered, delivered_to)
    assert queue.entries == {}
    assert ids_of(pages) == sorted(model)
    for page, after in itertools.pairwise(pages):
        assert page.last_id < after.first_id
    for page in pages:
        assert (page.message_id(0), page.message_id(page.count - 1)) == (page.first_id, page.last_id)
        for index in range(page.count):
            message_id = int(page.message_id(index))
            known = model[message_id]
            assert (page.segment, page.offset(index)) == (segment_of(message_id), offset_of(message_id))
            assert (page.body_size(index), page.size(index)) == (10, SIZE)
            assert page.delivery_count(message_id) == known.delivery_count
            is_redelivered = known.redelivered or all_redelivered or message_id <= delivered_to
            assert page.redelivered(index) is is_redelivered


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["settle", "settle_range", "take", "add", "add_again", "requeue"]),
        st.integers(1, 80),
        st.integers(0, 12),
    ),
    max_size=30,
)


@given(
    st.lists(st.integers(1, 80), unique=True),
    st.integers(0, 80),
    st.integers(1, 20),
    st.booleans(),
    STEPS,
    st.booleans(),
    st.integers(0, 90),
)
@example([1, 2, 5, 6, 7, 8], 3, 4, False, [], False, 0)
def test_pages_and_single_entries_are_together_what_the_queue_holds(
    listed: list[int],
    single_every: int,
    page_count: int,
    is_shuffled: bool,
    steps: list[tuple[str, int, int]],
    all_redelivered: bool,
    delivered_to: int,
) -> None:
    queue = QueueReplay(False)
    model: dict[int, Known] = {}
    paged = [each for each in sorted(listed) if single_every == 0 or each % (single_every + 1)]
    runs = [paged[at : at + page_count] for at in range(0, len(paged), page_count)]
    for run in reversed(runs) if is_shuffled else runs:
        counts = {message_id: 2 for message_id in run if message_id % 7 == 0}
        for page in page_of(run, counts):
            queue.add_page(page)
        for message_id in run:
            model[message_id] = Known(counts.get(message_id, 0), message_id in counts)
    for message_id in set(listed) - set(paged):
        queue.add(entry_of(message_id))
        model[message_id] = Known()
    for what, message_id, number in steps:
        if what == "settle":
            assert queue.settle(message_id) is (message_id in model)
            model.pop(message_id, None)
        elif what == "settle_range":
            queue.settle_range(message_id, message_id + number)
            for each in range(message_id, message_id + number + 1):
                model.pop(each, None)
        elif what == "take":
            entry = queue.take(message_id)
            assert (entry is not None) is (message_id in model)
            assert queue.take(message_id) is entry
        elif what == "requeue":
            entry = queue.take(message_id)
            if entry is not None:
                entry.delivery_count = number
                entry.redelivered = True
                model[message_id] = Known(number, True)
        elif what == "add" or message_id in model:
            queue.add(entry_of(message_id))
            model[message_id] = Known()
        assert queue.has(message_id) is (message_id in model)
    check(queue, model, all_redelivered, delivered_to)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_pages_of_a_priority_queue_may_overlap(order: list[int]) -> None:
    runs = [[1, 4, 6, 9], [2, 3, 5, 7]]
    queue = QueueReplay(False)
    for at in order:
        for page in page_of(runs[at]):
            queue.add_page(page)
    assert queue.settle(5)
    assert not queue.settle(5)
    check(queue, {message_id: Known() for message_id in (1, 2, 3, 4, 6, 7, 9)})


def test_pages_in_any_order_are_found_in() -> None:
    queue = QueueReplay(False)
    for run in ([30, 31], [10, 11], [20, 21]):
        for page in page_of(run):
            queue.add_page(page)
    for message_id in (10, 20, 31):
        assert queue.settle(message_id)
    check(queue, {message_id: Known() for message_id in (11, 21, 30)})


def test_what_is_in_memory_stands_between_pages_and_not_inside_of_one() -> None:
    queue = QueueReplay(False)
    for page in page_of(list(range(1, 10))):
        queue.add_page(page)
    needed = queue.take(5)
    assert needed is not None
    needed.is_needed = True
    queue.settle_down()
    assert queue.wanted() == [needed]
    needed.is_here = True
    assert queue.wanted() == []
    pages = queue.pack(False, 0)
    assert [ids_of([page]) for page in pages] == [[1, 2, 3, 4], [6, 7, 8, 9]]
    assert list(queue.entries) == [5]


def test_a_resident_queue_wants_everything_back() -> None:
    queue = QueueReplay(True)
    for page in page_of([1, 2, 3]):
        queue.add_page(page)
    queue.settle_down()
    wanted = queue.wanted()
    assert [entry.message.message_id for entry in wanted] == [1, 2, 3]
    for entry in wanted:
        entry.is_here = True
    assert queue.pack(False, 0) == []
    assert list(queue.entries) == [1, 2, 3]


def test_a_queue_in_which_something_waits_is_resident() -> None:
    queue = QueueReplay(False)
    for page in page_of([1, 2, 3]):
        queue.add_page(page)
    entry = queue.take(2)
    assert entry is not None
    entry.ready_at_ms = 5
    queue.settle_down()
    assert len(queue.wanted()) == 3


def test_untouched_pages_stay_the_very_same() -> None:
    queue = QueueReplay(False)
    pages = page_of(list(range(10, 20))) + page_of(list(range(30, 40)))
    for page in pages:
        queue.add_page(page)
    queue.settle(35)
    queue.settle_down()
    packed = queue.pack(False, 0)
    assert packed[0] is pages[0]
    assert ids_of(packed) == [*range(10, 20), 30, 31, 32, 33, 34, 36, 37, 38, 39]


def test_a_message_that_is_listed_by_itself_and_in_a_page_is_one_message() -> None:
    queue = QueueReplay(False)
    queue.add(entry_of(2))
    for page in page_of([1, 2, 3]):
        queue.add_page(page)
    assert queue.settle(2)
    assert not queue.has(2)
    queue.settle_down()
    assert ids_of(queue.pack(False, 0)) + sorted(queue.entries) == [1, 3]
