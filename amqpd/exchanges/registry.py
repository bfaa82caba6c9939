"""Which exchange types there are, and which exchanges every vhost has from its first moment.

A type is added with one line in TYPES. Does not own declare rules (vhosts).
"""

from __future__ import annotations

from typing import Final

from amqpd.base.errors import CommandInvalid
from amqpd.exchanges.consistent_hash import ConsistentHashExchange
from amqpd.exchanges.delayed import X_DELAYED_MESSAGE, X_DELAYED_TYPE, DelayedExchange
from amqpd.exchanges.direct import DirectExchange
from amqpd.exchanges.exchange import Exchange
from amqpd.exchanges.fanout import FanoutExchange
from amqpd.exchanges.headers import HeadersExchange
from amqpd.exchanges.message_deduplication import MessageDeduplicationExchange
from amqpd.exchanges.modulus_hash import ModulusHashExchange
from amqpd.exchanges.random import RandomExchange
from amqpd.exchanges.topic import TopicExchange
from amqpd.wire.field_table import FieldTable

TYPES: Final[dict[str, type[Exchange]]] = {
    "direct": DirectExchange,
    "fanout": FanoutExchange,
    "headers": HeadersExchange,
    "topic": TopicExchange,
    "x-consistent-hash": ConsistentHashExchange,
    "x-delayed-message": DelayedExchange,
    "x-local-random": RandomExchange,
    "x-message-deduplication": MessageDeduplicationExchange,
    "x-modulus-hash": ModulusHashExchange,
    "x-random": RandomExchange,
}

# (name, type); all durable, and amq.rabbitmq.trace is internal.
PREDECLARED: Final[tuple[tuple[str, str], ...]] = (
    ("", "direct"),
    ("amq.direct", "direct"),
    ("amq.fanout", "fanout"),
    ("amq.topic", "topic"),
    ("amq.headers", "headers"),
    ("amq.match", "headers"),
    ("amq.rabbitmq.trace", "topic"),
)


def check_type(type_name: str) -> None:
    """Raise CommandInvalid, which closes the connection, as RabbitMQ does before it looks at anything else."""
    if type_name == "":
        raise CommandInvalid("invalid exchange type ''")
    if type_name not in TYPES:
        raise CommandInvalid(f"unknown exchange type '{type_name}'")


def create(
    type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
) -> Exchange:
    """A new exchange. A client's declare is to call `check_arguments` too; recovery takes what was once accepted."""
    check_type(type_name)
    exchange = TYPES[type_name](type_name, name, durable, auto_delete, internal, arguments)
    if isinstance(exchange, DelayedExchange):
        inner = arguments.get(X_DELAYED_TYPE)
        if isinstance(inner, str) and inner in TYPES and inner != X_DELAYED_MESSAGE:
            exchange.inner = TYPES[inner](inner, name, durable, auto_delete, internal, arguments)
            exchange.tries_each_key = exchange.inner.tries_each_key
            exchange.deduplicates = exchange.inner.deduplicates
    return exchange
