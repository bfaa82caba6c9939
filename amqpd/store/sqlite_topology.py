"""The topology store of a single node: one SQLite file, through sqlite-utils.

Owns the file's tables and their version, and what an error of SQLite means. Does not own the columns' meaning (topology.py), nor
the rows' reading (topology_rows.py). Imported by the shell only and never compiled. Invariants: what `apply` was given is wholly
there or not at all, and durable when it returns (`synchronous = FULL`); each `apply` counts up the version by one, in the same
transaction. A file that SQLite finds malformed is Corrupt, never an empty topology: the log's messages would be dropped for want
of their queues. A lock that somebody else holds is an OSError with EBUSY.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.store.disk import ROOM, lack_of
from amqpd.store.topology import (
    BINDINGS,
    EXCHANGES,
    KEYS,
    PARAMETERS,
    PERMISSIONS,
    PLAIN,
    POLICIES,
    QUEUES,
    UNDECIDED,
    USERS,
    VHOSTS,
    Topology,
    TopologyChange,
    TopologyStore,
)
from amqpd.store.topology_rows import NEXT_QUEUE_ID, VERSION, read_rows

FORMAT: Final = 1
# How long one attempt waits for a lock.
BUSY_S: Final = 1.0

COLUMNS: Final[dict[str, dict[str, type]]] = {
    VHOSTS: {"name": str, "description": str, "tags": str, "default_queue_type": str},
    EXCHANGES: {"vhost": str, "name": str, "type": str, "auto_delete": int, "internal": int, "arguments": bytes},
    QUEUES: {"queue_id": int, "vhost": str, "name": str, "auto_delete": int, "arguments": bytes, "kind": str},
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
        with _said_by(path):
            connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._tables = Database(connection)
            self._open_format(path)
            _check(path, connection)

    def close(self) -> None:
        self._connection.close()

    def _open_format(self, path: Path) -> None:
        if _format(path, self._connection) == FORMAT:
            self._upgrade()
            return
        with self._tables.atomic():
            for table, columns in COLUMNS.items():
                self._tables.table(table).create(columns, pk=KEYS[table], not_null=set(columns), if_not_exists=True)
            self._tables.table(BINDINGS).create_index(["vhost", "destination"], if_not_exists=True)
            self._tables.table("counters").create({"name": str, "value": int}, pk="name", if_not_exists=True)
            self._connection.execute("INSERT INTO counters VALUES (?, 1)", (VERSION,))
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _upgrade(self) -> None:
        """What earlier versions did not write, none of which an earlier version minds."""
        tables = self._tables
        if tables[QUEUES].exists() and "kind" not in tables[QUEUES].columns_dict:
            self._connection.execute("ALTER TABLE queues ADD COLUMN kind TEXT NOT NULL DEFAULT ''")
        if tables["counters"].exists():
            self._connection.execute("INSERT OR IGNORE INTO counters VALUES (?, 1)", (VERSION,))

    # Reading

    def load(self) -> Topology:
        with _said_by(self._path):
            return read_rows(self._connection, COLUMNS)

    # Writing

    def apply(self, changes: list[TopologyChange]) -> None:
        try:
            with self._tables.atomic():
                for change in changes:
                    if change.is_delete:
                        self._delete(change.table, change.row)
                    else:
                        self._put(change.table, change.row)
                self._connection.execute("UPDATE counters SET value = value + 1 WHERE name = ?", (VERSION,))
        except sqlite3.OperationalError as error:
            if _code(error) in LACKS:
                raise _of_the_disk(self._path, error) from error
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
                if row["kind"] in (PLAIN, UNDECIDED):
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


def read_topology(path: Path) -> Topology:
    """What is in the file, and nothing in the directory is changed. Corrupt, UnknownFormat, or OSError if it can't be read.

    Opened as it is opened for writing, SQLite would make an empty topology of a file whose journal is gone.
    """
    journal = path.with_name(path.name + "-wal")
    if not journal.exists() or journal.stat().st_size == 0:
        # All of it is in the file; SQLite has to be told, or it would look for a journal and make one.
        return _read(path, path, "&immutable=1")
    try:
        with tempfile.TemporaryDirectory(prefix="amqpd-") as folder:
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            shutil.copyfile(journal, copy.with_name(journal.name))
            return _read(path, copy, "")
    except OSError as error:
        if lack_of(error) != ROOM:
            raise
    # Where there is no room for a copy: in its place, which changes no more than SQLite's index of the journal.
    return _read(path, path, "")


def _read(path: Path, file: Path, options: str) -> Topology:
    """`file` is `path`, or a copy of it."""
    with _said_by(path):
        uri = f"{file.absolute().as_uri()}?mode=ro{options}"
        connection = sqlite3.connect(uri, timeout=BUSY_S, uri=True, isolation_level=None)
        try:
            if _format(path, connection) == 0:
                return Topology()
            _check(path, connection)
            return read_rows(connection, COLUMNS)
        finally:
            connection.close()


def _format(path: Path, connection: sqlite3.Connection) -> int:
    """0 for a file that nothing was ever put into."""
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found not in (0, FORMAT):
        raise UnknownFormat(f"{path} has format {found}; this version reads format {FORMAT}")
    return found


def _check(path: Path, connection: sqlite3.Connection) -> None:
    """SQLite reads what it needs: a page that is broken further back would be met in the middle of the work."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise Corrupt(str(path), -1, f"SQLite finds it malformed: {' '.join(found.split())}")
    tables = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = [table for table in [*COLUMNS, "counters"] if table not in tables]
    if missing:
        raise Corrupt(str(path), -1, f"it has no table {missing[0]}")


# What SQLite lacks, and what an OSError calls that: all of it may come, and the same be tried again.
LACKS: Final[dict[int, int]] = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_LOCKED: errno.EBUSY,
    sqlite3.SQLITE_CANTOPEN: errno.EMFILE,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}
WORDS: Final[dict[int, str]] = {
    errno.ENOSPC: "no space left for the topology",
    errno.EBUSY: "somebody else holds a lock on it (a shell, a backup?)",
    errno.EMFILE: "SQLite can't open what it needs beside it",
    errno.ENOMEM: "no memory for SQLite",
}


def _code(error: sqlite3.Error) -> int:
    # The module's own errors have none: a text that is no text, for example.
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


@contextmanager
def _said_by(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _of_the_disk(path, error) from error


def _of_the_disk(path: Path, error: sqlite3.DatabaseError) -> Exception:
    """Corrupt if the content is to blame, OSError if the file can't be read or written at all."""
    code = _code(error)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
        return Corrupt(str(path), -1, f"SQLite says: {error}")
    if code in LACKS:
        return OSError(LACKS[code], WORDS[LACKS[code]], str(path))
    return OSError(errno.EIO, f"SQLite says: {error}", str(path))
