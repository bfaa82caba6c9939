"""The open end of the log: records gather here until a turn seals them into one batch.

Owns the numbering of messages, the open batch, and how much of each segment is still needed. Does not own files: a
sealed Batch carries the place where it belongs, and somebody else writes and syncs it.
Invariants: a message's (segment, offset) is final when it is appended, for a batch is never written anywhere else;
a segment's live figures count what durable queues still hold at addresses in it, once for each queue.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter
from mypy_extensions import i64

from amqpd.base.message import Message, SegmentUse
from amqpd.store.batch import BATCH_HEADER_SIZE, Batch
from amqpd.store.page import BODY_BYTES_MAX, META_BYTES_MAX, OFFSET_MAX, Page, share_shift
from amqpd.store.record import (
    DEDUP,
    MESSAGE,
    MESSAGE_FIXED_SIZE,
    MOVE,
    SPILLED,
    queue_id_bytes,
    write_dedup,
    write_delivered,
    write_message,
    write_requeue,
    write_retry,
    write_settle,
    write_settle_range,
    write_topology,
)
from amqpd.store.segment import SEGMENT_HEADER_SIZE
from amqpd.store.topology import TopologyChange

SEGMENT_BYTES: Final = 64 << 20
# A writer that grew beyond this gives its memory back when its batch is sealed.
WRITER_KEEP_BYTES: Final = 4 << 20
# While space is short a segment ends once this share of it is written and most of that is dead.
SHORT_SEGMENT_SHARE: Final = 64
# With more than this to be written the disk can't follow: what need not go there waits.
SPILLED_PENDING_BYTES_MAX: Final = 8 << 20


@final
class LogStart:
    """Where an existing log goes on; recovery makes it, the log and whoever writes its batches begin with it."""

    def __init__(self, log_id: i64, segment: SegmentUse, offset: i64) -> None:
        self.log_id = log_id
        # The open segment, and where in it the next batch begins; just behind the header for a file yet to be created.
        self.segment = segment
        self.offset = offset
        # Older segments, by number.
        self.sealed_segments: list[SegmentUse] = []
        self.epoch: i64 = 1
        self.mark: i64 = 1
        self.position: i64 = 0
        self.previous_crc: i64 = 0
        self.next_message_id: i64 = 1
        # That of the topology beside it; 0 where there is none whose changes are counted.
        self.topology_version: i64 = 0


def fresh_start(log_id: i64) -> LogStart:
    """The start of a log that has no segment yet."""
    return LogStart(log_id, SegmentUse(1), SEGMENT_HEADER_SIZE)


@final
class Log:
    def __init__(self, start: LogStart, segment_bytes: i64 = SEGMENT_BYTES) -> None:
        # The mark that the open batch will have; it is committed when everything up to it is durable.
        self.mark = start.mark
        # Everything up to this mark is durable; it can be read back.
        self.synced_mark: i64 = start.mark - 1
        # True once something waits to be sealed.
        self.dirty = False
        # All segments that exist, by number; the last one is open.
        self.segments: list[SegmentUse] = start.sealed_segments[:]
        self.segments.append(start.segment)
        self.live_bytes: i64 = 0
        for segment in self.segments:
            self.live_bytes += segment.live_bytes
        # Where the open batch begins: in its segment, and in the log as a whole.
        self.segment = start.segment
        self.offset = start.offset
        self.position = start.position
        self.log_id = start.log_id
        self.segment_bytes = segment_bytes
        # The disk is short of space (store/reclaim.py).
        self.is_disk_short = False
        self._epoch = start.epoch
        self._next_message_id = start.next_message_id
        self._records_offset: i64 = start.offset + BATCH_HEADER_SIZE
        self._record_count: i64 = 0
        self._writer = BytesWriter()
        # How many changes of the topology have been sealed; and whether the log has still to say so.
        self._topology_version = start.topology_version
        self._is_topology_unsaid = start.topology_version > 0

    def next_message_id(self) -> i64:
        """A new name for a message; every message takes one, logged or not."""
        message_id = self._next_message_id
        self._next_message_id = message_id + 1
        return message_id

    def peek_message_id(self) -> i64:
        """The id that the next message will get."""
        return self._next_message_id

    @property
    def pending_bytes(self) -> i64:
        return len(self._writer)

    @property
    def end_position(self) -> i64:
        """Where the log will end once the open batch is sealed."""
        size: i64 = len(self._writer)
        return self.position + BATCH_HEADER_SIZE + size if size > 0 else self.position

    @property
    def position_gathered(self) -> i64:
        """How far the log has been filled, the open batch included."""
        return self.position + len(self._writer)

    def append_message(self, message: Message, queue_ids: bytes, now_ms: i64) -> None:
        """Store a message for the durable queues named by `queue_ids` (queue_id_bytes of each, concatenated)."""
        message.enqueued_ms = now_ms
        holders: i64 = len(queue_ids) >> 2
        message.holders = holders
        # Held by nobody, it would never be settled and its space never given back.
        assert holders > 0
        message.share_shift = share_shift(holders) if holders > 1 else 0
        self._place(message, len(queue_ids), holders)
        write_message(self._writer, MESSAGE, message, queue_ids)

    def append_move(self, queue_id: i64, message: Message) -> Message:
        """Store what a queue holds once more, so that the segment it stood in may go; returns the message at its new place.

        Other queues that hold the same message keep the old place.
        """
        moved = message
        if message.holders > 1:
            moved = Message(message.message_id, message.route_key, message.header, message.body)
            moved.ttl_ms = message.ttl_ms
            moved.enqueued_ms = message.enqueued_ms
            message.holders -= 1
        self._vacate(message)
        moved.holders = 1
        moved.share_shift = 0
        self._place(moved, 4, 1)
        write_message(self._writer, MOVE, moved, queue_id_bytes(int(queue_id)))
        return moved

    def append_spilled(self, message: Message, enqueued_ms: i64) -> Message:
        """Put on disk what no durable queue holds, while memory is short; returns it with its place there.

        A restart skips it. `message` itself, which others may have, stays as it is. `enqueued_ms` is wall clock.
        """
        spilled = Message(message.message_id, message.route_key, message.header, message.body)
        spilled.enqueued_ms = enqueued_ms
        spilled.holders = 1
        self._place(spilled, 0, 1)
        write_message(self._writer, SPILLED, spilled, b"")
        return spilled

    def can_spill(self, message: Message) -> bool:
        """Is there room for it, and can a page describe it where it comes to stand? No giants."""
        pending_bytes: i64 = len(self._writer)
        meta_bytes: i64 = MESSAGE_FIXED_SIZE + len(message.route_key) + len(message.header)
        return (
            len(message.body) <= BODY_BYTES_MAX
            and meta_bytes <= META_BYTES_MAX
            and pending_bytes <= SPILLED_PENDING_BYTES_MAX
            and self._records_offset + pending_bytes <= OFFSET_MAX
        )

    def append_settle(self, queue_id: i64, message: Message) -> None:
        """The queue is done with a logged message."""
        self.dirty = True
        self._record_count += 1
        write_settle(self._writer, queue_id, message.message_id)
        self.release(message)

    def append_requeue(self, queue_id: i64, message: Message, delivery_count: i64) -> None:
        self.dirty = True
        self._record_count += 1
        write_requeue(self._writer, queue_id, message.message_id, delivery_count)

    def append_retry(self, queue_id: i64, message: Message, delivery_count: i64, ready_at_ms: i64) -> None:
        """As a requeue, but it is ready only at that time of the wall clock."""
        self.dirty = True
        self._record_count += 1
        write_retry(self._writer, queue_id, message.message_id, delivery_count, ready_at_ms)

    def append_delivered(self, queue_id: i64, message_id: i64) -> None:
        """Every message of the queue up to this one may have been delivered."""
        self.dirty = True
        self._record_count += 1
        write_delivered(self._writer, queue_id, message_id)

    def append_dedup(self, queue_id: i64, noted_ms: i64, ttl_ms: i64, dedup_id: bytes) -> None:
        """A message with this id was taken: in the batch of the message itself."""
        self.dirty = True
        self._record_count += 1
        write_dedup(self._writer, DEDUP, queue_id, noted_ms, ttl_ms, dedup_id)

    def release(self, message: Message) -> None:
        """One holder less, without a record: its queue is gone, or a settle says it."""
        holders = message.holders - 1
        assert holders >= 0
        message.holders = holders
        self._vacate(message)

    @property
    def gathered_mark(self) -> i64:
        """The mark that says that everything logged so far is durable."""
        return self.mark if self.dirty else self.mark - 1

    def seal(self, topology: list[TopologyChange]) -> Batch | None:
        """Close the open batch and begin the next; None if there is nothing to make durable."""
        if not self.dirty and len(topology) == 0:
            return None
        writer = self._writer
        if self._is_topology_unsaid and len(writer) > 0:
            # What came before this batch; its own changes are committed only after it.
            self._is_topology_unsaid = False
            self._record_count += 1
            write_topology(writer, self._topology_version)
        if len(topology) > 0 and self._topology_version > 0:
            self._topology_version += 1
            self._is_topology_unsaid = True
        size: i64 = len(writer)
        batch = Batch(
            self.log_id,
            self._epoch,
            self.mark,
            self.segment.number,
            self.offset,
            self.position,
            self._record_count,
            writer.getvalue(),
            topology,
        )
        self.mark += 1
        self.dirty = False
        if size > 0:
            self._advance(BATCH_HEADER_SIZE + size)
        return batch

    def _advance(self, batch_size: i64) -> None:
        """The open batch left with this many bytes: begin the next one behind it, or in a new segment."""
        if batch_size > WRITER_KEEP_BYTES:
            self._writer = BytesWriter()
        else:
            self._writer.truncate(0)
        self._record_count = 0
        self.position += batch_size
        end = self.offset + batch_size
        self.segment.size_bytes = end
        if end >= self.segment_bytes or (self.is_disk_short and self._is_mostly_dead(end)):
            self.segment = SegmentUse(self.segment.number + 1)
            self.segments.append(self.segment)
            end = SEGMENT_HEADER_SIZE
            self._is_topology_unsaid = self._topology_version > 0
        self.offset = end
        self._records_offset = end + BATCH_HEADER_SIZE

    def _is_mostly_dead(self, size_bytes: i64) -> bool:
        """The open segment can't be deleted; as an older one it can."""
        return size_bytes * SHORT_SEGMENT_SHARE >= self.segment_bytes and self.segment.live_bytes * 2 < size_bytes

    def _place(self, message: Message, queue_ids_size: i64, holders: i64) -> None:
        """Give a message its address at the end of the open batch."""
        size: i64 = (
            MESSAGE_FIXED_SIZE + queue_ids_size + len(message.route_key) + len(message.header) + len(message.body)
        )
        segment = self.segment
        live_bytes = holders * (size >> message.share_shift)
        segment.live_count += holders
        segment.live_bytes += live_bytes
        self.live_bytes += live_bytes
        message.segment = segment
        message.offset = self._records_offset + len(self._writer)
        message.logged_bytes = size
        self.dirty = True
        self._record_count += 1

    def _vacate(self, message: Message) -> None:
        """One holder does not need a message's bytes at its present address any more."""
        segment = message.segment
        assert segment is not None
        share_bytes = message.logged_bytes >> message.share_shift
        segment.live_count -= 1
        segment.live_bytes -= share_bytes
        self.live_bytes -= share_bytes

    # Pages: what a queue holds on disk only

    def settle_page(self, queue_id: i64, page: Page, is_alone: bool) -> None:
        """The queue is done with all of it. `is_alone`: whatever the queue has between its ids is in this page."""
        if page.is_spilled:
            self.release_page(page)
            return
        self.dirty = True
        if is_alone:
            self._record_count += 1
            write_settle_range(self._writer, queue_id, page.first_id, page.last_id)
        else:
            for index in range(page.count):
                self._record_count += 1
                write_settle(self._writer, queue_id, page.message_id(index))
        self.release_page(page)

    def settle_one(self, queue_id: i64, page: Page, index: i64) -> None:
        """One message of a page is given up; the page is used no more."""
        self.dirty = True
        self._record_count += 1
        write_settle(self._writer, queue_id, page.message_id(index))
        share_bytes = page.size(index) >> page.share_shift(index)
        page.segment.live_count -= 1
        page.segment.live_bytes -= share_bytes
        self.live_bytes -= share_bytes

    def release_page(self, page: Page) -> None:
        """Nobody needs the page's bytes: its queue is gone, or settles say it."""
        segment = page.segment
        segment.live_count -= page.count
        segment.live_bytes -= page.live_bytes
        self.live_bytes -= page.live_bytes
