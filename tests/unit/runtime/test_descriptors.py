"""With a limit of open files that is really reached, as thousands of silent sockets do."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from amqpd.runtime.descriptors import SPARE_MAX, SpareDescriptors
from amqpd.runtime.file_disk import READING_MAX, FileDisk

# So many more than there are may be open.
MORE_FILES = 200


@pytest.fixture
def taken() -> Iterator[list[int]]:
    """Whoever adds to it takes descriptors until there are none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files_max = max(int(name) for name in os.listdir("/proc/self/fd")) + MORE_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, hard))
    descriptors: list[int] = []
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def take_all(taken: list[int]) -> None:
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            return


def test_without_a_reserve_it_is_as_if_it_were_not_there(tmp_path: Path, taken: list[int]) -> None:
    reserve = SpareDescriptors()
    os.close(reserve.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT))
    reserve.sync_directory(tmp_path)
    take_all(taken)
    with pytest.raises(OSError, match="Too many open files"):
        reserve.open(tmp_path / "file", os.O_RDONLY)


def test_spare_descriptors_make_room_and_come_back_when_there_is_some(tmp_path: Path, taken: list[int]) -> None:
    reserve = SpareDescriptors()
    reserve.keep([tmp_path])
    assert reserve.spare_count == SPARE_MAX
    take_all(taken)
    opened = [reserve.open(tmp_path / f"{number}", os.O_WRONLY | os.O_CREAT) for number in range(SPARE_MAX)]
    assert reserve.spare_count == 0
    reserve.sync_directory(tmp_path)
    with pytest.raises(OSError, match="Too many open files"):
        reserve.open(tmp_path / "one more", os.O_WRONLY | os.O_CREAT)
    for descriptor in [*opened, taken.pop()]:
        os.close(descriptor)
    os.close(reserve.open(tmp_path / "0", os.O_RDONLY))
    assert reserve.spare_count == SPARE_MAX
    reserve.close()
    assert reserve.spare_count == 0


def test_an_error_that_is_no_want_of_descriptors_costs_none(tmp_path: Path) -> None:
    reserve = SpareDescriptors()
    reserve.keep([])
    with pytest.raises(FileNotFoundError):
        reserve.open(tmp_path / "missing", os.O_RDONLY)
    assert reserve.spare_count == SPARE_MAX
    reserve.close()


def test_a_disk_reads_and_goes_on_in_new_segments_while_others_have_all_descriptors(
    tmp_path: Path, taken: list[int]
) -> None:
    disk = FileDisk(tmp_path)
    disk.keep_descriptors()
    for number in range(1, READING_MAX + 5):
        disk.create_segment(number, b"%048d" % number)
        disk.close_segment(number)
    take_all(taken)
    for number in range(1, READING_MAX + 5):
        assert disk.read(number, 40, 100) == b"%08d" % number
    disk.create_segment(100, bytes(48))
    disk.write(100, 48, [b"batch"])
    disk.sync(100)
    assert disk.read(100, 48, 5) == b"batch"
    assert disk.keep_aside(100) == "0000000000000100.segment.bad"
    disk.keep_lost([b"line\n"])
    disk.delete_segments([1])
    with pytest.raises(FileNotFoundError):
        disk.read(1, 0, 1)
    disk.close_segment(100)
    disk.close()


def test_a_disk_without_descriptors_says_so_and_leaves_nothing_behind(tmp_path: Path, taken: list[int]) -> None:
    disk = FileDisk(tmp_path)
    take_all(taken)
    for attempt in (lambda: disk.create_segment(1, bytes(48)), lambda: disk.keep_lost([b"line\n"])):
        with pytest.raises(OSError, match="Too many open files"):
            attempt()
    os.close(taken.pop())
    os.close(taken.pop())
    assert disk.segment_numbers() == []
    disk.create_segment(1, bytes(48))
    assert disk.segment_numbers() == [1]
    disk.close_segment(1)
