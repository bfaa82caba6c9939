"""The header x-delay: how many milliseconds a message waits before it is routed.

Owns how the header is read, refused and rewritten. As in RabbitMQ's delayed message plugin, any number will do, also one
in a string; zero and less is no delay; when the time is over the sign is turned, so that whoever receives the message
sees that it was delayed, and no other exchange delays it again. Does not own the waiting (vhosts/delays.py).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, with_value
from amqpd.wire.properties import headers, with_headers

X_DELAY: Final = "x-delay"
# The plugin's bound, 49.7 days. It routes at once what is above; we refuse it, for nobody means that.
DELAY_MS_MAX: Final = 4_294_967_295


def read_delay(table: FieldTable | None) -> int | None:
    """The header's value as it stands; None if it is absent or no number."""
    if table is None:
        return None
    value = table.get(X_DELAY)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return _in_string(value)
    if isinstance(value, float):
        # Neither infinity nor what is none at all has an integer.
        return int(value) if abs(value) <= float(DELAY_MS_MAX) else None
    if isinstance(value, Decimal):
        return int(value)
    return None


def _in_string(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if len(digits) > 20 or not digits.isascii() or not digits.isdigit():
        return None
    return int(text)


def check_delay(table: FieldTable | None) -> None:
    """Raise PreconditionFailed for an x-delay that an exchange can't honour."""
    if table is None or not table.has(X_DELAY):
        return
    delay = read_delay(table)
    if delay is not None and delay > DELAY_MS_MAX:
        raise PreconditionFailed(f"invalid {X_DELAY} {delay}: the longest delay is {DELAY_MS_MAX} ms")


def delay_ms(table: FieldTable | None) -> i64:
    """How long a message with these headers waits; 0 for not at all. More than the bound counts as the bound."""
    delay = read_delay(table)
    if delay is None or delay <= 0:
        return 0
    return min(delay, DELAY_MS_MAX)


def message_delay_ms(header: bytes) -> i64:
    return delay_ms(headers(header))


def with_delay(header: bytes, delay: int) -> bytes:
    """The content header with another x-delay."""
    return with_headers(header, with_value(headers(header) or EMPTY_TABLE, X_DELAY, delay))


def with_spent_delay(header: bytes) -> bytes:
    """The content header of a message that has waited."""
    table = headers(header)
    delay = read_delay(table)
    if table is None or delay is None or delay <= 0:
        return header
    return with_headers(header, with_value(table, X_DELAY, -min(delay, DELAY_MS_MAX)))
