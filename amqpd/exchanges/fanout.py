"""fanout: a message goes to every binding, whatever its routing key.

Owns nothing beside the bindings themselves.
"""

from __future__ import annotations

from typing import final

from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable


@final
class FanoutExchange(Exchange):
    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        return list(self.bindings.values())
