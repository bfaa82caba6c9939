from __future__ import annotations

import dataclasses
import os
import resource
from pathlib import Path

import pytest

from amqpd.base.limits import DEFAULTS
from amqpd.base.notice import WARNING
from amqpd.config import Config
from amqpd.runtime import memory
from amqpd.runtime.admission import Admission
from amqpd.runtime.tcp import Peers
from amqpd.runtime.watch import FILES_OF_OUR_OWN, LOST_BEFORE_COLLECTING, Alarms, Watch, raise_file_limit
from tests.fakes.shell import FakeLoop, World


class BlockableWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.broker.block = lambda reason: self.said.append(reason)  # type: ignore[attr-defined]
        self.broker.unblock = lambda: self.said.append("go on")  # type: ignore[attr-defined]
        self.paging: list[bool] = []
        self.broker.set_memory_short = self.paging.append  # type: ignore[attr-defined]
        self.disk_short: list[bool] = []
        self.broker.set_disk_short = self.disk_short.append  # type: ignore[attr-defined]
        self.asked_count = 0

    def ask_for_reserve(self) -> None:
        self.asked_count += 1


class SpaceDisk:
    def __init__(self) -> None:
        self.free = 10 << 30

    def free_bytes(self) -> int:
        return self.free


class TimedLoop(FakeLoop):
    def time(self) -> float:
        return 100.0


def watch(**settings: object) -> tuple[Watch, BlockableWorld, SpaceDisk, Peers]:
    world, disk = BlockableWorld(), SpaceDisk()
    peers = Peers(world.turn, Admission(DEFAULTS), DEFAULTS)
    config = dataclasses.replace(Config(), **settings)  # type: ignore[arg-type]
    logger = world.turn._notices._logger
    made = Watch(TimedLoop(), world.turn, peers, config, disk, world.ask_for_reserve, logger)  # type: ignore[arg-type]
    return made, world, disk, peers


def look(watched: Watch) -> None:
    watched.look_at_memory_again()
    watched.look_at_disk()
    watched.look_at_peers()


def test_several_alarms_are_one_block_until_the_last_is_over() -> None:
    world = BlockableWorld()
    alarms = Alarms(world.turn)
    alarms.set("low on memory", True)
    alarms.set("low on memory", True)
    alarms.set("low on disk", True)
    alarms.set("low on memory", False)
    alarms.set("low on disk", False)
    alarms.set("low on disk", False)
    assert world.said == ["low on memory", "low on memory and low on disk", "low on disk", "go on"]


def test_log_says_how_short_it_is_where_and_which_setting_decides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "memory_limit_bytes", lambda: 800 << 20)
    watched, world, disk, _ = watch(data_dir=tmp_path, disk_reserve_bytes=1 << 30)
    watched.resident_bytes = lambda: 512 << 20
    watched.look_at_memory()
    disk.free = 900 << 20
    watched.look_at_disk()
    watched.resident_bytes = lambda: 100 << 20
    watched.look_at_memory_again()
    disk.free = 2 << 30
    watched.look_at_disk()
    watched.disk_full(True)
    assert [(each.level, each.text) for each in world.broker.agenda.notices] == [
        (
            WARNING,
            "publishers are stopped: low on memory: 512 MiB resident, above memory_high_watermark 0.6 x 800 MiB",
        ),
        (
            WARNING,
            f"publishers are stopped: low on disk: 900 MiB free in {tmp_path}, below disk_reserve_bytes 1024 MiB",
        ),
        (
            WARNING,
            "no longer low on memory: 100 MiB resident, below memory_high_watermark 0.6 x 800 MiB; "
            "publishers are still stopped: low on disk",
        ),
        (
            WARNING,
            f"publishers go on, no longer low on disk: 2048 MiB free in {tmp_path}, above disk_reserve_bytes 1024 MiB",
        ),
        (WARNING, f"publishers are stopped: low on disk: there is no room in {tmp_path} for what has come already"),
    ]


def test_a_look_at_the_disk_that_fails_leaves_its_verdict_and_ends_no_other_look() -> None:
    """A memory alarm would never have ended."""
    watched, world, disk, _ = watch(memory_high_watermark=1e-9, disk_reserve_bytes=1 << 30)
    disk.free = 1 << 20
    watched.start()
    assert world.said == ["low on memory", "low on memory and low on disk"]
    disk.free_bytes = lambda: os.statvfs("/nowhere/at/all").f_bavail  # type: ignore[method-assign]
    watched.resident_bytes = lambda: 0
    later, watched._loop.later = watched._loop.later, []  # type: ignore[attr-defined]
    for _, again in later:
        again()
    assert len(watched._loop.later) == len(later) == 4  # type: ignore[attr-defined]
    assert world.said[2:] == ["low on disk"]
    assert [line for line in world.log if "failed" in line] == [
        "the look at the free space of data failed and is tried again: "
        "[Errno 2] No such file or directory: '/nowhere/at/all'"
    ]


