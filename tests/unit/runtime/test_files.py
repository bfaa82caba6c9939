from __future__ import annotations

import errno
import json
import queue
from pathlib import Path

import pytest

from amqpd.base.message import Message
from amqpd.runtime import files
from amqpd.runtime.file_disk import replace_file
from amqpd.runtime.files import DataDirectory, DataDirectoryRefused, SpaceWatch, default_reserve_bytes, read_clean_stop
from amqpd.runtime.log_writer import DiskEvents
from amqpd.store.log import Log
from amqpd.store.record import queue_id_bytes
from amqpd.store.segment import UnknownFormat
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


def test_stop_without_room_for_its_note_is_a_crash_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [False, False]

    def replace(path: Path, blocks: list[bytes]) -> None:
        if not room.pop(0):
            raise OSError(errno.ENOSPC, "full")
        replace_file(path, blocks)

    directory = DataDirectory(tmp_path, 4096)
    directory.reserve.make()
    monkeypatch.setattr(files, "replace_file", replace)
    directory.stop(5)
    assert read_clean_stop(tmp_path) == -1
    assert not directory.reserve.is_whole
    room[:] = [False, True]
    directory = DataDirectory(tmp_path, 4096)
    directory.reserve.make()
    directory.stop(5)
    assert read_clean_stop(tmp_path) == 5
