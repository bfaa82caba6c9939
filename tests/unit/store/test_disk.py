"""The contract of the disk port, held against the fake that the other tests trust; the real one has its own tests."""

from __future__ import annotations

import pytest

from amqpd.store.disk import Disk
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
