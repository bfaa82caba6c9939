"""x-consistent-hash: each message goes to one binding, by a hash; the binding key is the binding's weight, 1 to 1000.

Hashed is the routing key, or the header that the argument `hash-header` names, or the property that `hash-property`
names: correlation_id, message_id or timestamp. All messages without it go one way, as in RabbitMQ.

Weighted rendezvous hashing: every binding draws a number from (what is hashed, its destination), an exponential of rate
weight, and the lowest wins; so a binding gets weight / sum of weights. The choice depends on nothing but the bindings
there are: not on their order, nor on restarts. A new binding only takes messages, one that goes only gives them; among
the others nothing moves. (RabbitMQ's jump hash numbers its buckets in bind order, which a restart may change.)
Of several bindings of one destination the heaviest counts. Owns the draws; costs one per binding and message, and none
where a route by routing key is cached.
"""

from __future__ import annotations

from math import log
from typing import Final, final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import DEFAULTS, Limits
from amqpd.exchanges.canonical import match_form
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.exchanges.hashing import hash32, mix32
from amqpd.exchanges.headers import erlang_term
from amqpd.wire.field_table import FieldTable, type_name
from amqpd.wire.properties import CORRELATION_ID, MESSAGE_ID, NO_PROPERTIES, short_string, timestamp

HASH_HEADER: Final = "hash-header"
HASH_PROPERTY: Final = "hash-property"
PROPERTIES: Final = ("correlation_id", "message_id", "timestamp")
WEIGHT_MAX: Final = 1000


@final
class Share:
    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        kind = "x" if binding.to_exchange else "q"
        self._seed = hash32((kind + binding.destination).encode("utf-8", "surrogateescape"))
        # What is bound was checked, but never fail on what an older version has stored.
        self._mean = 1.0 / float(max(weight_of(binding.routing_key) or 1, 1))

    def draw(self, hashed: i64) -> float:
        return -log((float(mix32(hashed ^ self._seed)) + 0.5) / 4294967296.0) * self._mean


@final
class ConsistentHashExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        self._header = _string(arguments, HASH_HEADER)
        self._property = _string(arguments, HASH_PROPERTY)
        self.by_key_only = self._header is None and self._property is None
        self._shares: dict[bytes, Share] = {}
        # In the order of their keys, so that equal draws have one winner; empty after a change.
        self._sorted: list[Share] = []

    def check_arguments(self, where: str) -> None:
        super().check_arguments(where)
        arguments = self.arguments
        if arguments.has(HASH_HEADER) and arguments.has(HASH_PROPERTY):
            raise PreconditionFailed("hash-header and hash-property are mutually exclusive")
        # RabbitMQ closes the connection with 541 for a name that is no string.
        for key in (HASH_HEADER, HASH_PROPERTY):
            if arguments.has(key) and arguments.tag(key) != "S":
                raise PreconditionFailed(f"invalid type '{type_name(arguments.tag(key))}' for arg '{key}' in {where}")
        if self._property is not None and self._property not in PROPERTIES:
            raise PreconditionFailed(f"Unsupported property: {self._property}")

    def check_binding(self, binding: Binding, limits: Limits = DEFAULTS) -> None:
        key = binding.routing_key
        weight = weight_of(key)
        if weight is None:
            raise PreconditionFailed(f"The binding key must be an integer: {erlang_term(key)}")
        if weight < 1:
            raise PreconditionFailed("The binding key must be greater than 0")
        if weight > WEIGHT_MAX:
            raise PreconditionFailed(f"The binding key must not be greater than {WEIGHT_MAX}")

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        return self.route_message(routing_key, headers, NO_PROPERTIES)

    def route_message(self, routing_key: str, headers: FieldTable | None, header: bytes) -> list[Binding]:
        if len(self._shares) == 0:
            return []
        if len(self._sorted) == 0:
            self._sorted = [self._shares[key] for key in sorted(self._shares)]
        self.last_cost = len(self._sorted)
        hashed = hash32(self._hashed(routing_key, headers, header))
        best = self._sorted[0]
        lowest = best.draw(hashed)
        for share in self._sorted:
            draw = share.draw(hashed)
            if draw < lowest:
                best = share
                lowest = draw
        return [best.binding]

    def _hashed(self, routing_key: str, headers: FieldTable | None, header: bytes) -> bytes:
        name = self._header
        if name is not None:
            return match_form(headers.get(name)) if headers is not None and headers.has(name) else b""
        if self._property == "message_id":
            return short_string(header, MESSAGE_ID) or b""
        if self._property == "correlation_id":
            return short_string(header, CORRELATION_ID) or b""
        if self._property == "timestamp":
            return b"%d" % timestamp(header)
        return routing_key.encode("utf-8", "surrogateescape")

    def on_bound(self, binding: Binding) -> None:
        self._shares[binding.key] = Share(binding)
        self._sorted = []

    def on_unbound(self, binding: Binding) -> None:
        del self._shares[binding.key]
        self._sorted = []


def weight_of(binding_key: str) -> int | None:
    """None for what is no integer."""
    digits = binding_key[1:] if binding_key[:1] in ("+", "-") else binding_key
    if not digits.isascii() or not digits.isdigit():
        return None
    return int(binding_key)


def _string(arguments: FieldTable, key: str) -> str | None:
    value = arguments.get(key)
    return value if isinstance(value, str) else None
