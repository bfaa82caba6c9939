from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.errors import PreconditionFailed
from amqpd.exchanges.consistent_hash import ConsistentHashExchange
from amqpd.exchanges.exchange import Binding
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table
from amqpd.wire.properties import Properties, encode_header

KEYS = [f"order-{number}" for number in range(2000)]


def new_exchange(**arguments: object) -> ConsistentHashExchange:
    table = encode_table({key.replace("_", "-", 1): value for key, value in arguments.items()})
    return ConsistentHashExchange("x-consistent-hash", "x", True, False, False, table)


def binding(queue: str, weight: str = "1", to_exchange: bool = False) -> Binding:
    return Binding("x", queue, to_exchange, weight, EMPTY_TABLE)


def bound(*bindings: Binding) -> ConsistentHashExchange:
    exchange = new_exchange()
    for each in bindings:
        exchange.bind(each)
    return exchange


def places(exchange: ConsistentHashExchange) -> dict[str, str]:
    return {key: exchange.route(key, None)[0].destination for key in KEYS}


def header(**properties: object) -> bytes:
    return encode_header(0, Properties(**properties))  # type: ignore[arg-type]


def test_each_message_goes_to_one_binding_by_weight() -> None:
    exchange = bound(binding("a", "1"), binding("b", "2"), binding("c", "5", to_exchange=True))
    assert exchange.by_key_only
    assert [len(exchange.route(key, None)) for key in KEYS] == [1] * len(KEYS)
    counts = Counter(places(exchange).values())
    for queue, share in (("a", 250), ("b", 500), ("c", 1250)):
        assert share * 0.8 < counts[queue] < share * 1.2, counts


@given(st.permutations([binding(queue, weight) for queue, weight in zip("abcdef", "122333", strict=True)]))
def test_neither_the_order_of_binds_nor_what_was_bound_meanwhile_matters(bindings: list[Binding]) -> None:
    straight = bound(*[binding(queue, weight) for queue, weight in zip("abcdef", "122333", strict=True)])
    other = bound(*bindings, binding("gone", "7"))
    other.unbind(binding("gone", "7"))
    for key in KEYS[:50]:
        assert straight.route(key, None)[0].destination == other.route(key, None)[0].destination


def test_a_new_queue_only_takes_and_a_leaving_one_only_gives() -> None:
    exchange = bound(*[binding(queue) for queue in "abcd"])
    before = places(exchange)
    exchange.bind(binding("aa"))
    with_new = places(exchange)
    moved = [key for key in KEYS if before[key] != with_new[key]]
    assert {with_new[key] for key in moved} == {"aa"}
    assert len(KEYS) / 5 * 0.8 < len(moved) < len(KEYS) / 5 * 1.2
    exchange.unbind(binding("aa"))
    assert places(exchange) == before
    exchange.unbind(binding("b"))
    without = places(exchange)
    assert {before[key] for key in KEYS if before[key] != without[key]} == {"b"}


def test_of_two_weights_of_one_queue_the_heavier_counts() -> None:
    both = bound(binding("a", "1"), binding("a", "9"), binding("b", "3"))
    assert places(both) == places(bound(binding("a", "9"), binding("b", "3")))


def test_placement_is_what_it_was_in_every_version() -> None:
    exchange = bound(binding("a", "1"), binding("b", "2"), binding("c", "1"))
    assert "".join([places(exchange)[key] for key in KEYS[:24]]) == "babbcbbaababcaccbbbbabcc"


def test_nothing_bound_nothing_reached() -> None:
    exchange = bound(binding("a"))
    exchange.unbind(binding("a"))
    assert exchange.route("k", None) == []


@pytest.mark.parametrize("weight", ["1", "+5", "01", "1000"])
def test_a_weight_is_a_positive_integer(weight: str) -> None:
    new_exchange().check_binding(binding("q", weight))


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
        ("1001", "The binding key must not be greater than 1000"),
        ("9" * 255, "The binding key must not be greater than 1000"),
        ("abc", 'The binding key must be an integer: <<"abc">>'),
        ("", "The binding key must be an integer: <<>>"),
        ("1.5", 'The binding key must be an integer: <<"1.5">>'),
        (" 1", 'The binding key must be an integer: <<" 1">>'),
        ("1_0", 'The binding key must be an integer: <<"1_0">>'),
        ("+", 'The binding key must be an integer: <<"+">>'),
    ],
)
def test_other_weights_are_refused(weight: str, text: str) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        new_exchange().check_binding(binding("q", weight))
    assert refused.value.explanation == text


def test_what_was_stored_with_a_bad_weight_still_works() -> None:
    assert len(bound(binding("q", "abc"), binding("r", "-4")).route("k", None)) == 1


def test_a_header_may_decide() -> None:
    exchange = new_exchange(hash_header="tenant")
    for queue in "abcd":
        exchange.bind(binding(queue))
    assert not exchange.by_key_only

    def place(headers: FieldTable | None, routing_key: str = "k") -> str:
        return exchange.route(routing_key, headers)[0].destination

    tenants = {place(encode_table({"tenant": tenant}), str(tenant)) for tenant in range(50)}
    assert tenants == set("abcd")
    assert place(encode_table({"tenant": "t"}), "k1") == place(encode_table({"tenant": "t"}), "k2")
    nowhere = place(None)
    assert [place(encode_table({"other": number}), str(number)) for number in range(9)] == [nowhere] * 9


@pytest.mark.parametrize("name", ["message_id", "correlation_id", "timestamp"])
def test_a_property_may_decide(name: str) -> None:
    exchange = new_exchange(hash_property=name)
    for queue in "abcd":
        exchange.bind(binding(queue))
    assert not exchange.by_key_only
    values = [number if name == "timestamp" else str(number) for number in range(50)]
    headers = [header(delivery_mode=2, **{name: value}) for value in values]
    found = [exchange.route_message(str(at), None, each)[0].destination for at, each in enumerate(headers)]
    assert set(found) == set("abcd")
    assert found == [exchange.route_message("k", None, each)[0].destination for each in headers]
    nowhere = exchange.route("k", None)[0].destination
    assert [exchange.route_message(str(at), None, header())[0].destination for at in range(9)] == [nowhere] * 9


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hash_header": "a", "hash_property": "message_id"}, "hash-header and hash-property are mutually exclusive"),
        ({"hash_property": "app_id"}, "Unsupported property: app_id"),
        ({"hash_property": 3}, "invalid type 'signedint' for arg 'hash-property' in exchange 'x'"),
        ({"hash_header": 3}, "invalid type 'signedint' for arg 'hash-header' in exchange 'x'"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        new_exchange(**arguments).check_arguments("exchange 'x'")
    assert refused.value.explanation == text


def test_a_redeclare_may_have_other_hash_arguments_as_in_rabbitmq() -> None:
    exchange = new_exchange(hash_header="a")
    exchange.check_arguments("")
    other = encode_table({"hash-header": "b"})
    assert exchange.difference("x-consistent-hash", True, False, False, other) is None
