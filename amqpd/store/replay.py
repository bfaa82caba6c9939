"""Applying records: from a checkpoint and the batches behind it to what each queue holds.

Owns what a record means. Does not own finding batches (recovery.py), nor their layout (record.py). Records older than the
checkpoint's position only bring back bodies that the checkpoint asks for; younger ones are applied in full.
Invariants: applying a run of records twice is the same as applying it once; a record that finds nothing to apply to is
counted, never an error; a message is in `_messages` exactly while some queue holds it.
"""

from __future__ import annotations

from typing import final

from librt.strings import read_i64_le
from mypy_extensions import i64

from amqpd.base.message import Message, SegmentUse
from amqpd.store.batch import BatchHeader
from amqpd.store.checkpoint import DEDUP as LISTED_DEDUP
from amqpd.store.checkpoint import ENTRY, WAITING, CheckpointReader
from amqpd.store.record import (
    DEDUP,
    DEDUP_FIXED_SIZE,
    DELIVERED,
    DELIVERED_SIZE,
    MESSAGE,
    MESSAGE_FIXED_SIZE,
    MOVE,
    REQUEUE,
    REQUEUE_SIZE,
    RETRY,
    RETRY_SIZE,
    SETTLE,
    SETTLE_SIZE,
    read_u16,
    read_u32,
)
from amqpd.store.recovered import RecoveredEntry, RecoveredId, RecoveryReport
from amqpd.store.segment import UnknownFormat


