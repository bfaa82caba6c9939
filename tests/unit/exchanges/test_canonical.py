from __future__ import annotations

import struct
from decimal import Decimal

import pytest

from amqpd.base.errors import SyntaxFault
from amqpd.exchanges.canonical import canonical_table, match_form
from amqpd.wire.field_table import DEPTH_MAX, FieldTable, Timestamp, encode_table, equal_tables


def entry(key: str, tag: str, value: bytes) -> bytes:
    return bytes([len(key)]) + key.encode() + tag.encode() + value


def sized(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


SHORT_ONE = entry("a", "s", struct.pack(">h", 1))
LONG_ONE = entry("a", "l", struct.pack(">q", 1))
STRING = entry("a", "S", sized(b"z"))
BYTE_ARRAY = entry("a", "x", sized(b"z"))

# Pairwise different by value; inside a row all the same.
CLASSES: list[list[bytes]] = [
    [b""],
    [SHORT_ONE, LONG_ONE, entry("a", "b", b"\x01"), entry("a", "B", b"\x01"), entry("a", "i", b"\0\0\0\x01")],
    [entry("b", "s", struct.pack(">h", 1))],
    [entry("a", "t", b"\x01"), entry("a", "t", b"\x02")],
    [entry("a", "t", b"\x00")],
    [entry("a", "d", struct.pack(">d", 1.0)), entry("a", "f", struct.pack(">f", 1.0))],
    [entry("a", "d", struct.pack(">d", 0.0)), entry("a", "d", struct.pack(">d", -0.0))],
    [entry("a", "T", struct.pack(">Q", 1))],
    [entry("a", "D", b"\x01\0\0\0\x0a")],
    [entry("a", "D", b"\x00\0\0\0\x01")],
    [entry("a", "D", b"\x00\0\0\0\0")],
    [entry("a", "D", b"\x01\0\0\0\0")],
    [entry("a", "V", b"")],
    [STRING, BYTE_ARRAY],
    [entry("a", "S", sized(b"\xff"))],
    [entry("a", "S", sized(b"i1;"))],
    [entry("a", "A", sized(b"s\0\x01")), entry("a", "A", sized(b"I\0\0\0\x01"))],
    [entry("a", "A", sized(b"I\0\0\0\x01I\0\0\0\x01"))],
    [entry("a", "F", sized(LONG_ONE)), entry("a", "F", sized(SHORT_ONE))],
    [entry("a", "F", sized(b""))],
    [STRING + entry("b", "V", b""), entry("b", "V", b"") + BYTE_ARRAY],
]


def test_same_form_exactly_where_tables_are_equal_by_value() -> None:
    tables = [(row, FieldTable(raw)) for row, raws in enumerate(CLASSES) for raw in raws]
    for row_a, a in tables:
        for row_b, b in tables:
            assert (canonical_table(a) == canonical_table(b)) is (row_a == row_b), (a.raw, b.raw)
            assert equal_tables(a, b) is (row_a == row_b), (a.raw, b.raw)


def test_first_of_two_entries_with_one_key_counts() -> None:
    assert canonical_table(FieldTable(SHORT_ONE + STRING)) == canonical_table(FieldTable(LONG_ONE))


def test_not_a_number_is_the_same_as_itself() -> None:
    nan = FieldTable(entry("a", "d", struct.pack(">d", float("nan"))))
    assert canonical_table(nan) == canonical_table(FieldTable(nan.raw))


def test_neighbours_do_not_run_into_each_other() -> None:
    assert canonical_table(encode_table({"a": "b1", "c": ""})) != canonical_table(encode_table({"a": "b", "1c": ""}))


def test_table_nested_too_deep_is_refused_and_not_recursed_into() -> None:
    table = b""
    for _ in range(DEPTH_MAX + 5):
        table = entry("a", "F", sized(table))
    with pytest.raises(SyntaxFault):
        canonical_table(FieldTable(table))


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 1.0), (1, Timestamp(1)), (2.0, Timestamp(2)), (0, -0.0), ("z", b"z"), (2**53 + 2, float(2**53 + 2))],
)
def test_header_values_match_across_types_as_in_rabbitmq(a: object, b: object) -> None:
    assert match_form(a) == match_form(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, True), (1, "1"), (0, None), ("", None), (1, 1.5), (1, Decimal(1)), (2**53 + 1, float(2**53)), (False, 0)],
)
def test_header_values_that_never_match(a: object, b: object) -> None:
    assert match_form(a) != match_form(b)


def test_infinite_header_value_has_a_form() -> None:
    assert match_form(float("inf")) == match_form(float("inf"))
    assert match_form(float("inf")) != match_form(float("-inf"))
