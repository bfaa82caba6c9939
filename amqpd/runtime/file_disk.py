"""The disk port on real files: log/NUMBER.segment and checkpoints/GENERATION.checkpoint under the data directory.

Owns file names and the order of fsyncs. Does not own what is in the files (store). Names are numbers: nothing that a client
says becomes a path. One descriptor per segment stays open from its first write until it is closed in order, because a
descriptor that was opened later may miss an error of the earlier writes. What is needed to read and to go on has descriptors
kept back (descriptors.py).
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from amqpd.runtime.descriptors import FILE_MODE, SpareDescriptors, sync_directory
from amqpd.runtime.lost import LOST_NAME
from amqpd.store.disk import Disk

if TYPE_CHECKING:
    from amqpd.runtime.reserve import Reserve

SEGMENT_SUFFIX: Final = ".segment"
CHECKPOINT_SUFFIX: Final = ".checkpoint"
ASIDE_SUFFIX: Final = ".bad"
TEMPORARY_SUFFIX: Final = ".tmp"
DIRECTORY_MODE: Final = 0o700
NUMBER_NAME: Final = re.compile(r"[0-9]{16}")
# So many segments are open at a time to be read.
READING_MAX: Final = 16
# What is written of a big file before it is synced for the first time.
SYNC_BYTES: Final = 4 << 20


def write_all(descriptor: int, parts: list[bytes], offset: int) -> None:
    """pwritev until everything is written: a short write is no error."""
    views = [memoryview(part) for part in parts if len(part) > 0]
    while views:
        written = os.pwritev(descriptor, views, offset)
        if written == 0:
            raise OSError(errno.EIO, "the disk took nothing")
        offset += written
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written > 0:
            views[0] = views[0][written:]


def replace_file(path: Path, blocks: Iterable[bytes]) -> None:
    """Either the old content or the new, whatever happens; the new is durable when this returns."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        offset = 0
        synced = 0
        for block in blocks:
            write_all(descriptor, [block], offset)
            offset += len(block)
            if offset - synced >= SYNC_BYTES:
                # All at once, it would keep the log's own syncs waiting.
                os.fdatasync(descriptor)
                synced = offset
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    sync_directory(path.parent)


