from __future__ import annotations

from collections import Counter

from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.modulus_hash import ModulusHashExchange
from amqpd.wire.field_table import EMPTY_TABLE

KEYS = [str(number) for number in range(1000)]


def bound(*bindings: tuple[str, str]) -> ModulusHashExchange:
    exchange = ModulusHashExchange("x-modulus-hash", "x", True, False, False, EMPTY_TABLE)
    for queue, key in bindings:
        exchange.bind(Binding("x", queue, False, key, EMPTY_TABLE))
    return exchange


def places(exchange: ModulusHashExchange) -> list[str]:
    return [exchange.route(key, None)[0].destination for key in KEYS]


def test_each_key_has_one_place_and_all_places_get_alike() -> None:
    exchange = bound(("a", ""), ("b", ""), ("c", ""))
    assert exchange.by_key_only
    counts = Counter(places(exchange))
    assert all(270 < counts[queue] < 400 for queue in "abc"), counts
    assert places(exchange) == places(exchange)


def test_a_queue_bound_three_times_gets_three_shares() -> None:
    counts = Counter(places(bound(("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"))))
    assert 680 < counts["a"] < 820


def test_the_order_of_binds_does_not_matter() -> None:
    assert places(bound(("a", ""), ("b", ""), ("c", ""))) == places(bound(("c", ""), ("a", ""), ("b", "")))


def test_binds_and_unbinds_take_effect_at_once() -> None:
    exchange = bound(("a", ""), ("b", ""))
    assert set(places(exchange)) == {"a", "b"}
    exchange.unbind(Binding("x", "a", False, "", EMPTY_TABLE))
    assert set(places(exchange)) == {"b"}
    exchange.unbind(Binding("x", "b", False, "", EMPTY_TABLE))
    assert exchange.route("k", None) == []
    exchange.bind(Binding("x", "c", False, "", EMPTY_TABLE))
    assert set(places(exchange)) == {"c"}
