"""The data directory of one node: who it belongs to, who has it open, how it was left.

    identity.json        format and log_id; written once, never changed
    reserve              room for settles when the disk is full (reserve.py)
    lock                 flocked for as long as a process uses the directory, with its pid
    clean-stop           where the log ended; only there after an orderly stop
    topology.sqlite      vhosts, exchanges, queues ... (store/sqlite_topology.py)
    log/, checkpoints/   (file_disk.py)
    lost.jsonl           what was given up (lost.py)

Owns those files and the start and stop order around them. Does not own threads (log_writer.py) nor the event loop.
Invariants: one process at a time; `clean-stop` is written last of all, and gone before anything is appended; a start that is
refused has changed nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.runtime.descriptors import FILE_MODE, sync_directory
from amqpd.runtime.file_disk import FileDisk, make_directory, replace_file
from amqpd.runtime.log_writer import SAY_S, DiskEvents, LogWriter
from amqpd.runtime.reserve import Reserve
from amqpd.store.disk import FULL_ERRNOS, LOCK, lack_of
from amqpd.store.lost import loss_of_unknown
from amqpd.store.recovered import Recovered
from amqpd.store.recovery import recover
from amqpd.store.sqlite_topology import SqliteTopology, read_topology
from amqpd.store.topology import Topology
from amqpd.vhosts.restore import resident_queue_ids

FORMAT: Final = 1
GIB: Final = 1 << 30
LOCK_RETRY_S: Final = 0.2

T = TypeVar("T")


class DataDirectoryRefused(Exception):
    """The directory can't be used; the text is one sentence for the operator."""


class DataDirectory:
    """Open it, `load` it, `start_writer`; when everything is synced and the last checkpoint is written, `stop`."""

    def __init__(
        self, path: Path, say: Callable[[str], None] = lambda line: None, settle_reserve_bytes: int = 0
    ) -> None:
        """`say` hears for what it waits."""
        self.path = path
        self._say = say
        self._topology_store: SqliteTopology | None = None
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
            self._topology = _private(path / "topology.sqlite", self.disk)
        except Exception:
            os.close(self._lock)
            raise
        self.writer: LogWriter | None = None

    def load(self) -> tuple[Topology, Recovered]:
        """What the node was before; Corrupt, UnknownFormat or OSError if it can't be told, and nothing has changed then."""
        try:
            return self._load()
        except Exception:
            self.release()
            raise

    def _load(self) -> tuple[Topology, Recovered]:
        topology = self._when_unlocked(lambda: read_topology(self._topology))
        if topology.version == 0 and not topology.vhosts and self.disk.segment_numbers():
            raise Corrupt(str(self._topology), -1, "it is empty, and the log is not; is topology.sqlite-wal missing?")
        clean_position = read_clean_stop(self.path)
        recovered = recover(
            self.disk,
            self.log_id,
            topology.queue_ids(),
            clean_position,
            topology.queue_names(),
            resident_queue_ids(topology),
            topology.version,
        )
        self._open_topology()
        _name_losses(recovered, topology)
        # From now on the log says which topology it goes with.
        recovered.start.topology_version = max(1, topology.version)
        self._forget_clean_stop()
        return topology, recovered

    def _when_unlocked(self, attempt: Callable[[], T]) -> T:
        say_at_s = 0.0
        while True:
            try:
                return attempt()
            except OSError as error:
                if lack_of(error) != LOCK:
                    raise
                if time.monotonic() >= say_at_s:
                    say_at_s = time.monotonic() + SAY_S
                    self._say(f"waiting for {error.filename}: {error.strerror}")
                time.sleep(LOCK_RETRY_S)

    @property
    def topology_store(self) -> SqliteTopology:
        """Opened when it is first asked for, which may change the file: not before `load` has looked at it."""
        return self._topology_store or self._open_topology()

    def _open_topology(self) -> SqliteTopology:
        store = self._when_unlocked(lambda: SqliteTopology(self._topology))
        self._topology_store = store
        return store

    def start_writer(self, recovered: Recovered, events: DiskEvents) -> LogWriter:
        self.disk.keep_descriptors()
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
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            self.disk.close()

    def _forget_clean_stop(self) -> None:
        path = self.path / "clean-stop"
        if path.exists():
            path.unlink()
            sync_directory(self.path)


def _name_losses(recovered: Recovered, topology: Topology) -> None:
    """For the list of what was given up: which queues that concerns, and what is known of the rest."""
    queues = {int(queue.queue_id): queue for queue in topology.queues}
    report = recovered.report
    for lost in report.lost_messages:
        queue = queues[int(lost.queue_id)]
        lost.vhost, lost.queue = queue.vhost, queue.name
    counted = report.lost()
    report.lost_messages += [loss_of_unknown(each) for each in report.damage if each not in counted]
    for lost in report.lost_messages:
        lost.wall_ms = time.time_ns() // 1_000_000


def read_clean_stop(path: Path) -> int:
    """Where the log ended; -1 if the last stop was not an orderly one."""
    try:
        position = _number_in(path / "clean-stop", "position")
    except (FileNotFoundError, ValueError):
        return -1
    return max(-1, position)


def _number_in(file: Path, key: str) -> int:
    """ValueError if the file is no JSON object with a number of 64 bits under that key."""
    try:
        found = json.loads(file.read_bytes())[key]
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"it has no {key}") from error
    if not isinstance(found, int) or isinstance(found, bool) or not -(1 << 63) <= found < 1 << 63:
        raise ValueError(f"its {key} is no number that could stand there")
    return found


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


def _private(path: Path, disk: FileDisk) -> Path:
    """Password hashes are in it: SQLite would let everybody read what it creates itself."""
    if disk.segment_numbers() and not path.exists():
        # A log without the queues that its messages are in would be taken for garbage.
        raise DataDirectoryRefused(
            f"the data directory {path.parent} has lost its {path.name}, and its log is not empty"
        )
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
        found_format = _number_in(file, "format")
        log_id = _number_in(file, "log_id")
    except ValueError as error:
        raise DataDirectoryRefused(f"{file} can't be read: {error}") from error
    if found_format != FORMAT:
        raise UnknownFormat(f"{file} has format {found_format}; this version reads format {FORMAT}")
    return log_id
