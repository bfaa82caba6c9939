from __future__ import annotations

import errno
import json
import queue
import shutil
import sqlite3
import zlib
from pathlib import Path

import pytest

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.base.message import Message
from amqpd.runtime import files
from amqpd.runtime.file_disk import FileDisk, replace_file
from amqpd.runtime.files import (
    DataDirectory,
    DataDirectoryRefused,
    SpaceWatch,
    default_reserve_bytes,
    read_clean_stop,
)
from amqpd.runtime.log_writer import DiskEvents
from amqpd.store import sqlite_topology
from amqpd.store.log import Log
from amqpd.store.record import queue_id_bytes
from amqpd.store.topology import QUEUES, VHOSTS, QueueRow, TopologyChange, VhostRow, put
from tests.fakes.store_model import found_state, redelivered_flags


class Synced(DiskEvents):
    def __init__(self) -> None:
        self.marks: queue.Queue[int] = queue.Queue()

    def synced(self, mark: int) -> None:
        self.marks.put(mark)


class Node:
    """What a broker does with its data directory, and no more."""

    def __init__(self, path: Path) -> None:
        self.directory = DataDirectory(path)
        self.topology, self.recovered = self.directory.load()
        self.log = Log(self.recovered.start)
        self.events = Synced()
        self.writer = self.directory.start_writer(self.recovered, self.events)

    def commit(self, *topology: TopologyChange) -> None:
        batch = self.log.seal(list(topology))
        assert batch is not None
        self.writer.submit(batch)
        assert self.events.marks.get(timeout=10) == batch.mark

    def publish(self, body: bytes) -> None:
        message = Message(self.log.next_message_id(), b"\x00\x01q", b"header", body)
        self.log.append_message(message, queue_id_bytes(1), 1)

    def bodies(self) -> list[bytes]:
        return [body for _, body, _ in found_state(self.recovered, self.directory.disk).get(1, [])]

    def stop(self) -> None:
        self.directory.stop(int(self.log.position))

    def vanish(self) -> None:
        """As if killed: files are closed by the kernel, nothing else happens."""
        self.writer.stop()
        self.directory.topology_store.close()
        self.directory.release()


DECLARED = (put(VHOSTS, VhostRow("/").row()), put(QUEUES, QueueRow(1, "/", "q", False, b"").row()))


def test_everything_is_there_after_an_orderly_stop(tmp_path: Path) -> None:
    node = Node(tmp_path / "data")
    node.publish(b"one")
    node.commit(*DECLARED)
    node.publish(b"two")
    node.commit()
    node.stop()
    assert (tmp_path / "data/clean-stop").exists()
    again = Node(tmp_path / "data")
    assert again.bodies() == [b"one", b"two"]
    assert redelivered_flags(again.recovered, 1) == [False, False]
    assert again.topology.queues[0].name == "q"
    assert not (tmp_path / "data/clean-stop").exists()
    again.publish(b"three")
    again.commit()
    again.stop()
    last = Node(tmp_path / "data")
    assert last.bodies() == [b"one", b"two", b"three"]
    last.stop()


