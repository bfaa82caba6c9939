"""A disk with a page cache in front of it: what is read is the cache, what survives a power cut is underneath.

Owns what becomes of bytes that were written and not synced (lost, kept, reordered and torn by sector, a size that grew
without its data), of directory entries, and of pages whose sync failed: the kernel calls them clean and writes them never
again, so they can be read until the power goes. Does not own when anything goes wrong (world.py says so through
`power_after`, `fail_next` and `capacity_bytes`).

Every method that changes something consists of effects; the power may go before, in, or after each of them.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterable

from amqpd.store.disk import Disk
from tests.sim.story import Story

SECTOR = 512
RESERVE_BYTES = 4000


class PowerLoss(BaseException):
    """Not an Exception: nobody in the node may catch it."""


class SimFile:
    def __init__(self, cache: bytes = b"", stable: bytes = b"") -> None:
        self.cache = bytearray(cache)
        # What the next start finds after a power cut; below `dirty_from` the kernel believes that it equals the cache.
        self.stable = bytearray(stable)
        self.dirty_from = len(stable)

    def write_back(self) -> None:
        """A sync that works. A hole that an earlier failed one left stays one."""
        if len(self.stable) < self.dirty_from:
            self.stable.extend(bytes(self.dirty_from - len(self.stable)))
        self.stable[self.dirty_from :] = self.cache[self.dirty_from :]
        self.dirty_from = len(self.cache)

    def forget_dirty(self) -> None:
        """A sync that fails: the pages are marked clean, and are not on the disk."""
        self.dirty_from = len(self.cache)

    def is_phantom(self) -> bool:
        return self.stable[: self.dirty_from] != self.cache[: self.dirty_from]

    def lose_power(self, source: random.Random) -> str:
        """What of the dirty sectors got to the platter by itself; returns a word on it."""
        dirty = len(self.cache) - self.dirty_from
        if dirty == 0 and len(self.stable) == len(self.cache):
            self.cache = bytearray(self.stable)
            return ""
        what = "lost"
        stable = self.stable
        if dirty > 0:
            what = source.choice(("lost", "kept", "cut short", "zeros", "torn by sector"))
            if what != "lost" and len(stable) < self.dirty_from:
                stable.extend(bytes(self.dirty_from - len(stable)))
            new = self.cache[self.dirty_from :]
            if what == "cut short":
                new = new[: source.randrange(dirty)]
                what = f"cut after {len(new)} of {dirty} bytes"
            elif what == "zeros":
                new = bytearray(source.randrange(1, dirty + 1))
            elif what == "torn by sector":
                for start, end in _sectors(self.dirty_from, len(self.cache)):
                    if source.random() < 0.5:
                        new[start - self.dirty_from : end - self.dirty_from] = bytes(end - start)
            if what != "lost":
                stable[self.dirty_from :] = new
        self.cache = bytearray(stable)
        self.dirty_from = len(stable)
        return what


def _sectors(start: int, end: int) -> list[tuple[int, int]]:
    found = []
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        found.append((start, stop))
        start = stop
    return found


class SimDisk(Disk):
    def __init__(self, story: Story, source: random.Random) -> None:
        self.segments: dict[int, SimFile] = {}
        self.checkpoints: dict[int, bytes] = {}
        self.aside: dict[str, bytes] = {}
        # The power goes during the effect after so many others; below 0 for never.
        self.power_after = -1
        # The same, counting effects of one kind only.
        self.power_in = ""
        # The next effect of this kind (write, sync, create, checkpoint, delete, read) fails with this errno.
        self.fail_next: dict[str, int] = {}
        self.capacity_bytes = 1 << 40
        # Every read fails with this errno; nothing can be opened, also not to be read.
        self.reads_fail = 0
        self.has_descriptors = True
        # Room that is kept for settles.
        self.has_reserve = False
        # Called between two effects, as another thread may run there.
        self.between: Callable[[], None] | None = None
        self.is_recovering = False
        self._story = story
        self._source = source

    # Things that go wrong

    def _effect(self, name: str, number: int) -> bool:
        """True if the power goes while it is under way; the caller leaves behind what it likes and raises PowerLoss."""
        self._story.note(b"%s%d" % (name.encode(), number))
        if self.between is not None and name != "delete":
            self.between()
        if self.power_after < 0 or (self.power_in and self.power_in != name):
            return False
        self.power_after -= 1
        if self.power_after >= 0:
            return False
        self._story.tell("! the power goes during {} {}", name, number)
        return True

    def _fail(self, kind: str) -> None:
        error = self.fail_next.pop(kind, 0)
        if error:
            self._story.tell("! {} fails with {}", kind, errno.errorcode[error])
            raise OSError(error, f"injected into {kind}")

    def heal(self) -> None:
        """Nothing goes wrong any more until somebody says so."""
        self.power_after = -1
        self.power_in = ""
        self.fail_next.clear()
        self.capacity_bytes = 1 << 40
        self.reads_fail = 0
        self.has_descriptors = True

    def used_bytes(self) -> int:
        return sum(len(each.cache) for each in self.segments.values()) + sum(map(len, self.checkpoints.values()))

    def taken_bytes(self) -> int:
        """What is kept included."""
        return self.used_bytes() + (RESERVE_BYTES if self.has_reserve else 0)

    def _room(self, wanted: int) -> int:
        """How many of so many bytes there is room for."""
        if self.capacity_bytes >= 1 << 40:
            return wanted
        return max(0, min(wanted, self.capacity_bytes - self.taken_bytes()))

    def lose_power(self) -> None:
        """Only what was synced is certain; each rest has its own fate."""
        self.fail_next.clear()
        self.reads_fail = 0
        self.has_descriptors = True
        for number in sorted(self.segments):
            what = self.segments[number].lose_power(self._source)
            if what:
                self._story.tell("* segment {}: what was not synced is {}", number, what)

    # The port: segments

    def segment_numbers(self) -> list[int]:
        return sorted(self.segments)

    def segment_size(self, number: int) -> int:
        return len(self.segments[number].cache)

    def create_segment(self, number: int, header: bytes) -> None:
        goes = self._effect("create", number)
        assert number not in self.segments, "a segment file is never used twice"
        if goes:
            # The file, its bytes and its directory entry are each there or not.
            if self._source.random() < 0.6:
                kept = self._source.choice((0, self._source.randrange(len(header)), len(header)))
                self.segments[number] = SimFile(header[:kept], header[:kept])
            raise PowerLoss
        self._fail("create")
        if not self.has_descriptors:
            raise OSError(errno.EMFILE, "no descriptor for a segment")
        if self._room(len(header)) < len(header):
            raise OSError(errno.ENOSPC, "no room for a segment")
        self.segments[number] = SimFile(header, header)

    def write(self, number: int, offset: int, parts: list[bytes]) -> None:
        goes = self._effect("write", number)
        data = b"".join(parts)
        self._story.note(data)
        file = self.segments[number]
        assert offset == len(file.cache), "a log is appended to"
        if goes:
            file.cache += data[: self._source.randrange(len(data) + 1)]
            raise PowerLoss
        if "write" in self.fail_next:
            file.cache += data[: self._source.randrange(len(data))]
            self._fail("write")
        room = self._room(len(data))
        file.cache += data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "no room for a batch")

    def sync(self, number: int) -> None:
        file = self.segments[number]
        if self._effect("sync", number):
            if self._source.random() < 0.3:
                file.write_back()
            raise PowerLoss
        self._sync(file)

    def _sync(self, file: SimFile) -> None:
        if "sync" in self.fail_next:
            file.forget_dirty()
            self._fail("sync")
        file.write_back()

    def close_segment(self, number: int) -> None:
        file = self.segments.get(number)
        if file is not None:
            self._sync(file)

    def read(self, number: int, offset: int, size: int) -> bytes:
        self._fail("read")
        if self.reads_fail or not self.has_descriptors:
            raise OSError(self.reads_fail or errno.EMFILE, "nothing can be read")
        if number not in self.segments:
            raise OSError(errno.ENOENT, f"segment {number} is gone")
        return bytes(self.segments[number].cache[offset : offset + size])

    def truncate(self, number: int, size: int) -> None:
        goes = self._effect("truncate", number)
        file = self.segments[number]
        if not goes or self._source.random() < 0.5:
            del file.cache[size:]
            file.dirty_from = min(file.dirty_from, size)
            self._sync(file)
            del file.stable[size:]
        if goes:
            raise PowerLoss

    def delete_segments(self, numbers: list[int]) -> None:
        goes = self._effect("delete", numbers[0] if numbers else 0)
        self._story.tell("segments {} are deleted", list(numbers))
        for number in numbers:
            # The directory was not synced: any of them may be back.
            if not goes or self._source.random() < 0.5:
                self.segments.pop(number, None)
        if goes:
            raise PowerLoss

    def keep_aside(self, number: int) -> str:
        name = f"{number}.bad"
        self.aside.setdefault(name, bytes(self.segments[number].cache))
        return name

    # The port: checkpoints

    def checkpoint_generations(self) -> list[int]:
        return sorted(self.checkpoints)

    def read_checkpoint(self, generation: int) -> bytes:
        return self.checkpoints[generation]

    def keep_checkpoint_aside(self, generation: int) -> None:
        if self._effect("aside", generation):
            raise PowerLoss
        self.aside[f"checkpoint {generation}.bad"] = self.checkpoints.pop(generation)

    def write_checkpoint(self, generation: int, blocks: Iterable[bytes]) -> None:
        goes = self._effect("checkpoint", generation)
        data = b"".join(blocks)
        self._story.note(data)
        if goes:
            # Before the rename was durable, after it, or while older ones were deleted.
            if self._source.random() < 0.6:
                self.checkpoints[generation] = data
                for old in sorted(self.checkpoints)[:-2]:
                    if self._source.random() < 0.5:
                        del self.checkpoints[old]
            raise PowerLoss
        self._fail("checkpoint")
        if self._room(len(data)) < len(data):
            raise OSError(errno.ENOSPC, "no room for a checkpoint")
        self.checkpoints[generation] = data
        for old in sorted(self.checkpoints)[:-2]:
            del self.checkpoints[old]
        self._story.tell("checkpoint {} is written, {} bytes", generation, len(data))

    def free_bytes(self) -> int:
        return max(0, self.capacity_bytes - self.used_bytes())

    # The port: room that is kept

    def give_up_reserve(self) -> bool:
        had_reserve, self.has_reserve = self.has_reserve, False
        return had_reserve

    def make_reserve(self) -> bool:
        if not self.has_reserve and self._room(RESERVE_BYTES * 3 // 2) == RESERVE_BYTES * 3 // 2:
            self.has_reserve = True
        return self.has_reserve
