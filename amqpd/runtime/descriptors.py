"""Descriptors that are kept back, so that whoever takes all the others (thousands of silent sockets, say) does not stop the log.

Owns the spare ones, and those of directories, which are synced after every change in them. When no other is to be had, a spare
one is closed to make room, and opened again as soon as that works.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
# More than are opened here at a time: what is read, the next segment, a checkpoint, the list of losses.
SPARE_MAX: Final = 24


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SpareDescriptors:
    """Empty, it is as if it were not there; `keep` fills it. For any thread."""

    def __init__(self) -> None:
        self._spare: list[int] = []
        self._wanted = 0
        self._directories: dict[Path, int] = {}
        self._lock = threading.Lock()

    def keep(self, directories: list[Path]) -> None:
        self._wanted = SPARE_MAX
        for path in directories:
            self._directories[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._fill()

    def close(self) -> None:
        with self._lock:
            for descriptor in [*self._spare, *self._directories.values()]:
                os.close(descriptor)
            self._wanted = 0
            self._spare = []
            self._directories = {}

    @property
    def spare_count(self) -> int:
        return len(self._spare)

    def open(self, path: Path, flags: int) -> int:
        """As os.open, for us only; OSError with EMFILE or ENFILE only when all spare ones are in use."""
        self._fill()
        while True:
            try:
                return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._give_one():
                    raise

    def sync_directory(self, path: Path) -> None:
        descriptor = self._directories.get(path, -1)
        if descriptor < 0:
            sync_directory(path)
        else:
            os.fsync(descriptor)

    def _give_one(self) -> bool:
        with self._lock:
            if not self._spare:
                return False
            os.close(self._spare.pop())
            return True

    def _fill(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            while len(self._spare) < self._wanted:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
