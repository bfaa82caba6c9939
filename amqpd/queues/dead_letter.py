"""Why a message left its queue by itself, and what the headers of a dead letter say of it.

Owns the reasons and the x-death table (behaviour of RabbitMQ): the newest death first, one table for each pair of queue
and reason, whose count grows; x-first-death-* written once, x-last-death-* every time. Headers are spliced: whatever the
client sent keeps its bytes. Does not own where a dead letter goes (vhosts/dead_letters.py).
"""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, write_i32_be, write_i64_be
from mypy_extensions import i32, i64

from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, with_entry, with_value, without
from amqpd.wire.properties import expiration, headers, with_headers, without_expiration

REJECTED: Final = "rejected"
EXPIRED: Final = "expired"
MAXLEN: Final = "maxlen"
DELIVERY_LIMIT: Final = "delivery_limit"

X_DEATH: Final = "x-death"


def deaths(table: FieldTable | None) -> list[FieldTable]:
    """The x-death tables of a message, the newest first."""
    if table is None:
        return []
    value = table.get(X_DEATH)
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, FieldTable)]


def dead_header(
    header: bytes, queue: str, reason: str, exchange: str, routing_keys: list[str], time_s: i64, drops_cc: bool
) -> bytes:
    """The content header of the dead letter that a message becomes."""
    table = headers(header) or EMPTY_TABLE
    # RabbitMQ asks whether the message has died before, and does not look at who says so.
    is_first = not table.has(X_DEATH)
    table = _with_death(table, header, queue, reason, exchange, routing_keys, time_s)
    if is_first:
        table = with_value(table, "x-first-death-exchange", exchange)
        table = with_value(table, "x-first-death-queue", queue)
        table = with_value(table, "x-first-death-reason", reason)
    table = with_value(table, "x-last-death-exchange", exchange)
    table = with_value(table, "x-last-death-queue", queue)
    table = with_value(table, "x-last-death-reason", reason)
    if drops_cc:
        table = without(without(table, "CC"), "BCC")
    return with_headers(without_expiration(header), table)


def _with_death(
    table: FieldTable,
    header: bytes,
    queue: str,
    reason: str,
    exchange: str,
    routing_keys: list[str],
    time_s: i64,
) -> FieldTable:
    known = deaths(table)
    newest: FieldTable | None = None
    others: list[FieldTable] = []
    for death in known:
        if newest is None and death.get("queue") == queue and death.get("reason") == reason:
            count = death.get("count")
            newest = with_entry(death, "count", "l", _long(count + 1 if isinstance(count, int) else 1))
        else:
            others.append(death)
    if newest is None:
        newest = _first_death(header, queue, reason, exchange, routing_keys, time_s)
    return with_entry(table, X_DEATH, "A", _array_of_tables([newest, *others]))


def _first_death(
    header: bytes, queue: str, reason: str, exchange: str, routing_keys: list[str], time_s: i64
) -> FieldTable:
    death = with_entry(EMPTY_TABLE, "count", "l", _long(1))
    death = with_value(death, "reason", reason)
    death = with_value(death, "queue", queue)
    death = with_entry(death, "time", "T", _long(time_s))
    death = with_value(death, "exchange", exchange)
    death = with_value(death, "routing-keys", list(routing_keys))
    expires = expiration(header)
    if expires is not None:
        death = with_value(death, "original-expiration", expires)
    return death


def _long(value: i64) -> bytes:
    writer = BytesWriter()
    write_i64_be(writer, value)
    return writer.getvalue()


def _array_of_tables(tables: list[FieldTable]) -> bytes:
    inner = BytesWriter()
    for table in tables:
        inner.append(ord("F"))
        write_i32_be(inner, i32(len(table.raw)))
        inner.write(table.raw)
    writer = BytesWriter()
    write_i32_be(writer, i32(len(inner)))
    writer.write(inner.getvalue())
    return writer.getvalue()


def is_cycle(table: FieldTable | None, queue: str) -> bool:
    """Has this message, whose newest death is in the table already, been in the queue before by itself all the way?

    RabbitMQ drops such a message rather than sending it round for ever; a rejection is somebody's decision, so it breaks
    the cycle.
    """
    for death in deaths(table):
        if death.get("reason") == REJECTED:
            return False
        if death.get("queue") == queue:
            return True
    return False
