from __future__ import annotations

import pytest

from amqpd.base.errors import CommandInvalid, HardError
from amqpd.exchanges.headers import HeadersExchange
from amqpd.exchanges.registry import PREDECLARED, TYPES, check_type, create
from amqpd.wire.field_table import EMPTY_TABLE, encode_table


@pytest.mark.parametrize("type_name", list(TYPES))
def test_every_type_can_be_created_bound_to_nothing(type_name: str) -> None:
    exchange = create(type_name, "x", True, False, True, EMPTY_TABLE)
    assert (exchange.type_name, exchange.name) == (type_name, "x")
    assert (exchange.durable, exchange.auto_delete, exchange.internal) == (True, False, True)
    assert exchange.route("k", None) == []


def test_created_exchange_keeps_its_arguments() -> None:
    exchange = create("direct", "x", False, True, False, encode_table({"alternate-exchange": "ae", "foo": 1}))
    assert exchange.alternate == "ae"
    assert exchange.arguments.get("foo") == 1


def test_most_types_look_at_nothing_but_the_key() -> None:
    others = [name for name in TYPES if not create(name, "x", True, False, False, EMPTY_TABLE).by_key_only]
    assert others == ["headers", "x-delayed-message", "x-local-random", "x-message-deduplication", "x-random"]


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("nope", "COMMAND_INVALID - unknown exchange type 'nope'"),
        ("Direct", "COMMAND_INVALID - unknown exchange type 'Direct'"),
        ("", "COMMAND_INVALID - invalid exchange type ''"),
    ],
)
def test_unknown_type_closes_the_connection(type_name: str, text: str) -> None:
    with pytest.raises(CommandInvalid) as refused:
        check_type(type_name)
    assert isinstance(refused.value, HardError)
    assert refused.value.reply_text == text
    with pytest.raises(CommandInvalid):
        create(type_name, "x", True, False, False, EMPTY_TABLE)


def test_predeclared_exchanges_have_known_types() -> None:
    assert [name for name, _ in PREDECLARED] == [
        "",
        "amq.direct",
        "amq.fanout",
        "amq.topic",
        "amq.headers",
        "amq.match",
        "amq.rabbitmq.trace",
    ]
    for name, type_name in PREDECLARED:
        assert create(type_name, name, True, False, False, EMPTY_TABLE).name == name
    assert isinstance(create("headers", "amq.match", True, False, False, EMPTY_TABLE), HeadersExchange)
