"""Any bytes at all, and tables with a few bytes changed: SyntaxFault or a value, and every reader agrees."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from amqpd.base.errors import SyntaxFault
from amqpd.wire.field_table import (
    FieldTable,
    Timestamp,
    check_table,
    encode_table,
    equal_tables,
    with_value,
    without,
)

KEYS = st.text(max_size=20)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.builds(Timestamp, st.integers(min_value=0, max_value=2**64 - 1)),
    st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(UTC)),
    st.decimals(min_value=0, max_value=1000, places=2),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=6)
# Fields that are nearly right: real tags, plausible sizes, any bytes.
NEARLY = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from([b"\x01a" + bytes([tag]) for tag in b"tbBsuIilLfdDSAFTVxq"]),
        st.sampled_from([b"\x00\x00\x00\x00", b"\x00\x00\x00\x05", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]),
    ),
    max_size=12,
).map(b"".join)


def is_accepted(raw: bytes) -> bool:
    try:
        check_table(raw)
    except SyntaxFault:
        return False
    return True


@given(st.one_of(st.binary(max_size=200), NEARLY))
@example(b"\x01aF\x00\x00\x00\x03\x01bS")
@example(b"\x01aD\x00\x00\x00\x00")
def test_any_bytes_are_a_table_or_a_syntax_error(raw: bytes) -> None:
    table = FieldTable(raw)
    accepted = is_accepted(raw)
    for read in (
        table.to_dict,
        table.entries,
        lambda: table.get("a"),
        lambda: table.tag("a"),
        lambda: without(table, "a"),
    ):
        try:
            read()
        except SyntaxFault:
            assert not accepted
    if accepted:
        assert table.keys()[:1] == list(table.to_dict())[:1]
        for key in table.to_dict():
            assert table.has(key)
        without_first = without(table, next(iter(table.to_dict()), ""))
        check_table(without_first.raw)
        # NaN is the one value that is not equal to itself, and is why equality starts with the bytes.
        assert equal_tables(table, FieldTable(bytes(raw)))


@given(TABLES)
def test_what_is_encoded_comes_back(values: dict[str, object]) -> None:
    table = encode_table(values)
    check_table(table.raw)
    assert list(table.to_dict()) == list(values)
    again = encode_table(table.to_dict())
    assert equal_tables(table, again)
    assert equal_tables(FieldTable(table.raw), encode_table(dict(reversed(values.items()))))


@given(TABLES, KEYS, LEAVES)
def test_splicing_touches_one_entry(values: dict[str, object], key: str, value: object) -> None:
    table = encode_table(values)
    changed = with_value(table, key, value)
    check_table(changed.raw)
    assert changed.raw == encode_table({**values, key: value}).raw
    rest = {name: kept for name, kept in values.items() if name != key}
    assert without(changed, key).raw == encode_table(rest).raw


@given(TABLES, st.data())
def test_a_table_with_changed_bytes_is_a_table_or_a_syntax_error(
    values: dict[str, object], data: st.DataObject
) -> None:
    raw = bytearray(encode_table(values).raw)
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    table = FieldTable(bytes(raw))
    accepted = is_accepted(bytes(raw))
    try:
        table.to_dict()
        table.entries()
    except SyntaxFault:
        assert not accepted
