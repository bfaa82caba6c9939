"""Properties of a message that the broker acts on when it is published.

Owns their checks, in RabbitMQ's order: reply-to, user_id, expiration, CC and BCC. Everything else in the header is the
clients' business and is neither looked at nor changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.queues.dead_letter import LAST_EXCHANGE, disowned
from amqpd.vhosts.routing import Route, copies
from amqpd.wire.field_table import FieldTable, type_name, without
from amqpd.wire.properties import expiration, headers, reply_to, user_id, with_headers, with_reply_to

if TYPE_CHECKING:
    from amqpd.channels.channel import Channel

REPLY_TO: Final = b"amq.rabbitmq.reply-to"
LAST_EXCHANGE_KEY: Final = LAST_EXCHANGE.encode("ascii")


@final
class Inspected:
    """What a look at the header found: the header to store, and the routing keys beside the method's own."""

    def __init__(self, header: bytes, table: FieldTable | None, extra_routing_keys: list[str], ttl_ms: i64) -> None:
        self.header = header
        self.headers = table
        self.extra_routing_keys = extra_routing_keys
        # Property expiration; -1 without one.
        self.ttl_ms = ttl_ms


def inspect(channel: Channel, header: bytes) -> Inspected:
    if reply_to(header) == REPLY_TO:
        queue = channel.reply_queue
        if queue is None:
            raise PreconditionFailed("fast reply consumer does not exist")
        header = with_reply_to(header, queue.name.encode())
    user = user_id(header)
    if user is not None:
        _check_user_id(user, channel)
    expires = expiration(header)
    ttl_ms: i64 = check_expiration(expires) if expires is not None else -1
    table = headers(header)
    if table is not None and LAST_EXCHANGE_KEY in table.raw:
        table = disowned(table)
        header = with_headers(header, table)
    extra: list[str] = []
    if table is not None and (b"CC" in table.raw):
        extra = _copies(table, "CC", channel) + _copies(table, "BCC", channel)
        if table.has("BCC"):
            # AMQP has no such header; RabbitMQ's sender-selected distribution hides BCC from who receives.
            header = with_headers(header, without(table, "BCC"))
    return Inspected(header, table, extra, ttl_ms)


def header_to_keep(seen: Inspected, route: Route) -> bytes:
    """What waits for its x-delay is routed once more, and needs its BCC then; nobody receives it before."""
    if route.is_delayed and route.only is not None and seen.headers is not None and seen.headers.has("BCC"):
        return with_headers(seen.header, seen.headers)
    return seen.header


def check_expiration(raw: bytes) -> int:
    """RabbitMQ: a string of decimal digits, not above ten years; returns milliseconds."""
    text = raw.decode("utf-8", "replace")
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits == "" or not digits.isascii() or not digits.isdigit():
        why = "no_integer" if digits == "" or not digits[:1].isdigit() else f'{{leftover_string,"{_leftover(text)}"}}'
        raise PreconditionFailed(f"invalid expiration '{text}': {why}")
    value = int(text)
    if value < 0:
        raise PreconditionFailed(f"invalid expiration '{text}': {{value_negative,{value}}}")
    if value > 315_360_000_000:
        raise PreconditionFailed(f"invalid expiration '{text}': {{value_too_large,{value}}}")
    return value


def _leftover(text: str) -> str:
    at = 1 if text[:1] in ("-", "+") else 0
    while at < len(text) and text[at].isdigit() and text[at].isascii():
        at += 1
    return text[at:]


def _copies(table: FieldTable, key: str, channel: Channel) -> list[str]:
    value = table.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise PreconditionFailed(
            f'invalid message: {{unacceptable_type_in_header,"{key}",{type_name(table.tag(key))}}}'
        )
    if len(value) > channel.session.limits.extra_routing_keys_max:
        raise PreconditionFailed(f"more than {channel.session.limits.extra_routing_keys_max} routing keys in {key}")
    return copies(table, key)


def _check_user_id(user: bytes, channel: Channel) -> None:
    text = user.decode("utf-8", "surrogateescape")
    login = channel.session.user
    if text != login and not channel.session.access.has_tag(login, "impersonator"):
        raise PreconditionFailed(f"user_id property set to '{text}' but authenticated user was '{login}'")
