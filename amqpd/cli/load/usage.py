"""What processes and the machine have used so far, read from /proc.

Owns: CPU seconds, resident memory and disk writes of a process tree, CPU of the machine. Does not own sampling times.
Linux only; where a value can't be read it counts as zero.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    cpu_s: float = 0.0
    rss_bytes: int = 0
    written_bytes: int = 0


@dataclass(frozen=True)
class Machine:
    process_s: float = 0.0
    interrupt_s: float = 0.0
    stolen_s: float = 0.0


def tree_usage(root: int) -> Usage:
    """The process `root` and everything below it; nothing when root is 0."""
    if not root:
        return Usage()
    parents: dict[int, int] = {}
    cpu: dict[int, float] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
        if len(fields) > 12:
            parents[int(name)] = int(fields[1])
            cpu[int(name)] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    tree = [root] if root in parents else []
    for member in tree:
        tree.extend(child for child, parent in parents.items() if parent == member)
    return Usage(
        cpu_s=sum(cpu[member] for member in tree),
        rss_bytes=sum(_rss_bytes(member) for member in tree),
        written_bytes=sum(_written_bytes(member) for member in tree),
    )


def machine_cpu() -> Machine:
    fields = _read("/proc/stat").split("\n", 1)[0].split()[1:]
    if len(fields) < 8:
        return Machine()
    seconds = [int(value) / TICKS_PER_S for value in fields[:8]]
    return Machine(sum(seconds[:3]), seconds[5] + seconds[6], seconds[7])


def own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def load_average() -> float:
    return os.getloadavg()[0]


def _rss_bytes(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE_BYTES if len(fields) > 1 else 0


def _written_bytes(pid: int) -> int:
    for line in _read(f"/proc/{pid}/io").splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
