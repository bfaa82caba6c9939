"""The commands from outside, on copies of a golden directory."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from amqpd.cli.log import queue_ids_of
from amqpd.cli.main import app
from amqpd.runtime.files import DataDirectory
from amqpd.runtime.lost import line_of
from amqpd.store.lost import Lost, loss_of_unknown
from amqpd.store.topology import QueueRow, Topology

GOLDEN = Path(__file__).resolve().parents[2] / "golden/data-1"
SEGMENT = "log/0000000000000002.segment"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    shutil.copytree(GOLDEN, path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["log", *map(str, arguments)])


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(bytes(content))


def test_intact_directory_is_verified_with_one_line(data: Path) -> None:
    result = run("verify", data)
    assert result.exit_code == 0
    assert result.output == "no damage: 6 segments, 6,633 bytes, 24 batches, 63 records, 1 checkpoint\n"


def test_damage_is_one_line_with_file_byte_queue_and_count(data: Path) -> None:
    flip(data / SEGMENT, (data / SEGMENT).read_bytes().index(b"order", 430))
    result = run("verify", data)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith(
        f"{SEGMENT}, byte 297: 262 bytes are not what was written (a batch of 3 records, mark 7; "
    )
    assert "2 messages for queue 'all' in vhost '/'; 1 message for queue 'eu' in vhost '/'" in lines[0]
    assert lines[1] == "log: queue 'all' in vhost '/': 2 messages are lost"
    assert lines[2].startswith("2 problems: 6 segments")


def test_torn_tail_is_said_and_is_no_damage(data: Path) -> None:
    (data / "clean-stop").unlink()
    with (data / "log/0000000000000006.segment").open("ab") as last:
        last.write(b"AQB1 torn")
    result = run("verify", data)
    assert result.exit_code == 0
    assert "9 bytes of an unfinished write" in result.output


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("checkpoints/0000000000000001.checkpoint", "checkpoints/0000000000000001.checkpoint, byte 0: "),
        ("topology.sqlite", "topology.sqlite: SQLite says: file is not a database"),
        ("identity.json", 'identity.json: .* by the log it was {"format": 1, "log_id": '),
    ],
)
def test_every_file_counts(data: Path, name: str, sentence: str) -> None:
    flip(data / name, 0)
    result = run("verify", data)
    assert result.exit_code == 1
    assert sentence.split(".*")[0] in result.output
    assert sentence.split(".*")[-1] in result.output


def test_unreadable_segment_is_exit_code_2_and_the_rest_is_verified(data: Path) -> None:
    (data / SEGMENT).unlink()
    (data / SEGMENT).mkdir()
    for command in ("verify", "stat", "dump"):
        result = run(command, data)
        assert result.exit_code == 2
        assert f"{SEGMENT}: Is a directory" in result.output
    assert "0 problems" not in run("verify", data).output
    assert "no damage, 1 not read: 5 segments" in run("verify", data).output


def test_newer_format_is_exit_code_2(data: Path) -> None:
    (data / "identity.json").write_text('{"format": 2, "log_id": 1}')
    result = run("verify", data)
    assert result.exit_code == 2
    assert "has format 2" in result.output


def test_no_data_directory_is_exit_code_2(tmp_path: Path) -> None:
    result = run("verify", tmp_path)
    assert (result.exit_code, result.output) == (
        2,
        f"amqpd log: {tmp_path} is not a data directory of amqpd: it has no log in it\n",
    )


def test_directory_in_use_is_read_beside_the_broker_and_says_so(data: Path) -> None:
    directory = DataDirectory(data)
    result = run("verify", data)
    directory.topology_store.close()
    directory.release()
    assert result.exit_code == 0
    assert "a broker is at work here" in result.output


@pytest.mark.parametrize("command", ["verify", "stat"])
@pytest.mark.parametrize("name", ["reserve", "reserve.tmp"])
def test_room_that_is_kept_for_settles_is_none_of_the_log(data: Path, command: str, name: str) -> None:
    before = run(command, data)
    (data / name).write_bytes(bytes(5000))
    after = run(command, data)
    assert (after.exit_code, after.output) == (before.exit_code, before.output)
    DataDirectory(data, settle_reserve_bytes=5000).load()
    assert (data / name).exists() is (name == "reserve")


def test_nothing_is_changed(data: Path) -> None:
    (data / "clean-stop").unlink()
    flip(data / SEGMENT, (data / SEGMENT).read_bytes().index(b"order", 430))
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    for command in ("verify", "stat", "dump"):
        run(command, data)
    assert {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()} == before


def test_stat_is_tables_or_json(data: Path) -> None:
    assert "queue 'all' in vhost '/'" in run("stat", data).output
    found = json.loads(run("stat", data, "--json").output)
    assert found["queues"][0] == {"queue_id": 1, "name": "queue 'all' in vhost '/'", "messages": 48}
    assert found["totals"]["live_messages"] == 60


def test_dump_is_limited_by_segment_queue_and_count(data: Path) -> None:
    lines = [json.loads(line) for line in run("dump", data, "--json").output.splitlines()]
    assert len(lines) == 63
    assert {line["kind"] for line in lines} == {"MESSAGE", "SETTLE", "REQUEUE", "DELIVERED", "MOVE"}
    assert len(run("dump", data, "--limit", 5).output.splitlines()) == 5
    third = [json.loads(line) for line in run("dump", data, "--json", "--segment", 3).output.splitlines()]
    assert third == [line for line in lines if line["segment"] == 3]
    mine = [json.loads(line) for line in run("dump", data, "--json", "--queue", "eu").output.splitlines()]
    assert mine == [line for line in lines if 2 in line["queue_ids"]]
    assert run("dump", data, "--json", "--queue", "2").output.splitlines() == [json.dumps(line) for line in mine]


@pytest.mark.parametrize(
    ("flags", "sentence"), [(["--segment", 77], "no segment 77"), (["--queue", "nope"], "no queue called 'nope'")]
)
def test_dump_of_what_is_not_there_is_exit_code_2(data: Path, flags: list[object], sentence: str) -> None:
    result = run("dump", data, *flags)
    assert result.exit_code == 2
    assert sentence in result.output


def test_queue_is_named_by_name_in_any_vhost_or_else_by_number() -> None:
    topology = Topology()
    topology.queues = [
        QueueRow(1, "/", "q", False, b""),
        QueueRow(2, "v", "q", False, b""),
        QueueRow(3, "/", "7", False, b""),
    ]
    assert list(queue_ids_of("q", topology)) == [1, 2]
    assert list(queue_ids_of("7", topology)) == [3]
    assert list(queue_ids_of("8", None)) == [8]
    assert not queue_ids_of("", topology)
    assert not queue_ids_of("other", topology)


def test_what_was_given_up_is_listed_and_nothing_if_nothing_was(data: Path) -> None:
    assert (run("lost", data).exit_code, run("lost", data).output) == (0, "")
    lost = Lost(3, 7, 2, 96, 250)
    lost.vhost, lost.queue = "/", "all"
    (data / "lost.jsonl").write_bytes(line_of(lost) + line_of(loss_of_unknown("segments 5 to 5 are gone")) + b"{")
    result = run("lost", data)
    assert result.exit_code == 0
    assert "1970-01-01T00:00:00+00:00  queue 'all' in vhost '/'  id 7  segment 2 byte 96  250 bytes\n" in result.output
    assert "1970-01-01T00:00:00+00:00  segments 5 to 5 are gone\n" in result.output
    assert "1 line of lost.jsonl can't be read" in result.output
    first = json.loads(run("lost", data, "--json").output.splitlines()[0])
    assert (first["queue"], first["message_id"]) == ("all", 7)


def test_a_topology_that_is_older_than_the_log_is_a_problem(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(GOLDEN.parent / "data-2-3", data)
    assert run("verify", data).exit_code == 0
    connection = sqlite3.connect(data / "topology.sqlite", isolation_level=None)
    connection.execute("UPDATE counters SET value = 1 WHERE name = 'version'")
    connection.execute("PRAGMA wal_checkpoint")
    connection.close()
    result = run("verify", data)
    assert result.exit_code == 1
    assert "the broker would refuse to start: it is an older copy than the log needs" in result.output
