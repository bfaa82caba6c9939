"""The topology store of a single node: one SQLite file, through sqlite-utils.

Owns the file's tables and their version. Does not own the columns' meaning (topology.py). Imported by the shell only and
never compiled. Invariant: what `apply` was given is wholly there or not at all, and durable when it returns
(`synchronous = FULL`). A file that SQLite finds malformed is Corrupt, never an empty topology: the log's messages would be
dropped for want of their queues.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.store.topology import (
    BINDINGS,
    EXCHANGES,
    KEYS,
    PARAMETERS,
    PERMISSIONS,
    POLICIES,
    QUEUES,
    USERS,
    VHOSTS,
    BindingRow,
    ExchangeRow,
    QueueRow,
    Topology,
    TopologyChange,
    TopologyStore,
    VhostRow,
)

FORMAT: Final = 1
NEXT_QUEUE_ID: Final = "next_queue_id"

COLUMNS: Final[dict[str, dict[str, type]]] = {
    VHOSTS: {"name": str, "description": str, "tags": str, "default_queue_type": str},
    EXCHANGES: {"vhost": str, "name": str, "type": str, "auto_delete": int, "internal": int, "arguments": bytes},
    QUEUES: {"queue_id": int, "vhost": str, "name": str, "auto_delete": int, "arguments": bytes},
    BINDINGS: {
        "vhost": str,
        "source": str,
        "destination": str,
        "to_exchange": int,
        "routing_key": bytes,
        "arguments": bytes,
    },
    USERS: {"name": str, "password_hash": str, "hashing_algorithm": str, "tags": str},
    PERMISSIONS: {"user": str, "vhost": str, "configure": str, "write": str, "read": str},
    POLICIES: {"vhost": str, "name": str, "pattern": str, "apply_to": str, "priority": int, "definition": str},
    PARAMETERS: {"vhost": str, "component": str, "name": str, "value": str},
}


class SqliteTopology(TopologyStore):
    """`load` in the thread that starts the node, `apply` in the one that writes the log; never both at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._tables = Database(connection)
            self._open_format(path)
            self._check()
        except sqlite3.DatabaseError as error:
            raise _of_the_disk(path, error) from error

    def close(self) -> None:
        self._connection.close()

    def _open_format(self, path: Path) -> None:
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise UnknownFormat(f"{path} has format {found}; this version reads format {FORMAT}")
        if found == FORMAT:
            return
        with self._tables.atomic():
            for table, columns in COLUMNS.items():
                self._tables.table(table).create(columns, pk=KEYS[table], not_null=set(columns), if_not_exists=True)
            self._tables.table(BINDINGS).create_index(["vhost", "destination"], if_not_exists=True)
            self._tables.table("counters").create({"name": str, "value": int}, pk="name", if_not_exists=True)
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _check(self) -> None:
        """SQLite reads what it needs: a page that is broken further back would be met in the middle of the work."""
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise Corrupt(str(self._path), -1, f"SQLite finds it malformed: {' '.join(found.split())}")
        missing = [table for table in COLUMNS if not self._tables[table].exists()]
        if missing:
            raise Corrupt(str(self._path), -1, f"it has no table {missing[0]}")

    # Reading

    def load(self) -> Topology:
        try:
            return self._load()
        except sqlite3.DatabaseError as error:
            raise _of_the_disk(self._path, error) from error

    def _load(self) -> Topology:
        topology = Topology()
        topology.vhosts = [
            VhostRow(row["name"], row["description"], row["tags"], row["default_queue_type"])
            for row in self._rows(VHOSTS)
        ]
        topology.exchanges = [
            ExchangeRow(
                row["vhost"],
                row["name"],
                row["type"],
                bool(row["auto_delete"]),
                bool(row["internal"]),
                row["arguments"],
            )
            for row in self._rows(EXCHANGES)
        ]
        topology.queues = [
            QueueRow(row["queue_id"], row["vhost"], row["name"], bool(row["auto_delete"]), row["arguments"])
            for row in self._rows(QUEUES)
        ]
        topology.bindings = [
            BindingRow(
                row["vhost"],
                row["source"],
                row["destination"],
                bool(row["to_exchange"]),
                row["routing_key"].decode("utf-8", "surrogateescape"),
                row["arguments"],
            )
            for row in self._rows(BINDINGS)
        ]
        topology.users = self._rows(USERS)
        topology.permissions = self._rows(PERMISSIONS)
        topology.policies = self._rows(POLICIES)
        topology.parameters = self._rows(PARAMETERS)
        for row in self._rows("counters"):
            if row["name"] == NEXT_QUEUE_ID:
                topology.next_queue_id = row["value"]
        return topology

    def _rows(self, table: str) -> list[dict[str, Any]]:
        return list(self._tables[table].rows_where(order_by="rowid"))

    # Writing

    def apply(self, changes: list[TopologyChange]) -> None:
        try:
            with self._tables.atomic():
                for change in changes:
                    if change.is_delete:
                        self._delete(change.table, change.row)
                    else:
                        self._put(change.table, change.row)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, "no space left for the topology") from error
            raise

    def _put(self, table: str, row: dict[str, object]) -> None:
        self._tables.table(table).upsert(row, pk=KEYS[table])
        if table == QUEUES:
            self._connection.execute(
                "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (NEXT_QUEUE_ID, int(str(row["queue_id"])) + 1),
            )

    def _delete(self, table: str, key: dict[str, object]) -> None:
        if table == QUEUES:
            for row in self._tables[QUEUES].rows_where("queue_id = ?", [key["queue_id"]]):
                self._delete_where(BINDINGS, vhost=row["vhost"], destination=row["name"], to_exchange=0)
        elif table == EXCHANGES:
            self._delete_where(BINDINGS, vhost=key["vhost"], source=key["name"])
            self._delete_where(BINDINGS, vhost=key["vhost"], destination=key["name"], to_exchange=1)
        elif table == VHOSTS:
            for within in (EXCHANGES, QUEUES, BINDINGS, PERMISSIONS, POLICIES, PARAMETERS):
                self._delete_where(within, vhost=key["name"])
        elif table == USERS:
            self._delete_where(PERMISSIONS, user=key["name"])
        self._delete_where(table, **key)

    def _delete_where(self, table: str, **columns: object) -> None:
        condition = " AND ".join(f'"{column}" = ?' for column in columns)
        self._connection.execute(f'DELETE FROM "{table}" WHERE {condition}', list(columns.values()))


def _of_the_disk(path: Path, error: sqlite3.DatabaseError) -> Exception:
    """Corrupt if the content is to blame, OSError if the file can't be read or written at all."""
    code = error.sqlite_errorcode & 0xFF
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
        return Corrupt(str(path), -1, f"SQLite says: {error}")
    if code == sqlite3.SQLITE_FULL:
        return OSError(errno.ENOSPC, "no space left for the topology", str(path))
    return OSError(errno.EIO, f"SQLite says: {error}", str(path))
