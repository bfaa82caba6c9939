"""Rows of the topology's tables, as SQLite gives them, made into what the core knows.

Owns the check of each: SQLite has no checksums and no types, so that a row may say anything. What makes no sense is set aside with
a sentence and stays in the file; a queue is kept as far as it can be, because messages are in it. Does not own the tables
(sqlite_topology.py). Never compiled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final, TypeVar

from amqpd.store.record import QUEUE_ID_MAX
from amqpd.store.topology import (
    BINDINGS,
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
)

NEXT_QUEUE_ID: Final = "next_queue_id"
VERSION: Final = "version"

Row = dict[str, Any]
Made = TypeVar("Made")


def read_rows(connection: sqlite3.Connection, columns: dict[str, dict[str, type]]) -> Topology:
    """Everything that can be understood; sqlite3.DatabaseError if the file can't be read."""
    return _Reader(connection, columns).read()


class _Reader:
    def __init__(self, connection: sqlite3.Connection, columns: dict[str, dict[str, type]]) -> None:
        self._connection = connection
        self._columns = columns
        self._topology = Topology()

    def read(self) -> Topology:
        topology = self._topology
        self._connection.text_factory = _text_of
        topology.vhosts = self._made(VHOSTS, _vhost)
        topology.exchanges = self._made(EXCHANGES, _exchange)
        topology.queues = [queue for row in self._rows(QUEUES) for queue in self._queue(row)]
        topology.bindings = self._made(BINDINGS, _binding)
        topology.users = self._made(USERS, dict)
        topology.permissions = self._made(PERMISSIONS, dict)
        topology.policies = self._made(POLICIES, dict)
        topology.parameters = self._made(PARAMETERS, dict)
        for row in self._rows("counters"):
            if row["name"] == NEXT_QUEUE_ID:
                topology.next_queue_id = self._counter(row, QUEUE_ID_MAX)
            elif row["name"] == VERSION:
                topology.version = self._counter(row, (1 << 63) - 1)
        for queue in topology.queues:
            topology.next_queue_id = max(topology.next_queue_id, int(queue.queue_id) + 1)
        return topology

    def _rows(self, table: str) -> list[Row]:
        found = self._connection.execute(f'SELECT * FROM "{table}" ORDER BY rowid')
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def _made(self, table: str, make: Callable[[Row], Made]) -> list[Made]:
        found = []
        for row in self._rows(table):
            wrong = [column for column, kind in self._columns[table].items() if not is_of(kind, row.get(column))]
            if wrong:
                self._set_aside(table, row, f"its {wrong[0]} is none")
                continue
            found.append(make(row))
        return found

    def _set_aside(self, table: str, row: Row, why: str) -> None:
        self._topology.set_aside.append(
            f"topology.sqlite has a row among its {table} that can't be understood and is left alone: {row!r:.300}: {why}"
        )

    def _queue(self, row: Row) -> list[QueueRow]:
        queue_id = row["queue_id"]
        if not is_of(int, queue_id) or not 0 < queue_id <= QUEUE_ID_MAX:
            self._set_aside(QUEUES, row, "no log can speak of it")
            return []
        name, vhost, arguments = row["name"], row["vhost"], row["arguments"]
        kind = row.get("kind", UNDECIDED)
        whole = is_of(str, name) and is_of(str, vhost) and is_of(bytes, arguments) and is_of(str, kind)
        if not whole:
            self._topology.set_aside.append(
                f"topology.sqlite says of queue_id {queue_id} what can't be: {row!r:.300}; it is kept as far as possible"
            )
        return [
            QueueRow(
                queue_id,
                vhost if is_of(str, vhost) else _readable(vhost),
                name if is_of(str, name) else _readable(name),
                row["auto_delete"] == 1,
                arguments if is_of(bytes, arguments) else b"",
                kind if is_of(str, kind) else UNDECIDED,
            )
        ]

    def _counter(self, row: Row, value_max: int) -> int:
        value = row["value"]
        if is_of(int, value) and 0 < value <= value_max:
            return int(value)
        self._set_aside("counters", row, "no counter gets there")
        return 1


def is_of(kind: type, value: object) -> bool:
    """Is it what a column of that kind holds? Texts have to be some."""
    if not isinstance(value, kind):
        return False
    return not isinstance(value, str) or _is_text(value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_of(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _readable(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _vhost(row: Row) -> VhostRow:
    return VhostRow(row["name"], row["description"], row["tags"], row["default_queue_type"])


def _exchange(row: Row) -> ExchangeRow:
    flags = (row["auto_delete"] == 1, row["internal"] == 1)
    return ExchangeRow(row["vhost"], row["name"], row["type"], *flags, row["arguments"])


def _binding(row: Row) -> BindingRow:
    key = row["routing_key"].decode("utf-8", "surrogateescape")
    return BindingRow(row["vhost"], row["source"], row["destination"], row["to_exchange"] == 1, key, row["arguments"])