def test_memory_that_can_not_be_read_leaves_its_verdict() -> None:
    watched, world, _, _ = watch(memory_high_watermark=1e-9)

    def unreadable() -> int:
        raise OSError(5, "Input/output error")

    watched.look_at_memory()
    watched.resident_bytes = unreadable
    for look in watched._looks:
        look.round()
    assert world.said == ["low on memory"]


def test_memory_beyond_its_watermark_stops_publishers() -> None:
    watched, world, _, _ = watch(memory_high_watermark=1e-9)
    look(watched)
    assert world.said == ["low on memory"]


def test_memory_is_looked_at_between_two_looks_at_everything() -> None:
    watched, world, _, _ = watch(memory_high_watermark=1e-9)
    watched.look_at_memory()
    watched.look_at_memory()
    assert world.said == ["low on memory"]


def test_messages_leave_memory_long_before_publishers_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [1000]
    monkeypatch.setattr(memory, "memory_limit_bytes", lambda: 10_000)
    watched, world, _, _ = watch(memory_high_watermark=0.5, memory_paging_ratio=0.4)
    watched.resident_bytes = lambda: used[0]
    for used[0] in (1999, 2000, 1901, 4999):
        watched.look_at_memory()
    assert (world.paging, world.said) == ([True], [])
    look(watched)
    used[0] = 1899
    watched.look_at_memory()
    assert world.paging == [True]
    look(watched)
    assert (world.paging, world.said) == ([True, False], [])


def test_messages_stay_in_memory_while_there_is_no_room_on_the_disk() -> None:
    watched, world, disk, _ = watch(memory_paging_ratio=1e-9, disk_reserve_bytes=1 << 30)
    watched.look_at_memory()
    disk.free = 1 << 20
    look(watched)
    watched.look_at_memory()
    disk.free = 10 << 30
    look(watched)
    watched.disk_full(True)
    watched.disk_full(False)
    assert world.paging == [True, False, True, False, True]


def test_publishers_wait_while_the_disk_has_less_than_the_reserve() -> None:
    watched, world, disk, _ = watch(disk_reserve_bytes=1 << 30)
    disk.free = (1 << 30) - 1
    look(watched)
    disk.free = 1 << 30
    look(watched)
    disk.free = 2 << 30
    look(watched)
    assert world.said == ["low on disk", "go on"]


def test_batch_without_room_stops_publishers_at_once_and_until_it_is_written() -> None:
    watched, world, _, _ = watch()
    watched.disk_full(True)
    look(watched)
    watched.disk_full(False)
    assert world.said == ["low on disk", "go on"]


def test_room_for_settles_is_asked_for_until_it_is_kept() -> None:
    watched, world, _, _ = watch()
    look(watched)
    look(watched)
    assert (world.asked_count, world.said) == (2, [])
    watched.reserve_kept(True)
    look(watched)
    assert world.asked_count == 2


def test_publishers_wait_while_room_for_settles_is_in_use() -> None:
    watched, world, _, _ = watch()
    watched.reserve_kept(True)
    watched.disk_full(True)
    watched.reserve_kept(False)
    watched.disk_full(False)
    look(watched)
    assert (world.said, world.asked_count) == (["low on disk"], 1)
    watched.reserve_kept(False)
    watched.reserve_kept(True)
    assert world.said == ["low on disk", "go on"]
    world.turn.say()
    assert len([line for line in world.log if "disk_settle_reserve_bytes" in line]) == 1


def test_reserve_that_can_not_be_kept_stops_nobody_and_is_said_once() -> None:
    watched, world, _, _ = watch()
    for _ in range(3):
        look(watched)
        watched.no_reserve(OSError(27, "File too large"))
    assert (world.said, world.asked_count) == ([], 3)
    world.turn.say()
    (line,) = [each for each in world.log if "settles" in each]
    assert "disk_settle_reserve_bytes" in line and "File too large" in line


def test_core_is_told_when_the_disk_is_short_and_when_it_is_not_any_more() -> None:
    watched, world, disk, _ = watch(disk_reserve_bytes=1 << 30)
    disk.free = 1
    look(watched)
    watched.disk_full(True)
    watched.disk_full(False)
    disk.free = 2 << 30
    look(watched)
    assert world.disk_short == [True, False]


def test_many_lost_connections_are_followed_by_one_collection() -> None:
    collections: list[int] = []
    watched, _, _, peers = watch()
    watched.collect = lambda: collections.append(1)
    peers.lost_count = LOST_BEFORE_COLLECTING - 1
    look(watched)
    assert collections == []
    peers.lost_count += 1
    look(watched)
    look(watched)
    assert collections == [1]


def test_file_limit_is_enough_for_the_connections_or_the_log_says_so() -> None:
    world = World()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_file_limit(10, world.turn._notices._logger) == 10
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 10
        assert world.log == []
        if hard != resource.RLIM_INFINITY:
            room = raise_file_limit(hard, world.turn._notices._logger)
            assert room == hard - FILES_OF_OUR_OWN
            assert world.log[0].endswith(f"too few for {hard} connections: there will be {room} at most")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
