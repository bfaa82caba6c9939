"""On whatever file system the tests run; tests/live/test_full_disk.py fills a small one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from amqpd.runtime import reserve
from amqpd.runtime.file_disk import FileDisk
from amqpd.runtime.reserve import NAME, UNFINISHED_NAME, Reserve

SIZE = 3 << 20


def test_it_takes_its_room_beforehand_and_gives_it_up_once(tmp_path: Path) -> None:
    kept = Reserve(tmp_path, SIZE)
    assert not kept.is_whole
    assert kept.make()
    assert kept.is_whole
    assert (tmp_path / NAME).stat().st_size == SIZE
    assert (tmp_path / NAME).stat().st_blocks * 512 >= SIZE
    assert kept.give_up()
    assert not kept.is_whole
    assert not kept.give_up()
    assert os.listdir(tmp_path) == []


def test_next_start_finds_it(tmp_path: Path) -> None:
    Reserve(tmp_path, SIZE).make()
    before = (tmp_path / NAME).stat().st_ino
    assert Reserve(tmp_path, SIZE).is_whole
    assert (tmp_path / NAME).stat().st_ino == before


def test_what_a_crash_left_of_one_is_no_reserve(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED_NAME).write_bytes(b"\0" * SIZE)
    assert not Reserve(tmp_path, SIZE).is_whole
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wanted_bytes", [0, SIZE // 2])
def test_one_of_another_size_is_given_back_at_the_start(tmp_path: Path, wanted_bytes: int) -> None:
    Reserve(tmp_path, SIZE).make()
    kept = Reserve(tmp_path, wanted_bytes)
    assert os.listdir(tmp_path) == []
    assert kept.is_whole is (wanted_bytes == 0)
    assert kept.make()


def test_it_is_not_made_where_it_would_leave_hardly_anything(tmp_path: Path) -> None:
    kept = Reserve(tmp_path, SIZE)
    kept._free_bytes = lambda: SIZE * 3 // 2 - 1  # type: ignore[method-assign]
    assert not kept.make()
    assert os.listdir(tmp_path) == []
    kept._free_bytes = lambda: SIZE * 3 // 2  # type: ignore[method-assign]
    assert kept.make()


def test_it_is_never_more_than_a_share_of_its_file_system(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert Reserve(tmp_path, 1 << 60).size_bytes == found.f_blocks * found.f_frsize // reserve.FILE_SYSTEM_SHARE


def test_start_on_a_disk_without_any_room_gives_it_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Reserve(tmp_path, SIZE).make()
    monkeypatch.setattr(reserve, "START_BYTES", 1 << 60)
    assert not Reserve(tmp_path, SIZE).is_whole


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE], ids=errno.errorcode.get)
def test_what_can_not_be_had_leaves_nothing_behind_and_says_whether_it_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, offset: int, size: int) -> None:
        raise OSError(code, "injected")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    kept = Reserve(tmp_path, SIZE)
    if code in (errno.ENOSPC, errno.EDQUOT):
        assert not kept.make()
    else:
        with pytest.raises(OSError, match="injected"):
            kept.make()
    assert os.listdir(tmp_path) == []


def test_file_system_that_can_not_allocate_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "injected")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert Reserve(tmp_path, SIZE + 1).make()
    assert (tmp_path / NAME).stat().st_size == SIZE + 1
    assert (tmp_path / NAME).stat().st_blocks * 512 >= SIZE


def test_disk_port_passes_it_on(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path, Reserve(tmp_path, SIZE))
    assert disk.make_reserve()
    assert disk.give_up_reserve()
    assert not disk.give_up_reserve()
    assert not FileDisk(tmp_path).give_up_reserve()
    assert FileDisk(tmp_path).make_reserve()
