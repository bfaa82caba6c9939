from __future__ import annotations

from collections import Counter

from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.random import RandomExchange
from amqpd.wire.field_table import EMPTY_TABLE


def bound(name: str, *bindings: tuple[str, str]) -> RandomExchange:
    exchange = RandomExchange("x-random", name, True, False, False, EMPTY_TABLE)
    for queue, key in bindings:
        exchange.bind(Binding(name, queue, False, key, EMPTY_TABLE))
    return exchange


def places(exchange: RandomExchange, count: int = 1000) -> list[str]:
    return [exchange.route("k", None)[0].destination for _ in range(count)]


def test_messages_with_one_key_go_everywhere_and_evenly() -> None:
    exchange = bound("x", ("a", ""), ("b", ""), ("c", ""))
    assert not exchange.by_key_only
    counts = Counter(places(exchange))
    assert all(270 < counts[queue] < 400 for queue in "abc"), counts


def test_nothing_repeats_itself() -> None:
    pairs = Counter(zip(found := places(bound("x", ("a", ""), ("b", ""))), found[1:], strict=False))
    assert all(180 < pairs[(one, other)] < 320 for one in "ab" for other in "ab"), pairs


def test_a_queue_bound_three_times_gets_three_shares() -> None:
    counts = Counter(places(bound("x", ("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"))))
    assert 680 < counts["a"] < 820


def test_the_sequence_depends_on_the_name_alone() -> None:
    ways = (("a", ""), ("b", ""))
    assert places(bound("x", *ways)) == places(bound("x", *ways))
    assert places(bound("x", *ways)) != places(bound("y", *ways))


def test_binds_and_unbinds_take_effect_at_once() -> None:
    exchange = bound("x", ("a", ""))
    assert set(places(exchange, 9)) == {"a"}
    exchange.bind(Binding("x", "b", False, "", EMPTY_TABLE))
    assert set(places(exchange)) == {"a", "b"}
    exchange.unbind(Binding("x", "a", False, "", EMPTY_TABLE))
    assert set(places(exchange, 9)) == {"b"}
    exchange.unbind(Binding("x", "b", False, "", EMPTY_TABLE))
    assert exchange.route("k", None) == []
