"""Which messages each durable queue held at one place of the log, so that replay may begin there.

Owns the checkpoint's layout and its making, a little per turn. Does not own when (reclaim.py), nor the file (the disk
port). A checkpoint is fuzzy: it names a log position P, then the queues are walked while work goes on. That is right
because the log after P says the last word on whatever changed meanwhile, and every record says what is.

    magic "AMQPDCKP"(8) format(4) flags(4) log_id(8) generation(8) segment_number(8) offset(8) position(8)
    mark(8) end_position(8) next_message_id(8) body_size(8)
    body, of these in any order, but a WAITING behind its ENTRY:
      1 ENTRY      kind(1) queue_id(4) message_id(8) segment_number(8) offset(8) delivery_count(4) flags(1)
                   body(4) meta(2)                            flags: 1 redelivered, 2 its bytes must be in memory;
                                                              body and meta as in a page, 0 if unknown; not in format 1
      2 DELIVERED  kind(1) queue_id(4) message_id(8)          as in the log
      3 WAITING    kind(1) queue_id(4) message_id(8) ready_at_ms(8)        ready then, by the wall clock; not in format 1
      4 DEDUP      kind(1) queue_id(4) noted_ms(8) ttl_ms(8) id_size(2) id       as in the log
      5 PAGE       kind(1) queue_id(4) first_id(8) last_id(8) segment_number(8) flags(1) data_size(2) count_count(2)
                   data, message_id(8) delivery_count(4) x count_count        what is on disk only; flags as in ENTRY
    crc(4)                                                    CRC-32 over everything before it

P is (segment_number, offset), and `position` counted over the whole log. `end_position` is how far the log reached when
the walk ended. Invariants: a checkpoint is written only once `mark` is durable, so it never speaks of what the log may
still lose; whatever is live and older than P is in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i32_le, write_i64_le
from mypy_extensions import i32, i64

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.base.message import Message
from amqpd.store.log import Log
from amqpd.store.page import BODY_BYTES_MAX, PAGE_ENTRY_SIZE, Page, fits_page
from amqpd.store.record import DEDUP_FIXED_SIZE, read_u16, read_u32, write_dedup, write_u16, write_u32
from amqpd.store.segment import SEGMENT_HEADER_SIZE

CHECKPOINT_MAGIC: Final = b"AMQPDCKP"
CHECKPOINT_FORMAT: Final = 2
# The oldest that this version reads.
CHECKPOINT_FORMAT_MIN: Final = 1
CHECKPOINT_HEADER_SIZE: Final = 88
ENTRY: Final = 1
ENTRY_SIZE: Final = 40
ENTRY_SIZE_1: Final = 34
DELIVERED: Final = 2
DELIVERED_SIZE: Final = 13
WAITING: Final = 3
WAITING_SIZE: Final = 21
DEDUP: Final = 4
PAGE: Final = 5
PAGE_FIXED_SIZE: Final = 34
REDELIVERED: Final = 1
RESIDENT: Final = 2
# No segment, no offset and no position ever gets there.
NUMBER_MAX: Final = 1 << 60
# It is gathered and written in pieces of about this size: nobody has to copy it as a whole.
BLOCK_BYTES: Final = 1 << 20


@final
class Checkpoint:
    """A finished checkpoint: hand its blocks to the disk once `mark` is durable."""

    def __init__(self, generation: int, segment_number: i64, position: i64, mark: i64, content: list[bytes]) -> None:
        self.generation = generation
        self.segment_number = segment_number
        self.position = position
        self.mark = mark
        self.size_bytes: i64 = 4
        for part in content:
            self.size_bytes += len(part)
        self._content = content

    def blocks(self) -> Iterator[bytes]:
        """What to write, one after the other, in pieces of a size that suits a disk. The checksum is computed on the way:
        go through it off the loop.
        """
        crc = 0
        parts: list[bytes] = []
        size: i64 = 0
        for part in self._content:
            parts.append(part)
            size += len(part)
            if size >= BLOCK_BYTES:
                block = b"".join(parts)
                crc = zlib.crc32(block, crc)
                parts = []
                size = 0
                yield block
        block = b"".join(parts)
        end = BytesWriter()
        write_u32(end, zlib.crc32(block, crc))
        yield block + end.getvalue()


@final
class CheckpointBuilder:
    """Made at P. Add every entry that each durable queue holds, ready, unacked or waiting, and its watermark; then finish.

    A queue must be listed at one moment (a copy of its entries); the list may be fed over several turns.
    """

    def __init__(self, log: Log, generation: int) -> None:
        self.generation = generation
        self.segment_number = log.segment.number
        self.offset = log.offset
        self.position = log.position
        self.entry_count: i64 = 0
        self._log = log
        self._body = BytesWriter()
        self._parts: list[bytes] = []
        self._parts_bytes: i64 = 0

    def add(self, queue_id: i64, message: Message, delivery_count: i64, redelivered: bool) -> None:
        segment = message.segment
        if segment is None:
            return
        self.entry_count += 1
        body_bytes: i64 = len(message.body)
        flags: i64 = REDELIVERED if redelivered else 0
        is_small = fits_page(message)
        if not is_small or message.ttl_ms >= 0:
            flags |= RESIDENT
        body = self._body
        body.append(ENTRY)
        write_i32_le(body, i32(queue_id))
        write_i64_le(body, message.message_id)
        write_i64_le(body, segment.number)
        write_i64_le(body, message.offset)
        write_i32_le(body, i32(delivery_count))
        body.append(flags)
        write_u32(body, (body_bytes | message.share_shift << 28) if is_small else 0)
        write_u16(body, message.logged_bytes - body_bytes if is_small else 0)
        if len(body) >= BLOCK_BYTES:
            self._close_part()

    def add_page(self, queue_id: i64, page: Page) -> None:
        """What a queue holds on disk only."""
        self.entry_count += page.count
        body = self._body
        body.append(PAGE)
        write_i32_le(body, i32(queue_id))
        write_i64_le(body, page.first_id)
        write_i64_le(body, page.last_id)
        write_i64_le(body, page.segment.number)
        body.append(REDELIVERED if page.is_redelivered else 0)
        write_u16(body, len(page.data))
        counts = page.delivery_counts
        write_u16(body, len(counts) if counts is not None else 0)
        # The page itself is not copied: it never changes.
        self._close_part()
        self._parts.append(page.data)
        self._parts_bytes += len(page.data)
        if counts is not None:
            for message_id, delivery_count in counts.items():
                write_i64_le(body, message_id)
                write_i32_le(body, i32(delivery_count))

    def _close_part(self) -> None:
        size: i64 = len(self._body)
        if size > 0:
            self._parts.append(self._body.getvalue())
            self._parts_bytes += size
            self._body.truncate(0)

    def add_delivered(self, queue_id: i64, message_id: i64) -> None:
        """Every message of the queue up to this one may have been delivered."""
        body = self._body
        body.append(DELIVERED)
        write_i32_le(body, i32(queue_id))
        write_i64_le(body, message_id)

    def add_waiting(self, queue_id: i64, message: Message, ready_at_ms: i64) -> None:
        """An entry that was added before is ready only at that time of the wall clock."""
        if message.segment is None:
            return
        body = self._body
        body.append(WAITING)
        write_i32_le(body, i32(queue_id))
        write_i64_le(body, message.message_id)
        write_i64_le(body, ready_at_ms)

    def add_dedup(self, queue_id: i64, noted_ms: i64, ttl_ms: i64, dedup_id: bytes) -> None:
        """A message with this id was taken, and another one like it would be a duplicate."""
        write_dedup(self._body, DEDUP, queue_id, noted_ms, ttl_ms, dedup_id)

    def finish(self) -> Checkpoint:
        log = self._log
        self._close_part()
        self._body = BytesWriter()
        # What was added may stand in batches that are not durable yet, the open one included.
        mark = log.gathered_mark
        writer = BytesWriter()
        writer.write(CHECKPOINT_MAGIC)
        write_u32(writer, CHECKPOINT_FORMAT)
        write_u32(writer, 0)
        write_i64_le(writer, log.log_id)
        write_i64_le(writer, self.generation)
        write_i64_le(writer, self.segment_number)
        write_i64_le(writer, self.offset)
        write_i64_le(writer, self.position)
        write_i64_le(writer, mark)
        write_i64_le(writer, log.end_position)
        write_i64_le(writer, log.peek_message_id())
        write_i64_le(writer, self._parts_bytes)
        content = [writer.getvalue(), *self._parts]
        return Checkpoint(self.generation, self.segment_number, self.position, mark, content)


@final
class CheckpointReader:
    """A checkpoint as found on disk: checked whole, then read entry by entry with `next`."""

    def __init__(self, data: bytes, log_id: i64, path: str) -> None:
        """Corrupt if it is not what was written; UnknownFormat if another version wrote it."""
        size: i64 = len(data)
        if size < CHECKPOINT_HEADER_SIZE + 4 or data[:8] != CHECKPOINT_MAGIC:
            raise Corrupt(path, 0, "not a checkpoint")
        if zlib.crc32(memoryview(data)[: size - 4]) != read_u32(data, size - 4):
            raise Corrupt(path, 0, "checksum mismatch")
        found = read_u32(data, 8)
        if not CHECKPOINT_FORMAT_MIN <= found <= CHECKPOINT_FORMAT or read_u32(data, 12) != 0:
            raise UnknownFormat(f"{path} has format {found}; this version reads formats up to {CHECKPOINT_FORMAT}")
        if read_i64_le(data, 16) != log_id:
            raise Corrupt(path, 16, "belongs to another log")
        self.generation = int(read_i64_le(data, 24))
        self.segment_number = read_i64_le(data, 32)
        self.offset = read_i64_le(data, 40)
        self.position = read_i64_le(data, 48)
        self.mark = read_i64_le(data, 56)
        self.end_position = read_i64_le(data, 64)
        self.next_message_id = read_i64_le(data, 72)
        if read_i64_le(data, 80) != size - CHECKPOINT_HEADER_SIZE - 4:
            raise Corrupt(path, 80, "wrong size")
        if not (
            0 < self.segment_number <= NUMBER_MAX
            and SEGMENT_HEADER_SIZE <= self.offset <= NUMBER_MAX
            and 0 <= self.position <= NUMBER_MAX
            and 0 <= self.mark <= NUMBER_MAX
            and 0 <= self.end_position <= NUMBER_MAX
            and 0 < self.next_message_id <= NUMBER_MAX
        ):
            raise Corrupt(path, 32, "it speaks of what can't be")
        self._path = path
        self.kind: i64 = 0
        self.queue_id: i64 = 0
        self.message_id: i64 = 0
        self.entry_segment: i64 = 0
        self.entry_offset: i64 = 0
        self.delivery_count: i64 = 0
        self.redelivered = False
        # Are the bytes of the message needed in memory? As format 1 says of none how big it is, they are then.
        self.is_resident = False
        self.body_bytes: i64 = 0
        self.meta_bytes: i64 = 0
        self.share_shift: i64 = 0
        self.page_first_id: i64 = 0
        self.page_last_id: i64 = 0
        self.page_data = b""
        self.page_counts: dict[int, int] = {}
        self.ready_at_ms: i64 = 0
        self.noted_ms: i64 = 0
        self.ttl_ms: i64 = 0
        self.dedup_id = b""
        self._data = data
        self._format = found
        self._at: i64 = CHECKPOINT_HEADER_SIZE
        self._end: i64 = size - 4

    def release(self) -> None:
        """Everything has been taken over: a deep node's checkpoint is big."""
        self._data = b""
        self.page_data = b""

    def next(self) -> bool:
        """Step to the next item and put it into the attributes; False at the end."""
        data = self._data
        at = self._at
        if at >= self._end:
            return False
        self._check(at)
        self.kind = data[at]
        self.queue_id = read_u32(data, at + 1)
        self.message_id = read_i64_le(data, at + 5)
        if self.kind == ENTRY:
            self._read_entry(at)
        elif self.kind == PAGE:
            self._read_page(at)
        elif self.kind == DEDUP:
            self.noted_ms = self.message_id
            self.ttl_ms = read_i64_le(data, at + 13)
            self._at = at + DEDUP_FIXED_SIZE + read_u16(data, at + 21)
            self.dedup_id = data[at + DEDUP_FIXED_SIZE : self._at]
        elif self.kind == DELIVERED:
            self._at = at + DELIVERED_SIZE
        else:
            self.ready_at_ms = read_i64_le(data, at + 13)
            self._at = at + WAITING_SIZE
        return True

    def _check(self, at: i64) -> None:
        """UnknownFormat unless a whole item of a known kind is there: the checksum holds, so it is what somebody wrote."""
        data = self._data
        kind: i64 = data[at]
        size: i64 = 0
        place: i64 = 0
        if kind == ENTRY:
            size = ENTRY_SIZE if self._format > 1 else ENTRY_SIZE_1
            place = 13
        elif kind == PAGE:
            size = PAGE_FIXED_SIZE
            place = 21
        elif kind == DEDUP:
            size = DEDUP_FIXED_SIZE
        elif kind == DELIVERED:
            size = DELIVERED_SIZE
        elif kind == WAITING:
            size = WAITING_SIZE
        is_right = 0 < size <= self._end - at
        if is_right and kind == PAGE:
            data_size = read_u16(data, at + 30)
            size += data_size + 12 * read_u16(data, at + 32)
            is_right = data_size > 0 and data_size % PAGE_ENTRY_SIZE == 0
        elif is_right and kind == DEDUP:
            size += read_u16(data, at + 21)
        if is_right and place > 0:
            is_right = 0 < read_i64_le(data, at + place) <= NUMBER_MAX
        if is_right and kind == ENTRY:
            is_right = 0 <= read_i64_le(data, at + 21) <= NUMBER_MAX
        if not is_right or size > self._end - at:
            raise UnknownFormat(f"{self._path} has an item at byte {at} that this version can't read")

    def _read_entry(self, at: i64) -> None:
        data = self._data
        self.entry_segment = read_i64_le(data, at + 13)
        self.entry_offset = read_i64_le(data, at + 21)
        self.delivery_count = read_u32(data, at + 29)
        flags: i64 = data[at + 33]
        self.redelivered = flags & REDELIVERED != 0
        if self._format == 1:
            self.is_resident = True
            self._at = at + ENTRY_SIZE_1
            return
        self.is_resident = flags & RESIDENT != 0
        body = read_u32(data, at + 34)
        self.body_bytes = body & BODY_BYTES_MAX
        self.share_shift = body >> 28
        self.meta_bytes = read_u16(data, at + 38)
        self._at = at + ENTRY_SIZE

    def _read_page(self, at: i64) -> None:
        data = self._data
        self.page_first_id = self.message_id
        self.page_last_id = read_i64_le(data, at + 13)
        self.entry_segment = read_i64_le(data, at + 21)
        flags: i64 = data[at + 29]
        self.redelivered = flags & REDELIVERED != 0
        size = read_u16(data, at + 30)
        count = read_u16(data, at + 32)
        at += PAGE_FIXED_SIZE
        self.page_data = data[at : at + size]
        at += size
        self.page_counts = {}
        for _ in range(count):
            self.page_counts[int(read_i64_le(data, at))] = int(read_u32(data, at + 8))
            at += 12
        self._at = at
