from __future__ import annotations

import pytest

from amqpd.base.message import Message
from amqpd.store.log import Log, fresh_start
from amqpd.store.log_reader import BLOCK_BYTES, LogReader
from amqpd.store.record import queue_id_bytes
from amqpd.store.segment import SegmentWriter
from tests.fakes.faulty_disk import FakeFile, FaultyDisk


class Bench:
    """A log of batches with three messages each, and where each message stands."""

    def __init__(self, batch_count: int) -> None:
        self.disk = FaultyDisk()
        self.log = Log(fresh_start(7))
        self.writer = SegmentWriter(self.disk, 0)
        self.ranges: list[tuple[int, int]] = []
        self.add(batch_count)

    def add(self, batch_count: int) -> None:
        for _ in range(batch_count):
            for _ in range(3):
                message = Message(self.log.next_message_id(), b"\x00\x01q", b"header", b"body" * 50)
                self.log.append_message(message, queue_id_bytes(1), 0)
                self.ranges.append((int(message.offset), int(message.logged_bytes)))
            batch = self.log.seal([])
            assert batch is not None
            self.writer.commit(batch)

    def content(self) -> bytes:
        return self.disk.segments[1].content

    def damage(self, offset: int, data: bytes) -> None:
        content = self.content()
        self.disk.segments[1] = FakeFile(content[:offset] + data + content[offset + len(data) :])


def test_what_was_written_is_read_back_also_when_the_segment_has_grown() -> None:
    bench = Bench(5)
    reader = LogReader(bench.disk)
    for _ in range(2):
        blocks = reader.read(1, bench.ranges)
        assert blocks == [bench.content()[offset : offset + size] for offset, size in bench.ranges]
        bench.add(2)


def test_a_flipped_bit_takes_its_batch_and_no_other() -> None:
    bench = Bench(4)
    offset, size = bench.ranges[4]
    bench.damage(offset + size - 1, b"\xff")
    blocks = LogReader(bench.disk).read(1, bench.ranges)
    gone = [index for index, block in enumerate(blocks) if block == bytes(len(block))]
    assert gone == [3, 4, 5]


def test_one_piece_over_several_batches_loses_only_what_is_damaged() -> None:
    bench = Bench(3)
    bench.damage(bench.ranges[3][0] + 40, b"\x00\x01")
    begin = bench.ranges[0][0]
    (block,) = LogReader(bench.disk).read(1, [(begin, sum(bench.ranges[-1]) - begin)])
    for index, (offset, size) in enumerate(bench.ranges):
        piece = block[offset - begin : offset - begin + size]
        assert (piece == bytes(size)) == (3 <= index <= 5)


@pytest.mark.parametrize("size", [4, 68, 100])
def test_behind_a_damaged_header_reading_goes_on(size: int) -> None:
    bench = Bench(4)
    bench.damage(bench.ranges[3][0] - 68, b"\xee" * size)
    blocks = LogReader(bench.disk).read(1, bench.ranges)
    gone = [index for index, block in enumerate(blocks) if block == bytes(len(block))]
    assert gone == [3, 4, 5]


def test_a_header_that_lies_about_its_size_takes_only_its_own_batch() -> None:
    bench = Bench(4)
    bench.damage(bench.ranges[3][0] - 68 + 48, (900).to_bytes(8, "little"))
    blocks = LogReader(bench.disk).read(1, bench.ranges)
    assert [index for index, block in enumerate(blocks) if block == bytes(len(block))] == [3, 4, 5]


