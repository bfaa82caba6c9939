from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from amqpd.base.errors import SyntaxFault
from amqpd.wire.field_table import (
    DEPTH_MAX,
    EMPTY_TABLE,
    ENTRIES_MAX,
    KEY_BYTES_MAX,
    FieldTable,
    Timestamp,
    check_table,
    checked_table,
    encode_table,
    encode_value,
    equal_tables,
    same_value,
    type_name,
    with_entry,
    with_value,
    without,
)


def entry(key: bytes, tagged: bytes) -> bytes:
    return bytes([len(key)]) + key + tagged


def sized(tag: bytes, raw: bytes) -> bytes:
    return tag + len(raw).to_bytes(4, "big") + raw


def nested(depth: int) -> bytes:
    raw = b""
    for _ in range(depth - 1):
        raw = entry(b"a", sized(b"F", raw))
    return raw


# One of each type: tag and bytes as RabbitMQ 3.10's own parser reads them, RabbitMQ's name, the value.
EACH_TYPE = [
    (b"t\x01", "bool", True),
    (b"t\x02", "bool", True),
    (b"t\x00", "bool", False),
    (b"b\xff", "byte", -1),
    (b"B\xff", "unsignedbyte", 255),
    (b"s\xff\xff", "short", -1),
    (b"u\xff\xff", "unsignedshort", 65535),
    (b"I\xff\xff\xff\xff", "signedint", -1),
    (b"i\xff\xff\xff\xff", "unsignedint", 4294967295),
    (b"l" + b"\xff" * 8, "long", -1),
    (b"L" + b"\xff" * 8, "long", -1),
    (b"f\x3f\xc0\x00\x00", "float", 1.5),
    (b"d\x3f\xf8\x00\x00\x00\x00\x00\x00", "double", 1.5),
    (b"D\x02\xff\xff\xff\xff", "decimal", Decimal("42949672.95")),
    (sized(b"S", "é".encode()), "longstr", "é"),
    (sized(b"S", b"\xff\x00"), "longstr", "\udcff\x00"),
    (sized(b"x", b"\xff\x00"), "binary", b"\xff\x00"),
    (b"T" + b"\xff" * 8, "timestamp", Timestamp(2**64 - 1)),
    (b"V", "void", None),
    (sized(b"A", b"t\x01VV"), "array", [True, None, None]),
]


@pytest.mark.parametrize("tagged, name, value", EACH_TYPE)
def test_every_type_is_read_as_rabbitmq_reads_it(tagged: bytes, name: str, value: object) -> None:
    table = checked_table(entry(b"before", b"V") + entry(b"key", tagged) + entry(b"after", b"t\x01"))
    assert table.get("key") == value
    assert type(table.get("key")) is type(value)
    assert type_name(table.tag("key")) == name
    assert table.to_dict() == {"before": None, "key": value, "after": True}


def test_a_nested_table_is_a_table_by_key_and_a_dict_as_plain_python() -> None:
    raw = entry(b"outer", sized(b"F", entry(b"inner", b"B\x07") + entry(b"list", sized(b"A", sized(b"F", b"")))))
    table = checked_table(raw)
    inner = table.get("outer")
    assert isinstance(inner, FieldTable)
    assert inner.get("inner") == 7
    assert inner.get("list") == [EMPTY_TABLE]
    assert table.to_dict() == {"outer": {"inner": 7, "list": [{}]}}


def test_an_absent_key_has_neither_value_nor_tag() -> None:
    table = encode_table({"a": 1})
    assert (table.get("b"), table.has("b"), table.tag("b"), type_name(table.tag("b"))) == (None, False, "", "none")


def test_a_void_value_is_there_without_a_value() -> None:
    table = encode_table({"a": None})
    assert (table.get("a"), table.has("a"), table.tag("a")) == (None, True, "V")


def test_only_a_true_boolean_is_true() -> None:
    table = encode_table({"yes": True, "no": False, "one": 1, "text": "true"})
    assert [table.is_true(key) for key in ("yes", "no", "one", "text", "absent")] == [True, False, False, False, False]


