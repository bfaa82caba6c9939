from __future__ import annotations

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, Timestamp, encode_table

WHERE = "exchange 'x' in vhost '/'"


class EvenExchange(Exchange):
    """What a new type is: a subclass, which here stays interpreted when the base is compiled."""

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        return list(self.bindings.values()) if len(routing_key) % 2 == 0 else []

    def compared_arguments(self) -> list[str]:
        return ["alternate-exchange", "x-odd-too"]


def make(
    *, durable: bool = False, auto_delete: bool = False, internal: bool = False, arguments: FieldTable = EMPTY_TABLE
) -> Exchange:
    return EvenExchange("even", "x", durable, auto_delete, internal, arguments)


def alternate(value: object) -> FieldTable:
    return encode_table({"alternate-exchange": value})


def binding(destination: str = "q", key: str = "k", arguments: FieldTable = EMPTY_TABLE) -> Binding:
    return Binding("x", destination, False, key, arguments)


def long_entry(key: str, value: int) -> FieldTable:
    return FieldTable(bytes([len(key)]) + key.encode() + b"l" + value.to_bytes(8, "big"))


# Bindings


def test_binding_is_the_same_if_all_of_it_is() -> None:
    assert binding().same_as(binding())
    assert binding().key == binding().key


@pytest.mark.parametrize(
    "other",
    [
        Binding("y", "q", False, "k", EMPTY_TABLE),
        Binding("x", "p", False, "k", EMPTY_TABLE),
        Binding("x", "q", True, "k", EMPTY_TABLE),
        Binding("x", "q", False, "j", EMPTY_TABLE),
        Binding("x", "qk", False, "", EMPTY_TABLE),
        Binding("x", "q", False, "k", encode_table({"a": 1})),
    ],
)
def test_binding_is_another_one_if_any_part_differs(other: Binding) -> None:
    assert not binding().same_as(other)


def test_binding_arguments_are_the_same_by_value_in_any_order() -> None:
    a = binding(arguments=encode_table({"a": 1, "b": "two"}))
    b = binding(arguments=encode_table({"b": "two", "a": 1}))
    assert a.same_as(b)
    assert binding(arguments=encode_table({"a": 1})).same_as(binding(arguments=long_entry("a", 1)))


def test_names_that_are_not_utf8_have_an_identity_too() -> None:
    odd = b"\xff".decode("utf-8", "surrogateescape")
    assert binding(odd, odd).same_as(binding(odd, odd))
    assert not binding(odd).same_as(binding("\xff"))


def test_second_bind_of_the_same_changes_nothing() -> None:
    exchange = make()
    first = binding()
    assert exchange.bind(first)
    assert not exchange.bind(binding())
    assert list(exchange.bindings.values()) == [first]


def test_bindings_stand_in_bind_order() -> None:
    exchange = make()
    for name in ("c", "a", "b"):
        exchange.bind(binding(name))
    assert [each.destination for each in exchange.route("", None)] == ["c", "a", "b"]


def test_unbind_takes_the_equal_binding_and_forgives_a_missing_one() -> None:
    exchange = make()
    exchange.bind(binding())
    assert exchange.unbind(binding())
    assert not exchange.unbind(binding())
    assert exchange.bindings == {}


def test_exchange_remembers_that_it_was_bound() -> None:
    exchange = make(auto_delete=True)
    assert not exchange.was_bound
    exchange.bind(binding())
    exchange.unbind(binding())
    assert exchange.was_bound


# Arguments


def test_alternate_comes_from_the_arguments() -> None:
    assert make().alternate is None
    assert make(arguments=alternate("ae")).alternate == "ae"
    assert make(arguments=alternate("")).alternate == ""


def test_alternate_that_is_no_string_is_refused() -> None:
    exchange = make(arguments=alternate(5))
    assert exchange.alternate is None
    with pytest.raises(PreconditionFailed) as refused:
        exchange.check_arguments(WHERE)
    assert refused.value.explanation == f"invalid type 'signedint' for arg 'alternate-exchange' in {WHERE}"
    make(arguments=alternate("ae")).check_arguments(WHERE)
    make(arguments=encode_table({"unknown": 5})).check_arguments(WHERE)


# Equivalence: texts as RabbitMQ 3.10.8 gave them


def text(current: Exchange, received: Exchange, type_name: str = "even") -> str:
    difference = current.difference(
        type_name, received.durable, received.auto_delete, received.internal, received.arguments
    )
    return "" if difference is None else difference.text(WHERE)


def test_same_declare_has_no_difference() -> None:
    assert text(make(), make()) == ""
    assert text(make(durable=True, arguments=alternate("a")), make(durable=True, arguments=alternate("a"))) == ""


def test_arguments_that_are_not_compared_may_differ() -> None:
    assert text(make(arguments=encode_table({"foo": 1})), make()) == ""


@pytest.mark.parametrize("flag", ["durable", "auto_delete", "internal"])
def test_differing_flag_is_named(flag: str) -> None:
    plain = make()
    flagged = make(durable=flag == "durable", auto_delete=flag == "auto_delete", internal=flag == "internal")
    start = f"inequivalent arg '{flag}' for {WHERE}: "
    assert text(plain, flagged) == start + "received 'true' but current is 'false'"
    assert text(flagged, plain) == start + "received 'false' but current is 'true'"


def test_type_is_compared_first_and_arguments_last() -> None:
    other = make(durable=True, auto_delete=True, internal=True, arguments=alternate("a"))
    assert "'type'" in text(make(), other, "fanout")
    assert "received 'fanout' but current is 'even'" in text(make(), other, "fanout")
    assert "'durable'" in text(make(), other)
    assert "'auto_delete'" in text(make(durable=True), other)
    assert "'internal'" in text(make(durable=True, auto_delete=True), other)
    assert "'alternate-exchange'" in text(make(durable=True, auto_delete=True, internal=True), other)


@pytest.mark.parametrize(
    ("received", "current", "shown"),
    [
        ("zz", None, "received the value 'zz' of type 'longstr' but current is none"),
        (None, "zz", "received none but current is the value 'zz' of type 'longstr'"),
        ("yy", "zz", "received 'yy' but current is 'zz'"),
        (1, "zz", "received '1' but current is 'zz'"),
        (1.5, "zz", "received '1.5' but current is 'zz'"),
        (Timestamp(5), "zz", "received '5' but current is 'zz'"),
        ({"a": 1}, "zz", "received '{'a': 1}' but current is 'zz'"),
        (True, "zz", "received 'true' but current is 'zz'"),
    ],
)
def test_differing_argument_is_shown_as_rabbitmq_does(received: object, current: object, shown: str) -> None:
    new = make() if received is None else make(arguments=alternate(received))
    old = make() if current is None else make(arguments=alternate(current))
    assert text(old, new) == f"inequivalent arg 'alternate-exchange' for {WHERE}: {shown}"


def test_void_argument_is_shown_as_rabbitmq_does() -> None:
    assert text(make(arguments=alternate("zz")), make(arguments=alternate(None))).endswith(
        "received none but current is 'zz'"
    )
    assert text(make(), make(arguments=alternate(None))).endswith(
        "received the value 'undefined' of type 'void' but current is none"
    )


def test_byte_array_is_the_same_alternate_as_the_string() -> None:
    received = FieldTable(b"\x12alternate-exchangex\x00\x00\x00\x02zz")
    assert text(make(arguments=alternate("zz")), make(arguments=received)) == ""


def test_type_may_compare_arguments_of_its_own() -> None:
    assert "'x-odd-too'" in text(make(), make(arguments=encode_table({"x-odd-too": 1})))
