from __future__ import annotations

from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.fanout import FanoutExchange
from amqpd.wire.field_table import EMPTY_TABLE


def test_every_binding_matches_whatever_the_keys() -> None:
    exchange = FanoutExchange("fanout", "x", True, False, False, EMPTY_TABLE)
    assert exchange.route("a", None) == []
    exchange.bind(Binding("x", "q1", False, "a", EMPTY_TABLE))
    exchange.bind(Binding("x", "q2", False, "b", EMPTY_TABLE))
    exchange.bind(Binding("x", "y", True, "", EMPTY_TABLE))
    assert [each.destination for each in exchange.route("zzz", None)] == ["q1", "q2", "y"]
    exchange.unbind(Binding("x", "q2", False, "b", EMPTY_TABLE))
    assert [each.destination for each in exchange.route("", None)] == ["q1", "y"]
    assert exchange.by_key_only


def test_list_of_matches_is_the_callers() -> None:
    exchange = FanoutExchange("fanout", "x", True, False, False, EMPTY_TABLE)
    exchange.bind(Binding("x", "q", False, "", EMPTY_TABLE))
    exchange.route("", None).clear()
    assert len(exchange.route("", None)) == 1
