from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from amqpd.store.sqlite_topology import COLUMNS, SqliteTopology
from amqpd.store.topology import (
    DEDUP,
    EXCHANGES,
    QUEUES,
    UNDECIDED,
    VHOSTS,
    ExchangeRow,
    QueueRow,
    Topology,
    VhostRow,
    put,
)
from amqpd.store.topology_rows import is_of, read_rows


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    path = tmp_path / "topology.sqlite"
    store = SqliteTopology(path)
    store.apply(
        [
            put(VHOSTS, VhostRow("/").row()),
            put(EXCHANGES, ExchangeRow("/", "x", "topic", False, False, b"").row()),
            put(QUEUES, QueueRow(7, "/", "q", True, b"\x01aI\x00\x00\x00\x01").row()),
            put(QUEUES, QueueRow(8, "/", "amq.dedup.x", False, b"", DEDUP).row()),
        ]
    )
    store.close()
    return sqlite3.connect(path, isolation_level=None)


def read(connection: sqlite3.Connection) -> Topology:
    return read_rows(connection, COLUMNS)


def queues(topology: Topology) -> list[tuple[int, str, str, bytes, str]]:
    return [(int(each.queue_id), each.vhost, each.name, each.arguments, each.kind) for each in topology.queues]


def test_rows_come_back_with_what_they_are(connection: sqlite3.Connection) -> None:
    topology = read(connection)
    assert queues(topology) == [
        (7, "/", "q", b"\x01aI\x00\x00\x00\x01", "queue"),
        (8, "/", "amq.dedup.x", b"", "dedup"),
    ]
    assert (topology.next_queue_id, topology.version, topology.set_aside) == (9, 2, [])


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE queues SET name = x'ff00' WHERE queue_id = 7",
            (7, "/", "b'\\xff\\x00'", b"\x01aI\x00\x00\x00\x01", "queue"),
        ),
        (
            "UPDATE queues SET name = CAST(x'71ff' AS TEXT) WHERE queue_id = 7",
            (7, "/", "q\ufffd", b"\x01aI\x00\x00\x00\x01", "queue"),
        ),
        ("UPDATE queues SET vhost = x'41' WHERE queue_id = 7", (7, "b'A'", "q", b"\x01aI\x00\x00\x00\x01", "queue")),
        ("UPDATE queues SET arguments = 'text' WHERE queue_id = 7", (7, "/", "q", b"", "queue")),
        ("UPDATE queues SET kind = x'00' WHERE queue_id = 7", (7, "/", "q", b"\x01aI\x00\x00\x00\x01", UNDECIDED)),
    ],
)
def test_a_queue_is_kept_as_far_as_it_can_be(
    connection: sqlite3.Connection, statement: str, expected: tuple[int, str, str, bytes, str]
) -> None:
    connection.execute(statement)
    topology = read(connection)
    assert queues(topology)[0] == expected
    (sentence,) = topology.set_aside
    assert "says of queue_id 7 what can't be" in sentence


@pytest.mark.parametrize("queue_id", [0, -5, 1 << 31, (1 << 63) - 1])
def test_a_queue_that_no_log_can_speak_of_is_left_alone(connection: sqlite3.Connection, queue_id: int) -> None:
    connection.execute("UPDATE queues SET queue_id = ? WHERE queue_id = 7", (queue_id,))
    topology = read(connection)
    assert topology.queue_ids() == [8]
    assert topology.next_queue_id == 9
    assert len(topology.set_aside) == 1


@pytest.mark.parametrize("column", ["name", "type", "arguments", "internal"])
def test_any_other_row_that_can_not_be_is_left_alone(connection: sqlite3.Connection, column: str) -> None:
    value = 1.5 if column != "arguments" else "text"
    connection.execute(f"UPDATE exchanges SET {column} = ?", (value,))
    topology = read(connection)
    # What SQLite itself turns into a text is one.
    assert len(topology.exchanges) + len(topology.set_aside) == 1


@pytest.mark.parametrize("value", [-1, 0, "many", 1 << 40, 2.5])
def test_a_counter_that_can_not_be_does_not_count(connection: sqlite3.Connection, value: object) -> None:
    connection.execute("UPDATE counters SET value = ? WHERE name = 'next_queue_id'", (value,))
    topology = read(connection)
    assert topology.next_queue_id == 9
    assert len(topology.set_aside) == 1


def test_texts_have_to_be_some() -> None:
    assert is_of(str, "tägx")
    assert not is_of(str, "\udcff")
    assert not is_of(str, b"x")
    assert is_of(int, 5)
