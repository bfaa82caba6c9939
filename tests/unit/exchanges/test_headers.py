from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import Limits
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.headers import HeadersExchange
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, Timestamp, encode_table, with_entry


def make() -> HeadersExchange:
    return HeadersExchange("headers", "x", True, False, False, EMPTY_TABLE)


def binding(arguments: FieldTable, destination: str = "q") -> Binding:
    return Binding("x", destination, False, "", arguments)


def is_match(arguments: dict[str, object] | FieldTable, headers: dict[str, object] | FieldTable | None) -> bool:
    exchange = make()
    exchange.bind(binding(encode_table(arguments) if isinstance(arguments, dict) else arguments))
    table = encode_table(headers) if isinstance(headers, dict) else headers
    return len(exchange.route("", table)) == 1


def one(tag: str, value: bytes) -> FieldTable:
    return with_entry(EMPTY_TABLE, "a", tag, value)


# Each row as RabbitMQ 3.10.8 answered.
@pytest.mark.parametrize(
    ("arguments", "headers", "expected"),
    [
        ({}, None, True),
        ({}, {"a": 1}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all"}, None, True),
        ({"x-match": "all-with-x"}, None, True),
        ({"x-match": "any-with-x"}, {"x-match": "any-with-x"}, False),
        ({"a": None}, None, False),
        ({"a": None}, {"b": 1}, False),
        ({"a": None}, {"a": 1}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": 1}, {"a": None}, False),
        ({"a": 1, "b": 2}, {"b": 2, "c": 3, "a": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 3}, False),
        ({"x-match": "all", "x-foo": 1, "a": 1}, {"a": 1}, True),
        ({"x-match": "all", "x-foo": 1}, {}, True),
        ({"x-match": "any", "x-foo": 1}, {"x-foo": 1}, False),
        ({"x-match": "all-with-x", "x-foo": 1}, {}, False),
        ({"x-match": "all-with-x", "x-foo": 1}, {"x-foo": 1}, True),
        ({"x-match": "any-with-x", "x-foo": 1}, {"x-foo": 1}, True),
        ({"x-match": "any-with-x", "x-foo": 1}, {"x-foo": 2}, False),
        ({"x-match": "all", "X-foo": 1}, {}, False),
        ({"x": 1}, {}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"A": 1}, False),
        ({"a": Timestamp(1)}, {"a": 1}, True),
        ({"a": Decimal("0.5")}, {"a": Decimal("0.5")}, True),
        ({"a": {"p": 1, "q": [2]}}, {"a": {"p": 1, "q": [2]}}, True),
        ({"a": [1, "b"]}, {"a": [1, "b"]}, True),
        ({"a": [1, "b"]}, {"a": ["b", 1]}, False),
    ],
)
def test_condition_matches_as_in_rabbitmq(
    arguments: dict[str, object], headers: dict[str, object] | None, expected: bool
) -> None:
    assert is_match(arguments, headers) is expected


def test_types_do_not_matter_where_values_are_equal() -> None:
    assert is_match({"a": 1}, one("l", struct.pack(">q", 1)))
    assert is_match({"a": 1}, one("s", struct.pack(">h", 1)))
    assert is_match({"a": 1}, one("B", b"\x01"))
    assert is_match({"a": "z"}, one("x", b"\0\0\0\x01z"))
    assert is_match({"a": 1.5}, one("f", struct.pack(">f", 1.5)))
    assert is_match({"a": 0.0}, one("d", struct.pack(">d", -0.0)))


def test_nested_values_match_by_value_where_rabbitmq_compares_their_types() -> None:
    inner = one("l", struct.pack(">q", 1)).raw
    assert is_match({"a": {"a": 1}}, one("F", struct.pack(">I", len(inner)) + inner))
    assert is_match({"a": {"p": 1, "q": 2}}, {"a": {"q": 2, "p": 1}})


def test_first_of_two_headers_with_one_name_counts() -> None:
    twice = FieldTable(encode_table({"a": 1}).raw + encode_table({"a": 2}).raw)
    assert is_match({"a": 1}, twice)
    assert not is_match({"a": 2}, twice)


def test_headers_have_a_say_so_answers_may_not_be_kept() -> None:
    assert not make().by_key_only


def test_routing_key_has_no_say_but_tells_bindings_apart() -> None:
    exchange = make()
    exchange.bind(Binding("x", "q", False, "k1", encode_table({"a": 1})))
    exchange.bind(Binding("x", "q", False, "k2", encode_table({"a": 1})))
    assert len(exchange.route("k3", encode_table({"a": 1}))) == 2


def test_unbind_needs_the_same_arguments_in_any_order_and_leaves_nothing() -> None:
    exchange = make()
    exchange.bind(binding(encode_table({"a": 1, "b": 2})))
    assert not exchange.unbind(binding(encode_table({"a": 1})))
    assert exchange.unbind(binding(encode_table({"b": 2, "a": 1})))
    assert exchange.route("", encode_table({"a": 1, "b": 2})) == []
    assert (exchange._conditions, exchange._index, exchange._always) == ({}, {}, {})


@pytest.mark.parametrize("x_match", ["all", "any", "all-with-x", "any-with-x"])
def test_known_x_match_is_taken(x_match: str) -> None:
    make().check_binding(binding(encode_table({"x-match": x_match, "a": 1})))


# Texts as RabbitMQ 3.10.8 gave them.
@pytest.mark.parametrize(
    ("x_match", "text"),
    [
        ("both", 'Invalid x-match field value <<"both">>; expected all, any, all-with-x, or any-with-x'),
        ("ALL", 'Invalid x-match field value <<"ALL">>; expected all, any, all-with-x, or any-with-x'),
        ("", "Invalid x-match field value <<>>; expected all, any, all-with-x, or any-with-x"),
        ("a'b\"", 'Invalid x-match field value <<"a\'b\\"">>; expected all, any, all-with-x, or any-with-x'),
        ("é\x01\n", "Invalid x-match field value <<195,169,1,10>>; expected all, any, all-with-x, or any-with-x"),
        (1, "Invalid x-match field type signedint (value 1); expected longstr"),
        (1.5, "Invalid x-match field type double (value 1.5); expected longstr"),
        (Timestamp(1), "Invalid x-match field type timestamp (value 1); expected longstr"),
        (True, "Invalid x-match field type bool (value true); expected longstr"),
        (None, "Invalid x-match field type void (value undefined); expected longstr"),
    ],
)
def test_unknown_x_match_is_refused_with_rabbitmqs_text(x_match: object, text: str) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        make().check_binding(binding(encode_table({"x-match": x_match})))
    assert refused.value.explanation == text


def test_x_match_as_byte_array_is_refused() -> None:
    with pytest.raises(PreconditionFailed) as refused:
        make().check_binding(binding(with_entry(EMPTY_TABLE, "x-match", "x", b"\0\0\0\x03all")))
    assert refused.value.explanation == 'Invalid x-match field type binary (value <<"all">>); expected longstr'


def test_too_many_arguments_are_refused() -> None:
    make().check_binding(binding(encode_table({f"h{n}": n for n in range(64)})))
    with pytest.raises(PreconditionFailed):
        make().check_binding(binding(encode_table({f"h{n}": n for n in range(65)})))
    with pytest.raises(PreconditionFailed):
        make().check_binding(binding(encode_table({"a": 1, "b": 2})), Limits(headers_arguments_max=1))


# Against a matcher that does what the documentation says, literally.

VALUES = st.sampled_from([None, 0, 1, 2, "", "v", "1", True, False, 1.5, 1.0, Timestamp(1), b"v"])
NAMES = st.sampled_from(["a", "b", "c", "x-a", "x-match-not", "X-b", "x"])
TABLES = st.dictionaries(NAMES, VALUES, max_size=5)


def same(wanted: object, value: object) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    wanted, value = (each.seconds if isinstance(each, Timestamp) else each for each in (wanted, value))
    wanted, value = (each.decode() if isinstance(each, bytes) else each for each in (wanted, value))
    return wanted == value


def naive(x_match: str, arguments: dict[str, object], headers: dict[str, object]) -> bool:
    looked_at = [key for key in arguments if x_match.endswith("-with-x") or not key.startswith("x-")]
    verdicts = [key in headers and (arguments[key] is None or same(arguments[key], headers[key])) for key in looked_at]
    return any(verdicts) if x_match.startswith("any") else all(verdicts)


@given(
    bindings=st.lists(st.tuples(st.sampled_from(["all", "any", "all-with-x", "any-with-x", ""]), TABLES), max_size=6),
    headers=TABLES,
)
def test_any_conditions_match_as_a_naive_reference_says(
    bindings: list[tuple[str, dict[str, object]]], headers: dict[str, object]
) -> None:
    exchange = make()
    expected: list[str] = []
    for n, (x_match, arguments) in enumerate(bindings):
        table = encode_table({**arguments, "x-match": x_match} if x_match != "" else arguments)
        exchange.bind(binding(table, f"q{n}"))
        if naive(x_match or "all", arguments, headers):
            expected.append(f"q{n}")
    assert [each.destination for each in exchange.route("", encode_table(headers))] == expected


CONDITIONS = st.tuples(st.sampled_from(["all", "any", "all-with-x", "any-with-x"]), TABLES)


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40),
    conditions=st.lists(CONDITIONS, min_size=10, max_size=10),
    headers=st.lists(TABLES, min_size=1, max_size=4),
)
def test_the_index_finds_what_a_walk_over_all_bindings_finds_in_the_order_of_binds(
    steps: list[tuple[bool, int]], conditions: list[tuple[str, dict[str, object]]], headers: list[dict[str, object]]
) -> None:
    exchange = make()
    bound: list[int] = []
    for is_bind, n in steps:
        x_match, arguments = conditions[n]
        each = binding(encode_table({**arguments, "x-match": x_match}), f"q{n}")
        if is_bind and exchange.bind(each):
            bound.append(n)
        elif not is_bind and exchange.unbind(each):
            bound.remove(n)
    for table in headers:
        expected = [f"q{n}" for n in bound if naive(conditions[n][0], conditions[n][1], table)]
        assert [each.destination for each in exchange.route("", encode_table(table))] == expected
    for n in bound:
        exchange.unbind(binding(encode_table({**conditions[n][1], "x-match": conditions[n][0]}), f"q{n}"))
    assert (exchange._conditions, exchange._index, exchange._always) == ({}, {}, {})


def test_bindings_that_differ_in_one_argument_cost_a_message_nothing() -> None:
    exchange = make()
    for n in range(1_000):
        shared = {"kind": "order", "any": None, "id": n}
        exchange.bind(binding(encode_table(shared), f"all{n}"))
        exchange.bind(binding(encode_table({"x-match": "any", "id": n, "also": n}), f"any{n}"))
    found = exchange.route("", encode_table({"kind": "order", "any": 1, "id": 7, "also": 8}))
    assert [each.destination for each in found] == ["all7", "any7", "any8"]
    # The four headers; of `all` the one bound first, which stands under `kind`, and all7; of `any` two.
    assert exchange.last_cost <= 4 + 2 + 2
