"""What the topology store has to hear of, gathered during a turn.

Owns the open list of changes and the numbering of queues. Does not own what is durable: vhosts and users say so by calling.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.store.topology import (
    BINDINGS,
    EXCHANGES,
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
    TopologyChange,
    VhostRow,
    delete,
    put,
)
from amqpd.vhosts.policies import Policy
from amqpd.wire.field_table import FieldTable


@final
class Changes:
    def __init__(self, next_queue_id: i64) -> None:
        # True once something waits to be committed with the open batch.
        self.pending = False
        # The mark of the newest batch that took some; what was taken is durable when that is.
        self.taken_mark: i64 = 0
        self._changes: list[TopologyChange] = []
        self._next_queue_id = next_queue_id

    def take(self, mark: i64) -> list[TopologyChange]:
        """For the batch with this mark."""
        if self.pending:
            self.taken_mark = mark
        taken = self._changes
        self._changes = []
        self.pending = False
        return taken

    def next_queue_id(self) -> i64:
        """A number that no queue of this node ever had; what the log says of a queue, it says by this."""
        queue_id = self._next_queue_id
        self._next_queue_id = queue_id + 1
        return queue_id

    def _add(self, change: TopologyChange) -> None:
        self._changes.append(change)
        self.pending = True

    def put_vhost(self, name: str, description: str = "", tags: str = "", default_queue_type: str = "") -> None:
        self._add(put(VHOSTS, VhostRow(name, description, tags, default_queue_type).row()))

    def delete_vhost(self, name: str) -> None:
        self._add(delete(VHOSTS, {"name": name}))

    def put_exchange(self, vhost: str, exchange: Exchange) -> None:
        row = ExchangeRow(
            vhost,
            exchange.name,
            exchange.type_name,
            exchange.auto_delete,
            exchange.internal,
            exchange.arguments.raw,
        )
        self._add(put(EXCHANGES, row.row()))

    def delete_exchange(self, vhost: str, name: str) -> None:
        self._add(delete(EXCHANGES, {"vhost": vhost, "name": name}))

    def put_queue(
        self, vhost: str, queue_id: i64, name: str, auto_delete: bool, arguments: FieldTable, kind: str = PLAIN
    ) -> None:
        self._add(put(QUEUES, QueueRow(queue_id, vhost, name, auto_delete, arguments.raw, kind).row()))

    def delete_queue(self, vhost: str, queue_id: i64, name: str) -> None:
        self._add(delete(QUEUES, {"queue_id": int(queue_id)}))

    def put_binding(self, vhost: str, binding: Binding) -> None:
        self._add(put(BINDINGS, self._binding_row(vhost, binding)))

    def delete_binding(self, vhost: str, binding: Binding) -> None:
        self._add(delete(BINDINGS, self._binding_row(vhost, binding)))

    def _binding_row(self, vhost: str, binding: Binding) -> dict[str, object]:
        return BindingRow(
            vhost,
            binding.source,
            binding.destination,
            binding.to_exchange,
            binding.routing_key,
            binding.arguments.raw,
        ).row()

    def put_user(self, row: dict[str, object]) -> None:
        self._add(put(USERS, row))

    def delete_user(self, name: str) -> None:
        self._add(delete(USERS, {"name": name}))

    def put_permission(self, row: dict[str, object]) -> None:
        self._add(put(PERMISSIONS, row))

    def delete_permission(self, row: dict[str, object]) -> None:
        self._add(delete(PERMISSIONS, {"user": row["user"], "vhost": row["vhost"]}))

    def put_policy(self, policy: Policy) -> None:
        self._add(put(PARAMETERS if policy.is_operator else POLICIES, policy.row()))

    def delete_policy(self, policy: Policy) -> None:
        self._add(delete(PARAMETERS if policy.is_operator else POLICIES, policy.row()))
