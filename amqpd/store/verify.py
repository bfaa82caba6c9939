"""Is a log what was written? Looks at every byte of it, and asks recovery what a start would find.

Owns the list of problems and the figures of each segment. Does not own the walk (inspect.py) nor recovery, which it runs
on the disk that it is given: give it one that keeps changes to itself. One segment is in memory at a time; the last
step, `replay`, takes as much as a start does.

    checkpoints()            each is read whole; which segments must exist follows from the newest
    segment(number)          of all of them, in ascending order: header, chain, checksums, records
    end()                    the log reaches as far as it was once known to
    replay(...)              what a start would lose, by queue

Invariant: an unfinished write at the very end is no problem, for nobody was told that it was safe.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.store.batch import BatchHeader
from amqpd.store.checkpoint import DEDUP, ENTRY, PAGE, CheckpointReader
from amqpd.store.disk import Disk
from amqpd.store.inspect import Chain, SegmentScan, describe_damage
from amqpd.store.page import PAGE_ENTRY_SIZE
from amqpd.store.record import record_size
from amqpd.store.recovered import Recovered
from amqpd.store.recovery import recover
from amqpd.store.segment import SEGMENT_HEADER_SIZE


@final
class Problem:
    """Something that is not as it was written: `number` names the segment, or the checkpoint's generation."""

    def __init__(self, place: str, number: int, offset: i64, what: str) -> None:
        # "segment", "checkpoint", or "log" for what concerns no single file.
        self.place = place
        self.number = number
        # -1: no byte in particular.
        self.offset = offset
        self.what = what


@final
class SegmentFigures:
    def __init__(self, number: int) -> None:
        self.number = number
        self.size_bytes: i64 = 0
        self.batch_count: i64 = 0
        self.record_count: i64 = 0
        # By kind of record.
        self.record_counts: dict[int, int] = {}
        # In the log as a whole; -1 without an intact batch.
        self.first_position: i64 = -1
        self.last_position: i64 = -1
        self.damaged_bytes: i64 = 0


@final
class CheckpointFigures:
    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.size_bytes = 0
        self.segment_number: i64 = 0
        self.offset: i64 = 0
        self.position: i64 = 0
        self.entry_count: i64 = 0
        self.is_intact = False