def test_everything_synced_is_there_after_a_kill(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.publish(b"one")
    node.commit(*DECLARED)
    node.vanish()
    for _ in range(3):
        node = Node(tmp_path)
        assert node.bodies() == [b"one"]
        assert redelivered_flags(node.recovered, 1) == [True]
        assert node.recovered.report.damage == []
        node.vanish()


def test_second_process_is_refused_with_one_sentence(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path)
    with pytest.raises(DataDirectoryRefused, match=r"^the data directory .* is in use by process \d+$"):
        DataDirectory(tmp_path)
    first.release()
    DataDirectory(tmp_path).release()


def test_identity_is_made_once(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path)
    log_id = first.log_id
    first.release()
    second = DataDirectory(tmp_path)
    assert second.log_id == log_id != 0
    second.release()
    assert json.loads((tmp_path / "identity.json").read_bytes())["format"] == 1


def test_password_hashes_are_for_the_owner_only(tmp_path: Path) -> None:
    DataDirectory(tmp_path).release()
    assert (tmp_path / "topology.sqlite").stat().st_mode & 0o777 == 0o600


def test_lost_identity_is_refused(tmp_path: Path) -> None:
    DataDirectory(tmp_path).release()
    (tmp_path / "identity.json").unlink()
    with pytest.raises(DataDirectoryRefused, match="lost its identity"):
        DataDirectory(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "x"}', b"\xff"])
def test_unreadable_identity_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(DataDirectoryRefused, match="can't be read"):
        DataDirectory(tmp_path)


def test_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_bytes(b'{"format": 2, "log_id": 1}')
    with pytest.raises(UnknownFormat, match="format 2"):
        DataDirectory(tmp_path)


def test_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(DataDirectoryRefused, match="can't use"):
        DataDirectory(tmp_path / "data")


@pytest.mark.parametrize("content", [b"", b"rubbish", b'{"position": null}', b"[]"])
def test_unreadable_clean_stop_is_an_unclean_stop(tmp_path: Path, content: bytes) -> None:
    node = Node(tmp_path)
    node.publish(b"one")
    node.commit(*DECLARED)
    node.stop()
    (tmp_path / "clean-stop").write_bytes(content)
    again = Node(tmp_path)
    assert redelivered_flags(again.recovered, 1) == [True]
    again.stop()


def test_space_watch_does_not_flap() -> None:
    watch = SpaceWatch(1000)
    assert [(watch.observe(free), watch.is_low) for free in (1000, 999, 1100, 1199, 1200, 1100, 999)] == [
        (False, False),
        (True, True),
        (False, True),
        (False, True),
        (True, False),
        (False, False),
        (True, True),
    ]


def test_default_reserve_is_three_segments_and_at_least_a_gibibyte() -> None:
    assert default_reserve_bytes(64 << 20) == 1 << 30
    assert default_reserve_bytes(1 << 30) == 3 << 30


def killed(path: Path) -> Node:
    """A node that was killed: what it had declared is in SQLite's journal, and its messages are in the log."""
    node = Node(path / "living")
    node.commit(*DECLARED)
    for number in range(5):
        node.publish(b"%d" % number)
        node.commit()
    shutil.copytree(path / "living", path / "data")
    node.vanish()
    return node


def contents(path: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file() and each.name != "lock"}


def test_a_topology_without_its_journal_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    killed(tmp_path)
    data = tmp_path / "data"
    (data / "topology.sqlite-wal").unlink()
    (data / "topology.sqlite-shm").unlink()
    before = contents(data)
    for _ in range(2):
        with pytest.raises(Corrupt, match="sqlite-wal missing"):
            DataDirectory(data).load()
        assert contents(data) == before


def test_an_older_copy_of_the_topology_is_refused(tmp_path: Path) -> None:
    node = Node(tmp_path / "data")
    node.commit(*DECLARED)
    node.publish(b"one")
    node.commit()
    node.stop()
    old = (tmp_path / "data/topology.sqlite").read_bytes()
    node = Node(tmp_path / "data")
    node.commit(put(QUEUES, QueueRow(2, "/", "new", False, b"").row()))
    node.publish(b"two")
    node.commit()
    node.stop()
    (tmp_path / "data/topology.sqlite").write_bytes(old)
    before = contents(tmp_path / "data")
    with pytest.raises(Corrupt, match="an older copy than the log needs"):
        DataDirectory(tmp_path / "data").load()
    assert contents(tmp_path / "data") == before


def test_a_kill_between_the_log_and_the_topology_is_no_older_copy(tmp_path: Path) -> None:
    """A batch says only what was committed before it."""
    node = Node(tmp_path)
    node.commit(*DECLARED)
    node.publish(b"one")
    node.commit()
    node.publish(b"two")
    batch = node.log.seal([put(QUEUES, QueueRow(2, "/", "new", False, b"").row())])
    assert batch is not None
    batch.topology.clear()
    node.writer.submit(batch)
    assert node.events.marks.get(timeout=10) == batch.mark
    node.vanish()
    again = Node(tmp_path)
    assert again.bodies() == [b"one", b"two"]
    again.vanish()


def test_an_empty_topology_beside_a_log_is_refused(tmp_path: Path) -> None:
    killed(tmp_path)
    for each in (tmp_path / "data").glob("topology.sqlite-*"):
        each.unlink()
    (tmp_path / "data/topology.sqlite").write_bytes(b"")
    with pytest.raises(Corrupt, match="it is empty, and the log is not"):
        DataDirectory(tmp_path / "data").load()


def test_a_batch_of_a_newer_version_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    killed(tmp_path)
    (segment,) = (tmp_path / "data/log").iterdir()
    data = bytearray(segment.read_bytes())
    last = data.rindex(b"AQB1")
    data[last + 4] = 1
    size = int.from_bytes(data[last + 48 : last + 56], "little")
    crc = zlib.crc32(data[last + 68 : last + 68 + size], zlib.crc32(data[last : last + 64]))
    data[last + 64 : last + 68] = crc.to_bytes(4, "little")
    segment.write_bytes(bytes(data))
    before = contents(tmp_path / "data")
    for _ in range(2):
        with pytest.raises(UnknownFormat, match="flags 0x1"):
            DataDirectory(tmp_path / "data").load()
        assert contents(tmp_path / "data") == before


def test_a_lock_on_the_topology_is_waited_for_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_topology, "BUSY_S", 0.01)
    Node(tmp_path).stop()
    other = sqlite3.connect(tmp_path / "topology.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        other.execute("ROLLBACK")
        other.close()

    directory = DataDirectory(tmp_path, say)
    directory.load()
    assert said == [
        f"waiting for {tmp_path / 'topology.sqlite'}: somebody else holds a lock on it (a shell, a backup?)"
    ]
    directory.topology_store.close()
    directory.release()


@pytest.mark.parametrize(
    "content", [b'{"position": 1e400}', b'{"position": 99999999999999999999}', b'{"position": true}', b"[" * 100_000]
)
def test_a_clean_stop_that_can_not_be_is_an_unclean_stop(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clean-stop").write_bytes(content)
    assert read_clean_stop(tmp_path) == -1


@pytest.mark.parametrize("log_id", [b"99999999999999999999", b"1.5", b"true", b"[" * 100_000])
def test_an_identity_that_can_not_be_is_refused(tmp_path: Path, log_id: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(b'{"format": 1, "log_id": ' + log_id + b"}")
    with pytest.raises(DataDirectoryRefused, match="can't be read"):
        DataDirectory(tmp_path)


def test_files_that_are_not_called_as_we_call_them_are_none_of_ours(tmp_path: Path) -> None:
    Node(tmp_path).stop()
    for name in ("7", "\u00b2", "0000000000000000", "99999999999999999999999", "-000000000000001"):
        (tmp_path / f"log/{name}.segment").write_bytes(b"x")
    assert FileDisk(tmp_path).segment_numbers() == []
    Node(tmp_path).stop()


def test_what_a_start_gives_up_is_named_for_the_list(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.commit(*DECLARED)
    for body in (b"one", b"two", b"three"):
        node.publish(body)
        node.commit()
    node.vanish()
    (segment,) = (tmp_path / "log").iterdir()
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"two", b"tw0"))
    again = Node(tmp_path)
    (lost,) = again.recovered.report.lost_messages
    assert "are not what was written" in lost.what
    assert "1 message for queue 'q' in vhost '/'" in lost.what
    assert lost.wall_ms > 0
    again.vanish()


def test_stop_without_room_for_its_note_is_a_crash_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [False, False]

    def replace(path: Path, blocks: list[bytes]) -> None:
        if not room.pop(0):
            raise OSError(errno.ENOSPC, "full")
        replace_file(path, blocks)

    directory = DataDirectory(tmp_path, settle_reserve_bytes=4096)
    directory.reserve.make()
    monkeypatch.setattr(files, "replace_file", replace)
    directory.stop(5)
    assert read_clean_stop(tmp_path) == -1
    assert not directory.reserve.is_whole
    room[:] = [False, True]
    directory = DataDirectory(tmp_path, settle_reserve_bytes=4096)
    directory.reserve.make()
    directory.stop(5)
    assert read_clean_stop(tmp_path) == 5
