from __future__ import annotations

import struct
from decimal import Decimal

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.queues.delay import (
    DELAY_MS_MAX,
    check_delay,
    delay_ms,
    message_delay_ms,
    read_delay,
    with_delay,
    with_spent_delay,
)
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table, with_entry
from amqpd.wire.properties import Properties, encode_header, headers


def tagged(tag: str, encoded: bytes) -> FieldTable:
    return with_entry(encode_table({"first": 1}), "x-delay", tag, encoded)


@pytest.mark.parametrize(
    ("tag", "encoded"),
    [
        ("b", b"\x64"),
        ("B", b"\x64"),
        ("s", b"\x00\x64"),
        ("u", b"\x00\x64"),
        ("I", b"\x00\x00\x00\x64"),
        ("i", b"\x00\x00\x00\x64"),
        ("l", b"\x00\x00\x00\x00\x00\x00\x00\x64"),
        ("L", b"\x00\x00\x00\x00\x00\x00\x00\x64"),
        ("d", struct.pack(">d", 100.9)),
        ("f", struct.pack(">f", 100.5)),
        ("S", b"\x00\x00\x00\x03100"),
    ],
)
def test_any_number_will_do(tag: str, encoded: bytes) -> None:
    table = tagged(tag, encoded)
    check_delay(table)
    assert delay_ms(table) == 100
    assert message_delay_ms(encode_header(0, Properties(headers=table))) == 100


@pytest.mark.parametrize(
    "value", [0, -1, -5000, -(1 << 62), "", "soon", "1.5", "9" * 21, None, True, [1], float("nan"), float("inf")]
)
def test_everything_else_is_no_delay(value: object) -> None:
    table = encode_table({"x-delay": value})
    check_delay(table)
    assert delay_ms(table) == 0
    header = encode_header(0, Properties(headers=table))
    assert with_spent_delay(header) == header


def test_without_headers_there_is_no_delay() -> None:
    check_delay(None)
    check_delay(EMPTY_TABLE)
    assert [read_delay(None), read_delay(EMPTY_TABLE)] == [None, None]
    header = encode_header(0, Properties(delivery_mode=2))
    assert message_delay_ms(header) == 0
    assert with_spent_delay(header) == header


def test_a_decimal_is_cut() -> None:
    assert read_delay(encode_table({"x-delay": Decimal("12.9")})) == 12


@pytest.mark.parametrize("value", [DELAY_MS_MAX + 1, 1 << 62, str(DELAY_MS_MAX + 1)])
def test_longer_than_the_bound_is_refused_and_where_it_can_not_be_counts_as_the_bound(value: object) -> None:
    table = encode_table({"x-delay": value})
    with pytest.raises(PreconditionFailed, match="the longest delay is 4294967295 ms"):
        check_delay(table)
    assert delay_ms(table) == DELAY_MS_MAX
    check_delay(encode_table({"x-delay": DELAY_MS_MAX}))


def test_a_spent_delay_has_its_sign_turned_and_nothing_else_changes() -> None:
    table = encode_table({"before": 1, "x-delay": 5000, "after": "z"})
    header = encode_header(7, Properties(headers=table, delivery_mode=2, message_id="m"))
    spent = with_spent_delay(header)
    assert spent == encode_header(
        7,
        Properties(
            headers=encode_table({"before": 1, "x-delay": -5000, "after": "z"}), delivery_mode=2, message_id="m"
        ),
    )
    assert with_spent_delay(spent) == spent
    assert message_delay_ms(spent) == 0


@pytest.mark.parametrize("value", [DELAY_MS_MAX, "99999999999999999999"])
def test_a_long_delay_can_be_spent_too(value: object) -> None:
    table = headers(with_spent_delay(encode_header(0, Properties(headers=encode_table({"x-delay": value})))))
    assert table is not None
    assert table.get("x-delay") == -DELAY_MS_MAX


def test_a_delay_is_set_with_or_without_headers() -> None:
    assert message_delay_ms(with_delay(encode_header(0, Properties()), 7)) == 7
    assert message_delay_ms(with_delay(encode_header(0, Properties(headers=encode_table({"x-delay": 1}))), 7)) == 7