@final
class Verifier:
    def __init__(self, disk: Disk, log_id: int, clean_position: int, queue_names: dict[int, str]) -> None:
        self.problems: list[Problem] = []
        self.notices: list[str] = []
        self._disk = disk
        self._log_id = log_id
        self._clean_position = clean_position
        self._names = queue_names
        self._numbers = disk.segment_numbers()
        self._chain = Chain()
        # From here on every segment must exist.
        self._first_needed = 1
        self._expected = 0
        # Where the newest intact checkpoint was taken, and how far the log reached then.
        self._newest: CheckpointReader | None = None
        # Where checkpoints say that a batch begins, by segment: their generations by offset.
        self._places: dict[int, dict[int, int]] = {}

    # Checkpoints

    def checkpoints(self) -> list[CheckpointFigures]:
        """UnknownFormat, or OSError if one can't be read."""
        found: list[CheckpointFigures] = []
        for generation in self._disk.checkpoint_generations():
            figures = CheckpointFigures(generation)
            found.append(figures)
            data = self._disk.read_checkpoint(generation)
            figures.size_bytes = len(data)
            try:
                checkpoint = CheckpointReader(data, self._log_id, f"checkpoint {generation}")
            except Corrupt as damage:
                self._problem("checkpoint", generation, damage.offset, damage.why)
                continue
            figures.is_intact = True
            self._look_at(checkpoint, figures)
            self._newest = checkpoint
            self._first_needed = int(checkpoint.segment_number)
        return found

    def _look_at(self, checkpoint: CheckpointReader, figures: CheckpointFigures) -> None:
        number = int(checkpoint.segment_number)
        figures.segment_number = checkpoint.segment_number
        figures.offset = checkpoint.offset
        figures.position = checkpoint.position
        if checkpoint.generation != figures.generation:
            self._problem("checkpoint", figures.generation, 24, f"says that it is generation {checkpoint.generation}")
        self._places.setdefault(number, {})[int(checkpoint.offset)] = figures.generation
        last = self._numbers[-1] if len(self._numbers) > 0 else 0
        ahead_count = 0
        unnamed_count = 0
        while checkpoint.next():
            count = 0
            if checkpoint.kind == PAGE:
                count = len(checkpoint.page_data) // PAGE_ENTRY_SIZE
            elif checkpoint.kind == ENTRY:
                count = 1
            figures.entry_count += count
            if checkpoint.entry_segment > last:
                ahead_count += count
            if checkpoint.kind != DEDUP and checkpoint.message_id >= checkpoint.next_message_id:
                unnamed_count += 1
        if ahead_count > 0:
            self._problem("checkpoint", figures.generation, -1, f"{ahead_count} entries are in segments not there yet")
        if unnamed_count > 0:
            self._problem("checkpoint", figures.generation, -1, f"{unnamed_count} entries have an id of the future")

    # Segments

    def segment(self, number: int) -> SegmentFigures:
        """UnknownFormat if another version wrote it, OSError if it can't be read: say `unreadable` then, and go on."""
        self._look_for_a_gap(number)
        figures = SegmentFigures(number)
        figures.size_bytes = self._disk.segment_size(number)
        data = self._disk.read(number, 0, int(figures.size_bytes))
        scan = SegmentScan(data, self._log_id, number, self._chain)
        is_last = number == self._numbers[-1]
        header = scan.header
        if header is not None and not self._chain.begin(header):
            self._problem("segment", number, 0, "does not follow the one before it")
        places = self._places.get(number, {})
        while scan.next():
            batch = scan.batch
            if batch is not None:
                places.pop(int(batch.offset), 0)
                self._count(data, batch, figures)
            else:
                self._not_a_batch(scan, figures, is_last)
        places.pop(int(scan.end), 0)
        if figures.damaged_bytes == 0:
            for offset, generation in places.items():
                self._problem("checkpoint", generation, 40, f"no batch begins at byte {offset} of segment {number}")
        return figures

    def unreadable(self) -> None:
        """The segment asked for last could not be read: what follows can't be joined to what came before it."""
        self._chain.is_known = False

    def _look_for_a_gap(self, number: int) -> None:
        """Before the checkpoint's place, segments that nobody needs have been deleted in any order."""
        expected = max(self._expected, self._first_needed)
        if self._expected > 0 and number != self._expected:
            self._chain.is_known = False
        if number > expected:
            gone = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
            self._problem("log", 0, -1, f"the log has lost segment {gone}")
            self._chain.is_known = False
        self._expected = number + 1

    def _count(self, data: bytes, batch: BatchHeader, figures: SegmentFigures) -> None:
        figures.batch_count += 1
        if figures.first_position < 0:
            figures.first_position = batch.position
        figures.last_position = batch.position
        at = batch.records_offset
        count: i64 = 0
        while at < batch.end:
            size = record_size(data, at, batch.end)
            if size == 0:
                break
            kind = int(data[at])
            figures.record_counts[kind] = figures.record_counts.get(kind, 0) + 1
            at += size
            count += 1
        figures.record_count += count
        if count != batch.record_count or at != batch.end:
            raise UnknownFormat(f"segment {figures.number} has a record at byte {at} that this version can't read")

    def _not_a_batch(self, scan: SegmentScan, figures: SegmentFigures, is_last: bool) -> None:
        number = figures.number
        size = scan.end - scan.offset
        is_tail = scan.end == len(scan.data)
        figures.damaged_bytes += size
        if size == 0:
            self._problem("segment", number, scan.offset, "a part of the log is gone from here")
        elif is_tail and is_last:
            what = f"segment {number} ends with {size} bytes of an unfinished write at byte {scan.offset}"
            self.notices.append(f"{what}: no damage, a start cuts them off")
        elif scan.header is None and scan.offset == 0:
            self._problem("segment", number, 0, f"no valid header; {size} bytes are not what was written")
        else:
            described = describe_damage(scan.data, scan.offset, self._names)
            self._problem("segment", number, scan.offset, f"{size} bytes are not what was written{described}")

    # The whole

    def end(self) -> None:
        position = self._chain.position
        known_end: i64 = self._clean_position
        newest = self._newest
        if newest is not None:
            known_end = max(known_end, newest.end_position)
            if newest.offset == SEGMENT_HEADER_SIZE:
                # Its segment comes into being with the next batch.
                position = max(position, newest.position)
        if position < known_end:
            self._problem("log", 0, -1, f"the log ends {known_end - position} bytes too early")

    def replay(
        self, known_queue_ids: list[int], resident_queue_ids: list[int] | None = None, topology_version: int = -1
    ) -> Recovered | None:
        """What a start would find; None if it would refuse. OSError or UnknownFormat as from `recover`."""
        try:
            recovered = recover(
                self._disk,
                self._log_id,
                known_queue_ids,
                self._clean_position,
                self._names,
                resident_queue_ids,
                topology_version,
            )
        except Corrupt as refusal:
            self._problem("log", 0, -1, f"the broker would refuse to start: {refusal.why}")
            return None
        for lost in recovered.report.lost():
            self._problem("log", 0, -1, lost)
        if len(self.problems) == 0:
            # Recovery judges last: what it calls damage is damage, whatever we think of it.
            for sentence in recovered.report.damage:
                self._problem("log", 0, -1, sentence)
        return recovered

    def _problem(self, place: str, number: int, offset: i64, what: str) -> None:
        self.problems.append(Problem(place, number, offset, what))
