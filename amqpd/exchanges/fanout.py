"""fanout: a message goes to every binding, whatever its routing key.

Owns nothing beside the bindings themselves.
"""

from __future__ import annotations

from typing import final

from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable


@final
class FanoutExchange(Exchange):
    # Its own, though it adds nothing: compiled, an inherited __init__ runs twice and leaks what the first run made.
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        return list(self.bindings.values())
