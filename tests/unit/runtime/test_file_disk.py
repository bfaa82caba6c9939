from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from amqpd.runtime.file_disk import FileDisk, replace_file, write_all


@pytest.fixture
def disk(tmp_path: Path) -> FileDisk:
    return FileDisk(tmp_path)


def test_segment_is_written_and_read_by_number(disk: FileDisk, tmp_path: Path) -> None:
    disk.create_segment(12, b"head")
    disk.write(12, 4, [b"one", b"", b"two"])
    disk.sync(12)
    assert disk.read(12, 0, 100) == b"headonetwo"
    assert disk.read(12, 4, 3) == b"one"
    assert disk.segment_size(12) == 10
    assert disk.segment_numbers() == [12]
    assert (tmp_path / "log/0000000000000012.segment").exists()


def test_segment_goes_on_after_reopening(disk: FileDisk, tmp_path: Path) -> None:
    disk.create_segment(1, b"head")
    disk.close_segment(1)
    again = FileDisk(tmp_path)
    again.write(1, 4, [b"more"])
    again.sync(1)
    again.close_segment(1)
    assert FileDisk(tmp_path).read(1, 0, 100) == b"headmore"


def test_segment_file_is_never_used_twice(disk: FileDisk) -> None:
    disk.create_segment(1, b"head")
    with pytest.raises(FileExistsError):
        FileDisk(disk._path).create_segment(1, b"head")


def test_segment_that_found_no_room_leaves_nothing(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="full"):
        disk.create_segment(1, b"head")
    monkeypatch.setattr(os, "pwritev", real)
    assert disk.segment_numbers() == []
    disk.create_segment(1, b"head")


def test_truncate_cuts_the_end(disk: FileDisk) -> None:
    disk.create_segment(1, b"head")
    disk.write(1, 4, [b"torn"])
    disk.truncate(1, 6)
    assert disk.read(1, 0, 100) == b"headto"


def test_deleted_segments_are_gone_and_their_files_closed(disk: FileDisk) -> None:
    for number in (1, 2, 3):
        disk.create_segment(number, b"head")
    disk.delete_segments([1, 3])
    assert disk.segment_numbers() == [2]
    assert list(disk._descriptors) == [2]


def test_damaged_segment_stays_readable_and_outlives_its_deletion(disk: FileDisk, tmp_path: Path) -> None:
    disk.create_segment(1, b"head")
    name = disk.keep_aside(1)
    assert disk.keep_aside(1) == name
    assert disk.read(1, 0, 100) == b"head"
    disk.delete_segments([1])
    assert disk.segment_numbers() == []
    assert (tmp_path / "log" / name).read_bytes() == b"head"


def test_two_checkpoints_are_kept(disk: FileDisk) -> None:
    for generation in (1, 2, 3):
        disk.write_checkpoint(generation, [b"%d" % generation])
    assert disk.checkpoint_generations() == [2, 3]
    assert disk.read_checkpoint(3) == b"3"
    disk.keep_checkpoint_aside(3)
    assert disk.checkpoint_generations() == [2]


def test_unfinished_checkpoint_does_not_count(disk: FileDisk, tmp_path: Path) -> None:
    (tmp_path / "checkpoints/0000000000000001.checkpoint.tmp").write_bytes(b"half")
    assert disk.checkpoint_generations() == []


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def short(descriptor: int, views: list[memoryview], offset: int) -> int:
        return real(descriptor, [views[0][:3]], offset)

    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    monkeypatch.setattr(os, "pwritev", short)
    write_all(descriptor, [b"abcdefgh", b"", b"ijk"], 2)
    assert os.pread(descriptor, 100, 0) == b"\0\0abcdefghijk"
    os.close(descriptor)


def test_replaced_file_is_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small"
    replace_file(path, [b"old"])

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="broken"):
        replace_file(path, [b"new"])
    assert path.read_bytes() == b"old"


def test_files_are_for_their_owner_only(disk: FileDisk, tmp_path: Path) -> None:
    disk.create_segment(1, b"head")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "log/0000000000000001.segment").stat().st_mode & 0o777 == 0o600


def test_free_space_is_known(disk: FileDisk) -> None:
    assert disk.free_bytes() > 0
