"""The topology store in memory: what was applied is durable, and wholly there or not at all.

Owns rows by their keys, with SQLite's cascades (store/sqlite_topology.py). Does not own when the power goes: a cut comes
before or after `apply`, never within, which is what a transaction is.
"""

from __future__ import annotations

import errno

from amqpd.store.topology import (
    BINDINGS,
    EXCHANGES,
    KEYS,
    PARAMETERS,
    PERMISSIONS,
    PLAIN,
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
from tests.sim.story import Story

Row = dict[str, object]


class MemoryTopology(TopologyStore):
    def __init__(self, story: Story) -> None:
        self.tables: dict[str, dict[tuple[object, ...], Row]] = {table: {} for table in KEYS}
        self.next_queue_id = 1
        # How often it was changed, and once for being there.
        self.version = 1
        # The next `apply` finds no room.
        self.is_full = False
        self._story = story

    def load(self) -> Topology:
        topology = Topology()
        topology.vhosts = [VhostRow(**row) for row in self._rows(VHOSTS)]  # type: ignore[arg-type]
        for row in self._rows(EXCHANGES):
            flags = {"auto_delete": bool(row["auto_delete"]), "internal": bool(row["internal"])}
            topology.exchanges.append(
                ExchangeRow(row["vhost"], row["name"], row["type"], **flags, arguments=row["arguments"])  # type: ignore[arg-type]
            )
        for row in self._rows(QUEUES):
            row["auto_delete"] = bool(row["auto_delete"])
            topology.queues.append(QueueRow(**row))  # type: ignore[arg-type]
        for row in self._rows(BINDINGS):
            row["to_exchange"] = bool(row["to_exchange"])
            row["routing_key"] = row["routing_key"].decode("utf-8", "surrogateescape")  # type: ignore[attr-defined]
            topology.bindings.append(BindingRow(**row))  # type: ignore[arg-type]
        topology.users = self._rows(USERS)
        topology.permissions = self._rows(PERMISSIONS)
        topology.policies = self._rows(POLICIES)
        topology.parameters = self._rows(PARAMETERS)
        topology.next_queue_id = self.next_queue_id
        topology.version = self.version
        return topology

    def apply(self, changes: list[TopologyChange]) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space left for the topology")
        self.version += 1
        for change in changes:
            self._story.note(change.table.encode() + (b"-" if change.is_delete else b"+"))
            if change.is_delete:
                self._delete(change.table, change.row)
            else:
                self._put(change.table, change.row)

    def _rows(self, table: str) -> list[Row]:
        return [dict(row) for row in self.tables[table].values()]

    def _put(self, table: str, row: Row) -> None:
        self.tables[table][_key(table, row)] = dict(row)
        if table == QUEUES:
            self.next_queue_id = max(self.next_queue_id, int(str(row["queue_id"])) + 1)

    def _delete(self, table: str, key: Row) -> None:
        if table == QUEUES:
            row = self.tables[QUEUES].get(_key(QUEUES, key))
            if row is not None and row["kind"] == PLAIN:
                self._delete_where(BINDINGS, vhost=row["vhost"], destination=row["name"], to_exchange=0)
        elif table == EXCHANGES:
            self._delete_where(BINDINGS, vhost=key["vhost"], source=key["name"])
            self._delete_where(BINDINGS, vhost=key["vhost"], destination=key["name"], to_exchange=1)
        elif table == VHOSTS:
            for within in (EXCHANGES, QUEUES, BINDINGS, PERMISSIONS, POLICIES, PARAMETERS):
                self._delete_where(within, vhost=key["name"])
        elif table == USERS:
            self._delete_where(PERMISSIONS, user=key["name"])
        self.tables[table].pop(_key(table, key), None)

    def _delete_where(self, table: str, **columns: object) -> None:
        rows = self.tables[table]
        for key in [key for key, row in rows.items() if all(row[name] == value for name, value in columns.items())]:
            del rows[key]


def _key(table: str, row: Row) -> tuple[object, ...]:
    return tuple(row[column] for column in KEYS[table])
