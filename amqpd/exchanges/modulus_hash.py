"""x-modulus-hash: each message goes to one binding, by a hash of its routing key modulo their number.

A destination that is bound several times counts as often, as in RabbitMQ. Owns the order of the bindings: by their keys,
so that neither the order of binds nor a restart has a say. When a binding comes or goes most keys move; where that
matters, x-consistent-hash is the type to use.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.exchanges.hashing import hash32
from amqpd.wire.field_table import FieldTable


@final
class ModulusHashExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        # Empty after a change.
        self._sorted: list[Binding] = []

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        count: i64 = len(self.bindings)
        if count == 0:
            return []
        if len(self._sorted) == 0:
            self._sorted = [self.bindings[key] for key in sorted(self.bindings)]
        return [self._sorted[hash32(routing_key.encode("utf-8", "surrogateescape")) % count]]

    def on_bound(self, binding: Binding) -> None:
        self._sorted = []

    def on_unbound(self, binding: Binding) -> None:
        self._sorted = []
