"""Makes the process fit for load: memory that is freed is kept, and no collection stands in a latency.

Owns: settings of this process. Every read and every block is a bytes object of up to 256 KiB; by default glibc returns
such memory to the kernel when it is freed, and faulting it in again costs more than filling it: measured with
`amqpd bench --ack-every 0`, half of the rate. Elsewhere than on glibc that part does nothing.
"""

from __future__ import annotations

import ctypes
import gc
import resource

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
# The largest that glibc accepts on 64 bits.
KEEP_BYTES = 32 << 20
FILES_MAX = 65536


def prepare_for_load() -> None:
    """Once, before the first connection."""
    keep_freed_memory()
    allow_files(FILES_MAX)
    # Nothing in a run makes garbage cycles.
    gc.collect()
    gc.disable()


def keep_freed_memory() -> bool:
    """True when the allocator took it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEEP_BYTES) and mallopt(M_TRIM_THRESHOLD, KEEP_BYTES))


def allow_files(wanted: int) -> int:
    """Raise the limit of open files towards `wanted`, as far as it goes; what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    return reachable
