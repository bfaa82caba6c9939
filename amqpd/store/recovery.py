"""From the files of a stopped node, however it stopped, to what its queues hold and where its log goes on.

Owns: which checkpoint is believed, the walk over segments and batches, telling the unfinished write of a crash from damage.
Does not own the meaning of records (replay.py). In order:

    1. the newest intact checkpoint; with none, the whole log, provided that its first segment still exists
    2. everything from its position on, applied
    3. after an unclean stop, the last batch once more, as the first of a new segment and at its old position; then the
       first copy is cut off. What we read back may be in the page cache only, left there by a sync that failed, and gone
       with the power. The batches before it are safe, for each was written after a sync of the one before
    4. segments of any age, for what must be in memory; most of a deep queue need not, and stays where it is

An invalid end of a segment is a torn tail if the log goes on right behind the valid part in the next segment, or not at all:
nobody was told that it was safe, or it was written again, so it is cut. Anything else that does not read as it was written
is damage: reported, kept aside, and everything intact is served.
Invariants: recovering twice gives the same queues as recovering once, also if the first recovery was interrupted. What may end in
a refusal (Corrupt, UnknownFormat, a file that can't be read) is looked at before anything is changed.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.errors import Corrupt
from amqpd.base.message import SegmentUse
from amqpd.store.batch import (
    BATCH_HEADER_SIZE,
    Batch,
    BatchHeader,
    crc_at,
    crc_of_header,
    find_batch,
    try_read_batch,
)
from amqpd.store.checkpoint import CheckpointReader
from amqpd.store.disk import Disk, DiskFull
from amqpd.store.inspect import describe_damage
from amqpd.store.log import LogStart
from amqpd.store.recovered import Recovered, RecoveryReport
from amqpd.store.replay import Replay
from amqpd.store.segment import SEGMENT_HEADER_SIZE, SegmentWriter, try_read_segment_header


def recover(
    disk: Disk,
    log_id: int,
    known_queue_ids: list[int],
    clean_position: int = -1,
    queue_names: dict[int, str] | None = None,
    resident_queue_ids: list[int] | None = None,
    topology_version: int = -1,
) -> Recovered:
    """`clean_position` is where a clean stop left the log, -1 if the stop was not clean; the names are for reports.

    `resident_queue_ids`: queues that need all of their messages in memory. `topology_version` is that of the topology which knows
    the queues, -1 if it counts none.

    Corrupt if starting would bring back messages that were settled, or UnknownFormat; nothing is changed then.
    """
    names = queue_names if queue_names is not None else {}
    resident = resident_queue_ids if resident_queue_ids is not None else []
    return _Recovery(disk, log_id, known_queue_ids, clean_position, names, resident, topology_version).run()


def segment_path(number: i64) -> str:
    return f"segment {number}"


@final
class _Recovery:
    def __init__(
        self,
        disk: Disk,
        log_id: int,
        known_queue_ids: list[int],
        clean_position: int,
        names: dict[int, str],
        resident_queue_ids: list[int],
        topology_version: int,
    ) -> None:
        self._topology_version = topology_version
        # What is going to be changed on the disk: nothing before it is sure that there will be a start.
        self._cuts: dict[int, int] = {}
        self._torn: list[int] = []
        self._aside: dict[int, None] = {}
        self._disk = disk
        self._log_id = log_id
        self._clean_position = clean_position
        self._names = names
        self._report = RecoveryReport()
        self._segments: dict[int, SegmentUse] = {}
        self._replay = Replay(known_queue_ids, self._report, self._segments, resident_queue_ids)
        # Replay begins here: the checkpoint's position, or the beginning of the log.
        self._first = 1
        self._first_offset: i64 = 0
        self._next_generation = 1
        self._bad_generations: list[int] = []
        # The chain: what the next batch must say of the one before it. Unknown before the first, and behind damage.
        self._is_chain_known = False
        self._position: i64 = 0
        self._previous_crc: i64 = 0
        self._mark: i64 = 0
        self._epoch: i64 = 0
        # The same before the newest batch, and its place: the next segment may begin with that batch once more.
        self._newest_position: i64 = -1
        self._newest_previous_crc: i64 = 0
        self._newest_segment = SegmentUse(0)
        self._newest_offset: i64 = 0
        # The last batch of all, unless it is sure to be durable: its records, and how many.
        self._last_records = b""
        self._last_record_count: i64 = 0

    def run(self) -> Recovered:
        numbers = self._disk.segment_numbers()
        for number in numbers:
            self._add_segment(number)
        checkpoint = self._find_checkpoint(numbers)
        known_end: i64 = self._clean_position
        if checkpoint is not None:
            self._first = int(checkpoint.segment_number)
            self._first_offset = checkpoint.offset
            self._mark = checkpoint.mark
            self._replay.load(checkpoint)
            checkpoint.release()
            known_end = max(known_end, checkpoint.end_position)
        self._read_log(numbers)
        if checkpoint is not None and self._position < checkpoint.position:
            known_end = max(known_end, checkpoint.position)
            if checkpoint.offset == SEGMENT_HEADER_SIZE:
                # Nothing was written since, so the segment that the checkpoint names may not exist yet.
                self._position = checkpoint.position
                if len(self._segments) > 0:
                    # The new one must follow the newest one in the eyes of a start from an older checkpoint, too.
                    self._previous_crc = crc_at(
                        self._data_of(self._segments[max(self._segments)]), self._log_id, self._position
                    )
        self._check_end(known_end)
        self._check_topology()
        self._read_bodies()
        self._change()
        return self._conclude(self._place_start())

    # The checkpoint

    def _find_checkpoint(self, numbers: list[int]) -> CheckpointReader | None:
        disk = self._disk
        generations = disk.checkpoint_generations()
        if len(generations) > 0:
            self._next_generation = generations[-1] + 1
        for generation in reversed(generations):
            try:
                checkpoint = CheckpointReader(
                    disk.read_checkpoint(generation), self._log_id, f"checkpoint {generation}"
                )
            except Corrupt as damage:
                self._report.notices.append(f"{damage}; an older one or the whole log is read instead")
                self._bad_generations.append(generation)
                continue
            if len(numbers) == 0 and checkpoint.offset > SEGMENT_HEADER_SIZE:
                raise Corrupt("the log", -1, "all of its segments are gone")
            self._report.checkpoint_generation = generation
            return checkpoint
        if len(numbers) > 0 and numbers != list(range(1, len(numbers) + 1)):
            raise Corrupt("the log", -1, "no intact checkpoint, and segments that it stood for are gone")
        if len(numbers) == 0 and (self._clean_position > 0 or len(generations) > 0):
            raise Corrupt("the log", -1, "all of its segments are gone")
        return None

    def _read_bodies(self) -> None:
        """What is needed in memory and was not kept while the log was applied."""
        for number in self._replay.wanted_segments():
            segment = self._segments[number]
            data = self._data_of(segment)
            size: i64 = len(data)
            at: i64 = SEGMENT_HEADER_SIZE
            while at < size:
                batch = try_read_batch(data, at, self._log_id)
                if batch is not None:
                    self._replay.apply(data, batch, segment, True)
                    at = batch.end
                    continue
                found = find_batch(data, at + 1, self._log_id)
                until = found.offset if found is not None else size
                self._not_as_written(number, data, at, until)
                at = until

    def _not_as_written(self, number: int, data: bytes, at: i64, until: i64) -> None:
        described = describe_damage(data, at, self._names)
        self._damaged(f"{segment_path(number)}: {until - at} bytes at {at} are not what was written{described}")
        self._aside[number] = None

    # The log

    def _read_log(self, numbers: list[int]) -> None:
        expected = self._first
        for number in numbers:
            if number < self._first:
                continue
            if number != expected:
                self._damaged(f"segments {expected} to {number - 1} are gone")
            self._read_segment(number, number == numbers[-1])
            expected = number + 1

    def _add_segment(self, number: int) -> None:
        segment = SegmentUse(number)
        segment.size_bytes = self._disk.segment_size(number)
        self._segments[number] = segment

    def _data_of(self, segment: SegmentUse) -> bytes:
        return self._disk.read(int(segment.number), 0, int(segment.size_bytes))

    def _read_segment(self, number: int, is_last: bool) -> None:
        """Apply every intact batch; of those before the checkpoint's position, only the bodies it asks for."""
        segment = self._segments[number]
        data = self._data_of(segment)
        self._report.segment_count += 1
        self._report.read_bytes += len(data)
        size: i64 = len(data)
        at: i64 = SEGMENT_HEADER_SIZE
        header = try_read_segment_header(data, self._log_id, number)
        if header is None:
            if is_last and find_batch(data, 0, self._log_id) is None:
                self._remove_torn_segment(number, data)
                return
            self._damaged(f"{segment_path(number)} has no valid header")
            self._aside[number] = None
            at = 0
        elif not self._is_chain_known:
            self._position = header.position
            self._previous_crc = header.previous_crc
            self._is_chain_known = True
        elif not self._follows(header.position, header.previous_crc, True):
            self._damaged(f"{segment_path(number)} does not follow the one before it")
        while at < size:
            batch = try_read_batch(data, at, self._log_id)
            if batch is not None and self._is_next(batch):
                is_known = number == self._first and batch.offset < self._first_offset
                self._apply(data, batch, segment, is_known)
                at = batch.end
            elif batch is not None and batch.position > self._position:
                # Intact, and not the next one: what was between is gone, but this is not.
                self._damaged(f"{segment_path(number)}: {batch.position - self._position} bytes are gone before {at}")
                self._aside[number] = None
            else:
                at = self._pass_damage(data, at, segment, is_last)

    def _is_next(self, batch: BatchHeader) -> bool:
        if not self._is_chain_known:
            return batch.position >= self._position
        return self._follows(batch.position, batch.previous_crc, batch.offset == SEGMENT_HEADER_SIZE)

    def _follows(self, position: i64, previous_crc: i64, may_repeat: bool) -> bool:
        """What says this of itself is next in the chain, or the newest batch once more."""
        if position == self._position:
            return previous_crc == self._previous_crc
        return may_repeat and position == self._newest_position and previous_crc == self._newest_previous_crc

    def _apply(self, data: bytes, batch: BatchHeader, segment: SegmentUse, bodies_only: bool) -> None:
        self._replay.apply(data, batch, segment, bodies_only)
        self._report.batch_count += 1
        self._is_chain_known = True
        self._newest_position = batch.position
        self._newest_previous_crc = batch.previous_crc
        self._newest_segment = segment
        self._newest_offset = batch.offset
        self._position = batch.next_position
        self._previous_crc = batch.crc
        if batch.mark > self._mark:
            self._mark = batch.mark
        if batch.epoch > self._epoch:
            self._epoch = batch.epoch
        # Whatever the checkpoint covers was synced before the checkpoint was written, and whatever has something behind
        # it was synced before that was written.
        is_sure = bodies_only or batch.end < len(data)
        self._last_records = b"" if is_sure else data[batch.records_offset : batch.end]
        self._last_record_count = batch.record_count

    def _pass_damage(self, data: bytes, at: i64, segment: SegmentUse, is_last: bool) -> i64:
        """Something at `at` is not the next batch: cut it or say what it was; returns where to read on."""
        size: i64 = len(data)
        number = int(segment.number)
        found = find_batch(data, at + 1, self._log_id)
        while found is not None and found.position < self._position:
            # An older batch in a newer place is a stale block, not a successor.
            found = find_batch(data, found.offset + 1, self._log_id)
        if found is None and (is_last or self._is_end(number)):
            self._report.torn_bytes += int(size - at)
            self._report.notices.append(f"{segment_path(number)}: cut {size - at} bytes of an unfinished write at {at}")
            self._cuts[number] = int(at)
            segment.size_bytes = at
            return size
        until = found.offset if found is not None else size
        self._not_as_written(number, data, at, until)
        return until

    def _is_end(self, number: int) -> bool:
        """Whatever stands behind this segment's valid part does not belong to the log: the next one takes up right there."""
        if not self._is_chain_known or number + 1 not in self._disk.segment_numbers():
            return False
        data = self._disk.read(number + 1, 0, self._disk.segment_size(number + 1))
        header = try_read_segment_header(data, self._log_id, number + 1)
        if header is None:
            # The power went while it was created.
            return number + 1 == self._disk.segment_numbers()[-1] and find_batch(data, 0, self._log_id) is None
        return header.position == self._position and header.previous_crc == self._previous_crc

    def _remove_torn_segment(self, number: int, data: bytes) -> None:
        """The last segment was created and never written to, as far as the disk knows."""
        if data.count(0) != len(data):
            self._aside[number] = None
        self._report.torn_bytes += len(data)
        self._report.notices.append(f"{segment_path(number)}: removed, it has no valid batch")
        self._torn.append(number)
        # A checkpoint may list what stood in it all the same.
        self._segments.pop(number).size_bytes = 0

    def _damaged(self, sentence: str) -> None:
        self._report.damage.append(sentence)
        self._is_chain_known = False

    def _change(self) -> None:
        """There will be a start: keep aside what is damaged, and cut what a crash left unfinished."""
        for number in self._aside:
            name = self._disk.keep_aside(number)
            self._report.notices.append(f"{segment_path(number)} is kept aside as {name}")
        for number, size in self._cuts.items():
            self._disk.truncate(number, size)
        if len(self._torn) > 0:
            self._disk.delete_segments(self._torn)

    def _check_topology(self) -> None:
        """Messages of queues that it does not know yet would be taken for those of deleted ones."""
        said = int(self._replay.topology_version)
        if 0 <= self._topology_version < said:
            raise Corrupt(
                "topology.sqlite",
                -1,
                f"it is an older copy than the log needs: it knows {self._topology_version} changes, the log {said};"
                " is topology.sqlite-wal missing?",
            )

    def _check_end(self, known_end: i64) -> None:
        """The log must reach as far as we once knew it to be durable."""
        if self._position < known_end:
            self._damaged(f"the log ends {known_end - self._position} bytes too early")
            # What follows must not take the place of what is gone.
            self._position = known_end

    # Going on

    def _place_start(self) -> LogStart:
        """Where the next batch goes: behind the last one after a clean stop, in a new segment otherwise."""
        is_clean = self._clean_position == self._position and len(self._report.damage) == 0
        last = max(self._segments) if len(self._segments) > 0 else 0
        if is_clean and last >= self._first and self._segments[last].size_bytes > SEGMENT_HEADER_SIZE:
            return self._start_in(self._segments[last], self._segments[last].size_bytes)
        if is_clean or len(self._last_records) == 0:
            # Never below the checkpoint's place in its own segment, where the next start would not look for records.
            first = self._first if self._first_offset <= SEGMENT_HEADER_SIZE else self._first + 1
            return self._start_in(SegmentUse(max(last + 1, first)), SEGMENT_HEADER_SIZE)
        self._remove_behind(self._newest_segment)
        fresh = self._start_in(SegmentUse(self._newest_segment.number + 1), SEGMENT_HEADER_SIZE)
        return self._write_last_batch_again(fresh)

    def _remove_behind(self, segment: SegmentUse) -> None:
        """Segments that were created and not written to: they say that they follow a batch which moves behind them now."""
        for number in sorted(self._segments):
            if number > segment.number:
                self._disk.delete_segments([number])
                del self._segments[number]

    def _start_in(self, segment: SegmentUse, offset: i64) -> LogStart:
        start = LogStart(self._log_id, segment, offset)
        start.epoch = self._epoch + 1
        start.mark = self._mark + 1
        start.position = self._position
        start.previous_crc = self._previous_crc
        return start

    def _write_last_batch_again(self, fresh: LogStart) -> LogStart:
        """In the place of the first copy, so that it is the same whether that one is still there the next time or not."""
        records = self._last_records
        segment = fresh.segment
        # Unless something behind it is gone, whose place must not be taken.
        is_in_place = self._position == self._newest_position + BATCH_HEADER_SIZE + len(records)
        position = self._newest_position if is_in_place else self._position
        previous_crc = self._newest_previous_crc if is_in_place else self._previous_crc
        batch = Batch(
            self._log_id,
            fresh.epoch,
            fresh.mark,
            segment.number,
            fresh.offset,
            position,
            self._last_record_count,
            records,
            [],
        )
        header = batch.encode_header(previous_crc)
        writer = SegmentWriter(self._disk, previous_crc)
        try:
            writer.commit(batch)
        except DiskFull:
            # Its file may be there already, and whoever writes the next batch creates it anew.
            writer.close()
            if segment.number in self._disk.segment_numbers():
                self._disk.delete_segments([int(segment.number)])
            self._report.notices.append("no room to write the last batch again; trusting what was read back")
            return fresh
        writer.close()
        if is_in_place:
            # Nobody knows what of the first copy is on the disk; a later start, without this segment, must not see it.
            self._disk.truncate(int(self._newest_segment.number), int(self._newest_offset))
            self._newest_segment.size_bytes = self._newest_offset
        segment.size_bytes = fresh.offset + BATCH_HEADER_SIZE + len(records)
        self._segments[int(segment.number)] = segment
        data = bytes(int(fresh.offset)) + header + records
        self._replay.apply(data, BatchHeader(data, fresh.offset), segment, False)
        self._position = position + BATCH_HEADER_SIZE + len(records)
        self._previous_crc = crc_of_header(header)
        self._mark = fresh.mark
        return self._start_in(segment, segment.size_bytes)

    def _conclude(self, start: LogStart) -> Recovered:
        report = self._report
        replay = self._replay
        # Whether a message was delivered is only certain if nothing of the log is lost.
        is_certain = self._clean_position >= 0 and len(report.damage) == 0
        for generation in self._bad_generations:
            # Only now: a start that is refused must be refused the next time too.
            self._disk.keep_checkpoint_aside(generation)
        recovered = Recovered(start)
        recovered.report = report
        recovered.queues = replay.finish(not is_certain)
        recovered.pages = replay.pages
        recovered.delivered_to = replay.delivered_to
        for queue_id, ids in replay.dedup_ids.items():
            recovered.dedup_ids[queue_id] = list(ids.values())
        recovered.checkpoint_segment = self._first if report.checkpoint_generation > 0 else 0
        recovered.next_generation = self._next_generation
        recovered.next_queue_id = int(replay.next_queue_id)
        report.queue_names = self._names
        report.damage += report.lost()
        start.next_message_id = replay.next_message_id
        start.sealed_segments = [
            self._segments[number] for number in sorted(self._segments) if number != start.segment.number
        ]
        return recovered
