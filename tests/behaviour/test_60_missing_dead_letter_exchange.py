"""A dead-letter exchange that isn't there, or can't be, is the letter's trouble and not its publisher's."""

from __future__ import annotations

import pytest
from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client

LONG = "x" * 300


def declare(client: Client, queue: str, **arguments: object) -> None:
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in arguments.items()})
    client.declare(queue, arguments=table)


@pytest.mark.parametrize("exchange", ["missing", LONG])
def test_a_refused_publish_is_nacked_where_its_letter_has_nowhere_to_go(
    broker: BrokerHarness, client: Client, exchange: str
) -> None:
    declare(client, "q", max_length=0, overflow="reject-publish-dlx", dead_letter_exchange=exchange)
    client.call(1, new_method(commands.Confirm.Select))
    client.publish("q", b"1")
    assert [each.method.name for each in client.received] == ["Basic.Nack"]
    assert not client.is_closed
    assert broker.broker.vhosts["/"].dead_letters.unroutable_count == 1


@pytest.mark.parametrize("exchange", ["missing", LONG])
def test_what_expires_is_dropped_and_counted(broker: BrokerHarness, client: Client, exchange: str) -> None:
    declare(client, "q", message_ttl=100, dead_letter_exchange=exchange)
    client.publish("q", b"1")
    broker.advance(200)
    assert broker.broker.vhosts["/"].dead_letters.unroutable_count == 1
    assert client.declare("q", passive=True).message_count == 0


def test_a_routing_key_of_any_size_is_routed_by_and_fits_into_a_delivery(broker: BrokerHarness, client: Client) -> None:
    """RabbitMQ takes it at the declare, and closes the connection of whoever is to receive the letter."""
    client.declare("dead")
    client.call(1, new_method(commands.Queue.Bind, queue="dead", exchange="amq.topic", routing_key="#"))
    declare(client, "q", message_ttl=100, dead_letter_exchange="amq.topic", dead_letter_routing_key=LONG)
    client.publish("q", b"1", properties=b"\x20\x00" + b"\x00\x00\x00\x00")
    broker.advance(200)
    got = client.get("dead")
    assert got is not None
    assert got.method.routing_key == LONG[:255]
