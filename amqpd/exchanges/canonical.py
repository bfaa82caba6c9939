"""One spelling for every field value, so that equality by value is equality of bytes.

    i12;     integer of any width        s5:hello    long string, byte array
    t0 t1    boolean                     f1.5;       float, double
    T12;     timestamp, seconds          d1.5;       decimal
    v        void                        a2:...      array, elements in order
                                         m2:...      table, entries sorted by key

A decimal is its scale and digits, as in RabbitMQ: 3.14 and 3.140 are two.

Owns: the identity of binding arguments (`canonical_table`) and what the headers exchange compares (`match_form`). Does
not own the wire encoding. Invariants: two tables have the same form exactly if wire.field_table.equal_tables says that
they are equal, NaN aside, which here is equal to itself so that it can be unbound; no form is the start of another.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from amqpd.base.errors import SyntaxFault
from amqpd.wire.field_table import DEPTH_MAX, FieldTable, Timestamp

VOID_FORM: Final = b"v"


def canonical_table(table: FieldTable) -> bytes:
    """The form of a whole table; b"" for an empty one. Of two entries with one key the first counts."""
    if len(table.raw) == 0:
        return b""
    return _table(table, 1)


def match_form(value: object) -> bytes:
    """The form of one header value as the headers exchange compares it."""
    # RabbitMQ forgets the type before it compares, and in Erlang 1 == 1.0; a timestamp is just its seconds. Inside
    # arrays and tables it compares types too; there we stay with equality by value.
    if isinstance(value, Timestamp):
        return _integer(value.seconds)
    if isinstance(value, float) and value.is_integer():
        return _integer(int(value))
    return _value(value, 1)


def _table(table: FieldTable, depth: int) -> bytes:
    if depth > DEPTH_MAX:
        raise SyntaxFault(f"field table nested deeper than {DEPTH_MAX}")
    firsts: dict[str, object] = {}
    for key, _, value in table.entries():
        if key not in firsts:
            firsts[key] = value
    parts = [b"m%d:" % len(firsts)]
    for key in sorted(firsts):
        parts.append(_octets(key.encode("utf-8", "surrogateescape")))
        parts.append(_value(firsts[key], depth))
    return b"".join(parts)


def _value(value: object, depth: int) -> bytes:
    if isinstance(value, str):
        return _octets(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bytes):
        return _octets(value)
    # Before int: a bool is one in Python, never in AMQP.
    if isinstance(value, bool):
        return b"t1" if value else b"t0"
    if isinstance(value, int):
        return _integer(value)
    if value is None:
        return VOID_FORM
    if isinstance(value, float):
        # + 0.0 turns -0.0, which is equal to 0.0, into it.
        return b"f%s;" % repr(value + 0.0).encode("ascii")
    if isinstance(value, Timestamp):
        return b"T%d;" % value.seconds
    if isinstance(value, Decimal):
        return b"d%s;" % str(value).encode("ascii")
    if isinstance(value, FieldTable):
        return _table(value, depth + 1)
    assert isinstance(value, list), f"no field value is a {type(value).__name__}"
    return _array(value, depth + 1)


def _array(elements: list[object], depth: int) -> bytes:
    if depth > DEPTH_MAX:
        raise SyntaxFault(f"field table nested deeper than {DEPTH_MAX}")
    parts = [b"a%d:" % len(elements)]
    for element in elements:
        parts.append(_value(element, depth))
    return b"".join(parts)


def _integer(value: int) -> bytes:
    return b"i%d;" % value


def _octets(raw: bytes) -> bytes:
    return b"s%d:%s" % (len(raw), raw)
