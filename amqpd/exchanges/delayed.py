"""x-delayed-message: routes as the type in `x-delayed-type` does, but a message with a header `x-delay` waits first.

Owns what the type checks, and the inner exchange that matches. Does not own the waiting (vhosts/delays.py), nor what
x-delay means (queues/delay.py): the walk asks `delays`, and takes care of it before it asks for a route.
"""

from __future__ import annotations

from typing import Final, final

from amqpd.base.errors import CommandInvalid, PreconditionFailed
from amqpd.base.limits import DEFAULTS, Limits
from amqpd.exchanges.direct import DirectExchange
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable

X_DELAYED_MESSAGE: Final = "x-delayed-message"
X_DELAYED_TYPE: Final = "x-delayed-type"


@final
class DelayedExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        # The header x-delay has a say, whatever the inner type.
        self.by_key_only = False
        self.delays = True
        # The registry, which knows the types, replaces it by the one asked for.
        self.tries_each_key = True
        self.inner: Exchange = DirectExchange("direct", name, durable, auto_delete, internal, arguments)

    def check_arguments(self, where: str) -> None:
        wanted = self.arguments.get(X_DELAYED_TYPE)
        if not isinstance(wanted, str):
            raise PreconditionFailed(f"Invalid argument, '{X_DELAYED_TYPE}' must be an existing exchange type")
        if wanted == X_DELAYED_MESSAGE:
            raise PreconditionFailed(f"Invalid argument, '{wanted}' can't be used for '{X_DELAYED_TYPE}'")
        if wanted != self.inner.type_name:
            raise CommandInvalid(f"unknown exchange type '{wanted}'")
        self.inner.check_arguments(where)

    def check_binding(self, binding: Binding, limits: Limits = DEFAULTS) -> None:
        self.inner.check_binding(binding, limits)

    def compared_arguments(self) -> list[str]:
        return [X_DELAYED_TYPE, *self.inner.compared_arguments()]

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        return self.inner.route(routing_key, headers)

    def route_message(self, routing_key: str, headers: FieldTable | None, header: bytes) -> list[Binding]:
        found = self.inner.route_message(routing_key, headers, header)
        self.last_cost = self.inner.last_cost
        return found

    def on_bound(self, binding: Binding) -> None:
        self.inner.bind(binding)

    def on_unbound(self, binding: Binding) -> None:
        self.inner.unbind(binding)
