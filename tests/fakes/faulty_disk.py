"""A disk in memory that forgets what was not synced, tears what was being written, fills up, and breaks.

Every method that changes something is one effect. `power_loss_at` names the effect during which the power goes: it raises
PowerLoss, and `survivor(outcome)` is the disk that the next start finds.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterable
from typing import Final

from amqpd.store.disk import Disk

SECTOR: Final = 512
# What became of bytes that were written but not synced.
LOST: Final = "lost"
KEPT: Final = "kept"
TORN: Final = "torn"
ZEROS: Final = "zeros"
SECTORS: Final = "sectors"
OUTCOMES: Final = (LOST, KEPT, TORN, ZEROS, SECTORS)


class PowerLoss(Exception):
    pass


class FakeFile:
    def __init__(self, durable: bytes, unsynced: bytes = b"", is_listed: bool = True) -> None:
        self.durable = durable
        self.unsynced = unsynced
        # False: the directory entry itself may be lost.
        self.is_listed = is_listed

    @property
    def content(self) -> bytes:
        return self.durable + self.unsynced


class FaultyDisk(Disk):
    def __init__(self) -> None:
        self.segments: dict[int, FakeFile] = {}
        self.checkpoints: dict[int, bytes] = {}
        self.aside: dict[str, bytes] = {}
        self.lost: list[bytes] = []
        self.effects: list[str] = []
        self.power_loss_at = -1
        # Fails this effect, once, after so many bytes of it.
        self.error_at = -1
        self.error = errno.EIO
        self.error_after_bytes = 0
        self.free = 1 << 40
        # All that fits on it, what is kept for settles included.
        self.capacity_bytes = 1 << 40
        self.reserve_bytes = 1000
        self.has_reserve = False

    def _effect(self, name: str) -> bool:
        """Note it; True if the power goes while it is under way."""
        self.effects.append(name)
        return len(self.effects) - 1 == self.power_loss_at

    def _fails(self) -> bool:
        return len(self.effects) - 1 == self.error_at

    def _raise(self) -> None:
        self.error_at = -1
        raise OSError(self.error, "injected")

    @property
    def used_bytes(self) -> int:
        used = sum(len(file.content) for file in self.segments.values()) + sum(map(len, self.checkpoints.values()))
        return used + (self.reserve_bytes if self.has_reserve else 0)

    def _need(self, size_bytes: int) -> None:
        if self.used_bytes + size_bytes > self.capacity_bytes:
            raise OSError(errno.ENOSPC, "no room")

    # The port

    def segment_numbers(self) -> list[int]:
        return sorted(self.segments)

    def segment_size(self, number: int) -> int:
        return len(self.segments[number].content)

    def create_segment(self, number: int, header: bytes) -> None:
        lost = self._effect(f"create {number}")
        if self._fails():
            self._raise()
        assert number not in self.segments, "a segment file is never used twice"
        self._need(len(header))
        if lost:
            self.segments[number] = FakeFile(b"", header, False)
            raise PowerLoss
        self.segments[number] = FakeFile(header)

    def write(self, number: int, offset: int, parts: list[bytes]) -> None:
        lost = self._effect(f"write {number}")
        file = self.segments[number]
        data = b"".join(parts)
        assert offset == len(file.content), "a log is appended to"
        if self._fails():
            file.unsynced += data[: self.error_after_bytes]
            self._raise()
        self._need(len(data))
        file.unsynced += data
        if lost:
            raise PowerLoss

    def sync(self, number: int) -> None:
        lost = self._effect(f"sync {number}")
        if lost:
            raise PowerLoss
        if self._fails():
            self._raise()
        file = self.segments[number]
        self.segments[number] = FakeFile(file.content)

    def close_segment(self, number: int) -> None:
        file = self.segments.get(number)
        if file is not None:
            self.segments[number] = FakeFile(file.content)

    def read(self, number: int, offset: int, size: int) -> bytes:
        if number not in self.segments:
            raise FileNotFoundError(errno.ENOENT, f"no segment {number}")
        return self.segments[number].content[offset : offset + size]

    def truncate(self, number: int, size: int) -> None:
        lost = self._effect(f"truncate {number}")
        if not lost:
            self.segments[number] = FakeFile(self.segments[number].content[:size])
        else:
            raise PowerLoss

    def delete_segments(self, numbers: list[int]) -> None:
        lost = self._effect(f"delete {numbers}")
        if lost:
            # The directory was not synced: any of them may be back.
            for number in numbers[::2]:
                del self.segments[number]
            raise PowerLoss
        for number in numbers:
            self.segments.pop(number, None)

    def keep_aside(self, number: int) -> str:
        name = f"{number}.bad"
        self.aside.setdefault(name, self.segments[number].content)
        return name

    def keep_lost(self, lines: list[bytes]) -> None:
        self.effects.append("lost")
        if self._fails():
            self._raise()
        self.lost += lines

    def checkpoint_generations(self) -> list[int]:
        return sorted(self.checkpoints)

    def read_checkpoint(self, generation: int) -> bytes:
        return self.checkpoints[generation]

    def keep_checkpoint_aside(self, generation: int) -> None:
        self.aside[f"checkpoint {generation}.bad"] = self.checkpoints.pop(generation)

    def write_checkpoint(self, generation: int, blocks: Iterable[bytes]) -> None:
        data = b"".join(blocks)
        lost = self._effect(f"checkpoint {generation}")
        if self._fails():
            self._raise()
        self._need(len(data))
        if lost:
            # Either before the rename or after it; both are tried, by the parity of the effect.
            if self.power_loss_at % 2 == 0:
                self.checkpoints[generation] = data
            raise PowerLoss
        self.checkpoints[generation] = data
        for old in sorted(self.checkpoints)[:-2]:
            del self.checkpoints[old]

    def free_bytes(self) -> int:
        return self.free

    def give_up_reserve(self) -> bool:
        had, self.has_reserve = self.has_reserve, False
        return had

    def make_reserve(self) -> bool:
        if not self.has_reserve and self.used_bytes + self.reserve_bytes * 3 // 2 <= self.capacity_bytes:
            self.has_reserve = True
        return self.has_reserve

    # After the crash

    def survivor(self, outcome: str, seed: int = 0) -> FaultyDisk:
        """The disk as the next start finds it."""
        random_source = random.Random(seed)
        found = FaultyDisk()
        found.checkpoints = dict(self.checkpoints)
        found.aside = dict(self.aside)
        for number, file in self.segments.items():
            if outcome == LOST and not file.is_listed:
                continue
            found.segments[number] = FakeFile(file.durable + _remains(file.unsynced, outcome, random_source))
        return found


def _remains(unsynced: bytes, outcome: str, random_source: random.Random) -> bytes:
    if outcome == LOST or not unsynced:
        return b""
    if outcome == KEPT:
        return unsynced
    if outcome == TORN:
        return unsynced[: random_source.randrange(len(unsynced))]
    if outcome == ZEROS:
        return bytes(len(unsynced))
    assert outcome == SECTORS
    remains = bytearray(unsynced)
    for at in range(0, len(remains), SECTOR):
        if random_source.random() < 0.5:
            end = min(at + SECTOR, len(remains))
            remains[at:end] = bytes(end - at)
    return bytes(remains)
