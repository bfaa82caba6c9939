"""Room on the disk that is kept for settles: the file `reserve` in the data directory, given up when the disk is full.

A full disk would stay full without it: an ack has to be logged before a segment is dead, and two checkpoints have to be
written before the segment is deleted. With what this file held they can be, so consumers give space back.

Owns that file. Does not own when it is given up or made anew (log_writer.py, watch.py). Nothing is ever read from it, and a
crash at any point leaves it whole or gone.
Invariant: a file called `reserve` has all of its room. It is allocated under another name first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Final

from amqpd.runtime.descriptors import FILE_MODE, sync_directory
from amqpd.runtime.file_disk import write_all
from amqpd.store.disk import FULL_ERRNOS

NAME: Final = "reserve"
UNFINISHED_NAME: Final = "reserve.tmp"
# The reserve is at most this share of its file system.
FILE_SYSTEM_SHARE: Final = 8
# With less free than this a start might not even open its files, so it gives the reserve up first.
START_BYTES: Final = 1 << 20
ZEROS: Final = bytes(1 << 20)


class Reserve:
    """Each method may be called in any thread."""

    def __init__(self, directory: Path, wanted_bytes: int) -> None:
        """`wanted_bytes` 0: none is kept."""
        self._directory = directory
        self._path = directory / NAME
        self._unfinished = directory / UNFINISHED_NAME
        self._lock = threading.Lock()
        found = os.statvfs(directory)
        self.size_bytes = min(wanted_bytes, found.f_blocks * found.f_frsize // FILE_SYSTEM_SHARE)
        self._unfinished.unlink(missing_ok=True)
        if self._found_bytes() not in (-1, self.size_bytes) or self.size_bytes == 0 or self._free_bytes() < START_BYTES:
            self._path.unlink(missing_ok=True)

    @property
    def is_whole(self) -> bool:
        """True if nothing need be done for it."""
        return self.size_bytes == 0 or self._found_bytes() == self.size_bytes

    def give_up(self) -> bool:
        """The disk is full: others may have its room. False if it has none."""
        with self._lock:
            try:
                self._path.unlink()
            except OSError:
                return False
            with contextlib.suppress(OSError):
                # A file system with a journal lets blocks be used again once it has written down that they are free.
                sync_directory(self._directory)
            return True

    def make(self) -> bool:
        """Make it anew if there is room for it and half as much again; True if it is whole now.

        Raises OSError if something else than room is missing.
        """
        with self._lock:
            if self.is_whole:
                return True
            try:
                if self._free_bytes() < self.size_bytes + self.size_bytes // 2:
                    return False
                self._allocate()
                os.rename(self._unfinished, self._path)
                sync_directory(self._directory)
            except OSError as error:
                with contextlib.suppress(OSError):
                    self._unfinished.unlink(missing_ok=True)
                if error.errno not in FULL_ERRNOS:
                    raise
                return False
            return True

    def _allocate(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(self._unfinished, flags, FILE_MODE)
        try:
            try:
                os.posix_fallocate(descriptor, 0, self.size_bytes)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                for offset in range(0, self.size_bytes, len(ZEROS)):
                    write_all(descriptor, [ZEROS[: self.size_bytes - offset]], offset)
        finally:
            os.close(descriptor)

    def _found_bytes(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return -1

    def _free_bytes(self) -> int:
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize
