from __future__ import annotations

import pytest

from amqpd.base.errors import CommandInvalid, PreconditionFailed
from amqpd.exchanges.delayed import DelayedExchange
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.registry import create
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from amqpd.wire.properties import Properties, encode_header


def new_exchange(**arguments: object) -> DelayedExchange:
    table = encode_table({key.replace("_", "-"): value for key, value in arguments.items()})
    exchange = create("x-delayed-message", "x", True, False, False, table)
    assert isinstance(exchange, DelayedExchange)
    return exchange


def binding(queue: str, key: str) -> Binding:
    return Binding("x", queue, False, key, EMPTY_TABLE)


def test_it_routes_as_its_inner_type() -> None:
    exchange = new_exchange(x_delayed_type="topic")
    exchange.check_arguments("exchange 'x'")
    assert exchange.delays
    assert not exchange.by_key_only
    exchange.bind(binding("q", "a.*"))
    assert [each.destination for each in exchange.route("a.b", None)] == ["q"]
    assert exchange.route("b.b", None) == []
    exchange.unbind(binding("q", "a.*"))
    assert exchange.route("a.b", None) == []
    assert exchange.bindings == exchange.inner.bindings == {}


def test_the_inner_type_sees_arguments_bindings_and_properties() -> None:
    exchange = new_exchange(x_delayed_type="x-consistent-hash", hash_property="message_id")
    with pytest.raises(PreconditionFailed, match="The binding key must be greater than 0"):
        exchange.check_binding(binding("q", "0"))
    for queue in "abcd":
        exchange.bind(binding(queue, "1"))
    headers = [encode_header(0, Properties(message_id=str(number))) for number in range(50)]
    assert {exchange.route_message("k", None, header)[0].destination for header in headers} == set("abcd")
    with pytest.raises(PreconditionFailed, match="Unsupported property"):
        new_exchange(x_delayed_type="x-consistent-hash", hash_property="nope").check_arguments("")


@pytest.mark.parametrize("arguments", [{}, {"x_delayed_type": 1}, {"x_delayed_type": "x-delayed-message"}])
def test_an_inner_type_is_needed(arguments: dict[str, object]) -> None:
    with pytest.raises(PreconditionFailed, match="Invalid argument, "):
        new_exchange(**arguments).check_arguments("exchange 'x'")


def test_an_unknown_inner_type_closes_the_connection() -> None:
    with pytest.raises(CommandInvalid, match="unknown exchange type 'nope'"):
        new_exchange(x_delayed_type="nope").check_arguments("exchange 'x'")


def test_a_redeclare_must_have_the_same_inner_type() -> None:
    exchange = new_exchange(x_delayed_type="topic")
    same = encode_table({"x-delayed-type": "topic", "other": 1})
    assert exchange.difference("x-delayed-message", True, False, False, same) is None
    other = exchange.difference("x-delayed-message", True, False, False, encode_table({"x-delayed-type": "fanout"}))
    assert other is not None
    assert other.text("exchange 'x'") == (
        "inequivalent arg 'x-delayed-type' for exchange 'x': received 'fanout' but current is 'topic'"
    )
