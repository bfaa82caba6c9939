from __future__ import annotations

import zlib

import pytest

from amqpd.base.errors import UnknownFormat
from amqpd.store.batch import (
    BATCH_HEADER_SIZE,
    Batch,
    BatchHeader,
    crc_at,
    crc_of_header,
    find_batch,
    try_read_batch,
)

LOG_ID = 0x1122334455667788


def make(records: bytes = b"records", position: int = 1000, previous_crc: int = 0xDEADBEEF) -> bytes:
    batch = Batch(LOG_ID, 3, 17, 2, 48, position, 1, records, [])
    return batch.encode_header(previous_crc) + records


def test_batch_comes_back_as_it_was_sealed() -> None:
    data = make()
    found = try_read_batch(b"xx" + data, 2, LOG_ID)
    assert found is not None
    assert (found.log_id, found.epoch, found.mark, found.position, found.durable_position) == (
        LOG_ID,
        3,
        17,
        1000,
        1000,
    )
    assert (found.record_count, found.previous_crc, found.flags) == (1, 0xDEADBEEF, 0)
    assert found.records_offset == 2 + BATCH_HEADER_SIZE
    assert found.end == 2 + len(data)
    assert found.next_position == 1000 + len(data)
    assert crc_of_header(data[:BATCH_HEADER_SIZE]) == found.crc


def test_any_single_flipped_bit_is_noticed() -> None:
    data = make(bytes(range(40)))
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        assert try_read_batch(bytes(broken), 0, LOG_ID) is None, bit


def test_any_truncation_is_noticed() -> None:
    data = make()
    for size in range(len(data)):
        assert try_read_batch(data[:size], 0, LOG_ID) is None


def test_batch_of_another_log_is_not_ours() -> None:
    assert try_read_batch(make(), 0, LOG_ID + 1) is None


def test_batch_behind_rubbish_is_found() -> None:
    data = b"AQB1 not a batch AQB" + make() + make()
    found = find_batch(data, 0, LOG_ID)
    assert found is not None
    assert found.offset == 20
    assert find_batch(data, 21 + len(make()), LOG_ID) is None


def test_the_crc_at_a_position_is_that_of_the_batch_before_it() -> None:
    data = make()
    header = BatchHeader(data, 0)
    assert crc_at(b"rubbish" + data, LOG_ID, header.next_position) == header.crc
    assert crc_at(data, LOG_ID, header.next_position + 1) == 0


def of_a_newer_version() -> bytes:
    data = bytearray(make())
    data[4] = 2
    records = bytes(data[BATCH_HEADER_SIZE:])
    data[64:68] = zlib.crc32(records, zlib.crc32(bytes(data[:64]))).to_bytes(4, "little")
    return bytes(data)


def test_an_intact_batch_with_a_flag_that_nobody_knows_is_of_a_newer_version_and_not_damaged() -> None:
    for look in (
        lambda: try_read_batch(of_a_newer_version(), 0, LOG_ID),
        lambda: find_batch(b"xx" + of_a_newer_version(), 0, LOG_ID),
    ):
        with pytest.raises(UnknownFormat, match="flags 0x2"):
            look()
    assert try_read_batch(of_a_newer_version()[:-1], 0, LOG_ID) is None
    assert try_read_batch(of_a_newer_version(), 0, LOG_ID + 1) is None


@pytest.mark.parametrize("size", [-1, 1 << 40, (1 << 63) - 1, -(1 << 63)])
def test_a_size_that_no_file_has_is_not_believed(size: int) -> None:
    data = make()
    assert try_read_batch(data[:48] + size.to_bytes(8, "little", signed=True) + data[56:], 0, LOG_ID) is None