def read_all(descriptor: int, offset: int, size: int) -> bytes:
    """Up to `size` bytes; fewer only at the end of the file, however many calls it takes and whatever was asked for."""
    size = min(size, os.fstat(descriptor).st_size - offset)
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(descriptor, size, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def make_directory(path: Path) -> None:
    """Create it, durably in its parent."""
    if not path.is_dir():
        path.mkdir(mode=DIRECTORY_MODE, parents=True)
        sync_directory(path.parent)


def with_path(error: OSError, path: Path) -> OSError:
    """The same, and which file it was: a failed read or sync of an open file does not say."""
    return OSError(error.errno, error.strerror, str(path))


class FileDisk(Disk):
    def __init__(self, path: Path, reserve: Reserve | None = None) -> None:
        self._path = path
        self._reserve = reserve
        self._segments = path / "log"
        self._checkpoints = path / "checkpoints"
        self._descriptors: dict[int, int] = {}
        # Of what is being read, the one used last at the end; never used nor closed without the lock.
        self._reading: dict[int, int] = {}
        self._reading_lock = threading.Lock()
        self._descriptors_kept = SpareDescriptors()
        make_directory(self._segments)
        make_directory(self._checkpoints)

    def keep_descriptors(self) -> None:
        """From now on others may take all descriptors that there are: what is needed to go on is kept."""
        self._descriptors_kept.keep([self._segments, self._checkpoints, self._path])

    def close(self) -> None:
        """Nothing is read or written any more. Open segments are left to the end of the process."""
        with self._reading_lock:
            for descriptor in self._reading.values():
                os.close(descriptor)
            self._reading = {}
        self._descriptors_kept.close()

    # Segments

    def segment_numbers(self) -> list[int]:
        return numbers_in(self._segments, SEGMENT_SUFFIX)

    def segment_size(self, number: int) -> int:
        return self._segment(number).stat().st_size

    def create_segment(self, number: int, header: bytes) -> None:
        path = self._segment(number)
        descriptor = self._descriptors_kept.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            write_all(descriptor, [header], 0)
            os.fsync(descriptor)
            self._descriptors_kept.sync_directory(self._segments)
        except OSError:
            os.close(descriptor)
            # Nobody has seen it; the same number is tried again when there is room.
            path.unlink()
            raise
        self._descriptors[number] = descriptor

    def write(self, number: int, offset: int, parts: list[bytes]) -> None:
        descriptor = self._descriptor(number)
        try:
            write_all(descriptor, parts, offset)
        except OSError as error:
            raise with_path(error, self._segment(number)) from error

    def sync(self, number: int) -> None:
        descriptor = self._descriptor(number)
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            raise with_path(error, self._segment(number)) from error

    def close_segment(self, number: int) -> None:
        descriptor = self._descriptors.pop(number, -1)
        if descriptor >= 0:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def read(self, number: int, offset: int, size: int) -> bytes:
        return self.read_ranges(number, [(offset, size)])[0]

    def read_ranges(self, number: int, ranges: list[tuple[int, int]]) -> list[bytes]:
        with self._reading_lock:
            try:
                descriptor = self._reading_descriptor(number)
                return [read_all(descriptor, offset, size) for offset, size in ranges]
            except OSError as error:
                self._close_reading(number)
                raise with_path(error, self._segment(number)) from error

    def _reading_descriptor(self, number: int) -> int:
        """One of our own: the writer's may be closed meanwhile."""
        descriptor = self._reading.pop(number, -1)
        if descriptor < 0:
            if len(self._reading) >= READING_MAX:
                self._close_reading(next(iter(self._reading)))
            descriptor = self._descriptors_kept.open(self._segment(number), os.O_RDONLY)
        self._reading[number] = descriptor
        return descriptor

    def _close_reading(self, number: int) -> None:
        descriptor = self._reading.pop(number, -1)
        if descriptor >= 0:
            os.close(descriptor)

    def truncate(self, number: int, size: int) -> None:
        descriptor = self._descriptor(number)
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)

    def delete_segments(self, numbers: list[int]) -> None:
        for number in numbers:
            descriptor = self._descriptors.pop(number, -1)
            if descriptor >= 0:
                # Recovery cut it; open, it would keep its space.
                os.close(descriptor)
            with self._reading_lock:
                self._close_reading(number)
            self._segment(number).unlink(missing_ok=True)
        self._descriptors_kept.sync_directory(self._segments)

    def keep_aside(self, number: int) -> str:
        path = self._segment(number)
        aside = path.with_name(path.name + ASIDE_SUFFIX)
        if not aside.exists():
            # A second name for the same file: what is intact in it can still be read under the first.
            os.link(path, aside)
            self._descriptors_kept.sync_directory(self._segments)
        return aside.name

    def keep_lost(self, lines: list[bytes]) -> None:
        descriptor = self._descriptors_kept.open(self._path / LOST_NAME, os.O_WRONLY | os.O_CREAT)
        try:
            end = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, lines, end)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._descriptors_kept.sync_directory(self._path)

    def _segment(self, number: int) -> Path:
        return self._segments / f"{number:016d}{SEGMENT_SUFFIX}"

    def _descriptor(self, number: int) -> int:
        descriptor = self._descriptors.get(number, -1)
        if descriptor < 0:
            descriptor = self._descriptors_kept.open(self._segment(number), os.O_RDWR)
            self._descriptors[number] = descriptor
        return descriptor

    # Checkpoints

    def checkpoint_generations(self) -> list[int]:
        return numbers_in(self._checkpoints, CHECKPOINT_SUFFIX)

    def read_checkpoint(self, generation: int) -> bytes:
        path = self._checkpoint(generation)
        try:
            return path.read_bytes()
        except OSError as error:
            raise with_path(error, path) from error

    def keep_checkpoint_aside(self, generation: int) -> None:
        path = self._checkpoint(generation)
        os.rename(path, path.with_name(path.name + ASIDE_SUFFIX))
        sync_directory(self._checkpoints)

    def write_checkpoint(self, generation: int, blocks: Iterable[bytes]) -> None:
        path = self._checkpoint(generation)
        try:
            replace_file(path, blocks)
        except OSError:
            path.with_name(path.name + TEMPORARY_SUFFIX).unlink(missing_ok=True)
            raise
        for old in self.checkpoint_generations()[:-2]:
            self._checkpoint(old).unlink()
        sync_directory(self._checkpoints)

    def _checkpoint(self, generation: int) -> Path:
        return self._checkpoints / f"{generation:016d}{CHECKPOINT_SUFFIX}"

    # The rest

    def free_bytes(self) -> int:
        found = os.statvfs(self._path)
        return found.f_bavail * found.f_frsize

    def give_up_reserve(self) -> bool:
        return self._reserve is not None and self._reserve.give_up()

    def make_reserve(self) -> bool:
        return self._reserve is None or self._reserve.make()


def numbers_in(directory: Path, suffix: str) -> list[int]:
    """Files that are called NUMBER and the suffix."""
    if not directory.is_dir():
        return []
    found = [path.name.removesuffix(suffix) for path in directory.iterdir() if path.name.endswith(suffix)]
    # Exactly as we write them: anything else would not be found again by its number.
    return sorted(int(name) for name in found if NUMBER_NAME.fullmatch(name) and int(name) > 0)
