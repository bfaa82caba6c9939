"""Applying records: from a checkpoint and the batches behind it to what each queue holds.

Owns what a record means. Does not own finding batches (recovery.py), their layout (record.py), nor how a queue remembers
what it holds (queue_replay.py). Bytes are kept only where they are needed in memory; what turns out to be needed later is
read in a second pass over old segments, with `bodies_only`.
Invariants: applying a run of records twice is the same as applying it once; a record that finds nothing to apply to is
counted, never an error.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import read_i64_le
from mypy_extensions import i64

from amqpd.base.errors import UnknownFormat
from amqpd.base.message import Message, SegmentUse
from amqpd.store.batch import BatchHeader
from amqpd.store.checkpoint import DEDUP as LISTED_DEDUP
from amqpd.store.checkpoint import DELIVERED as LISTED_DELIVERED
from amqpd.store.checkpoint import PAGE, WAITING, CheckpointReader
from amqpd.store.lost import Lost
from amqpd.store.page import Page, PageWriter, share_shift
from amqpd.store.queue_replay import QueueReplay, can_be_in_page
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
    SETTLES,
    SETTLES_SIZE,
    SPILLED,
    TOPOLOGY,
    TOPOLOGY_SIZE,
    read_u16,
    read_u32,
    record_size,
)
from amqpd.store.recovered import RecoveredEntry, RecoveredId, RecoveryReport

# The property expiration, among the property flags of a content header, and where those are.
_EXPIRATION: Final = 1 << 8
_FLAGS_AT: Final = 12


@final
class Replay:
    def __init__(
        self,
        known_queue_ids: list[int],
        report: RecoveryReport,
        segments: dict[int, SegmentUse],
        resident_queue_ids: list[int],
    ) -> None:
        """`segments` are those that exist, for addresses to point to; it may grow."""
        self.next_message_id: i64 = 1
        self.next_queue_id: i64 = 1
        # The topology must have got as far as this.
        self.topology_version: i64 = 0
        self.delivered_to: dict[int, int] = {}
        self.dedup_ids: dict[int, dict[bytes, RecoveredId]] = {}
        self.pages: dict[int, list[Page]] = {}
        self._report = report
        self._segments = segments
        self._absent: dict[int, SegmentUse] = {}
        self._queues: dict[int, QueueReplay] = {}
        for queue_id in known_queue_ids:
            self._queues[queue_id] = QueueReplay(queue_id in resident_queue_ids)
            self._saw_queue(queue_id)
        self._missing_counts: dict[int, int] = {}
        # Entries whose bytes are needed, by segment and offset.
        self._wanted: dict[int, dict[int, list[RecoveredEntry]]] = {}
        # Most messages in a row come by the same route: let them share its bytes.
        self._route_key = b""

    # The checkpoint

    def load(self, checkpoint: CheckpointReader) -> None:
        """Take over what the checkpoint lists."""
        self._saw_message(checkpoint.next_message_id - 1)
        while checkpoint.next():
            queue_id = int(checkpoint.queue_id)
            self._saw_queue(queue_id)
            if checkpoint.kind == LISTED_DEDUP:
                self._noted(queue_id, RecoveredId(checkpoint.dedup_id, checkpoint.noted_ms, checkpoint.ttl_ms))
                continue
            if checkpoint.kind == LISTED_DELIVERED:
                self._delivered(queue_id, checkpoint.message_id)
                continue
            queue = self._queues.get(queue_id)
            if queue is None:
                self._report.unknown_queue_count += 1
            elif checkpoint.kind == PAGE:
                self._load_page(queue, checkpoint)
            elif checkpoint.kind == WAITING:
                entry = queue.take(checkpoint.message_id)
                if entry is not None:
                    entry.ready_at_ms = checkpoint.ready_at_ms
            else:
                queue.add(self._listed(checkpoint))

    def _load_page(self, queue: QueueReplay, checkpoint: CheckpointReader) -> None:
        segment = self._segment_of(checkpoint)
        page = Page(segment, checkpoint.page_first_id, checkpoint.page_last_id, checkpoint.page_data)
        page.is_redelivered = checkpoint.redelivered
        if len(checkpoint.page_counts) > 0:
            page.delivery_counts = checkpoint.page_counts
        queue.add_page(page)

    def _segment_of(self, checkpoint: CheckpointReader) -> SegmentUse:
        """It may be gone: then a record tells where else the message is, or it is lost."""
        number = int(checkpoint.entry_segment)
        segment = self._segments.get(number) or self._absent.get(number)
        if segment is None:
            segment = SegmentUse(number)
            self._absent[number] = segment
        return segment

    def _listed(self, checkpoint: CheckpointReader) -> RecoveredEntry:
        message = Message(checkpoint.message_id, b"", b"", b"")
        message.segment = self._segment_of(checkpoint)
        message.offset = checkpoint.entry_offset
        message.logged_bytes = checkpoint.meta_bytes + checkpoint.body_bytes
        message.share_shift = checkpoint.share_shift
        message.holders = 1
        entry = RecoveredEntry(message)
        entry.body_bytes = checkpoint.body_bytes
        entry.is_needed = checkpoint.is_resident
        entry.delivery_count = checkpoint.delivery_count
        entry.redelivered = checkpoint.redelivered
        return entry

    def _missing(self, lost: Lost) -> None:
        queue_id = int(lost.queue_id)
        self._missing_counts[queue_id] = self._missing_counts.get(queue_id, 0) + 1
        self._report.lost_messages.append(lost)

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
            elif kind == SPILLED:
                self._saw_message(read_i64_le(data, at + 1))
                at += record_size(data, at, end)
            elif kind == TOPOLOGY:
                version = read_i64_le(data, at + 1)
                if version > self.topology_version:
                    self.topology_version = version
                at += TOPOLOGY_SIZE
            elif bodies_only:
                at += record_size(data, at, end)
            elif kind == SETTLE:
                self._settle(int(read_u32(data, at + 1)), read_i64_le(data, at + 5))
                at += SETTLE_SIZE
            elif kind == SETTLES:
                self._settle_range(int(read_u32(data, at + 1)), read_i64_le(data, at + 5), read_i64_le(data, at + 13))
                at += SETTLES_SIZE
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
        message_id = read_i64_le(data, at + 1)
        route_key_at = at + MESSAGE_FIXED_SIZE + 4 * read_u32(data, at + 19)
        end = route_key_at + read_u16(data, at + 17) + read_u32(data, at + 23) + read_u32(data, at + 27)
        self._saw_message(message_id)
        if bodies_only:
            for entry in self._wanted.get(int(segment.number), {}).get(int(at), []):
                if entry.message.message_id == message_id:
                    self._fill(entry, data, at, end, segment)
            return end
        is_move = data[at] == MOVE
        for queue_at in range(at + MESSAGE_FIXED_SIZE, route_key_at, 4):
            queue_id = int(read_u32(data, queue_at))
            queue = self._queues.get(queue_id)
            if queue is None:
                self._saw_queue(queue_id)
                self._report.unknown_queue_count += 1
            else:
                self._place(queue, message_id, is_move, data, at, end, segment)
        if route_key_at == at + MESSAGE_FIXED_SIZE:
            # A move as amqpd 0.1 logged it: for whoever holds the message.
            for queue in self._queues.values():
                self._place(queue, message_id, True, data, at, end, segment)
        return end

    def _place(
        self, queue: QueueReplay, message_id: i64, is_move: bool, data: bytes, at: i64, end: i64, segment: SegmentUse
    ) -> None:
        """The queue holds the message, and here it is; a move says so only of what is held already."""
        entry = queue.take(message_id)
        if entry is None:
            if is_move:
                return
            entry = RecoveredEntry(Message(message_id, b"", b"", b""))
            queue.add(entry)
        flags_at = at + MESSAGE_FIXED_SIZE + 4 * read_u32(data, at + 19) + read_u16(data, at + 17) + _FLAGS_AT
        header_size = read_u32(data, at + 23)
        if header_size >= _FLAGS_AT + 2 and (data[flags_at] << 8 | data[flags_at + 1]) & _EXPIRATION != 0:
            entry.is_needed = True
        body_bytes = read_u32(data, at + 27)
        if entry.is_needed or queue.is_resident or not can_be_in_page(at, body_bytes, end - at - body_bytes):
            self._fill(entry, data, at, end, segment)
        else:
            self._address(entry, data, at, end, segment)

    def _address(self, entry: RecoveredEntry, data: bytes, at: i64, end: i64, segment: SegmentUse) -> None:
        queue_count = read_u32(data, at + 19)
        message = entry.message
        message.enqueued_ms = read_i64_le(data, at + 9)
        # A later copy is the one that reclaim left for us.
        message.segment = segment
        message.offset = at
        message.logged_bytes = end - at
        message.share_shift = share_shift(queue_count) if queue_count > 1 else 0
        message.holders = 1
        entry.body_bytes = read_u32(data, at + 27)

    def _fill(self, entry: RecoveredEntry, data: bytes, at: i64, end: i64, segment: SegmentUse) -> None:
        self._address(entry, data, at, end, segment)
        header_at = end - entry.body_bytes - read_u32(data, at + 23)
        route_key = data[header_at - read_u16(data, at + 17) : header_at]
        message = entry.message
        if route_key != self._route_key:
            self._route_key = route_key
        message.route_key = self._route_key
        message.header = data[header_at : end - entry.body_bytes]
        message.body = data[end - entry.body_bytes : end]
        entry.is_here = True

    def _settle(self, queue_id: int, message_id: i64) -> None:
        queue = self._queues.get(queue_id)
        if queue is None:
            self._saw_queue(queue_id)
            self._report.unknown_queue_count += 1
        elif not queue.settle(message_id):
            self._report.unknown_settle_count += 1

    def _settle_range(self, queue_id: int, first_id: i64, last_id: i64) -> None:
        self._saw_queue(queue_id)
        queue = self._queues.get(queue_id)
        if queue is not None:
            queue.settle_range(first_id, last_id)

    def _requeue(self, queue_id: int, message_id: int, delivery_count: i64, ready_at_ms: i64) -> None:
        queue = self._queues.get(queue_id)
        entry = queue.take(message_id) if queue is not None else None
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

    def wanted_segments(self) -> list[int]:
        """No more records come: in which segments are bytes that are needed? Apply those once more, `bodies_only`."""
        for queue in self._queues.values():
            queue.settle_down()
            for entry in queue.wanted():
                segment = entry.message.segment
                if segment is not None and int(segment.number) in self._segments:
                    places = self._wanted.setdefault(int(segment.number), {})
                    places.setdefault(int(entry.message.offset), []).append(entry)
        return sorted(self._wanted)

    def finish(self, all_redelivered: bool) -> dict[int, list[RecoveredEntry]]:
        """What each queue holds in memory, oldest first, and in `pages` what it holds on disk; call once.

        Also counts what is live in each segment.
        """
        queues: dict[int, list[RecoveredEntry]] = {}
        for queue_id, queue in self._queues.items():
            pages: list[Page] = []
            for page in queue.pack(all_redelivered, self.delivered_to.get(queue_id, 0)):
                if page.end > page.segment.size_bytes:
                    pages.extend(self._cut(queue_id, page))
                else:
                    pages.append(page)
            entries: list[RecoveredEntry] = []
            for message_id in sorted(queue.entries):
                entry = queue.entries[message_id]
                segment = entry.message.segment
                if segment is None or not entry.is_here:
                    number: i64 = segment.number if segment is not None else 0
                    self._missing(Lost(queue_id, message_id, number, entry.message.offset, entry.message.logged_bytes))
                    continue
                segment.live_count += 1
                segment.live_bytes += entry.message.logged_bytes >> entry.message.share_shift
                entries.append(entry)
            for page in pages:
                page.segment.live_count += page.count
                page.segment.live_bytes += page.live_bytes
                self._report.entry_count += int(page.count)
            self._report.entry_count += len(entries)
            queues[queue_id] = entries
            if len(pages) > 0:
                self.pages[queue_id] = pages
        for queue_id, count in self._missing_counts.items():
            self._report.missing_counts[queue_id] = count
        return queues

    def _cut(self, queue_id: int, page: Page) -> list[Page]:
        """What of it is still within its segment."""
        writer = PageWriter()
        for index in range(page.count):
            if page.offset(index) + page.size(index) <= page.segment.size_bytes:
                writer.add_place(page, index)
            else:
                place = page.offset(index)
                self._missing(Lost(queue_id, page.message_id(index), page.segment.number, place, page.size(index)))
        return writer.finish()
