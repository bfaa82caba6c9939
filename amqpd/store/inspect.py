"""Reading a log without being its owner: batches, what is no batch, and records, one after the other.

Owns the walk over the bytes of one segment for those who look (verify.py, `amqpd log`) and what can still be guessed of a
damaged batch. Does not own the layouts (segment.py, batch.py, record.py), nor what records mean (replay.py).
Invariant: it changes nothing, and every byte behind the segment's header belongs to exactly one step of the walk.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import read_i64_le
from mypy_extensions import i64

from amqpd.store.batch import BATCH_HEADER_SIZE, BATCH_MAGIC, BatchHeader, find_batch, try_read_batch
from amqpd.store.record import (
    DEDUP,
    DELIVERED,
    MESSAGE,
    MESSAGE_FIXED_SIZE,
    MOVE,
    REQUEUE,
    RETRY,
    SETTLE,
    SETTLE_SIZE,
    SETTLES,
    SPILLED,
    TOPOLOGY,
    read_u16,
    read_u32,
    record_size,
)
from amqpd.store.segment import SEGMENT_HEADER_SIZE, SegmentHeader, try_read_segment_header

KIND_NAMES: Final[dict[int, str]] = {
    MESSAGE: "MESSAGE",
    SETTLE: "SETTLE",
    REQUEUE: "REQUEUE",
    DELIVERED: "DELIVERED",
    MOVE: "MOVE",
    RETRY: "RETRY",
    DEDUP: "DEDUP",
    SETTLES: "SETTLES",
    SPILLED: "SPILLED",
    TOPOLOGY: "TOPOLOGY",
}


def kind_name(kind: int) -> str:
    return KIND_NAMES.get(kind, f"KIND {kind}")


@final
class Chain:
    """What the next batch must say of the one before it; unknown at first, and behind damage."""

    def __init__(self) -> None:
        self.is_known = False
        self.position: i64 = 0
        self.previous_crc: i64 = 0

    def begin(self, header: SegmentHeader) -> bool:
        """A segment begins; False if it does not follow the one before it."""
        if self.is_known:
            follows = header.position == self.position and header.previous_crc == self.previous_crc
        else:
            follows = header.position >= self.position
        self.is_known = follows
        if follows:
            self.position = header.position
            self.previous_crc = header.previous_crc
        return follows

    def follow(self, batch: BatchHeader) -> None:
        self.is_known = True
        self.position = batch.next_position
        self.previous_crc = batch.crc

    def allows(self, batch: BatchHeader) -> bool:
        if not self.is_known:
            return batch.position >= self.position
        return batch.position == self.position and batch.previous_crc == self.previous_crc


@final
class SegmentScan:
    """Steps through one segment: `next`, then look at `batch`, or at `offset` to `end` where there is none."""

    def __init__(self, data: bytes, log_id: i64, number: i64, chain: Chain) -> None:
        """UnknownFormat if another version wrote it."""
        self.data = data
        self.header = try_read_segment_header(data, log_id, number)
        # The intact batch that this step found; None: bytes from `offset` to `end` are not what was written. If there are
        # none, then something that stood here is gone.
        self.batch: BatchHeader | None = None
        self.offset: i64 = 0
        self.end: i64 = 0
        self._log_id = log_id
        self._chain = chain
        if self.header is not None:
            self.end = SEGMENT_HEADER_SIZE

    def next(self) -> bool:
        """False at the end of the segment."""
        data = self.data
        at = self.end
        if at >= len(data):
            return False
        self.offset = at
        chain = self._chain
        batch = try_read_batch(data, at, self._log_id)
        if batch is not None and chain.allows(batch):
            chain.follow(batch)
            self.batch = batch
            self.end = batch.end
            return True
        self.batch = None
        if batch is not None and batch.position > chain.position:
            # Intact, and not the next one: what was between is gone, and took no bytes along.
            chain.is_known = False
            return True
        found = find_batch(data, at + 1, self._log_id)
        # An older batch in a newer place is a stale block, not a successor.
        while found is not None and found.position < chain.position:
            found = find_batch(data, found.offset + 1, self._log_id)
        chain.is_known = False
        self.end = found.offset if found is not None else len(data)
        return True


@final
class RecordView:
    """One record for people to look at; fields that its kind does not have are 0 or empty."""

    def __init__(self, data: bytes, at: i64, size: i64) -> None:
        self.offset = at
        self.size = size
        self.kind: i64 = data[at]
        self.message_id: i64 = 0
        self.delivery_count: i64 = 0
        self.enqueued_ms: i64 = 0
        self.queue_ids: list[int] = []
        self.exchange = b""
        self.routing_key = b""
        self.header = b""
        self.body = b""
        kind = self.kind
        if kind in (MESSAGE, MOVE, SPILLED):
            self._read_message(data, at)
        elif kind == DEDUP:
            self.queue_ids.append(int(read_u32(data, at + 1)))
        elif kind in (SETTLE, SETTLES, REQUEUE, DELIVERED, RETRY):
            self.queue_ids.append(int(read_u32(data, at + 1)))
            self.message_id = read_i64_le(data, at + 5)
            if kind in (REQUEUE, RETRY):
                self.delivery_count = read_u32(data, at + SETTLE_SIZE)

    def _read_message(self, data: bytes, at: i64) -> None:
        self.message_id = read_i64_le(data, at + 1)
        self.enqueued_ms = read_i64_le(data, at + 9)
        header_size = read_u32(data, at + 23)
        route_key_at = at + MESSAGE_FIXED_SIZE + 4 * read_u32(data, at + 19)
        for queue_at in range(at + MESSAGE_FIXED_SIZE, route_key_at, 4):
            self.queue_ids.append(int(read_u32(data, queue_at)))
        header_at = route_key_at + read_u16(data, at + 17)
        route_key = data[route_key_at:header_at]
        if len(route_key) > 0:
            exchange_size: i64 = route_key[0]
            self.exchange = route_key[1 : exchange_size + 1]
            self.routing_key = route_key[exchange_size + 2 :]
        self.header = data[header_at : header_at + header_size]
        self.body = data[header_at + header_size : at + self.size]


def try_view_record(data: bytes, at: i64, end: i64) -> RecordView | None:
    """The record at `at`; None if there is no whole record of a known kind."""
    size = record_size(data, at, end)
    return RecordView(data, at, size) if size > 0 else None


def describe_damage(data: bytes, at: i64, names: dict[int, str]) -> str:
    """What the damaged place says of itself, if it still looks like a batch; begins with a space, or is empty.

    A flipped bit in a body leaves the layout whole: then it is known which queues had how many messages in it.
    """
    size: i64 = len(data)
    if at + BATCH_HEADER_SIZE > size or data[at : at + 4] != BATCH_MAGIC:
        return ""
    header = BatchHeader(data, at)
    if header.records_size < 0 or header.record_count * SETTLE_SIZE > header.records_size:
        return ""
    said = f"a batch of {header.record_count} records, mark {header.mark}"
    counts = _messages_by_queue(data, header) if header.end <= size else {}
    for queue_id, count in counts.items():
        said += f"; {count} {'message' if count == 1 else 'messages'} for {queue_name(names, queue_id)}"
    return f" ({said})"


def queue_name(names: dict[int, str], queue_id: int) -> str:
    return names.get(queue_id, f"queue_id {queue_id}")


def _messages_by_queue(data: bytes, header: BatchHeader) -> dict[int, int]:
    """How many messages for which queue; nothing unless the records add up to what the header says."""
    counts: dict[int, int] = {}
    at = header.records_offset
    record_count: i64 = 0
    while at < header.end:
        record = try_view_record(data, at, header.end)
        if record is None:
            return {}
        if record.kind == MESSAGE:
            for queue_id in record.queue_ids:
                counts[queue_id] = counts.get(queue_id, 0) + 1
        at += record.size
        record_count += 1
    return counts if record_count == header.record_count else {}