def test_of_two_entries_with_one_key_the_first_counts() -> None:
    table = checked_table(entry(b"a", b"B\x01") + entry(b"a", b"B\x02"))
    assert table.get("a") == 1
    assert table.to_dict() == {"a": 1}
    assert table.items() == [("a", 1), ("a", 2)]


def test_entries_come_in_order_with_their_tags() -> None:
    table = encode_table({"z": 1, "a": "x", "m": 2**40})
    assert table.entries() == [("z", "I", 1), ("a", "S", "x"), ("m", "l", 2**40)]
    assert table.keys() == ["z", "a", "m"]


@pytest.mark.parametrize("key", ["", "é", "\udcff", "x" * KEY_BYTES_MAX])
def test_any_bytes_will_do_as_a_key(key: str) -> None:
    table = encode_table({"other": 0, key: 1})
    check_table(table.raw)
    assert table.get(key) == 1
    assert without(table, key).to_dict() == {"other": 0}


# Malformed and too large ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tagged, _name, _value", EACH_TYPE)
def test_a_table_that_ends_early_is_a_syntax_error_wherever_it_ends(tagged: bytes, _name: str, _value: object) -> None:
    whole = entry(b"key", tagged)
    for size in range(1, len(whole)):
        for read in (check_table, lambda raw: FieldTable(raw).get("key"), lambda raw: FieldTable(raw).to_dict()):
            with pytest.raises(SyntaxFault):
                read(whole[:size])


@pytest.mark.parametrize("tag", [0, ord("q"), ord("U"), 255])
def test_an_unknown_type_is_a_syntax_error(tag: int) -> None:
    with pytest.raises(SyntaxFault, match=f"unknown type {tag}"):
        check_table(entry(b"a", bytes([tag])))


