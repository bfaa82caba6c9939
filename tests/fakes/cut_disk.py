"""A disk that shows, at every single effect, what a power cut during it would leave behind; then the effect happens.

One run of a script meets every cut there is, so nothing has to be run again for each of them. Owns which survivors differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from amqpd.store.disk import Disk
from tests.fakes.faulty_disk import OUTCOMES, FakeFile, FaultyDisk, PowerLoss

# What happened, what became of unsynced bytes, and the disk that the next start finds.
OnCut = Callable[[str, FaultyDisk], None]


def copy_of(disk: FaultyDisk) -> FaultyDisk:
    found = FaultyDisk()
    found.checkpoints = dict(disk.checkpoints)
    found.aside = dict(disk.aside)
    for number, file in disk.segments.items():
        found.segments[number] = FakeFile(file.durable, file.unsynced, file.is_listed)
    return found


def content_of(disk: FaultyDisk) -> tuple[object, ...]:
    """Equal for disks that hold the same bytes."""
    return (*((number, file.content) for number, file in disk.segments.items()), *disk.checkpoints.items())


class CutDisk(Disk):
    def __init__(self, disk: FaultyDisk) -> None:
        self.disk = disk
        self.on_cut: OnCut | None = None
        # Effects that were cut, by kind, and how many different disks that made.
        self.effect_counts: dict[str, int] = {}
        self.cut_count = 0
        self._seen: set[tuple[object, ...]] = set()

    def _cut(self, kind: str, what: str, *arguments: object) -> None:
        if self.on_cut is None:
            return
        count = self.effect_counts[kind] = self.effect_counts.get(kind, 0) + 1
        if kind != "sync":
            # Between a write and its sync nobody was told anything: what both would leave need not be tried twice.
            self._seen.clear()
        # The faulty disk tries a checkpoint with and without its rename, by the parity of the effect's number.
        for parity in (0, 1) if kind == "write_checkpoint" else (0,):
            broken = copy_of(self.disk)
            broken.effects = [""] * parity
            broken.power_loss_at = parity
            try:
                getattr(broken, kind)(*arguments)
            except PowerLoss:
                pass
            for outcome in OUTCOMES:
                found = broken.survivor(outcome, count)
                content = content_of(found)
                if content not in self._seen:
                    self._seen.add(content)
                    self.cut_count += 1
                    self.on_cut(f"{kind} {what} ({count}), unsynced bytes {outcome}", found)

    def create_segment(self, number: int, header: bytes) -> None:
        self._cut("create_segment", str(number), number, header)
        self.disk.create_segment(number, header)

    def write(self, number: int, offset: int, parts: list[bytes]) -> None:
        self._cut("write", str(number), number, offset, parts)
        self.disk.write(number, offset, parts)

    def sync(self, number: int) -> None:
        self._cut("sync", str(number), number)
        self.disk.sync(number)

    def truncate(self, number: int, size: int) -> None:
        self._cut("truncate", str(number), number, size)
        self.disk.truncate(number, size)

    def delete_segments(self, numbers: list[int]) -> None:
        self._cut("delete_segments", str(numbers), numbers)
        self.disk.delete_segments(numbers)

    def write_checkpoint(self, generation: int, blocks: Iterable[bytes]) -> None:
        # It can be gone through only once.
        data = list(blocks)
        self._cut("write_checkpoint", str(generation), generation, data)
        self.disk.write_checkpoint(generation, data)

    # Nothing is at stake in these.

    def segment_numbers(self) -> list[int]:
        return self.disk.segment_numbers()

    def segment_size(self, number: int) -> int:
        return self.disk.segment_size(number)

    def close_segment(self, number: int) -> None:
        self.disk.close_segment(number)

    def read(self, number: int, offset: int, size: int) -> bytes:
        return self.disk.read(number, offset, size)

    def keep_aside(self, number: int) -> str:
        return self.disk.keep_aside(number)

    def checkpoint_generations(self) -> list[int]:
        return self.disk.checkpoint_generations()

    def read_checkpoint(self, generation: int) -> bytes:
        return self.disk.read_checkpoint(generation)

    def keep_checkpoint_aside(self, generation: int) -> None:
        self.disk.keep_checkpoint_aside(generation)

    def free_bytes(self) -> int:
        return self.disk.free_bytes()
