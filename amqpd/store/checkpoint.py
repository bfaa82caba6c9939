"""Which messages each durable queue held at one place of the log, so that replay may begin there.

Owns the checkpoint's layout and its making, a little per turn. Does not own when (reclaim.py), nor the file (the disk
port). A checkpoint is fuzzy: it names a log position P, then the queues are walked while work goes on. That is right
because the log after P says the last word on whatever changed meanwhile, and every record says what is.

    magic "AMQPDCKP"(8) format(4) flags(4) log_id(8) generation(8) segment_number(8) offset(8) position(8)
    mark(8) end_position(8) next_message_id(8) body_size(8)
    body, of these in any order, but a WAITING behind its ENTRY:
      1 ENTRY      kind(1) queue_id(4) message_id(8) segment_number(8) offset(8) delivery_count(4) redelivered(1)
      2 DELIVERED  kind(1) queue_id(4) message_id(8)          as in the log
      3 WAITING    kind(1) queue_id(4) message_id(8) ready_at_ms(8)        ready then, by the wall clock; not in format 1
      4 DEDUP      kind(1) queue_id(4) noted_ms(8) ttl_ms(8) id_size(2) id       as in the log
    crc(4)                                                    CRC-32 over everything before it

P is (segment_number, offset), and `position` counted over the whole log. `end_position` is how far the log reached when
the walk ended. Invariants: a checkpoint is written only once `mark` is durable, so it never speaks of what the log may
still lose; whatever is live and older than P is in it.
"""

from __future__ import annotations

import zlib
from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i32_le, write_i64_le
from mypy_extensions import i32, i64

from amqpd.base.errors import Corrupt
from amqpd.base.message import Message
from amqpd.store.log import Log
from amqpd.store.record import DEDUP_FIXED_SIZE, read_u16, read_u32, write_dedup, write_u32
from amqpd.store.segment import UnknownFormat

CHECKPOINT_MAGIC: Final = b"AMQPDCKP"
CHECKPOINT_FORMAT: Final = 2
# The oldest that this version reads.
CHECKPOINT_FORMAT_MIN: Final = 1
CHECKPOINT_HEADER_SIZE: Final = 88
ENTRY: Final = 1
ENTRY_SIZE: Final = 34
DELIVERED: Final = 2
DELIVERED_SIZE: Final = 13
WAITING: Final = 3
WAITING_SIZE: Final = 21
DEDUP: Final = 4


@final
class Checkpoint:
    """A finished checkpoint: hand `data` to the disk once `mark` is durable."""

    def __init__(self, generation: int, segment_number: i64, position: i64, mark: i64, data: bytes) -> None:
        self.generation = generation
        self.segment_number = segment_number
        self.position = position
        self.mark = mark
        self.data = data


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

    def add(self, queue_id: i64, message: Message, delivery_count: i64, redelivered: bool) -> None:
        segment = message.segment
        if segment is None:
            return
        self.entry_count += 1
        body = self._body
        body.append(ENTRY)
        write_i32_le(body, i32(queue_id))
        write_i64_le(body, message.message_id)
        write_i64_le(body, segment.number)
        write_i64_le(body, message.offset)
        write_i32_le(body, i32(delivery_count))
        body.append(1 if redelivered else 0)

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
        write_i64_le(writer, len(self._body))
        body = self._body.getvalue()
        self._body = BytesWriter()
        crc = BytesWriter()
        write_u32(crc, zlib.crc32(body, zlib.crc32(writer.getvalue())))
        data = b"".join([writer.getvalue(), body, crc.getvalue()])
        return Checkpoint(self.generation, self.segment_number, self.position, mark, data)


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
        if CHECKPOINT_HEADER_SIZE + read_i64_le(data, 80) + 4 != size:
            raise Corrupt(path, 80, "wrong size")
        self.kind: i64 = 0
        self.queue_id: i64 = 0
        self.message_id: i64 = 0
        self.entry_segment: i64 = 0
        self.entry_offset: i64 = 0
        self.delivery_count: i64 = 0
        self.redelivered = False
        self.ready_at_ms: i64 = 0
        self.noted_ms: i64 = 0
        self.ttl_ms: i64 = 0
        self.dedup_id = b""
        self._data = data
        self._at: i64 = CHECKPOINT_HEADER_SIZE
        self._end: i64 = size - 4

    def next(self) -> bool:
        """Step to the next item and put it into the attributes; False at the end."""
        data = self._data
        at = self._at
        if at >= self._end:
            return False
        self.kind = data[at]
        self.queue_id = read_u32(data, at + 1)
        self.message_id = read_i64_le(data, at + 5)
        if self.kind == ENTRY:
            self.entry_segment = read_i64_le(data, at + 13)
            self.entry_offset = read_i64_le(data, at + 21)
            self.delivery_count = read_u32(data, at + 29)
            self.redelivered = data[at + 33] != 0
            self._at = at + ENTRY_SIZE
        elif self.kind == DEDUP:
            self.noted_ms = self.message_id
            self.ttl_ms = read_i64_le(data, at + 13)
            self._at = at + DEDUP_FIXED_SIZE + read_u16(data, at + 21)
            self.dedup_id = data[at + DEDUP_FIXED_SIZE : self._at]
        elif self.kind == DELIVERED:
            self._at = at + DELIVERED_SIZE
        else:
            assert self.kind == WAITING
            self.ready_at_ms = read_i64_le(data, at + 13)
            self._at = at + WAITING_SIZE
        return True
