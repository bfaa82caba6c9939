from __future__ import annotations

import errno

import pytest

from amqpd.store.batch import Batch, try_read_batch
from amqpd.store.disk import DiskFull, NotNow
from amqpd.store.segment import (
    SEGMENT_HEADER_SIZE,
    SegmentWriter,
    UnknownFormat,
    encode_segment_header,
    try_read_segment_header,
)
from tests.fakes.faulty_disk import FaultyDisk

LOG_ID = 99


def batch(number: int, offset: int, position: int, records: bytes = b"x" * 50) -> Batch:
    return Batch(LOG_ID, 1, 1, number, offset, position, 1, records, [])


def test_header_comes_back() -> None:
    header = encode_segment_header(LOG_ID, 7, 12345, 0xCAFEBABE)
    assert len(header) == SEGMENT_HEADER_SIZE
    found = try_read_segment_header(header + b"batches", LOG_ID, 7)
    assert found is not None
    assert (found.number, found.position, found.previous_crc) == (7, 12345, 0xCAFEBABE)


def test_header_of_another_segment_or_log_is_none() -> None:
    header = encode_segment_header(LOG_ID, 7, 0, 0)
    assert try_read_segment_header(header, LOG_ID, 8) is None
    assert try_read_segment_header(header, LOG_ID + 1, 7) is None


def test_any_flipped_bit_in_a_header_is_none() -> None:
    header = encode_segment_header(LOG_ID, 7, 12345, 77)
    for bit in range(len(header) * 8):
        broken = bytearray(header)
        broken[bit // 8] ^= 1 << bit % 8
        assert try_read_segment_header(bytes(broken), LOG_ID, 7) is None


def test_newer_format_is_refused() -> None:
    import zlib

    header = bytearray(encode_segment_header(LOG_ID, 7, 0, 0))
    header[8] = 2
    header[44:] = zlib.crc32(bytes(header[:44])).to_bytes(4, "little")
    with pytest.raises(UnknownFormat, match="format 2"):
        try_read_segment_header(bytes(header), LOG_ID, 7)


def test_each_batch_is_synced_before_commit_returns() -> None:
    disk = FaultyDisk()
    writer = SegmentWriter(disk, 0)
    writer.commit(batch(1, SEGMENT_HEADER_SIZE, 0))
    writer.commit(batch(1, SEGMENT_HEADER_SIZE + 118, 118))
    writer.commit(batch(2, SEGMENT_HEADER_SIZE, 236))
    assert disk.effects == ["create 1", "write 1", "sync 1", "write 1", "sync 1", "create 2", "write 2", "sync 2"]
    assert all(file.unsynced == b"" for file in disk.segments.values())


def test_batches_are_chained_across_segments() -> None:
    disk = FaultyDisk()
    writer = SegmentWriter(disk, 0)
    writer.commit(batch(1, SEGMENT_HEADER_SIZE, 0))
    writer.commit(batch(2, SEGMENT_HEADER_SIZE, 118))
    first = try_read_batch(disk.segments[1].content, SEGMENT_HEADER_SIZE, LOG_ID)
    second = try_read_batch(disk.segments[2].content, SEGMENT_HEADER_SIZE, LOG_ID)
    header = try_read_segment_header(disk.segments[2].content, LOG_ID, 2)
    assert first is not None
    assert second is not None
    assert header is not None
    assert first.previous_crc == 0
    assert second.previous_crc == header.previous_crc == first.crc


@pytest.mark.parametrize("written", [0, 1, 60, 117])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_leaves_nothing_and_the_batch_can_be_tried_again(written: int, number: int) -> None:
    disk = FaultyDisk()
    writer = SegmentWriter(disk, 0)
    writer.commit(batch(1, SEGMENT_HEADER_SIZE, 0))
    before = disk.segments[1].content
    disk.error, disk.error_at, disk.error_after_bytes = number, len(disk.effects), written
    second = batch(1, SEGMENT_HEADER_SIZE + 118, 118)
    with pytest.raises(DiskFull):
        writer.commit(second)
    assert disk.segments[1].content == before
    writer.commit(second)
    assert try_read_batch(disk.segments[1].content, SEGMENT_HEADER_SIZE + 118, LOG_ID) is not None


def test_full_disk_while_a_segment_is_created_can_be_tried_again() -> None:
    disk = FaultyDisk()
    writer = SegmentWriter(disk, 0)
    disk.error, disk.error_at = errno.ENOSPC, 0
    first = batch(1, SEGMENT_HEADER_SIZE, 0)
    with pytest.raises(DiskFull):
        writer.commit(first)
    writer.commit(first)
    assert try_read_batch(disk.segments[1].content, SEGMENT_HEADER_SIZE, LOG_ID) is not None


@pytest.mark.parametrize("effect", [0, 1, 2])
def test_any_other_error_comes_through(effect: int) -> None:
    disk = FaultyDisk()
    disk.error_at = effect
    with pytest.raises(OSError, match="injected"):
        SegmentWriter(disk, 0).commit(batch(1, SEGMENT_HEADER_SIZE, 0))


def test_full_disk_at_the_sync_is_not_tried_again() -> None:
    disk = FaultyDisk()
    disk.error, disk.error_at = errno.ENOSPC, 2
    with pytest.raises(OSError, match="injected"):
        SegmentWriter(disk, 0).commit(batch(1, SEGMENT_HEADER_SIZE, 0))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=lambda code: errno.errorcode[code])
@pytest.mark.parametrize("effect", [0, 1], ids=["create", "write"])
def test_what_is_lacking_is_waited_for_and_the_same_batch_written(code: int, effect: int) -> None:
    disk = FaultyDisk()
    writer = SegmentWriter(disk, 0)
    disk.error, disk.error_at = code, effect
    with pytest.raises(NotNow) as caught:
        writer.commit(batch(1, SEGMENT_HEADER_SIZE, 0))
    assert not isinstance(caught.value, DiskFull)
    writer.commit(batch(1, SEGMENT_HEADER_SIZE, 0))
    assert try_read_batch(disk.segments[1].durable, SEGMENT_HEADER_SIZE, LOG_ID) is not None


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.ENOSPC])
def test_a_sync_is_never_tried_again_whatever_was_lacking(code: int) -> None:
    disk = FaultyDisk()
    disk.error, disk.error_at = code, 2
    with pytest.raises(OSError, match="injected"):
        SegmentWriter(disk, 0).commit(batch(1, SEGMENT_HEADER_SIZE, 0))
