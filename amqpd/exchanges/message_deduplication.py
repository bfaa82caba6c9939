"""x-message-deduplication: a fanout that takes each message once, by its header `x-deduplication-header`.

As RabbitMQ's plugin: `x-cache-size` is needed and says how many ids are remembered, `x-cache-ttl` for how long (without it
until newer ones push them out), `x-cache-persistence` where. Owns the arguments and the bindings. Does not own the ids
(queues/dedup_window.py), nor when they are looked at and noted (vhosts/routing.py, vhosts/deduplication.py): the walk
asks `deduplicates`, and takes care of it before it asks for a route.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable

X_CACHE_SIZE: Final = "x-cache-size"
X_CACHE_TTL: Final = "x-cache-ttl"
X_CACHE_PERSISTENCE: Final = "x-cache-persistence"
# The widest that the field types know.
NUMBER_MAX: Final = 0x7FFFFFFFFFFFFFFF


@final
class MessageDeduplicationExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        # Each message has an id of its own.
        self.by_key_only = False
        self.deduplicates = True

    def check_arguments(self, where: str) -> None:
        super().check_arguments(where)
        arguments = self.arguments
        if _positive(arguments, X_CACHE_SIZE) <= 0:
            raise PreconditionFailed(f"Missing or invalid argument, '{X_CACHE_SIZE}' must be an integer greater than 0")
        if arguments.has(X_CACHE_TTL) and _positive(arguments, X_CACHE_TTL) <= 0:
            raise PreconditionFailed(f"Invalid argument, '{X_CACHE_TTL}' must be an integer greater than 0")
        if arguments.has(X_CACHE_PERSISTENCE) and arguments.get(X_CACHE_PERSISTENCE) not in ("disk", "memory"):
            raise PreconditionFailed(f"Invalid argument, '{X_CACHE_PERSISTENCE}' must be either 'disk' or 'memory'")

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        return list(self.bindings.values())


def cache_size(arguments: FieldTable) -> i64:
    return max(_positive(arguments, X_CACHE_SIZE), 1)


def cache_ttl_ms(arguments: FieldTable) -> i64:
    """-1 without one: ids are known until there are too many."""
    return _positive(arguments, X_CACHE_TTL)


def is_in_memory(arguments: FieldTable) -> bool:
    """The plugin's default is memory; ours is as durable as the exchange, unless memory is asked for."""
    return arguments.get(X_CACHE_PERSISTENCE) == "memory"


def _positive(arguments: FieldTable, key: str) -> i64:
    """A number above zero, also in a string as the plugin takes it; -1 for anything else."""
    value = arguments.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= NUMBER_MAX:
        return -1
    return value
