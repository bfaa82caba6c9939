"""The port to the disk: segment files by number, checkpoint files by generation.

Owns the contract, and what an error means; runtime/file_disk.py has the real disk, tests a faulty one. Every method may raise
OSError:

    while reading       the bytes could not be read. That says nothing about them: whoever wants them asks again
    while writing       `lack_of` it: what is lacking may come, nothing that counts was left behind, and the same may be tried
                        again. With FAILED, and with any error of a sync, the disk may not be trusted with this log again
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Final

from mypy_extensions import mypyc_attr

# What a disk lacks that could not do what it was asked for.
FAILED: Final = 0
ROOM: Final = 1
DESCRIPTORS: Final = 2
MEMORY: Final = 3
# Somebody else holds a lock: there are some on the topology only.
LOCK: Final = 4

LACKS: Final[dict[int, int]] = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EMFILE: DESCRIPTORS,
    errno.ENFILE: DESCRIPTORS,
    errno.ENOMEM: MEMORY,
    errno.EBUSY: LOCK,
}
FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)


def lack_of(error: OSError) -> int:
    """Why a create or a write came to nothing; FAILED if it may not be tried again. Never ask this about a sync."""
    return LACKS.get(error.errno, FAILED) if error.errno is not None else FAILED


class NotNow(Exception):
    """Something is lacking; nothing of what was to be written counts, and it may be tried again."""


class DiskFull(NotNow):
    """What is lacking is room."""


def not_now(error: OSError) -> NotNow:
    """How to say that something is lacking: `lack_of` is not FAILED."""
    return DiskFull(str(error)) if lack_of(error) == ROOM else NotNow(str(error))


@mypyc_attr(allow_interpreted_subclasses=True)
class Disk:
    def segment_numbers(self) -> list[int]:
        """All segments that exist, in ascending order."""
        raise NotImplementedError

    def segment_size(self, number: int) -> int:
        raise NotImplementedError

    def create_segment(self, number: int, header: bytes) -> None:
        """A new file with this header; file and directory are synced when it returns."""
        raise NotImplementedError

    def write(self, number: int, offset: int, parts: list[bytes]) -> None:
        """Write all parts, one after the other, from `offset` on; nothing is durable before `sync`."""
        raise NotImplementedError

    def sync(self, number: int) -> None:
        raise NotImplementedError

    def close_segment(self, number: int) -> None:
        """No more writes will come: the file is synced once more and let go."""
        raise NotImplementedError

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only where the segment really ends."""
        raise NotImplementedError

    def read_ranges(self, number: int, ranges: list[tuple[int, int]]) -> list[bytes]:
        """Several pieces of one segment, each given by offset and size; may be called in any thread."""
        return [self.read(number, offset, size) for offset, size in ranges]

    def truncate(self, number: int, size: int) -> None:
        """Cut bytes off that were never confirmed; durable when it returns."""
        raise NotImplementedError

    def delete_segments(self, numbers: list[int]) -> None:
        """Gone for good when it returns: the directory is synced."""
        raise NotImplementedError

    def keep_aside(self, number: int) -> str:
        """Keep a damaged segment under another name, also when the segment itself is deleted later; returns that name."""
        raise NotImplementedError

    def keep_lost(self, lines: list[bytes]) -> None:
        """Add lines to the list of what was given up; durable when it returns."""
        raise NotImplementedError

    def checkpoint_generations(self) -> list[int]:
        """All checkpoints that exist, in ascending order."""
        raise NotImplementedError

    def read_checkpoint(self, generation: int) -> bytes:
        raise NotImplementedError

    def keep_checkpoint_aside(self, generation: int) -> None:
        """A damaged checkpoint counts no more, but is kept under another name."""
        raise NotImplementedError

    def write_checkpoint(self, generation: int, blocks: Iterable[bytes]) -> None:
        """All blocks, one after the other. Atomic and durable when it returns; afterwards only this generation and the one before it are kept."""
        raise NotImplementedError

    def free_bytes(self) -> int:
        raise NotImplementedError

    def give_up_reserve(self) -> bool:
        """Let the log have the room that is kept for settles; False if there is none. May be called in any thread."""
        return False

    def make_reserve(self) -> bool:
        """Keep room for settles again, if there is enough; True if it is kept. May be called in any thread.

        OSError: it is not for want of room that it can't be kept. The log is as good as before.
        """
        return True