@final
class Replay:
    def __init__(self, known_queue_ids: list[int], report: RecoveryReport) -> None:
        self.next_message_id: i64 = 1
        self.next_queue_id: i64 = 1
        self.delivered_to: dict[int, int] = {}
        self.dedup_ids: dict[int, dict[bytes, RecoveredId]] = {}
        self._report = report
        self._queues: dict[int, dict[int, RecoveredEntry]] = {}
        for queue_id in known_queue_ids:
            self._queues[queue_id] = {}
            self._saw_queue(queue_id)
        self._messages: dict[int, Message] = {}
        # Most messages in a row come by the same route: let them share its bytes.
        self._route_key = b""

    # The checkpoint

    def load(self, checkpoint: CheckpointReader) -> dict[int, int]:
        """Take over what the checkpoint lists; returns how many bodies it expects in which segment."""
        wanted: dict[int, int] = {}
        self._saw_message(checkpoint.next_message_id - 1)
        while checkpoint.next():
            queue_id = int(checkpoint.queue_id)
            self._saw_queue(queue_id)
            if checkpoint.kind == WAITING:
                self._put_off(queue_id, int(checkpoint.message_id), checkpoint.ready_at_ms)
                continue
            if checkpoint.kind == LISTED_DEDUP:
                self._noted(queue_id, RecoveredId(checkpoint.dedup_id, checkpoint.noted_ms, checkpoint.ttl_ms))
                continue
            if checkpoint.kind != ENTRY:
                self._delivered(queue_id, checkpoint.message_id)
                continue
            entries = self._queues.get(queue_id)
            if entries is None:
                self._report.unknown_queue_count += 1
                continue
            message_id = int(checkpoint.message_id)
            message = self._messages.get(message_id)
            if message is None:
                # Its bytes follow when its record is found; until then it has no segment.
                message = Message(message_id, b"", b"", b"")
                self._messages[message_id] = message
                number = int(checkpoint.entry_segment)
                wanted[number] = wanted.get(number, 0) + 1
            entry = self._add(entries, message)
            entry.delivery_count = checkpoint.delivery_count
            entry.redelivered = checkpoint.redelivered
        return wanted

    def _put_off(self, queue_id: int, message_id: int, ready_at_ms: i64) -> None:
        entries = self._queues.get(queue_id)
        entry = entries.get(message_id) if entries is not None else None
        if entry is not None:
            entry.ready_at_ms = ready_at_ms

    # The log

    def apply(self, data: bytes, batch: BatchHeader, segment: SegmentUse, bodies_only: bool) -> None:
        """All records of one intact batch. UnknownFormat, with nothing of the batch applied, if we can't read them all."""
        self._check(data, batch, segment)
        at = batch.records_offset
        end = batch.end
        while at < end:
            kind: i64 = data[at]
            if kind in (MESSAGE, MOVE):
                at = self._apply_message(data, at, segment, bodies_only)
            elif bodies_only:
                at += record_size(data, at, end)
            elif kind == SETTLE:
                self._settle(int(read_u32(data, at + 1)), int(read_i64_le(data, at + 5)))
                at += SETTLE_SIZE
            elif kind == REQUEUE:
                self._requeue(int(read_u32(data, at + 1)), int(read_i64_le(data, at + 5)), read_u32(data, at + 13), 0)
                at += REQUEUE_SIZE
            elif kind == RETRY:
                ready_at_ms = read_i64_le(data, at + 17)
                message_id = int(read_i64_le(data, at + 5))
                self._requeue(int(read_u32(data, at + 1)), message_id, read_u32(data, at + 13), ready_at_ms)
                at += RETRY_SIZE
            elif kind == DEDUP:
                end_of_id = at + DEDUP_FIXED_SIZE + read_u16(data, at + 21)
                dedup_id = data[at + DEDUP_FIXED_SIZE : end_of_id]
                noted = RecoveredId(dedup_id, read_i64_le(data, at + 5), read_i64_le(data, at + 13))
                self._noted(int(read_u32(data, at + 1)), noted)
                at = end_of_id
            else:
                assert kind == DELIVERED
                self._delivered(int(read_u32(data, at + 1)), read_i64_le(data, at + 5))
                at += DELIVERED_SIZE

    def _check(self, data: bytes, batch: BatchHeader, segment: SegmentUse) -> None:
        """Walk the records once before any is applied: a batch counts whole or not at all."""
        at = batch.records_offset
        end = batch.end
        count: i64 = 0
        while at < end:
            size = record_size(data, at, end)
            if size == 0:
                break
            at += size
            count += 1
        if count != batch.record_count or at != end:
            # The checksum holds: this is what was written, but not by us.
            raise UnknownFormat(f"segment {segment.number} has a record at byte {at} that this version can't read")
        self._report.record_count += int(count)

    def _apply_message(self, data: bytes, at: i64, segment: SegmentUse, bodies_only: bool) -> i64:
        message_id = int(read_i64_le(data, at + 1))
        route_key_size = read_u16(data, at + 17)
        queue_count = read_u32(data, at + 19)
        header_size = read_u32(data, at + 23)
        body_size = read_u32(data, at + 27)
        route_key_at = at + MESSAGE_FIXED_SIZE + 4 * queue_count
        end = route_key_at + route_key_size + header_size + body_size
        if message_id >= self.next_message_id:
            self.next_message_id = message_id + 1
        message = self._messages.get(message_id)
        if not bodies_only:
            for queue_at in range(at + MESSAGE_FIXED_SIZE, route_key_at, 4):
                queue_id = int(read_u32(data, queue_at))
                entries = self._queues.get(queue_id)
                if entries is None:
                    self._saw_queue(queue_id)
                    self._report.unknown_queue_count += 1
                    continue
                if message is None:
                    message = Message(message_id, b"", b"", b"")
                    self._messages[message_id] = message
                self._add(entries, message)
        if message is not None:
            if message.segment is None:
                header_at = route_key_at + route_key_size
                self._fill(message, data[route_key_at:header_at], data[header_at : header_at + header_size])
                message.body = data[header_at + header_size : end]
                message.enqueued_ms = read_i64_le(data, at + 9)
            # A later copy is the one that reclaim left for us.
            message.segment = segment
            message.offset = at
            message.logged_bytes = end - at
        return end

    def _fill(self, message: Message, route_key: bytes, header: bytes) -> None:
        if route_key == self._route_key:
            message.route_key = self._route_key
        else:
            message.route_key = route_key
            self._route_key = route_key
        message.header = header

    def _add(self, entries: dict[int, RecoveredEntry], message: Message) -> RecoveredEntry:
        message_id = int(message.message_id)
        entry = entries.get(message_id)
        if entry is None:
            entry = RecoveredEntry(message)
            entries[message_id] = entry
            message.holders += 1
        return entry

    def _settle(self, queue_id: int, message_id: int) -> None:
        entries = self._queues.get(queue_id)
        if entries is None:
            self._saw_queue(queue_id)
            self._report.unknown_queue_count += 1
            return
        entry = entries.pop(message_id, None)
        if entry is None:
            self._report.unknown_settle_count += 1
            return
        message = entry.message
        message.holders -= 1
        if message.holders == 0:
            del self._messages[message_id]

    def _requeue(self, queue_id: int, message_id: int, delivery_count: i64, ready_at_ms: i64) -> None:
        entries = self._queues.get(queue_id)
        entry = entries.get(message_id) if entries is not None else None
        if entry is None:
            self._saw_queue(queue_id)
            self._report.unknown_settle_count += 1
            return
        entry.delivery_count = delivery_count
        entry.redelivered = True
        entry.ready_at_ms = ready_at_ms

    def _delivered(self, queue_id: int, message_id: i64) -> None:
        self._saw_queue(queue_id)
        if queue_id in self._queues and message_id > self.delivered_to.get(queue_id, 0):
            self.delivered_to[queue_id] = int(message_id)

    def _noted(self, queue_id: int, noted: RecoveredId) -> None:
        """The last word on an id is the one that counts, and its place in the order."""
        self._saw_queue(queue_id)
        if queue_id in self._queues:
            ids = self.dedup_ids.setdefault(queue_id, {})
            ids.pop(noted.dedup_id, None)
            ids[noted.dedup_id] = noted

    def _saw_queue(self, queue_id: int) -> None:
        if queue_id >= self.next_queue_id:
            self.next_queue_id = queue_id + 1

    def _saw_message(self, message_id: i64) -> None:
        if message_id >= self.next_message_id:
            self.next_message_id = message_id + 1

    # The result

    def finish(self, all_redelivered: bool) -> dict[int, list[RecoveredEntry]]:
        """What each queue holds, oldest first; also counts what is live in each segment. Call once."""
        queues: dict[int, list[RecoveredEntry]] = {}
        for queue_id, found in self._queues.items():
            delivered_to = self.delivered_to.get(queue_id, 0)
            entries: list[RecoveredEntry] = []
            missing_count = 0
            for message_id in sorted(found):
                entry = found[message_id]
                if entry.message.segment is None:
                    missing_count += 1
                    continue
                if all_redelivered or message_id <= delivered_to:
                    entry.redelivered = True
                entries.append(entry)
            queues[queue_id] = entries
            self._report.entry_count += len(entries)
            if missing_count > 0:
                self._report.missing_counts[queue_id] = missing_count
        for message in self._messages.values():
            segment = message.segment
            if segment is not None:
                segment.live_count += 1
                segment.live_bytes += message.logged_bytes
        return queues


def record_size(data: bytes, at: i64, end: i64) -> i64:
    """The size of the record at `at`; 0 if there is no whole record of a known kind."""
    kind: i64 = data[at]
    size: i64 = 0
    if kind in (MESSAGE, MOVE):
        if at + MESSAGE_FIXED_SIZE > end:
            return 0
        size = MESSAGE_FIXED_SIZE + read_u16(data, at + 17) + 4 * read_u32(data, at + 19)
        size += read_u32(data, at + 23) + read_u32(data, at + 27)
    elif kind == SETTLE:
        size = SETTLE_SIZE
    elif kind == REQUEUE:
        size = REQUEUE_SIZE
    elif kind == DELIVERED:
        size = DELIVERED_SIZE
    elif kind == RETRY:
        size = RETRY_SIZE
    elif kind == DEDUP:
        if at + DEDUP_FIXED_SIZE > end:
            return 0
        size = DEDUP_FIXED_SIZE + read_u16(data, at + 21)
    return size if at + size <= end else 0