def test_a_segment_that_is_gone_is_an_error() -> None:
    bench = Bench(1)
    del bench.disk.segments[1]
    with pytest.raises((OSError, KeyError)):
        LogReader(bench.disk).read(1, bench.ranges)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_any_byte_of_a_header_may_lie_and_other_batches_are_read(number: int) -> None:
    origin = Bench(4)
    intact = [origin.content()[offset : offset + size] for offset, size in origin.ranges]
    begin = origin.content().index(b"AQB1")
    for _ in range(number):
        begin = origin.content().index(b"AQB1", begin + 1)
    for at in range(begin, begin + 64):
        for value in (b"\x00", b"\x7f", b"\xff"):
            bench = Bench(4)
            if bench.content()[at : at + 1] == value:
                continue
            bench.damage(at, value)
            one_by_one = LogReader(bench.disk)
            for blocks in (
                LogReader(bench.disk).read(1, bench.ranges),
                [one_by_one.read(1, [each])[0] for each in bench.ranges],
                [one_by_one.read(1, [each])[0] for each in reversed(bench.ranges)][::-1],
            ):
                gone = [index for index, block in enumerate(blocks) if block != intact[index]]
                assert gone == [3 * number, 3 * number + 1, 3 * number + 2], (at, value)


@pytest.mark.parametrize("first_read", [3, 5, 8])
def test_a_size_that_lies_is_found_out_when_what_it_leads_to_is_read_first(first_read: int) -> None:
    """It leads into the middle of the next batch, and is not looked at itself before that."""
    bench = Bench(3)
    intact = [bench.content()[offset : offset + size] for offset, size in bench.ranges]
    first = bench.content().index(b"AQB1")
    bench.damage(first + 48, (bench.ranges[4][0] + 10 - first - 68).to_bytes(8, "little"))
    reader = LogReader(bench.disk)
    assert reader.read(1, [bench.ranges[first_read]]) == [intact[first_read]]
    blocks = reader.read(1, bench.ranges)
    assert [index for index, block in enumerate(blocks) if block != intact[index]] == [0, 1, 2]


class SizedDisk(FaultyDisk):
    """Notes how much is asked for at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.size_max = 0

    def read(self, number: int, offset: int, size: int) -> bytes:
        assert size >= 0
        self.size_max = max(self.size_max, size)
        return super().read(number, offset, size)


@pytest.mark.parametrize("size", [1 << 40, (1 << 63) - 1, -1, 100_000])
def test_a_size_in_the_file_is_never_asked_for_before_it_is_compared_with_the_files(size: int) -> None:
    bench = Bench(5)
    disk = SizedDisk()
    disk.segments = bench.disk.segments
    second = bench.content().index(b"AQB1", bench.content().index(b"AQB1") + 1)
    bench.damage(second + 48, size.to_bytes(8, "little", signed=True))
    blocks = LogReader(disk).read(1, bench.ranges)
    assert [block.count(0) == len(block) for block in blocks] == [False] * 3 + [True] * 3 + [False] * 9
    assert disk.size_max <= max(len(bench.content()), BLOCK_BYTES)


def test_what_is_being_written_behind_a_damaged_place_is_not_taken_for_damage_later() -> None:
    bench = Bench(3)
    whole = bench.content()
    last = whole.rindex(b"AQB1")
    bench.damage(last - 60, b"\xff")
    half = bench.content()[: last + 200]
    disk = FaultyDisk()
    disk.segments[1] = FakeFile(half)
    reader = LogReader(disk)
    blocks = reader.read(1, bench.ranges[3:6])
    assert all(block.count(0) == len(block) for block in blocks)
    disk.segments[1] = FakeFile(bench.content())
    for _ in range(2):
        assert [block[:1] for block in reader.read(1, bench.ranges)] == [b"\x01"] * 3 + [b"\x00"] * 3 + [b"\x01"] * 3


def test_what_can_not_be_read_while_a_batch_is_checked_is_an_error_and_no_damage() -> None:
    bench = Bench(3)

    class Failing(FaultyDisk):
        is_failing = True

        def read(self, number: int, offset: int, size: int) -> bytes:
            if self.is_failing:
                raise OSError(24, "Too many open files")
            return super().read(number, offset, size)

        def read_ranges(self, number: int, ranges: list[tuple[int, int]]) -> list[bytes]:
            return [FaultyDisk.read(self, number, *each) for each in ranges]

    disk = Failing()
    disk.segments = bench.disk.segments
    reader = LogReader(disk)
    with pytest.raises(OSError, match="Too many"):
        reader.read(1, bench.ranges)
    disk.is_failing = False
    assert all(block[:1] == b"\x01" for block in reader.read(1, bench.ranges))
