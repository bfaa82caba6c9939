"""What outlives a restart besides messages: rows of the topology, changes to them, and the port that keeps them.

Owns the columns of each table. Does not own SQLite (sqlite_topology.py), nor what the rows mean (vhosts). A change rides in
the batch of the turn that made it and is committed right after that batch is synced, before its mark is reported. So a
queue is never known without the log that came before it, and log records of a queue_id that is not known are dropped.

`arguments` are field tables as raw bytes: the types that a client sent survive. A routing key may hold any bytes; it is
`str` with surrogateescape here, and bytes in the row. Rows of users and permissions are dicts, as vhosts/access.py has them.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

VHOSTS: Final = "vhosts"
EXCHANGES: Final = "exchanges"
QUEUES: Final = "queues"
BINDINGS: Final = "bindings"
USERS: Final = "users"
PERMISSIONS: Final = "permissions"
POLICIES: Final = "policies"
PARAMETERS: Final = "parameters"

# What a row of `queues` is: never its name says so. Each kind has names of its own.
PLAIN: Final = "queue"
# Where the messages of an exchange wait for their x-delay.
DELAY: Final = "delay"
# No queue: the number of an exchange that remembers deduplication ids.
DEDUP: Final = "dedup"
# Written by a version that told them apart by their names; vhosts/restore.py decides.
UNDECIDED: Final = ""

# What tells the rows of a table apart; a delete names these columns and no others.
KEYS: Final[dict[str, tuple[str, ...]]] = {
    VHOSTS: ("name",),
    EXCHANGES: ("vhost", "name"),
    QUEUES: ("queue_id",),
    BINDINGS: ("vhost", "source", "destination", "to_exchange", "routing_key", "arguments"),
    USERS: ("name",),
    PERMISSIONS: ("user", "vhost"),
    POLICIES: ("vhost", "name"),
    PARAMETERS: ("vhost", "component", "name"),
}


@final
class TopologyChange:
    """One row to put or to delete.

    Deleting a vhost takes everything in it along, deleting a queue or an exchange its bindings, deleting a user their
    permissions.
    """

    def __init__(self, table: str, row: dict[str, object], is_delete: bool) -> None:
        missing = [column for column in KEYS[table] if column not in row]
        assert not missing, (table, missing)
        self.table = table
        self.row = row
        self.is_delete = is_delete


def put(table: str, row: dict[str, object]) -> TopologyChange:
    """Insert the row, or replace the one with the same key."""
    return TopologyChange(table, row, False)


def delete(table: str, row: dict[str, object]) -> TopologyChange:
    """Delete the row with this key; other columns are ignored, and so is a row that is not there."""
    return TopologyChange(table, {column: row[column] for column in KEYS[table]}, True)


@final
class VhostRow:
    def __init__(self, name: str, description: str = "", tags: str = "", default_queue_type: str = "") -> None:
        self.name = name
        self.description = description
        self.tags = tags
        self.default_queue_type = default_queue_type

    def row(self) -> dict[str, object]:
        return {
            "name": self.name,
            "description": self.description,
            "tags": self.tags,
            "default_queue_type": self.default_queue_type,
        }


@final
class ExchangeRow:
    """A durable exchange."""

    def __init__(
        self, vhost: str, name: str, type_name: str, auto_delete: bool, internal: bool, arguments: bytes
    ) -> None:
        self.vhost = vhost
        self.name = name
        self.type_name = type_name
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = arguments

    def row(self) -> dict[str, object]:
        return {
            "vhost": self.vhost,
            "name": self.name,
            "type": self.type_name,
            "auto_delete": int(self.auto_delete),
            "internal": int(self.internal),
            "arguments": self.arguments,
        }


@final
class QueueRow:
    """A durable queue; its queue_id names it in the log and is never given to another queue."""

    def __init__(
        self, queue_id: i64, vhost: str, name: str, auto_delete: bool, arguments: bytes, kind: str = PLAIN
    ) -> None:
        self.queue_id = queue_id
        self.vhost = vhost
        self.name = name
        self.auto_delete = auto_delete
        self.arguments = arguments
        self.kind = kind

    def row(self) -> dict[str, object]:
        return {
            "queue_id": int(self.queue_id),
            "vhost": self.vhost,
            "name": self.name,
            "auto_delete": int(self.auto_delete),
            "arguments": self.arguments,
            "kind": self.kind,
        }


@final
class BindingRow:
    """A binding whose two ends are durable."""

    def __init__(
        self, vhost: str, source: str, destination: str, to_exchange: bool, routing_key: str, arguments: bytes
    ) -> None:
        self.vhost = vhost
        self.source = source
        self.destination = destination
        self.to_exchange = to_exchange
        self.routing_key = routing_key
        self.arguments = arguments

    def row(self) -> dict[str, object]:
        return {
            "vhost": self.vhost,
            "source": self.source,
            "destination": self.destination,
            "to_exchange": int(self.to_exchange),
            "routing_key": self.routing_key.encode("utf-8", "surrogateescape"),
            "arguments": self.arguments,
        }


@final
class Topology:
    """Everything that was stored, each list in the order in which its rows first came."""

    def __init__(self) -> None:
        self.vhosts: list[VhostRow] = []
        self.exchanges: list[ExchangeRow] = []
        self.queues: list[QueueRow] = []
        self.bindings: list[BindingRow] = []
        self.users: list[dict[str, object]] = []
        self.permissions: list[dict[str, object]] = []
        self.policies: list[dict[str, object]] = []
        self.parameters: list[dict[str, object]] = []
        # Greater than every queue_id that was ever stored, also of queues that are gone.
        self.next_queue_id = 1
        # How many times it was changed; 0 if nobody has counted.
        self.version = 0
        # Rows that nobody can make anything of, and that stay where they are: a sentence for each.
        self.set_aside: list[str] = []

    def queue_ids(self) -> list[int]:
        return [int(queue.queue_id) for queue in self.queues]

    def queue_names(self) -> dict[int, str]:
        """What people call the queue that the log knows by its queue_id."""
        return {int(queue.queue_id): f"queue '{queue.name}' in vhost '{queue.vhost}'" for queue in self.queues}


@mypyc_attr(allow_interpreted_subclasses=True)
class TopologyStore:
    """Keeps the rows. `load` is called once, before the first `apply`."""

    def load(self) -> Topology:
        raise NotImplementedError

    def apply(self, changes: list[TopologyChange]) -> None:
        """All of them or none, durable when this returns. An OSError with ENOSPC changed nothing and may be tried again."""
        raise NotImplementedError
