from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from amqpd.base.errors import Corrupt
from amqpd.runtime.files import DataDirectory, DataDirectoryRefused
from amqpd.runtime.snapshot import NotADataDirectory, Snapshot, is_in_use
from amqpd.store.recovery import recover
from amqpd.store.topology import QUEUES, QueueRow, put
from tests.fakes.store_model import found_state

GOLDEN = Path(__file__).resolve().parents[2] / "golden/data-1"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    shutil.copytree(GOLDEN, path)
    return path


def content(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}


def test_recovery_on_a_snapshot_finds_everything_and_changes_nothing(data: Path) -> None:
    (data / "clean-stop").unlink()
    before = content(data)
    snapshot = Snapshot(data)
    topology = snapshot.topology()
    recovered = recover(snapshot, snapshot.log_id(), topology.queue_ids(), snapshot.clean_position)
    assert {queue_id: len(held) for queue_id, held in found_state(recovered, snapshot).items()} == {1: 48, 2: 12}
    # What recovery wrote can be read back from the snapshot, and only from it.
    assert snapshot.segment_numbers()[-1] == 7
    assert len(snapshot.read(7, 0, 1 << 20)) == snapshot.segment_size(7) > 48
    assert content(data) == before
    snapshot.close()


def test_torn_tail_is_cut_in_the_snapshot_only(data: Path) -> None:
    last = data / "log/0000000000000006.segment"
    intact = last.read_bytes()
    last.write_bytes(intact + b"AQB1 torn")
    snapshot = Snapshot(data)
    assert recover(snapshot, snapshot.log_id(), [1, 2]).report.torn_bytes == 9
    assert snapshot.segment_size(6) == len(intact)
    assert last.stat().st_size == len(intact) + 9


def test_segment_that_is_deleted_afterwards_is_still_read(data: Path) -> None:
    snapshot = Snapshot(data)
    path = snapshot.segment_path(3)
    expected = path.read_bytes()
    path.unlink()
    assert snapshot.read(3, 0, snapshot.segment_size(3)) == expected
    assert snapshot.read(3, 10, 5) == expected[10:15]
    snapshot.close()


def test_directory_in_use_is_noticed_without_taking_the_lock(data: Path) -> None:
    assert not is_in_use(data / "lock")
    assert not Snapshot(data).is_in_use
    assert not (data / "lock").exists()
    directory = DataDirectory(data)
    snapshot = Snapshot(data)
    assert snapshot.is_in_use
    directory.topology_store.apply([put(QUEUES, QueueRow(3, "/", "new", False, b"").row())])
    assert [queue.name for queue in snapshot.topology().queues] == ["all", "eu", "new"]
    directory.topology_store.close()
    directory.release()
    assert not is_in_use(data / "lock")


def test_topology_of_a_killed_broker_is_read_and_its_journal_left_alone(data: Path) -> None:
    directory = DataDirectory(data)
    directory.topology_store.apply([put(QUEUES, QueueRow(3, "/", "new", False, b"").row())])
    killed = data.with_name("killed")
    shutil.copytree(data, killed)
    directory.topology_store.close()
    directory.release()
    assert (killed / "topology.sqlite-wal").stat().st_size > 0
    before = content(killed)
    assert [queue.name for queue in Snapshot(killed).topology().queues] == ["all", "eu", "new"]
    assert content(killed) == before


@pytest.mark.parametrize("offset", [0, 4096])
def test_malformed_topology_is_corrupt(data: Path, offset: int) -> None:
    path = data / "topology.sqlite"
    broken = bytearray(path.read_bytes())
    broken[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(bytes(broken))
    with pytest.raises(Corrupt, match="SQLite"):
        Snapshot(data).topology()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        Snapshot(data).topology()
    assert not path.exists()


def test_identity_is_in_the_segments_too(data: Path) -> None:
    snapshot = Snapshot(data)
    assert snapshot.log_ids() == [snapshot.log_id()]
    (data / "identity.json").write_text("{}")
    with pytest.raises(DataDirectoryRefused, match="can't be read"):
        snapshot.log_id()


def test_what_can_not_be_read_is_said_when_it_is_read(data: Path) -> None:
    for path in (data / "log/0000000000000003.segment", data / "checkpoints/0000000000000001.checkpoint"):
        path.unlink()
        path.mkdir()
    snapshot = Snapshot(data)
    with pytest.raises(IsADirectoryError, match=r"0000000000000003\.segment"):
        snapshot.read(3, 0, 100)
    with pytest.raises(IsADirectoryError, match=r"0000000000000001\.checkpoint"):
        snapshot.read_checkpoint(1)


def test_checkpoint_that_is_replaced_meanwhile_is_looked_for_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data / "checkpoints/0000000000000001.checkpoint"
    opened = Snapshot._open_segment

    def replacing(snapshot: Snapshot, number: int) -> None:
        if first.exists():
            first.rename(first.with_name("0000000000000002.checkpoint"))
        opened(snapshot, number)

    monkeypatch.setattr(Snapshot, "_open_segment", replacing)
    assert Snapshot(data).checkpoint_generations() == [2]


def test_folder_without_a_log_is_no_data_directory(tmp_path: Path) -> None:
    with pytest.raises(NotADataDirectory, match="no log in it"):
        Snapshot(tmp_path)


def test_damaged_files_of_earlier_starts_are_listed(data: Path) -> None:
    (data / "log/0000000000000001.segment.bad").write_bytes(b"")
    (data / "checkpoints/0000000000000001.checkpoint.bad").write_bytes(b"")
    found = Snapshot(data).set_aside()
    assert found == ["0000000000000001.checkpoint.bad", "0000000000000001.segment.bad"]


def test_sqlite_of_another_program_is_no_topology(data: Path) -> None:
    (data / "topology.sqlite").unlink()
    other = sqlite3.connect(data / "topology.sqlite")
    other.execute("PRAGMA user_version = 1")
    other.close()
    with pytest.raises(Corrupt, match="no table vhosts"):
        Snapshot(data).topology()
