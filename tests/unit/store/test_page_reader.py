"""What is read together, and that every page gets its own messages from it."""

from __future__ import annotations

import random

import pytest

from amqpd.base.errors import UnknownFormat
from amqpd.base.message import Message
from amqpd.store.log import Log, fresh_start
from amqpd.store.page import GAP_BYTES_MAX, Page, PageWriter
from amqpd.store.page_reader import SPARSE_MAX, PageReader
from amqpd.store.record import queue_id_bytes
from amqpd.store.segment import SegmentWriter
from tests.fakes.faulty_disk import FaultyDisk


class CountingDisk(FaultyDisk):
    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[int, int, int]] = []
        self.unreadable: set[int] = set()
        # No byte there can be read.
        self.bad_offset = -1

    def read_ranges(self, number: int, ranges: list[tuple[int, int]]) -> list[bytes]:
        if number in self.unreadable:
            raise OSError("injected")
        if any(offset <= self.bad_offset < offset + size for offset, size in ranges):
            raise OSError("injected")
        self.ranges += [(number, offset, size) for offset, size in ranges]
        return super().read_ranges(number, ranges)


class Bench:
    def __init__(self, segment_bytes: int = 1 << 20) -> None:
        self.disk = CountingDisk()
        self.log = Log(fresh_start(5), segment_bytes)
        self.writer = SegmentWriter(self.disk, 0)
        self.reader = PageReader(self.disk)

    def publish(self, body: bytes = b"body") -> Message:
        message = Message(self.log.next_message_id(), b"\x00\x01q", b"header", body)
        self.log.append_message(message, queue_id_bytes(1), 55)
        return message

    def commit(self) -> None:
        batch = self.log.seal([])
        assert batch is not None
        self.writer.commit(batch)

    def bodies(self, pages: list[Page]) -> list[list[bytes | None] | None]:
        found: list[list[bytes | None] | None] = []
        for page, pieces in zip(pages, self.reader.read(pages), strict=True):
            messages = page.messages(pieces) if pieces is not None else None
            found.append([each.body if each is not None else None for each in messages] if messages else None)
        return found


def pack(messages: list[Message]) -> Page:
    writer = PageWriter()
    for message in messages:
        writer.add_message(message, False, 0)
    (page,) = writer.finish()
    return page


def test_pages_whose_messages_lie_mixed_are_read_in_one_go() -> None:
    bench = Bench()
    messages = [bench.publish(b"%d" % number) for number in range(50)]
    bench.commit()
    pages = [pack(messages[queue::5]) for queue in range(5)]
    random.Random(1).shuffle(pages)
    expected = [[b"%d" % (page.message_id(index) - 1) for index in range(page.count)] for page in pages]
    assert bench.bodies(pages) == expected
    ((_, offset, size),) = bench.disk.ranges
    assert (offset, offset + size) == (messages[0].offset, messages[-1].offset + messages[-1].logged_bytes)


def test_of_a_region_that_hardly_anybody_wants_only_that_is_read() -> None:
    bench = Bench()
    wanted = []
    for _ in range(5):
        wanted.append(bench.publish(b"wanted"))
        bench.publish(b"x" * 2 * GAP_BYTES_MAX)
    bench.commit()
    assert bench.bodies([pack(wanted)]) == [[b"wanted"] * 5]
    assert bench.disk.ranges == [(1, each.offset, each.logged_bytes) for each in wanted]


def test_a_region_is_read_whole_while_it_is_not_much_more_than_what_is_wanted() -> None:
    bench = Bench()
    wanted = []
    for _ in range(5):
        wanted.append(bench.publish(b"w" * GAP_BYTES_MAX))
        bench.publish(b"x" * (SPARSE_MAX - 2) * GAP_BYTES_MAX)
    bench.commit()
    bench.bodies([pack(wanted)])
    assert len(bench.disk.ranges) == 1


def test_pages_far_from_each_other_are_read_apart() -> None:
    bench = Bench()
    first = [bench.publish() for _ in range(3)]
    bench.publish(b"x" * 2 * GAP_BYTES_MAX)
    second = [bench.publish() for _ in range(3)]
    bench.commit()
    assert bench.bodies([pack(second), pack(first)]) == [[b"body"] * 3] * 2
    assert [size for _, _, size in bench.disk.ranges] == [3 * first[0].logged_bytes] * 2


def test_two_pages_with_the_same_messages_both_get_them() -> None:
    bench = Bench()
    messages = [bench.publish(b"%d" % number) for number in range(4)]
    bench.commit()
    assert bench.bodies([pack(messages), pack(messages[1:3])]) == [[b"0", b"1", b"2", b"3"], [b"1", b"2"]]


@pytest.mark.parametrize("gap", [0, 2 * GAP_BYTES_MAX])
def test_a_segment_that_can_not_be_read_takes_only_its_own_pages(gap: int) -> None:
    bench = Bench(segment_bytes=20_000)
    pages = []
    for _ in range(3):
        first = bench.publish()
        bench.publish(b"x" * gap)
        pages.append(pack([first, bench.publish()]))
        bench.publish(b"x" * 20_000)
        bench.commit()
    assert [page.segment.number for page in pages] == [1, 2, 3]
    bench.disk.unreadable = {2}
    assert bench.bodies(pages) == [[b"body"] * 2, None, [b"body"] * 2]
    del bench.disk.segments[3]
    assert bench.bodies(pages) == [[b"body"] * 2, None, None]


def test_a_bad_place_on_the_disk_takes_only_the_page_that_needs_it() -> None:
    bench = Bench()
    messages = [bench.publish() for _ in range(12)]
    bench.commit()
    bench.disk.bad_offset = int(messages[5].offset) + 10
    pages = [pack(messages[at : at + 4]) for at in (0, 4, 8)]
    assert bench.bodies(pages) == [[b"body"] * 4, None, [b"body"] * 4]


def test_nothing_is_read_for_nobody() -> None:
    assert PageReader(FaultyDisk()).read([]) == []


@pytest.mark.parametrize("error", [MemoryError(), UnknownFormat("newer"), OSError(5, "Input/output error")])
def test_whatever_keeps_a_page_from_being_read_it_is_not_damaged_and_the_reason_is_known(error: Exception) -> None:
    bench = Bench()
    page = pack([bench.publish()])
    bench.commit()

    def fail(number: int, ranges: list[tuple[int, int]]) -> list[bytes]:
        raise error

    whole = bench.disk.read_ranges
    bench.disk.read_ranges = fail  # type: ignore[method-assign]
    assert bench.bodies([page]) == [None]
    assert bench.reader.error is error
    bench.disk.read_ranges = whole  # type: ignore[method-assign]
    assert bench.bodies([page]) == [[b"body"]]
