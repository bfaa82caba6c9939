from __future__ import annotations

import resource
from pathlib import Path

from amqpd.runtime.memory import MemoryAlarm, Resident, give_back, memory_limit_bytes

MIB = 1024 * 1024


def machine(tmp_path: Path, cgroup: str, limits: dict[str, str]) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemFree: 1 kB\nMemTotal:        8388608 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(cgroup)
    for name, value in limits.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    return tmp_path


def test_ram_is_the_limit_where_no_cgroup_sets_one(tmp_path: Path) -> None:
    assert memory_limit_bytes(machine(tmp_path, "0::/a\n", {"a/memory.max": "max\n"})) == 8192 * MIB


def test_the_least_of_all_enclosing_cgroups_is_the_limit(tmp_path: Path) -> None:
    limits = {"a/memory.max": f"{512 * MIB}\n", "a/b/memory.max": f"{1024 * MIB}\n"}
    assert memory_limit_bytes(machine(tmp_path, "0::/a/b\n", limits)) == 512 * MIB


def test_inside_a_container_the_top_group_is_ours(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/../../docker/123\n", {"memory.max": f"{256 * MIB}\n"})
    assert memory_limit_bytes(root) == 256 * MIB


def test_version_one_of_cgroups_is_read_too(tmp_path: Path) -> None:
    root = machine(tmp_path, "5:memory:/x\n", {"memory/memory.limit_in_bytes": f"{128 * MIB}\n"})
    assert memory_limit_bytes(root) == 128 * MIB


def test_this_process_has_a_size_and_survives_giving_memory_back() -> None:
    assert Resident().bytes() > 4 * MIB
    give_back()


def test_the_size_is_known_without_a_free_descriptor() -> None:
    """An alarm would end because the files are all taken."""
    resident = Resident()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        assert resident.bytes() > 4 * MIB
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_system_without_proc_gives_no_size(tmp_path: Path) -> None:
    assert Resident(tmp_path).bytes() == 0


def test_alarm_ends_a_little_below_where_it_began() -> None:
    alarm = MemoryAlarm(1000)
    assert [alarm.judge(used) for used in (999, 1000, 999, 951, 949, 999)] == [False, True, False, False, True, False]
    assert not alarm.is_on
