"""Pages: packed, described, and turned back into messages; whatever the bytes are, never into others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.message import Message, SegmentUse
from amqpd.store.log import Log, fresh_start
from amqpd.store.page import (
    BODY_BYTES_MAX,
    GAP_BYTES_MAX,
    META_BYTES_MAX,
    OFFSET_MAX,
    PAGE_COUNT_MAX,
    PAGE_ENTRY_SIZE,
    Page,
    PageWriter,
    Piece,
    fits_page,
    share_shift,
)
from amqpd.store.record import queue_id_bytes
from amqpd.store.segment import SegmentWriter
from tests.fakes.faulty_disk import FakeFile, FaultyDisk


class Bench:
    """A log on a disk, and pages of what is in it."""

    def __init__(self, segment_bytes: int = 1 << 20) -> None:
        self.disk = FaultyDisk()
        self.log = Log(fresh_start(5), segment_bytes)
        self.writer = SegmentWriter(self.disk, 0)
        self.messages: list[Message] = []

    def publish(self, body: bytes = b"body", queue_count: int = 1, route_key: bytes = b"\x00\x01q") -> Message:
        message = Message(self.log.next_message_id(), route_key, b"header", body)
        self.log.append_message(message, b"".join(map(queue_id_bytes, range(1, queue_count + 1))), 55)
        self.messages.append(message)
        return message

    def commit(self) -> None:
        batch = self.log.seal([])
        if batch is not None:
            self.writer.commit(batch)

    def pages(self) -> list[Page]:
        return pack(self.messages)

    def read(self, page: Page) -> list[Message | None]:
        ranges = page.ranges()
        blocks = self.disk.read_ranges(int(page.segment.number), ranges)
        return page.messages([Piece(begin, block) for (begin, _), block in zip(ranges, blocks, strict=True)])


def pack(messages: list[Message]) -> list[Page]:
    writer = PageWriter()
    for message in messages:
        writer.add_message(message, False, 0)
    return writer.finish()


def told(message: Message | None) -> tuple[object, ...] | None:
    if message is None:
        return None
    return (
        message.message_id,
        message.route_key,
        message.header,
        message.body,
        message.enqueued_ms,
        message.offset,
        message.logged_bytes,
        message.share_shift,
    )


@pytest.mark.parametrize(
    ("holders", "shift"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 15, 15), ((1 << 15) + 1, 15), (1 << 20, 15)]
)
def test_shares_are_halved_until_they_are_enough_for_all(holders: int, shift: int) -> None:
    assert share_shift(holders) == shift


def test_a_page_entry_is_laid_out_as_drawn() -> None:
    writer = PageWriter()
    segment = SegmentUse(3)
    writer.add(1000, segment, 0x01020304, 0x0506070, 0x0A0B, 3, False, 0)
    writer.add(1000 + 0x11223344, segment, 5, 6, 7, 0, True, 9)
    (page,) = writer.finish()
    assert page.data == (
        b"\x00\x00\x00\x00\x04\x03\x02\x01\x70\x60\x50\x30\x0b\x0a\x44\x33\x22\x11\x05\x00\x00\x00\x06\x00\x00\x00\x07\x80"
    )
    assert len(page.data) == 2 * PAGE_ENTRY_SIZE
    assert (page.first_id, page.last_id, page.count, page.segment) == (1000, 1000 + 0x11223344, 2, segment)
    assert [page.message_id(index) for index in range(2)] == [1000, 1000 + 0x11223344]
    assert [page.redelivered(index) for index in range(2)] == [False, True]
    assert page.delivery_counts == {1000 + 0x11223344: 9}
    assert (page.body_size(0), page.size(0), page.share_shift(0)) == (0x0506070, 0x0506070 + 0x0A0B, 3)
    assert page.body_bytes == 0x0506070 + 6
    assert page.live_bytes == ((0x0506070 + 0x0A0B) >> 3) + 13
    assert page.end == 0x01020304 + 0x0506070 + 0x0A0B


def test_limits_of_the_layout_are_kept_apart_from_the_flags() -> None:
    writer = PageWriter()
    writer.add(1, SegmentUse(1), OFFSET_MAX, BODY_BYTES_MAX, META_BYTES_MAX, 15, False, 0)
    writer.add(2, SegmentUse(1), OFFSET_MAX, BODY_BYTES_MAX, META_BYTES_MAX, 0, True, 0)
    for page, shift, redelivered in zip(writer.finish(), (15, 0), (False, True), strict=True):
        assert (page.offset(0), page.body_size(0), page.size(0)) == (
            OFFSET_MAX,
            BODY_BYTES_MAX,
            BODY_BYTES_MAX + META_BYTES_MAX,
        )
        assert (page.share_shift(0), page.redelivered(0)) == (shift, redelivered)


def test_what_is_not_in_the_log_or_has_a_huge_header_fits_no_page() -> None:
    log = Log(fresh_start(5))
    message = Message(1, b"\x00\x01q", b"h" * (META_BYTES_MAX - 31 - 4 - 3), b"")
    assert not fits_page(message)
    log.append_message(message, queue_id_bytes(1), 0)
    assert message.logged_bytes == META_BYTES_MAX
    assert fits_page(message)
    larger = Message(2, b"\x00\x02qq", message.header, b"")
    log.append_message(larger, queue_id_bytes(1), 0)
    assert not fits_page(larger)
    message.offset = OFFSET_MAX + 1
    assert not fits_page(message)


def test_a_page_has_one_segment_and_so_many_messages() -> None:
    bench = Bench(20_000)
    for number in range(700):
        bench.publish()
        if number % 50 == 49:
            bench.commit()
    bench.commit()
    pages = bench.pages()
    assert max(page.count for page in pages) <= PAGE_COUNT_MAX
    assert len({int(page.segment.number) for page in pages}) > 1
    for page in pages:
        assert all(bench.messages[page.message_id(at) - 1].segment is page.segment for at in range(page.count))
    ids = [int(page.message_id(index)) for page in pages for index in range(page.count)]
    assert ids == list(range(1, 701))
    assert [told(message) for page in pages for message in bench.read(page)] == [told(each) for each in bench.messages]


def test_ids_that_are_far_apart_are_in_two_pages() -> None:
    writer = PageWriter()
    segment = SegmentUse(1)
    writer.add(1, segment, 0, 1, 50, 0, False, 0)
    writer.add(1 + OFFSET_MAX, segment, 60, 1, 50, 0, False, 0)
    writer.add(2 + OFFSET_MAX, segment, 120, 1, 50, 0, False, 0)
    assert [(page.first_id, page.last_id) for page in writer.finish()] == [
        (1, 1 + OFFSET_MAX),
        (2 + OFFSET_MAX, 2 + OFFSET_MAX),
    ]


def test_a_split_begins_another_page() -> None:
    writer = PageWriter()
    segment = SegmentUse(1)
    writer.split()
    writer.add(1, segment, 0, 1, 50, 0, False, 2)
    writer.split()
    writer.split()
    writer.add(2, segment, 60, 1, 50, 0, False, 0)
    pages = writer.finish()
    assert [(page.first_id, page.count, page.delivery_counts) for page in pages] == [(1, 1, {1: 2}), (2, 1, None)]
    assert writer.finish() == []


def test_an_entry_of_another_page_is_taken_over_whole() -> None:
    writer = PageWriter()
    writer.add(7, SegmentUse(1), 60, 20, 50, 2, True, 3)
    (page,) = writer.finish()
    writer.add_place(page, 0)
    (copy,) = writer.finish()
    assert (copy.data, copy.delivery_counts, copy.segment) == (page.data, page.delivery_counts, page.segment)


def test_messages_are_found_by_id() -> None:
    bench = Bench()
    for _ in range(20):
        bench.publish()
    (page,) = pack(bench.messages[4:15:3])
    places = {int(page.message_id(index)): index for index in range(page.count)}
    assert list(places) == [5, 8, 11, 14]
    for message_id in range(25):
        assert page.index_of(message_id) == places.get(message_id, -1)


def test_all_of_a_page_may_be_said_to_be_redelivered() -> None:
    bench = Bench()
    bench.publish()
    (page,) = bench.pages()
    assert not page.redelivered(0)
    page.is_redelivered = True
    assert page.redelivered(0)


def test_neighbours_are_read_in_one_go_and_what_is_far_away_is_not() -> None:
    bench = Bench()
    for size in (100, 10, 2 * GAP_BYTES_MAX, 10, 10):
        bench.publish(b"x" * size)
    first, second, _, fourth, fifth = bench.messages
    (page,) = pack([first, second, fourth, fifth])
    assert page.ranges() == [
        (first.offset, first.logged_bytes + second.logged_bytes),
        (fourth.offset, fourth.logged_bytes + fifth.logged_bytes),
    ]
    bench.commit()
    assert [told(each) for each in bench.read(page)] == [told(each) for each in (first, second, fourth, fifth)]


@dataclass
class Placed:
    size: int
    gap: int


@given(
    st.lists(
        st.builds(Placed, st.integers(0, 300), st.sampled_from([0, 0, 40, 9_000, 40_000])), min_size=1, max_size=12
    ),
    st.randoms(use_true_random=False),
)
def test_in_whatever_order_messages_stand_in_the_segment_they_are_read_back(
    placed: list[Placed], random: object
) -> None:
    """Moves put old messages behind young ones."""
    bench = Bench()
    for each in placed:
        bench.publish(b"%d" % each.size * each.size)
        if each.gap:
            bench.publish(b"-" * each.gap)
            bench.messages.pop()
    for message in bench.messages:
        if random.random() < 0.4:  # type: ignore[attr-defined]
            bench.log.append_move(1, message)
            if random.random() < 0.3:  # type: ignore[attr-defined]
                bench.publish(b"-" * 30_000)
                bench.messages.pop()
    bench.commit()
    (page,) = bench.pages()
    assert [told(message) for message in bench.read(page)] == [told(each) for each in bench.messages]


def test_a_message_that_was_read_back_is_held_once_and_shares_its_route() -> None:
    bench = Bench()
    for route_key in (b"\x01x\x01a", b"\x01x\x01a", b"\x01x\x01b"):
        bench.publish(route_key=route_key, queue_count=5)
    bench.commit()
    (page,) = bench.pages()
    first, second, third = bench.read(page)
    assert first is not None and second is not None and third is not None
    assert first.route_key is second.route_key
    assert (first.route_key, third.route_key) == (b"\x01x\x01a", b"\x01x\x01b")
    assert (first.holders, first.share_shift, first.segment) == (1, 3, page.segment)
    assert page.live_bytes == sum(each.logged_bytes >> 3 for each in bench.messages)


def test_missing_bytes_are_missing_messages() -> None:
    bench = Bench()
    for _ in range(3):
        bench.publish()
    bench.commit()
    (page,) = bench.pages()
    ranges = page.ranges()
    (block,) = bench.disk.read_ranges(1, ranges)
    begin = ranges[0][0]
    assert page.messages([]) == [None] * 3
    assert page.messages([Piece(begin, b"")]) == [None] * 3
    assert [message is not None for message in page.messages([Piece(begin, block[:-1])])] == [True, True, False]


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=40))
def test_other_bytes_in_front_of_a_body_are_never_a_message_of_another_size_or_id(at: int, noise: bytes) -> None:
    bench = Bench()
    for number in range(4):
        bench.publish(b"body %d" % number)
    bench.commit()
    (page,) = bench.pages()
    data = bench.disk.segments[1].content
    at %= len(data)
    bench.disk.segments[1] = FakeFile(data[:at] + noise[: len(data) - at] + data[at + len(noise) :])
    for message, published in zip(bench.read(page), bench.messages, strict=True):
        if message is not None:
            assert message.message_id == published.message_id
            assert len(message.body) == len(published.body)
            assert message.logged_bytes == published.logged_bytes
