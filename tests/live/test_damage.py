"""What a damaged data directory does to a start: the table of docs/damage.md, with the real process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from amqpd.cli.main import app
from tests.chaos.full_disk import CannotMount, small_disk
from tests.live.test_process import Client, Process

pytestmark = pytest.mark.live

GOLDEN = Path(__file__).resolve().parents[1] / "golden/data-1-2"
SEGMENT = "log/000000000000000{}.segment"
CHECKPOINT = "checkpoints/0000000000000001.checkpoint"
# What the golden queues hold.
ALL, EU = 48, 12


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    shutil.copytree(GOLDEN, path)
    return path


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], Process]]:
    started: list[Process] = []

    def serve_one(data: Path) -> Process:
        started.append(Process(tmp_path, "--amqp", "127.0.0.1:0", "--data-dir", str(data)))
        return started[-1]

    yield serve_one
    for process in started:
        process.process.kill()
        process.process.wait()


Serve = Callable[[Path], Process]


def counts(broker: Process) -> tuple[int, int]:
    client = Client(broker.port()).open()
    return client.declare("all", passive=True), client.declare("eu", passive=True)


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(bytes(content))


def make_unreadable(path: Path) -> None:
    """Root may read everything: a folder in the place of a file is what even root can't."""
    path.unlink()
    path.mkdir()


def test_corrupt_batch_is_said_with_queue_and_count_and_everything_else_is_served(data: Path, serve: Serve) -> None:
    path = data / SEGMENT.format(2)
    flip(path, path.read_bytes().index(b"order", 430))
    broker = serve(data).wait_ready()
    assert counts(broker) == (ALL - 2, EU)
    assert "segment 2: 262 bytes at 297 are not what was written (a batch of 3 records, mark 7; " in broker.log
    assert "2 messages for queue 'all' in vhost '/'; 1 message for queue 'eu' in vhost '/'" in broker.log
    assert "queue 'all' in vhost '/': 2 messages are lost" in broker.log
    assert path.with_name(path.name + ".bad").exists()
    broker.stop()


def test_missing_segment_is_said_and_everything_else_is_served(data: Path, serve: Serve) -> None:
    (data / SEGMENT.format(5)).unlink()
    broker = serve(data).wait_ready()
    assert counts(broker)[0] == ALL - 8
    assert "segments 5 to 5 are gone" in broker.log
    broker.stop()


def test_missing_segment_that_only_the_checkpoint_needs_is_said_by_queue(data: Path, serve: Serve) -> None:
    (data / SEGMENT.format(2)).unlink()
    broker = serve(data).wait_ready()
    assert counts(broker) == (ALL - 8, EU)
    assert "queue 'all' in vhost '/': 8 messages are lost" in broker.log
    broker.stop()


def test_damaged_checkpoint_costs_nothing(data: Path, serve: Serve) -> None:
    flip(data / CHECKPOINT, 500)
    broker = serve(data).wait_ready()
    assert counts(broker) == (ALL, EU)
    assert "checkpoint 1 at byte 0: checksum mismatch; an older one or the whole log is read instead" in broker.log
    assert (data / f"{CHECKPOINT}.bad").exists()
    broker.stop()


def lose_checkpoint_and_segment(data: Path) -> None:
    flip(data / CHECKPOINT, 500)
    (data / SEGMENT.format(1)).unlink()


REFUSALS: list[tuple[str, Callable[[Path], object], int, str]] = [
    ("segment unreadable", lambda data: make_unreadable(data / SEGMENT.format(5)), 1, "0005.segment: Is a directory"),
    ("checkpoint unreadable", lambda data: make_unreadable(data / CHECKPOINT), 1, "0001.checkpoint: Is a directory"),
    (
        "no checkpoint left",
        lose_checkpoint_and_segment,
        76,
        "no intact checkpoint, and segments that it stood for are gone",
    ),
    ("all segments gone", lambda data: shutil.rmtree(data / "log"), 1, "has lost its log"),
    (
        "topology malformed",
        lambda data: flip(data / "topology.sqlite", 0),
        76,
        "topology.sqlite: SQLite says: file is not",
    ),
    (
        "topology page malformed",
        lambda data: flip(data / "topology.sqlite", 4096),
        76,
        "topology.sqlite: SQLite finds it",
    ),
    ("topology gone", lambda data: (data / "topology.sqlite").unlink(), 1, "has lost its topology.sqlite"),
    (
        "topology unreadable",
        lambda data: make_unreadable(data / "topology.sqlite"),
        1,
        "topology.sqlite: Is a directory",
    ),
    ("identity malformed", lambda data: flip(data / "identity.json", 0), 1, "identity.json can't be read: "),
    ("identity gone", lambda data: (data / "identity.json").unlink(), 1, "has lost its identity.json"),
    ("identity unreadable", lambda data: make_unreadable(data / "identity.json"), 1, "identity.json: Is a directory"),
]


@pytest.mark.parametrize(
    ("damage", "code", "sentence"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_start_is_refused_with_one_sentence_and_nothing_is_changed(
    data: Path, serve: Serve, damage: Callable[[Path], object], code: int, sentence: str
) -> None:
    damage(data)
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    for _ in range(2):
        (line,) = serve(data).ends_with(code).log.splitlines()
        assert line.startswith("amqpd can't start: ")
        assert sentence in line
    after = {path: path.read_bytes() for path in before if path.exists()}
    assert after == before


def test_read_only_file_system_is_one_sentence(data: Path, serve: Serve, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk") as disk:
            shutil.copytree(data, disk / "data")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            (line,) = serve(disk / "data").ends_with(1).log.splitlines()
            assert line == f"amqpd can't start: can't use the data directory {disk}/data: Read-only file system"
    except CannotMount as why:
        pytest.skip(str(why))


def test_log_can_be_verified_beside_the_broker(data: Path, serve: Serve) -> None:
    broker = serve(data).wait_ready()
    client = Client(broker.port()).open()
    client.declare("new")
    for _ in range(50):
        client.publish("new", os.urandom(1000))
    assert client.declare("new", passive=True) == 50
    result = CliRunner().invoke(app, ["log", "verify", str(data)])
    assert result.exit_code == 0, result.output
    assert "a broker is at work here" in result.output
    assert "queue 'new' in vhost '/'" in CliRunner().invoke(app, ["log", "stat", str(data)]).output
    broker.stop()
