from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from amqpd.base.errors import UnknownFormat
from amqpd.store import sqlite_topology
from amqpd.store.disk import LOCK, lack_of
from amqpd.store.sqlite_topology import SqliteTopology, read_topology
from amqpd.store.topology import (
    BINDINGS,
    DEDUP,
    DELAY,
    EXCHANGES,
    PARAMETERS,
    PERMISSIONS,
    POLICIES,
    QUEUES,
    UNDECIDED,
    USERS,
    VHOSTS,
    BindingRow,
    ExchangeRow,
    QueueRow,
    Topology,
    VhostRow,
    delete,
    put,
)

ARGUMENTS = b"\x09x-expiresI\x00\x00\x00\x64"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "topology.sqlite"


def reopened(store: SqliteTopology, path: Path) -> Topology:
    store.close()
    again = SqliteTopology(path)
    topology = again.load()
    again.close()
    return topology


def fill(store: SqliteTopology) -> None:
    user = {"name": "guest", "password_hash": "h", "hashing_algorithm": "a", "tags": "administrator,monitoring"}
    permission = {"user": "guest", "vhost": "/", "configure": ".*", "write": "", "read": "^x$"}
    policy = {"vhost": "/", "name": "p", "pattern": "^q", "apply_to": "queues", "priority": 3, "definition": "{}"}
    store.apply(
        [
            put(VHOSTS, VhostRow("/", "the default", "a,b", "classic").row()),
            put(EXCHANGES, ExchangeRow("/", "e", "topic", True, True, ARGUMENTS).row()),
            put(EXCHANGES, ExchangeRow("/", "f", "fanout", False, False, b"").row()),
            put(QUEUES, QueueRow(7, "/", "q", True, ARGUMENTS).row()),
            put(QUEUES, QueueRow(8, "/", "r", False, b"").row()),
            put(BINDINGS, BindingRow("/", "e", "q", False, "a.\udcff.#", ARGUMENTS).row()),
            put(BINDINGS, BindingRow("/", "e", "f", True, "", b"").row()),
            put(BINDINGS, BindingRow("/", "f", "r", False, "", b"").row()),
            put(USERS, user),
            put(PERMISSIONS, permission),
            put(POLICIES, policy),
            put(PARAMETERS, {"vhost": "/", "component": "shovel", "name": "s", "value": "{}"}),
        ]
    )


