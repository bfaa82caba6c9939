"""One append-only segment file: its header, and the one who writes batches into it.

Owns the 48 bytes in front of the batches and the order of effects: a segment is created and synced with its directory
before the first batch goes in, and a batch is written and synced before the next one. Does not own threads (whoever calls
`commit` does), nor what is in a batch. All integers are little endian:

    magic "AMQPDSEG"(8) format(4) flags(4) log_id(8) number(8) position(8) previous_crc(4) crc(4)

`position` and `previous_crc` are those of the first batch to come; `crc` is CRC-32 over the 44 bytes before it.
Invariant: after a full disk, or one out of descriptors, the segment ends where it ended before, and the same batch may be
committed again.
"""

from __future__ import annotations

import zlib
from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i64_le
from mypy_extensions import i64

from amqpd.base.errors import UnknownFormat
from amqpd.store.batch import Batch, crc_of_header
from amqpd.store.disk import DESCRIPTORS, FAILED, Disk, lack_of, not_now
from amqpd.store.record import read_u32, write_u32

SEGMENT_MAGIC: Final = b"AMQPDSEG"
SEGMENT_HEADER_SIZE: Final = 48
SEGMENT_FORMAT: Final = 1
_CRC_OFFSET: Final = 44


def encode_segment_header(log_id: i64, number: i64, position: i64, previous_crc: i64) -> bytes:
    writer = BytesWriter()
    writer.write(SEGMENT_MAGIC)
    write_u32(writer, SEGMENT_FORMAT)
    write_u32(writer, 0)
    write_i64_le(writer, log_id)
    write_i64_le(writer, number)
    write_i64_le(writer, position)
    write_u32(writer, previous_crc)
    write_u32(writer, zlib.crc32(writer.getvalue()))
    return writer.getvalue()


@final
class SegmentHeader:
    def __init__(self, data: bytes) -> None:
        self.log_id = read_i64_le(data, 16)
        self.number = read_i64_le(data, 24)
        self.position = read_i64_le(data, 32)
        self.previous_crc = read_u32(data, 40)


def try_read_segment_header(data: bytes, log_id: i64, number: i64) -> SegmentHeader | None:
    """None if this is not the beginning of that segment of that log; UnknownFormat if it is one we can't read."""
    if len(data) < SEGMENT_HEADER_SIZE or data[:8] != SEGMENT_MAGIC:
        return None
    if zlib.crc32(data[:_CRC_OFFSET]) != read_u32(data, _CRC_OFFSET):
        return None
    if read_u32(data, 8) != SEGMENT_FORMAT or read_u32(data, 12) != 0:
        raise UnknownFormat(
            f"segment {number} has format {read_u32(data, 8)}; this version reads format {SEGMENT_FORMAT}"
        )
    header = SegmentHeader(data)
    if header.log_id != log_id or header.number != number:
        return None
    return header


@final
class SegmentWriter:
    """Puts batches where they belong, one after the other, each durable before the next."""

    def __init__(self, disk: Disk, previous_crc: i64) -> None:
        self._disk = disk
        self._previous_crc = previous_crc
        self._number: i64 = 0

    def commit(self, batch: Batch) -> None:
        """Write and sync. NotNow, or DiskFull: nothing happened. Any other error: never touch this log again."""
        header = batch.encode_header(self._previous_crc)
        number = int(batch.segment_number)
        offset = int(batch.offset)
        disk = self._disk
        if batch.segment_number != self._number:
            self._begin(batch)
        try:
            disk.write(number, offset, [header, batch.records])
        except OSError as error:
            lack = lack_of(error)
            if lack == FAILED:
                raise
            if lack != DESCRIPTORS:
                # The bytes were never synced and nobody has read them. (Without a descriptor there are none.)
                disk.truncate(number, offset)
            raise not_now(error) from error
        disk.sync(number)
        self._previous_crc = crc_of_header(header)

    def _begin(self, batch: Batch) -> None:
        """Go on in another segment than before."""
        if self._number != 0:
            self._disk.close_segment(int(self._number))
            self._number = 0
        if batch.offset == SEGMENT_HEADER_SIZE:
            header = encode_segment_header(batch.log_id, batch.segment_number, batch.position, self._previous_crc)
            try:
                self._disk.create_segment(int(batch.segment_number), header)
            except OSError as error:
                if lack_of(error) == FAILED:
                    raise
                raise not_now(error) from error
        self._number = batch.segment_number

    def close(self) -> None:
        if self._number != 0:
            self._disk.close_segment(int(self._number))
            self._number = 0
