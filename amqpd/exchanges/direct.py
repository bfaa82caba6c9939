"""direct: a message goes where a binding has its routing key.

Owns the index from routing key to bindings. Invariant: no key without a binding stays in it.
"""

from __future__ import annotations

from typing import final

from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable


@final
class DirectExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        self.tries_each_key = True
        self._by_routing_key: dict[str, dict[bytes, Binding]] = {}

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        found = self._by_routing_key.get(routing_key)
        return [] if found is None else list(found.values())

    def on_bound(self, binding: Binding) -> None:
        bindings = self._by_routing_key.get(binding.routing_key)
        if bindings is None:
            bindings = {}
            self._by_routing_key[binding.routing_key] = bindings
        bindings[binding.key] = binding

    def on_unbound(self, binding: Binding) -> None:
        bindings = self._by_routing_key[binding.routing_key]
        del bindings[binding.key]
        if len(bindings) == 0:
            del self._by_routing_key[binding.routing_key]