def test_everything_comes_back_after_reopening(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    topology = reopened(store, path)
    assert [row.row() for row in topology.vhosts] == [VhostRow("/", "the default", "a,b", "classic").row()]
    assert topology.exchanges[0].row() == ExchangeRow("/", "e", "topic", True, True, ARGUMENTS).row()
    assert topology.queues[0].row() == QueueRow(7, "/", "q", True, ARGUMENTS).row()
    assert topology.bindings[0].row() == BindingRow("/", "e", "q", False, "a.\udcff.#", ARGUMENTS).row()
    assert topology.bindings[0].routing_key == "a.\udcff.#"
    assert topology.users[0]["tags"] == "administrator,monitoring"
    assert topology.permissions[0]["read"] == "^x$"
    assert topology.policies[0]["priority"] == 3
    assert topology.parameters[0]["component"] == "shovel"
    assert topology.queue_ids() == [7, 8]
    assert topology.next_queue_id == 9


def test_fresh_store_is_empty(path: Path) -> None:
    topology = reopened(SqliteTopology(path), path)
    assert topology.vhosts == topology.users == []
    assert topology.next_queue_id == 1


def test_queue_id_is_never_given_out_again(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([delete(QUEUES, {"queue_id": 8}), delete(QUEUES, {"queue_id": 7})])
    assert reopened(store, path).next_queue_id == 9


def test_put_replaces_and_keeps_the_place(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([put(EXCHANGES, ExchangeRow("/", "e", "direct", False, False, b"").row())])
    topology = reopened(store, path)
    assert [(row.name, row.type_name) for row in topology.exchanges] == [("e", "direct"), ("f", "fanout")]


def test_deleting_a_queue_takes_its_bindings_along(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([delete(QUEUES, {"queue_id": 7})])
    topology = reopened(store, path)
    assert topology.queue_ids() == [8]
    assert [row.destination for row in topology.bindings] == ["f", "r"]


def test_deleting_an_exchange_takes_bindings_from_and_to_it_along(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([delete(EXCHANGES, {"vhost": "/", "name": "f"})])
    assert [row.destination for row in reopened(store, path).bindings] == ["q"]


def test_deleting_one_binding_leaves_the_others(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([delete(BINDINGS, BindingRow("/", "e", "q", False, "a.\udcff.#", ARGUMENTS).row())])
    assert [row.destination for row in reopened(store, path).bindings] == ["f", "r"]


def test_deleting_a_vhost_takes_everything_in_it_along(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([put(VHOSTS, VhostRow("other").row()), put(QUEUES, QueueRow(20, "other", "q", False, b"").row())])
    store.apply([delete(VHOSTS, {"name": "/"})])
    topology = reopened(store, path)
    assert [row.name for row in topology.vhosts] == ["other"]
    assert topology.queue_ids() == [20]
    assert topology.exchanges == topology.bindings == topology.permissions == topology.policies == []
    assert len(topology.users) == 1


def test_deleting_a_user_takes_permissions_along(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([delete(USERS, {"name": "guest"})])
    assert reopened(store, path).permissions == []


def test_deleting_what_is_not_there_is_nothing(path: Path) -> None:
    store = SqliteTopology(path)
    store.apply([delete(QUEUES, {"queue_id": 1}), delete(VHOSTS, {"name": "/"})])
    assert reopened(store, path).vhosts == []


def test_changes_are_applied_together_or_not_at_all(path: Path) -> None:
    store = SqliteTopology(path)
    broken = put(QUEUES, QueueRow(1, "/", "q", False, b"").row())
    broken.row["vhost"] = None
    with pytest.raises(sqlite3.IntegrityError):
        store.apply([put(VHOSTS, VhostRow("/").row()), broken])
    assert reopened(store, path).vhosts == []


def test_changes_are_committed_with_full_sync(path: Path) -> None:
    store = SqliteTopology(path)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_newer_format_is_refused(path: Path) -> None:
    SqliteTopology(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(UnknownFormat, match="format 2"):
        SqliteTopology(path)


def test_every_change_counts_one_version_up_and_one_that_fails_none(path: Path) -> None:
    store = SqliteTopology(path)
    assert store.load().version == 1
    fill(store)
    broken = put(QUEUES, QueueRow(1, "/", "q", False, b"").row())
    broken.row["vhost"] = None
    with pytest.raises(sqlite3.IntegrityError):
        store.apply([broken])
    store.apply([put(VHOSTS, VhostRow("v").row())])
    assert reopened(store, path).version == 3


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted(path.parent.iterdir())}


@pytest.mark.parametrize("how", ["closed", "killed", "its journal is gone", "empty"])
def test_reading_changes_nothing_in_the_directory(tmp_path: Path, how: str) -> None:
    path = tmp_path / "there/topology.sqlite"
    path.parent.mkdir()
    store = SqliteTopology(path)
    fill(store)
    aside = tmp_path / "aside"
    shutil.copytree(path.parent, aside)
    store.close()
    if how != "closed":
        shutil.rmtree(path.parent)
        aside.rename(path.parent)
    if how == "its journal is gone":
        (path.parent / "topology.sqlite-wal").unlink()
    elif how == "empty":
        (path.parent / "topology.sqlite-wal").unlink()
        path.write_bytes(b"")
    before = contents(path)
    topology = read_topology(path)
    assert topology.queue_ids() == ([7, 8] if how in ("closed", "killed") else [])
    assert topology.version == (2 if how in ("closed", "killed") else 0)
    assert contents(path) == before


def test_a_file_of_an_earlier_version_gets_what_it_lacks_and_keeps_its_rows(path: Path) -> None:
    SqliteTopology(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("ALTER TABLE queues DROP COLUMN kind")
    connection.execute("DELETE FROM counters")
    connection.execute("INSERT INTO queues VALUES (3, '/', 'amq.dedup.x', 0, x'')")
    connection.close()
    before = read_topology(path)
    assert [(row.name, row.kind) for row in before.queues] == [("amq.dedup.x", UNDECIDED)]
    assert before.version == 0
    store = SqliteTopology(path)
    store.apply([put(QUEUES, QueueRow(4, "/", "amq.dedup.x", False, b"", DEDUP).row())])
    topology = reopened(store, path)
    assert [(int(row.queue_id), row.kind) for row in topology.queues] == [(3, UNDECIDED), (4, DEDUP)]
    assert topology.version == 2


def test_a_hidden_store_takes_no_binding_of_a_queue_of_its_name_along(path: Path) -> None:
    store = SqliteTopology(path)
    fill(store)
    store.apply([put(QUEUES, QueueRow(9, "/", "q", False, b"", DELAY).row())])
    store.apply([delete(QUEUES, {"queue_id": 9})])
    assert [row.destination for row in reopened(store, path).bindings] == ["q", "f", "r"]


@pytest.mark.parametrize("what", ["open", "read", "apply"])
def test_a_lock_that_somebody_else_holds_is_something_to_wait_for(
    path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_topology, "BUSY_S", 0.01)
    store = SqliteTopology(path)
    fill(store)
    if what != "apply":
        store.close()
    other = sqlite3.connect(path, isolation_level=None)
    if what != "apply":
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("INSERT INTO counters VALUES ('other', 1)")
    acts = {
        "open": lambda: SqliteTopology(path),
        "read": lambda: read_topology(path),
        "apply": lambda: store.apply([put(VHOSTS, VhostRow("v").row())]),
    }
    if what == "read":
        # Nothing of the other's is in the file itself, and what is there may be read.
        assert acts["read"]().queue_ids() == [7, 8]
    else:
        with pytest.raises(OSError, match="somebody else holds a lock") as caught:
            acts[what]()
        assert lack_of(caught.value) == LOCK
    other.execute("ROLLBACK")
    other.close()
    acts[what]()
