from __future__ import annotations

from amqpd.exchanges.direct import DirectExchange
from amqpd.exchanges.exchange import Binding
from amqpd.wire.field_table import EMPTY_TABLE, encode_table


def make() -> DirectExchange:
    return DirectExchange("direct", "x", True, False, False, EMPTY_TABLE)


def binding(destination: str, key: str) -> Binding:
    return Binding("x", destination, False, key, EMPTY_TABLE)


def destinations(exchange: DirectExchange, key: str) -> list[str]:
    return [each.destination for each in exchange.route(key, None)]


def test_message_goes_where_its_routing_key_is_bound() -> None:
    exchange = make()
    exchange.bind(binding("q1", "a"))
    exchange.bind(binding("q2", "a"))
    exchange.bind(binding("q3", "b"))
    exchange.bind(binding("q4", ""))
    assert destinations(exchange, "a") == ["q1", "q2"]
    assert destinations(exchange, "b") == ["q3"]
    assert destinations(exchange, "") == ["q4"]
    assert destinations(exchange, "A") == []


def test_answer_may_be_kept_by_routing_key() -> None:
    assert make().by_key_only


def test_bindings_that_differ_in_arguments_only_both_match() -> None:
    exchange = make()
    exchange.bind(binding("q", "a"))
    exchange.bind(Binding("x", "q", False, "a", encode_table({"x": 1})))
    assert destinations(exchange, "a") == ["q", "q"]


def test_unbound_key_matches_no_more_and_leaves_nothing_behind() -> None:
    exchange = make()
    for key in ("a", "b"):
        for name in ("q1", "q2"):
            exchange.bind(binding(name, key))
    exchange.unbind(binding("q1", "a"))
    assert destinations(exchange, "a") == ["q2"]
    exchange.unbind(binding("q2", "a"))
    exchange.unbind(binding("q2", "a"))
    assert destinations(exchange, "a") == []
    assert destinations(exchange, "b") == ["q1", "q2"]
    exchange.unbind(binding("q1", "b"))
    exchange.unbind(binding("q2", "b"))
    assert exchange._by_routing_key == {}


def test_list_of_matches_is_the_callers() -> None:
    exchange = make()
    exchange.bind(binding("q", "a"))
    exchange.route("a", None).clear()
    assert destinations(exchange, "a") == ["q"]
