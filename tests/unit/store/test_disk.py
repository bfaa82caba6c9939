"""The contract of the disk port, held against the fake that the other tests trust; the real one has its own tests."""

from __future__ import annotations

import errno

import pytest

from amqpd.store.disk import DESCRIPTORS, FAILED, LOCK, MEMORY, ROOM, Disk, DiskFull, lack_of, not_now
from tests.fakes.faulty_disk import KEPT, LOST, FaultyDisk


def test_port_itself_does_nothing() -> None:
    with pytest.raises(NotImplementedError):
        Disk().segment_numbers()


def test_fake_loses_what_was_not_synced() -> None:
    disk = FaultyDisk()
    disk.create_segment(1, b"head")
    disk.write(1, 4, [b"ab", b"cd"])
    assert disk.read(1, 2, 100) == b"adabcd"
    assert disk.survivor(KEPT).read(1, 0, 100) == b"headabcd"
    assert disk.survivor(LOST).read(1, 0, 100) == b"head"
    disk.sync(1)
    assert disk.survivor(LOST).read(1, 0, 100) == b"headabcd"


def test_fake_keeps_two_checkpoints() -> None:
    disk = FaultyDisk()
    for generation in (1, 2, 3):
        disk.write_checkpoint(generation, [b"%d" % generation])
    assert disk.checkpoint_generations() == [2, 3]


@pytest.mark.parametrize(
    ("code", "lack"),
    [
        (errno.ENOSPC, ROOM),
        (errno.EDQUOT, ROOM),
        (errno.EMFILE, DESCRIPTORS),
        (errno.ENFILE, DESCRIPTORS),
        (errno.ENOMEM, MEMORY),
        (errno.EBUSY, LOCK),
        (errno.EIO, FAILED),
        (errno.EROFS, FAILED),
    ],
)
def test_an_error_says_what_is_lacking(code: int, lack: int) -> None:
    assert lack_of(OSError(code, "text")) == lack
    assert isinstance(not_now(OSError(code, "text")), DiskFull) is (lack == ROOM)


def test_an_error_without_a_number_is_a_failure() -> None:
    assert lack_of(OSError("strange")) == FAILED
