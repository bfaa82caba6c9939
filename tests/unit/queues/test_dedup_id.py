from __future__ import annotations

from decimal import Decimal

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.queues.dedup_id import (
    FORM_BYTES_MAX,
    check_dedup_id,
    read_cache_ttl_ms,
    read_dedup_id,
    read_deduplication_header,
)
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table


def of(value: object) -> bytes | None:
    return read_dedup_id(encode_table({"x-dedup-id": value}))


def test_a_string_and_the_same_bytes_are_one_id() -> None:
    assert of("order-1") == of(b"order-1")
    assert of("order-1") != of("order-2")


def test_an_integer_is_itself_in_any_width_and_no_string() -> None:
    short = FieldTable(b"\x0ax-dedup-ids\x00\x07")
    long = FieldTable(b"\x0ax-dedup-idl" + (7).to_bytes(8, "big"))
    assert read_dedup_id(short) == read_dedup_id(long) == of(7)
    assert of(7) != of("7")
    assert of(7) != of(-7)


def test_a_long_id_is_kept_short_and_still_its_own() -> None:
    one, other = of("x" * 5000 + "1"), of("x" * 5000 + "2")
    assert one is not None and other is not None
    assert one != other
    assert len(one) <= FORM_BYTES_MAX
    assert len(of("x" * 40) or b"") <= FORM_BYTES_MAX


def test_without_the_header_there_is_no_id_and_nothing_wrong() -> None:
    assert read_dedup_id(None) is None
    assert read_dedup_id(EMPTY_TABLE) is None
    check_dedup_id(None)
    check_dedup_id(encode_table({"other": True}))
    check_dedup_id(encode_table({"x-dedup-id": ""}))


@pytest.mark.parametrize("value", [True, None, 1.5, Decimal("1.5"), ["a"], encode_table({"a": 1})])
def test_what_is_no_id_is_refused(value: object) -> None:
    assert of(value) is None
    with pytest.raises(PreconditionFailed, match="invalid x-dedup-id"):
        check_dedup_id(encode_table({"x-dedup-id": value}))


@pytest.mark.parametrize("value", ["a", b"a", 1, True, None, 1.5, ["a"]])
def test_the_plugins_header_may_be_anything(value: object) -> None:
    table = encode_table({"x-deduplication-header": value})
    assert read_deduplication_header(table) is not None
    assert read_deduplication_header(EMPTY_TABLE) is None
    assert read_deduplication_header(None) is None


@pytest.mark.parametrize(("value", "ttl_ms"), [(500, 500), (0, 0), (-3, 0), ("500", -1), (True, -1), (1.5, -1)])
def test_a_message_may_say_how_long_its_id_counts(value: object, ttl_ms: int) -> None:
    assert read_cache_ttl_ms(encode_table({"x-cache-ttl": value})) == ttl_ms
    assert read_cache_ttl_ms(EMPTY_TABLE) == -1
