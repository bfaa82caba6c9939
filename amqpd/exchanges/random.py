"""x-random and x-local-random: each message goes to one binding, any of them.

Chance here is a sequence of numbers that begins with the exchange's name: it spreads evenly, which is all that is asked,
and a run can be repeated. A destination that is bound several times is as many times as likely, as in RabbitMQ. On one
node every queue is local, hence the two types are the same. Owns the sequence.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.exchanges.hashing import MASK, hash32, mix32
from amqpd.wire.field_table import FieldTable


@final
class RandomExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        # Not cached: each message has another route.
        self.by_key_only = False
        self._state: i64 = hash32(name.encode("utf-8", "surrogateescape"))
        self._choices: list[Binding] = []

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        count: i64 = len(self.bindings)
        if count == 0:
            return []
        if len(self._choices) == 0:
            self._choices = list(self.bindings.values())
        # A counter of full period, well mixed; the product takes the place of a division.
        self._state = (self._state + 0x61C88647) & MASK
        return [self._choices[(mix32(self._state) * count) >> 32]]

    def on_bound(self, binding: Binding) -> None:
        self._choices = []

    def on_unbound(self, binding: Binding) -> None:
        self._choices = []