@pytest.mark.parametrize("tag", [b"S", b"x", b"A", b"F"])
def test_a_size_beyond_the_table_is_a_syntax_error(tag: bytes) -> None:
    for size in (b"\x00\x00\x00\x02", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"):
        with pytest.raises(SyntaxFault):
            check_table(entry(b"a", tag + size + b"V"))


def test_a_value_must_not_reach_out_of_the_table_that_holds_it() -> None:
    inner = entry(b"b", b"S\x00\x00\x00\x04ab")
    with pytest.raises(SyntaxFault):
        check_table(entry(b"a", sized(b"F", inner)) + b"cdefgh")


@pytest.mark.parametrize("tag", [b"F", b"A"])
def test_nesting_is_limited(tag: bytes) -> None:
    def deep(depth: int) -> bytes:
        raw = b""
        for _ in range(depth - 2):
            raw = sized(tag, entry(b"a", raw) if tag == b"F" and raw else raw)
        return entry(b"a", sized(tag, entry(b"a", raw) if tag == b"F" and raw else raw))

    check_table(deep(DEPTH_MAX))
    with pytest.raises(SyntaxFault, match="deeper than 64"):
        check_table(deep(DEPTH_MAX + 1))


def test_unchecked_bottomless_tables_are_syntax_errors_for_every_reader() -> None:
    bottomless = b""
    for _ in range(20_000):
        bottomless = sized(b"A", bottomless)
    table = FieldTable(entry(b"a", bottomless))
    for read in (table.entries, table.to_dict, lambda: table.get("a"), lambda: equal_tables(table, EMPTY_TABLE)):
        with pytest.raises(SyntaxFault):
            read()
    tables = FieldTable(nested(2_000))
    with pytest.raises(SyntaxFault):
        tables.to_dict()
    with pytest.raises(SyntaxFault):
        equal_tables(tables, FieldTable(nested(2_001)))


def test_entries_are_limited_in_each_table() -> None:
    most = b"".join(entry(b"%d" % i, b"V") for i in range(ENTRIES_MAX))
    check_table(most)
    check_table(entry(b"a", sized(b"F", most)) + entry(b"b", sized(b"F", most)))
    for raw in (most + entry(b"more", b"V"), entry(b"a", sized(b"F", most + entry(b"more", b"V")))):
        with pytest.raises(SyntaxFault, match="more than 1024"):
            check_table(raw)


def test_keys_may_be_as_long_as_their_size_can_say() -> None:
    check_table(entry(b"k" * KEY_BYTES_MAX, b"V"))
    assert encode_table({"k" * KEY_BYTES_MAX: None}).raw == entry(b"k" * KEY_BYTES_MAX, b"V")
    with pytest.raises(ValueError, match="at most 255"):
        encode_table({"k" * (KEY_BYTES_MAX + 1): None})


def test_an_array_may_fill_a_frame() -> None:
    check_table(entry(b"a", sized(b"A", b"V" * 131_000)))


# Encoding ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, tag, raw",
    [
        (True, "t", b"\x01"),
        (1, "I", b"\x00\x00\x00\x01"),
        (-(2**31), "I", b"\x80\x00\x00\x00"),
        (2**31, "l", b"\x00\x00\x00\x00\x80\x00\x00\x00"),
        (-(2**63), "l", b"\x80" + b"\x00" * 7),
        (1.5, "d", b"\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        ("é", "S", b"\x00\x00\x00\x02\xc3\xa9"),
        (b"\xff", "S", b"\x00\x00\x00\x01\xff"),
        ("\udcff", "S", b"\x00\x00\x00\x01\xff"),
        (None, "V", b""),
        ({}, "F", b"\x00\x00\x00\x00"),
        (FieldTable(b"\x01aV"), "F", b"\x00\x00\x00\x03\x01aV"),
        ([1, None], "A", b"\x00\x00\x00\x06I\x00\x00\x00\x01V"),
        ((), "A", b"\x00\x00\x00\x00"),
        (Timestamp(2**64 - 1), "T", b"\xff" * 8),
        (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "T", b"\x00" * 7 + b"\x3c"),
        (datetime(1970, 1, 1, 0, 1), "T", b"\x00" * 7 + b"\x3c"),
        (Decimal("1.25"), "D", b"\x02\x00\x00\x00\x7d"),
        (Decimal("4294967295"), "D", b"\x00\xff\xff\xff\xff"),
    ],
)
def test_python_values_become_the_fields_that_clients_expect(value: object, tag: str, raw: bytes) -> None:
    assert encode_value(value) == (tag, raw)


def test_what_no_field_can_hold_is_the_callers_mistake() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value in (2**63, -(2**63) - 1, object(), Decimal(-1), Decimal("NaN"), Decimal("1e999999"), Decimal(1) / 3):
        with pytest.raises(ValueError):
            encode_value(value)
    for values in ({"k" * 256: 1}, {"a": endless}):
        with pytest.raises(ValueError):
            encode_table(values)


def test_an_empty_dict_is_the_empty_table() -> None:
    assert encode_table({}).raw == b"" == checked_table(b"").raw


# Splicing ---------------------------------------------------------------------------------------------------------------


def test_replacing_a_value_leaves_every_other_byte_alone() -> None:
    odd = entry(b"first", b"t\x07")  # a true that nobody would encode like this
    table = FieldTable(odd + entry(b"a", b"B\x01") + entry(b"last", b"s\x00\x01"))
    changed = with_entry(table, "a", "S", b"\x00\x00\x00\x02hi")
    assert changed.raw == odd + entry(b"a", sized(b"S", b"hi")) + entry(b"last", b"s\x00\x01")
    assert table.get("a") == 1


def test_a_new_key_goes_to_the_end() -> None:
    table = encode_table({"a": 1})
    assert with_value(table, "b", [True]).raw == table.raw + entry(b"b", sized(b"A", b"t\x01"))
    assert with_value(EMPTY_TABLE, "b", None).raw == entry(b"b", b"V")


def test_removing_a_key_removes_all_its_entries_and_nothing_else() -> None:
    a, b = entry(b"a", b"B\x01"), entry(b"b", sized(b"S", b"\x01aB\x01"))
    assert without(FieldTable(a + b + a), "a").raw == b
    assert without(FieldTable(b), "a").raw == b


# Equality ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "a", [b"b\x01", b"B\x01", b"s\x00\x01", b"u\x00\x01", b"I\0\0\0\1", b"i\0\0\0\1", b"l\0\0\0\0\0\0\0\1"]
)
@pytest.mark.parametrize("b", [b"B\x01", b"i\0\0\0\1", b"L\0\0\0\0\0\0\0\1"])
def test_integers_of_any_width_are_equal_by_value(a: bytes, b: bytes) -> None:
    assert equal_tables(FieldTable(entry(b"k", a)), FieldTable(entry(b"k", b)))


