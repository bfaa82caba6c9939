"""The data directory of one node: who it belongs to, who has it open, how it was left.

    identity.json        format and log_id; written once, never changed
    reserve              room for settles when the disk is full (reserve.py)
    lock                 flocked for as long as a process uses the directory, with its pid
    clean-stop           where the log ended; only there after an orderly stop
    topology.sqlite      vhosts, exchanges, queues ... (store/sqlite_topology.py)
    log/, checkpoints/   (file_disk.py)

Owns those files and the start and stop order around them. Does not own threads (log_writer.py) nor the event loop.
Invariants: one process at a time; `clean-stop` is written last of all, and gone before anything is appended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Final

from amqpd.runtime.file_disk import FILE_MODE, FileDisk, make_directory, replace_file, sync_directory
from amqpd.runtime.log_writer import DiskEvents, LogWriter
from amqpd.runtime.reserve import Reserve
from amqpd.store.recovered import Recovered
from amqpd.store.recovery import recover
from amqpd.store.segment import FULL_ERRNOS, UnknownFormat
from amqpd.store.sqlite_topology import SqliteTopology
from amqpd.store.topology import Topology
from amqpd.vhosts.restore import resident_queue_ids

FORMAT: Final = 1
GIB: Final = 1 << 30


class DataDirectoryRefused(Exception):
    """The directory can't be used; the text is one sentence for the operator."""


class DataDirectory:
    """Open it, `load` it, `start_writer`; when everything is synced and the last checkpoint is written, `stop`."""

    def __init__(self, path: Path, settle_reserve_bytes: int = 0) -> None:
        self.path = path
        try:
            make_directory(path)
            self._lock = _take_lock(path / "lock")
            self.reserve = Reserve(path, settle_reserve_bytes)
        except OSError as error:
            raise DataDirectoryRefused(f"can't use the data directory {path}: {error.strerror}") from error
        try:
            self.log_id = _identity(path)
            if (path / "topology.sqlite").exists() and not (path / "log").exists():
                # The log is made first: perhaps its volume is not mounted.
                raise DataDirectoryRefused(f"the data directory {path} has lost its log")
            self.disk = FileDisk(path, self.reserve)
            _require_topology(path / "topology.sqlite", self.disk)
            self.topology_store = SqliteTopology(_private(path / "topology.sqlite"))
        except Exception:
            os.close(self._lock)
            raise
        self.writer: LogWriter | None = None

    def load(self) -> tuple[Topology, Recovered]:
        """What the node was before; Corrupt or UnknownFormat if it can't be told."""
        topology = self.topology_store.load()
        clean_position = read_clean_stop(self.path)
        recovered = recover(
            self.disk,
            self.log_id,
            topology.queue_ids(),
            clean_position,
            topology.queue_names(),
            resident_queue_ids(topology),
        )
        self._forget_clean_stop()
        return topology, recovered

    def start_writer(self, recovered: Recovered, events: DiskEvents) -> LogWriter:
        self.writer = LogWriter(self.disk, self.topology_store, int(recovered.start.previous_crc), events)
        return self.writer

    def stop(self, position: int) -> None:
        """An orderly stop: everything up to `position` (Log.position) was reported as synced."""
        is_trusted = True
        if self.writer is not None:
            self.writer.stop()
            is_trusted = not self.writer.is_failed
        self.topology_store.close()
        if is_trusted:
            self._note_clean_stop(position)
        self.release()

    def _note_clean_stop(self, position: int) -> None:
        """Without room for the note the next start takes this stop for a crash, and loses nothing."""
        while True:
            try:
                replace_file(self.path / "clean-stop", [json.dumps({"position": position}).encode()])
                return
            except OSError as error:
                if error.errno not in FULL_ERRNOS:
                    raise
                if not self.reserve.give_up():
                    return

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._lock)

    def _forget_clean_stop(self) -> None:
        path = self.path / "clean-stop"
        if path.exists():
            path.unlink()
            sync_directory(self.path)


def read_clean_stop(path: Path) -> int:
    """Where the log ended; -1 if the last stop was not an orderly one."""
    try:
        found = json.loads((path / "clean-stop").read_bytes())
        return int(found["position"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return -1


class SpaceWatch:
    """Is the disk low? Publishers stop below the reserve and go on above 1.2 times of it, so that they don't flap."""

    def __init__(self, reserve_bytes: int) -> None:
        self.reserve_bytes = reserve_bytes
        self.is_low = False

    def observe(self, free_bytes: int) -> bool:
        """True if `is_low` changed."""
        limit = self.reserve_bytes * 6 // 5 if self.is_low else self.reserve_bytes
        was_low = self.is_low
        self.is_low = free_bytes < limit
        return self.is_low != was_low


def default_reserve_bytes(segment_bytes: int) -> int:
    return max(3 * segment_bytes, GIB)


def _require_topology(path: Path, disk: FileDisk) -> None:
    """A log without the queues that its messages are in would be taken for garbage."""
    if disk.segment_numbers() and (not path.exists() or path.stat().st_size == 0):
        raise DataDirectoryRefused(
            f"the data directory {path.parent} has lost its {path.name}, and its log is not empty"
        )


def _private(path: Path) -> Path:
    """Password hashes are in it: SQLite would let everybody read what it creates itself."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    return path


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise DataDirectoryRefused(f"the data directory {path.parent} is in use by {who}") from None
    with contextlib.suppress(OSError):
        # For people only; a full disk is no reason not to start.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _identity(path: Path) -> int:
    """The log_id: made once, when the directory is new."""
    file = path / "identity.json"
    if not file.exists():
        if (path / "log").exists() or (path / "topology.sqlite").exists():
            raise DataDirectoryRefused(f"the data directory {path} has lost its identity.json")
        # 63 bits, so that it is positive in a signed field; 0 is never used.
        log_id = secrets.randbits(63) | 1
        replace_file(file, [json.dumps({"format": FORMAT, "log_id": log_id}).encode()])
        return log_id
    return read_identity(path)


def read_identity(path: Path) -> int:
    file = path / "identity.json"
    try:
        found = json.loads(file.read_bytes())
        found_format = int(found["format"])
        log_id = int(found["log_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirectoryRefused(f"{file} can't be read: {error}") from error
    if found_format != FORMAT:
        raise UnknownFormat(f"{file} has format {found_format}; this version reads format {FORMAT}")
    return log_id
