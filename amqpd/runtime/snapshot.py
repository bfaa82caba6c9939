"""A data directory as it is at one moment, for those who only look: also while a broker is at work in it.

Owns: opening everything read-only and at once, so that a segment that the broker deletes meanwhile can still be read, and a
disk port that keeps what recovery would change to itself. Does not own what is in the files. It takes no lock.
Invariant: nothing in the directory is changed. Checkpoints are opened before segments, and again if they were replaced
meanwhile, so that the log reaches at least as far as they say.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from amqpd.runtime.file_disk import CHECKPOINT_SUFFIX, SEGMENT_SUFFIX, numbers_in, read_all, with_path
from amqpd.runtime.files import read_clean_stop, read_identity
from amqpd.store.disk import Disk
from amqpd.store.segment import SEGMENT_HEADER_SIZE, SEGMENT_MAGIC
from amqpd.store.sqlite_topology import read_topology
from amqpd.store.topology import Topology

ATTEMPTS_MAX: Final = 20


class NotADataDirectory(Exception):
    """One sentence: why there is nothing to look at."""


class Snapshot(Disk):
    def __init__(self, path: Path) -> None:
        if not (path / "log").is_dir():
            raise NotADataDirectory(f"{path} is not a data directory of amqpd: it has no log in it")
        self.path = path
        self.is_in_use = is_in_use(path / "lock")
        self._descriptors: dict[int, int] = {}
        self._checkpoints: dict[int, bytes | OSError] = {}
        # What recovery has cut, written and deleted, as far as this snapshot is concerned.
        self._sizes: dict[int, int] = {}
        self._written: dict[int, bytearray] = {}
        self.clean_position = read_clean_stop(path)
        self._open()

    def _open(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for _ in range(ATTEMPTS_MAX):
            self.close()
            generations = numbers_in(self.path / "checkpoints", CHECKPOINT_SUFFIX)
            try:
                self._checkpoints = {each: self._load_checkpoint(each) for each in generations}
                for number in numbers_in(self.path / "log", SEGMENT_SUFFIX):
                    self._open_segment(number)
            except FileNotFoundError:
                continue
            if numbers_in(self.path / "checkpoints", CHECKPOINT_SUFFIX) == generations:
                return
        raise NotADataDirectory(f"{self.path} changes too fast to be looked at")

    def _load_checkpoint(self, generation: int) -> bytes | OSError:
        path = self.checkpoint_path(generation)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            return with_path(error, path)

    def _open_segment(self, number: int) -> None:
        path = self.segment_path(number)
        self._sizes[number] = path.stat().st_size
        try:
            self._descriptors[number] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError:
            # Said when it is read.
            return
        self._sizes[number] = os.fstat(self._descriptors[number]).st_size

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}
        self._sizes = {}

    # What is beside the log

    def log_id(self) -> int:
        """As identity.json says; DataDirectoryRefused or UnknownFormat if it does not."""
        return read_identity(self.path)

    def log_ids(self) -> list[int]:
        """As the segments themselves say; one of them, unless files were mixed."""
        found: dict[int, None] = {}
        for descriptor in self._descriptors.values():
            header = read_all(descriptor, 0, SEGMENT_HEADER_SIZE)
            if header[:8] == SEGMENT_MAGIC and len(header) == SEGMENT_HEADER_SIZE:
                found[int.from_bytes(header[16:24], "little")] = None
        return list(found)

    def topology(self) -> Topology:
        """sqlite3.DatabaseError, Corrupt, UnknownFormat or OSError if it can't be read."""
        source = self.path / "topology.sqlite"
        with tempfile.TemporaryDirectory(prefix="amqpd-log-") as folder:
            copy = Path(folder) / source.name
            if self.is_in_use:
                connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
                target = sqlite3.connect(copy)
                connection.backup(target)
                target.close()
                connection.close()
            else:
                # SQLite would put what its journal holds into the file, given the chance.
                for each in (source, source.with_name(source.name + "-wal")):
                    if each == source or each.exists():
                        shutil.copyfile(each, copy.with_name(each.name))
            return read_topology(copy)

    def set_aside(self) -> list[str]:
        """Damaged files that earlier starts have kept."""
        return sorted(each.name for folder in ("log", "checkpoints") for each in (self.path / folder).glob("*.bad*"))

    def segment_path(self, number: int) -> Path:
        return self.path / "log" / f"{number:016d}{SEGMENT_SUFFIX}"

    def checkpoint_path(self, generation: int) -> Path:
        return self.path / "checkpoints" / f"{generation:016d}{CHECKPOINT_SUFFIX}"

    # The port

    def segment_numbers(self) -> list[int]:
        return sorted(self._sizes)

    def segment_size(self, number: int) -> int:
        return self._sizes[number]

    def read(self, number: int, offset: int, size: int) -> bytes:
        size = min(size, self._sizes[number] - offset)
        if number in self._written:
            return bytes(self._written[number][offset : offset + size])
        path = self.segment_path(number)
        try:
            if number not in self._descriptors:
                self._descriptors[number] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return read_all(self._descriptors[number], offset, size)
        except OSError as error:
            raise with_path(error, path) from error

    def checkpoint_generations(self) -> list[int]:
        return sorted(self._checkpoints)

    def read_checkpoint(self, generation: int) -> bytes:
        found = self._checkpoints[generation]
        if isinstance(found, OSError):
            raise found
        return found

    def free_bytes(self) -> int:
        return 1 << 62

    # What recovery would change

    def create_segment(self, number: int, header: bytes) -> None:
        self._written[number] = bytearray(header)
        self._sizes[number] = len(header)

    def write(self, number: int, offset: int, parts: list[bytes]) -> None:
        self._written[number][offset:] = b"".join(parts)
        self._sizes[number] = len(self._written[number])

    def sync(self, number: int) -> None:
        pass

    def close_segment(self, number: int) -> None:
        pass

    def truncate(self, number: int, size: int) -> None:
        self._sizes[number] = size

    def delete_segments(self, numbers: list[int]) -> None:
        for number in numbers:
            self._sizes.pop(number, None)

    def keep_aside(self, number: int) -> str:
        return self.segment_path(number).name

    def keep_checkpoint_aside(self, generation: int) -> None:
        pass

    def keep_lost(self, lines: list[bytes]) -> None:
        pass


def is_in_use(lock: Path) -> bool:
    """Does somebody hold the lock? Asked without taking it, which could keep a broker from starting."""
    try:
        found = lock.stat()
        place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        return any(place in line.split() for line in Path("/proc/locks").read_text().splitlines())
    except OSError:
        return False
