"""How much memory there is, how much we use, and when that is too much.

Owns the reading of /proc and of cgroups, and the alarm's verdict. Does not own what the alarm does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# The alarm ends a little below where it began, or it would flap with every message.
RESUME_SHARE: Final = 0.95
_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


def memory_limit_bytes(root: Path = Path("/")) -> int:
    """The least of RAM and every cgroup that this process is in."""
    limits = [_integer(root / "sys/fs/cgroup/memory/memory.limit_in_bytes")]
    try:
        physical = int(_field(root / "proc/meminfo", "MemTotal:")) * 1024
    except ValueError:
        physical = _PAGE_SIZE * os.sysconf("SC_PHYS_PAGES")
    group = _own_cgroup(root)
    top = root / "sys/fs/cgroup"
    while group.is_relative_to(top):
        limits.append(_integer(group / "memory.max"))
        group = group.parent
    return min([physical, *(limit for limit in limits if limit > 0)])


class Resident:
    """How much memory this process has, as the kernel counts: the file stays open, so that no descriptor is needed for it."""

    def __init__(self, root: Path = Path("/")) -> None:
        try:
            self._statm = os.open(root / "proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # Not Linux: nothing to read.
            self._statm = -1

    def bytes(self) -> int:
        """0 where there is no /proc; OSError or ValueError if it can't be read now."""
        if self._statm < 0:
            return 0
        return int(os.pread(self._statm, 256, 0).split()[1]) * _PAGE_SIZE


def give_back() -> None:
    """Return what is free in the heap to the system, or it would seem used for ever.

    glibc keeps freed memory; only worth its cost while memory is short.
    """
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # Not glibc: nothing to do.


class MemoryAlarm:
    """On from `high_bytes`, off below 95 % of it."""

    def __init__(self, high_bytes: int) -> None:
        self.high_bytes = high_bytes
        self.is_on = False

    def judge(self, used_bytes: int) -> bool:
        """True if this changed the alarm."""
        was_on = self.is_on
        self.is_on = used_bytes >= (self.high_bytes * RESUME_SHARE if was_on else self.high_bytes)
        return self.is_on is not was_on


def _own_cgroup(root: Path) -> Path:
    """The directory of our cgroup (version 2); the top one if /proc does not say."""
    top = root / "sys/fs/cgroup"
    try:
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                own = top / line.removeprefix("0::/")
                # Inside a container the path is the host's, and what we see at the top is ours.
                return own if ".." not in own.parts and own.is_dir() else top
    except OSError:
        pass
    return top


def _integer(path: Path) -> int:
    """The number in a file; 0 for no file, or `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _field(path: Path, name: str) -> str:
    try:
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return line.split()[1]
    except OSError:
        pass
    return ""
