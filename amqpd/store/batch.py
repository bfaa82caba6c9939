"""Batch layout of the log: the unit that is replayed whole or not at all.

Owns the 68 bytes in front of the records, the checksum over both, and the chain from batch to batch. Does not own the
records themselves (record.py), nor files. All integers are little endian:

    magic "AQB1"(4) flags(4) log_id(8) epoch(8) mark(8) position(8) durable_position(8)
    records_size(8) record_count(4) previous_crc(4) crc(4)  records

`crc` is CRC-32 over the 64 bytes before it and the records. `position` counts the bytes of all batches of the log since
its beginning, without segment headers. `durable_position` is what was known to be synced when the batch was made: on one
node a batch is only written once the one before it is synced, so it equals `position`.
Invariant: log_id, position and previous_crc join a batch to the one before it; bytes of another log, or of a part that
was cut off, never parse as the next batch.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, final

from librt.strings import BytesWriter, read_i64_le, write_i64_le
from mypy_extensions import i64

from amqpd.base.errors import UnknownFormat
from amqpd.store.record import read_u32, write_u32

if TYPE_CHECKING:
    from amqpd.store.topology import TopologyChange

BATCH_MAGIC: Final = b"AQB1"
BATCH_HEADER_SIZE: Final = 68
_CRC_OFFSET: Final = 64


@final
class Batch:
    """One turn's records and topology changes on their way to the disk; `offset` is its place in the segment file."""

    def __init__(
        self,
        log_id: i64,
        epoch: i64,
        mark: i64,
        segment_number: i64,
        offset: i64,
        position: i64,
        record_count: i64,
        records: bytes,
        topology: list[TopologyChange],
    ) -> None:
        self.log_id = log_id
        self.epoch = epoch
        self.mark = mark
        self.segment_number = segment_number
        self.offset = offset
        self.position = position
        self.record_count = record_count
        self.records = records
        self.topology = topology

    def encode_header(self, previous_crc: i64) -> bytes:
        """The bytes that precede `records`; the checksum is computed here, so call it off the loop."""
        writer = BytesWriter()
        writer.write(BATCH_MAGIC)
        write_u32(writer, 0)
        write_i64_le(writer, self.log_id)
        write_i64_le(writer, self.epoch)
        write_i64_le(writer, self.mark)
        write_i64_le(writer, self.position)
        write_i64_le(writer, self.position)
        write_i64_le(writer, len(self.records))
        write_u32(writer, self.record_count)
        write_u32(writer, previous_crc)
        write_u32(writer, zlib.crc32(self.records, zlib.crc32(writer.getvalue())))
        return writer.getvalue()


@final
class BatchHeader:
    """A batch as found in a segment: `records_offset` to `end` are its records."""

    def __init__(self, data: bytes, offset: i64) -> None:
        self.offset = offset
        self.flags = read_u32(data, offset + 4)
        self.log_id = read_i64_le(data, offset + 8)
        self.epoch = read_i64_le(data, offset + 16)
        self.mark = read_i64_le(data, offset + 24)
        self.position = read_i64_le(data, offset + 32)
        self.durable_position = read_i64_le(data, offset + 40)
        self.records_size = read_i64_le(data, offset + 48)
        self.record_count = read_u32(data, offset + 56)
        self.previous_crc = read_u32(data, offset + 60)
        self.crc = read_u32(data, offset + _CRC_OFFSET)
        self.records_offset = offset + BATCH_HEADER_SIZE
        self.end = self.records_offset + self.records_size

    @property
    def next_position(self) -> i64:
        return self.position + BATCH_HEADER_SIZE + self.records_size


def crc_of_header(encoded_header: bytes) -> i64:
    return read_u32(encoded_header, _CRC_OFFSET)


def try_read_batch(data: bytes, offset: i64, log_id: i64) -> BatchHeader | None:
    """The batch of this log that starts at `offset`, if it is whole and its checksum holds.

    UnknownFormat if that is so and it has flags: a newer version wrote it, and it must not be taken for damage.
    """
    size: i64 = len(data)
    if offset + BATCH_HEADER_SIZE > size or data[offset : offset + 4] != BATCH_MAGIC:
        return None
    header = BatchHeader(data, offset)
    if header.log_id != log_id or not 0 <= header.records_size <= size - header.records_offset:
        return None
    view = memoryview(data)
    crc = zlib.crc32(view[offset : offset + _CRC_OFFSET])
    if zlib.crc32(view[header.records_offset : header.end], crc) != header.crc:
        return None
    if header.flags != 0:
        raise UnknownFormat(
            f"the batch at byte {offset} of its segment has the flags {header.flags:#x}, of which this version knows none"
        )
    return header


def find_batch(data: bytes, offset: i64, log_id: i64) -> BatchHeader | None:
    """The first whole batch at or after `offset`, at any byte: how reading goes on behind damage."""
    at: i64 = data.find(BATCH_MAGIC, offset)
    while at >= 0:
        found = try_read_batch(data, at, log_id)
        if found is not None:
            return found
        at = data.find(BATCH_MAGIC, at + 1)
    return None


def crc_at(data: bytes, log_id: i64, position: i64) -> i64:
    """The checksum of the batch in a segment's `data` after which the log goes on at `position`; 0 if there is none."""
    batch = find_batch(data, 0, log_id)
    while batch is not None:
        if batch.next_position == position:
            return batch.crc
        batch = find_batch(data, batch.end, log_id)
    return 0
