"""Why a message left its queue by itself, and what the headers of a dead letter say of it.

Owns the reasons and the x-death table (behaviour of RabbitMQ): the newest death first, one table for each pair of queue
and reason, whose count grows; x-first-death-* written once, x-last-death-* every time. Headers are spliced: whatever the
client sent keeps its bytes. Does not own where a dead letter goes (vhosts/dead_letters.py).

A client may publish an x-death of its own, for example by publishing a dead letter again. Counts go on from there, but
only what died since it was published can have gone round in a cycle. Since when says the one thing that no client looks
at, the order of entries, so it is known wherever the message is kept, and after a restart:

    x-last-death-exchange before -queue     it has died since it was published: `disowned` turns them round in a publish
    `count` before all else in a table      this death is one of those; in a table from before it stands last

Invariant: the deaths since the publish stand before all others.
"""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, write_i32_be, write_i64_be
from mypy_extensions import i32, i64

from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_value, with_entry, with_value, without
from amqpd.wire.properties import expiration, headers, with_headers, without_expiration

REJECTED: Final = "rejected"
EXPIRED: Final = "expired"
MAXLEN: Final = "maxlen"
DELIVERY_LIMIT: Final = "delivery_limit"

X_DEATH: Final = "x-death"
LAST_EXCHANGE: Final = "x-last-death-exchange"
LAST_QUEUE: Final = "x-last-death-queue"
LAST_REASON: Final = "x-last-death-reason"
# So many tables are looked at and kept, the newest: each further death writes them all again. (RabbitMQ keeps all.)
DEATHS_MAX: Final = 1000
COUNT_MAX: Final = 0x7FFFFFFFFFFFFFFF

# How a table begins that is written here, and the size of its first entry.
_OWN: Final = b"\x05countl"
_COUNT_BYTES: Final = 15


def deaths(table: FieldTable | None) -> list[FieldTable]:
    """The x-death tables of a message, the newest first."""
    return [] if table is None else table.tables(X_DEATH, DEATHS_MAX)


def disowned(table: FieldTable) -> FieldTable:
    """The headers of a publish: whatever they say, this message has not died yet."""
    if not table.comes_before(LAST_EXCHANGE, LAST_QUEUE):
        return table
    exchange = table.encoded(LAST_EXCHANGE)
    return with_entry(without(table, LAST_EXCHANGE), LAST_EXCHANGE, chr(exchange[0]), exchange[1:])


def _is_own(death: FieldTable) -> bool:
    return death.raw.startswith(_OWN)


def _disowned_death(death: FieldTable) -> FieldTable:
    if not _is_own(death):
        return death
    return FieldTable(death.raw[_COUNT_BYTES:] + death.raw[:_COUNT_BYTES])


def dead_header(
    header: bytes, queue: str, reason: str, exchange: str, routing_keys: list[str], time_s: i64, drops_cc: bool
) -> bytes:
    """The content header of the dead letter that a message becomes."""
    table = headers(header) or EMPTY_TABLE
    # RabbitMQ asks whether the message has died before, and does not look at who says so.
    is_first = not table.has(X_DEATH)
    if not table.comes_before(LAST_EXCHANGE, LAST_QUEUE):
        for key in (LAST_EXCHANGE, LAST_QUEUE, LAST_REASON):
            table = without(table, key)
    table = _with_death(table, header, queue, reason, exchange, routing_keys, time_s)
    if is_first:
        table = with_value(table, "x-first-death-exchange", exchange)
        table = with_value(table, "x-first-death-queue", queue)
        table = with_value(table, "x-first-death-reason", reason)
    table = with_value(table, LAST_EXCHANGE, exchange)
    table = with_value(table, LAST_QUEUE, queue)
    table = with_value(table, LAST_REASON, reason)
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
    firsts: list[FieldTable] = []
    numbers: list[int] = []
    places: dict[tuple[bytes, bytes], int] = {}
    has_died = table.has(LAST_EXCHANGE)
    for death in deaths(table):
        if not has_died:
            death = _disowned_death(death)
        # Of several tables of one queue and reason RabbitMQ keeps the first.
        key = (death.encoded("queue"), death.encoded("reason"))
        place = places.get(key, -1)
        if place < 0:
            places[key] = len(firsts)
            firsts.append(death)
            numbers.append(1)
        else:
            numbers[place] += 1
    place = places.get((_encoded_string(queue), _encoded_string(reason)), -1)
    if place < 0:
        newest = _first_death(header, queue, reason, exchange, routing_keys, time_s)
    else:
        # RabbitMQ takes a single table without a count for none, and several for as many.
        uncounted = numbers[place] if len(firsts) > 1 or numbers[place] > 1 else 0
        newest = _counted_once_more(firsts.pop(place), uncounted)
        numbers.pop(place)
    others = [_with_count(each, number) for each, number in zip(firsts, numbers, strict=True)]
    return with_entry(table, X_DEATH, "A", _array_of_tables([newest, *others[: DEATHS_MAX - 1]]))


def _counted_once_more(death: FieldTable, uncounted: int) -> FieldTable:
    """It is one of this message from now on. `uncounted`: what it counts for where it does not say so by a number."""
    count = death.get("count")
    if isinstance(count, bool) or not isinstance(count, int):
        count = uncounted
    counted = with_entry(EMPTY_TABLE, "count", "l", _long(min(count + 1, COUNT_MAX)))
    return FieldTable(counted.raw + without(death, "count").raw)


def _with_count(death: FieldTable, number: int) -> FieldTable:
    """Clients read the count of each table, which very old brokers did not write."""
    if death.get("count") is not None:
        return death
    return with_entry(without(death, "count"), "count", "l", _long(number))


def _encoded_string(text: str) -> bytes:
    tag, encoded = encode_value(text)
    return tag.encode("ascii") + encoded


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


def queues_since_publish(table: FieldTable | None) -> dict[str, None]:
    """Where this message, whose newest death is in the table already, has been by itself all the way.

    RabbitMQ drops a message that would come back there rather than sending it round for ever; a rejection is somebody's
    decision, so it breaks the cycle.
    """
    names: dict[str, None] = {}
    if table is None or not table.comes_before(LAST_EXCHANGE, LAST_QUEUE):
        return names
    for death in deaths(table):
        if not _is_own(death) or death.get("reason") == REJECTED:
            break
        name = death.get("queue")
        if isinstance(name, str):
            names[name] = None
    return names
