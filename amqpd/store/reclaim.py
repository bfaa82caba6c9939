"""Giving space back: when to take a checkpoint, which segments to move messages out of, which to delete.

Owns those three decisions. Does not own what follows: caretaker.py describes the queues for a checkpoint and moves messages
whose `segment.is_leaving` (queues/moves.py), the shell writes and deletes files. Bound: disk use comes down to twice the live bytes plus two segments, also when one
slow queue holds one message in every segment.

While the disk is short of space every dead segment is worth a checkpoint, and messages are moved only where few of them hold
much: moving takes space before it gives some back.

Invariants: a segment is deleted only if (1) nothing in it is live, (2) the batch that made it so is durable, and (3) both
checkpoints that are kept replay from a later segment. A live message is in some segment at every moment: the copy is
durable before the original goes.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.message import SegmentUse
from amqpd.store.checkpoint import Checkpoint, CheckpointBuilder
from amqpd.store.log import Log

# Not more often than this: under load, space waits a little rather than the disk doing checkpoints only.
CHECKPOINT_INTERVAL_MS: Final = 1000
# Even if no space can be won: what a restart has to replay stays below this many segments.
REPLAY_SEGMENTS_MAX: Final = 4
# Messages are moved out of this many segments at a time.
LEAVING_MAX: Final = 8
# While the disk is short: out of one, and only if not more than this share of it is live.
CHEAP_SHARE: Final = 8


def disk_bytes(segments: list[SegmentUse]) -> i64:
    total: i64 = 0
    for segment in segments:
        total += segment.size_bytes
    return total


def choose_sparse(segments: list[SegmentUse], live_bytes: i64, segment_bytes: i64) -> list[SegmentUse]:
    """Segments to move messages out of, the sparsest first; the last one is open and stays."""
    kept: i64 = 0
    sparse: list[tuple[float, int, SegmentUse]] = []
    for index in range(len(segments)):
        segment = segments[index]
        if index == len(segments) - 1 or segment.live_count > 0:
            kept += segment.size_bytes
        # One that is leaving already has been dealt with: choosing it again would not empty it any sooner.
        is_candidate = index < len(segments) - 1 and segment.live_count > 0 and not segment.is_leaving
        if is_candidate and segment.live_bytes * 2 < segment.size_bytes:
            sparse.append((float(segment.live_bytes) / float(segment.size_bytes), index, segment))
    allowed = 2 * live_bytes + segment_bytes
    chosen: list[SegmentUse] = []
    for _, _, segment in sorted(sparse):
        if kept <= allowed or len(chosen) == LEAVING_MAX:
            break
        chosen.append(segment)
        kept -= segment.size_bytes - segment.live_bytes
    return chosen


def is_cheap(segment: SegmentUse) -> bool:
    """It takes little to empty it."""
    return segment.live_bytes * CHEAP_SHARE <= segment.size_bytes


def choose_cheapest(segments: list[SegmentUse]) -> list[SegmentUse]:
    """The one segment that it takes least to empty; none while an emptied one has not been deleted."""
    cheapest: SegmentUse | None = None
    for segment in segments[:-1]:
        if segment.is_leaving:
            return []
        if segment.live_count > 0 and is_cheap(segment):
            if cheapest is None or segment.live_bytes < cheapest.live_bytes:
                cheapest = segment
    return [cheapest] if cheapest is not None else []


@final
class Reclaim:
    def __init__(self, log: Log, checkpoint_segment: i64, next_generation: int, is_urgent: bool) -> None:
        """`checkpoint_segment` is where the newest checkpoint found at start begins, 0 if there was none.

        `is_urgent`: damage was found, so that the next restart should not depend on the same bytes again.
        """
        self._log = log
        self._next_generation = next_generation
        self._is_urgent = is_urgent
        self._is_checkpointing = False
        self._begun_ms: i64 = 0
        self._begun_position = log.position
        self._begun_count: i64 = 0
        self._last_size: i64 = 0
        # Where the newest checkpoint replays from, and where the older of the two that are kept does.
        self._newest_segment = checkpoint_segment
        self._floor: i64 = 0
        # Empty segments by number, with the mark that must be durable before they go.
        self._condemned: dict[int, int] = {}

    # Checkpoints

    def is_checkpoint_due(self, now_ms: i64) -> bool:
        if self._is_checkpointing or now_ms - self._begun_ms < CHECKPOINT_INTERVAL_MS:
            return False
        if self._is_urgent:
            return True
        log = self._log
        grown = log.position - self._begun_position
        if grown >= REPLAY_SEGMENTS_MAX * log.segment_bytes and grown >= 2 * self._next_size():
            return True
        if log.is_disk_short:
            return self._floor < log.segment.number and self._has_empty_segment()
        if disk_bytes(log.segments) <= 2 * log.live_bytes + log.segment_bytes:
            return False
        # Too much space is in use. A checkpoint that begins later would let empty segments go, if there are any.
        if self._floor >= log.segment.number or not self._has_empty_segment():
            return False
        return self._newest_segment > self._floor or 2 * grown >= self._next_size()

    def _next_size(self) -> i64:
        """How long a checkpoint would be, about: as the last one, or less if it has less to tell of."""
        count = self._live_count()
        if count >= self._begun_count:
            return self._last_size
        return self._last_size * count // self._begun_count

    def _live_count(self) -> i64:
        count: i64 = 0
        for segment in self._log.segments:
            count += segment.live_count
        return count

    def _has_empty_segment(self) -> bool:
        for segment in self._log.segments[:-1]:
            if segment.live_count == 0:
                return True
        return False

    def begin_checkpoint(self, now_ms: i64) -> CheckpointBuilder:
        """P is here. Finish it, wait for its mark, write it, then tell `checkpoint_written` or `checkpoint_failed`."""
        self._is_checkpointing = True
        self._is_urgent = False
        self._begun_ms = now_ms
        self._begun_position = self._log.position
        self._begun_count = self._live_count()
        builder = CheckpointBuilder(self._log, self._next_generation)
        self._next_generation += 1
        return builder

    def checkpoint_written(self, checkpoint: Checkpoint) -> None:
        self._is_checkpointing = False
        self._last_size = checkpoint.size_bytes
        self._floor = self._newest_segment
        self._newest_segment = checkpoint.segment_number

    def checkpoint_failed(self) -> None:
        """There was no room for it; what was there before still counts."""
        self._is_checkpointing = False

    # Segments

    def set_disk_short(self, is_short: bool) -> None:
        log = self._log
        log.is_disk_short = is_short
        if not is_short:
            return
        for segment in log.segments:
            # What has been chosen and takes much waits for better times.
            if segment.is_leaving and not is_cheap(segment):
                segment.is_leaving = False

    def mark_leaving(self) -> bool:
        """Mark the segments that messages should be moved out of; True if there are any."""
        log = self._log
        for segment in log.segments:
            if segment.is_leaving and segment.live_count > 0:
                return True
        if log.is_disk_short:
            chosen = choose_cheapest(log.segments)
        else:
            chosen = choose_sparse(log.segments, log.live_bytes, log.segment_bytes)
        for segment in chosen:
            segment.is_leaving = True
        return len(chosen) > 0

    def take_dead(self, synced_mark: i64, has_unsealed: bool) -> list[int]:
        """Numbers of segments to delete now; they are forgotten here. `has_unsealed`: changes wait for the next batch."""
        log = self._log
        needed = int(log.mark if has_unsealed or log.dirty else log.mark - 1)
        taken: list[int] = []
        kept: list[SegmentUse] = []
        for segment in log.segments:
            number = int(segment.number)
            is_dead = segment.live_count == 0 and number < self._floor and segment is not log.segment
            if is_dead and self._condemned.setdefault(number, needed) <= synced_mark:
                del self._condemned[number]
                taken.append(number)
            else:
                kept.append(segment)
        if len(taken) > 0:
            log.segments = kept
        return taken