def test_a_long_string_equals_a_byte_array() -> None:
    assert equal_tables(FieldTable(entry(b"k", sized(b"S", b"\xffx"))), FieldTable(entry(b"k", sized(b"x", b"\xffx"))))
    assert same_value("a", b"a", "S", "x")
    assert same_value("a", b"a")


DIFFERENT = [True, 1, 1.0, "1", Timestamp(1), None, [1], {"1": 1}, Decimal(1)]


@pytest.mark.parametrize("a", DIFFERENT)
@pytest.mark.parametrize("b", DIFFERENT)
def test_values_of_different_kinds_are_never_equal(a: object, b: object) -> None:
    expected = a is b
    assert same_value(a, b) is expected
    assert same_value(a, b, encode_value(a)[0], encode_value(b)[0]) is expected
    assert equal_tables(encode_table({"k": a}), encode_table({"k": b})) is expected


def test_order_is_irrelevant_in_tables_and_not_in_arrays() -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": [1, 2]}}, {"b": {"d": [1, 2], "c": 2}, "a": 1}
    assert equal_tables(encode_table(one), encode_table(other))
    assert not equal_tables(encode_table({"a": [1, 2]}), encode_table({"a": [2, 1]}))
    assert not equal_tables(encode_table({"a": [1]}), encode_table({"a": [1, 1]}))


def test_an_absent_key_is_not_a_void_one() -> None:
    assert not equal_tables(encode_table({"a": 1}), encode_table({"a": 1, "b": None}))
    assert not equal_tables(encode_table({"a": 1, "c": None}), encode_table({"a": 1, "b": None}))


def test_two_tables_are_the_same_object_value_when_their_bytes_are() -> None:
    assert encode_table({"a": 1}) == encode_table({"a": 1})
    assert FieldTable(entry(b"a", b"B\x01")) != encode_table({"a": 1})
    assert len({encode_table({"a": 1}), encode_table({"a": 1})}) == 1
    assert repr(encode_table({"a": 1})) == "FieldTable({'a': 1})"


def test_only_the_tables_of_an_array_are_taken_and_only_so_many() -> None:
    table = encode_table({"a": ["x", {"n": 1}, 7, {"n": 2}, [{"n": 3}], {"n": 4}], "b": "no array", "c": {"n": 5}})
    assert [each.get("n") for each in table.tables("a", 9)] == [1, 2, 4]
    assert [each.get("n") for each in table.tables("a", 2)] == [1, 2]
    assert [table.tables(key, 9) for key in ("b", "c", "none")] == [[], [], []]


def test_a_value_can_be_had_as_it_stands() -> None:
    table = encode_table({"a": "x", "b": 1, "c": None})
    assert [table.encoded(key) for key in "abcd"] == [b"S\x00\x00\x00\x01x", b"I\x00\x00\x00\x01", b"V", b""]


def test_a_table_knows_which_of_two_entries_comes_before() -> None:
    table = encode_table({"a": 1, "b": 2})
    assert [table.comes_before(*pair) for pair in ("ab", "ba", "ac", "ca", "aa")] == [True, False, False, False, False]
