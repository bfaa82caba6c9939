"""What a channel remembers of where it may publish ends with the permission, or the exchange, that it was found by."""

from __future__ import annotations

from typing import Any

import pytest
from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client

HEADERS = b"\x20\x00\x00\x00\x00\x00"


def closes(client: Client) -> list[Any]:
    return [each.method.reply_text for each in client.take_all(commands.Channel.Close)]


@pytest.mark.parametrize("exchange", ["", "amq.direct", "amq.topic", "amq.headers"])
@pytest.mark.parametrize("properties", [b"\x00\x00", HEADERS])
def test_a_publisher_is_stopped_by_the_change_of_its_permissions(
    broker: BrokerHarness, client: Client, exchange: str, properties: bytes
) -> None:
    client.declare("q")
    other = broker.connect()
    # The second one finds what the first has found.
    for each in (client, other, client, other):
        each.publish("q", b"x", exchange=exchange, properties=properties)
        assert closes(each) == []
    broker.broker.access.set_permissions("guest", "/", ".*", "^$", ".*")
    for each in (client, other):
        each.publish("q", b"x", exchange=exchange, properties=properties)
        assert "write access to exchange" in closes(each)[0]


def test_clearing_permissions_and_deleting_the_user_stop_publishers_too(broker: BrokerHarness) -> None:
    for end in (
        lambda: broker.broker.access.clear_permissions("guest", "/"),
        lambda: broker.broker.access.delete_user("guest"),
    ):
        client = broker.connect()
        client.publish("q", b"x")
        assert closes(client) == []
        end()
        client.publish("q", b"x")
        assert "refused for user 'guest'" in closes(client)[0]
        broker.broker.access.add_user("guest", b"guest", b"salt")
        broker.broker.access.set_permissions("guest", "/", ".*", ".*", ".*")


def test_an_exchange_declared_again_is_looked_at_again(broker: BrokerHarness, client: Client) -> None:
    declare = new_method(commands.Exchange.Declare, exchange="x", exchange_type="headers")
    client.call(1, declare)
    other = broker.connect()
    for each in (client, other):
        each.publish("k", b"x", exchange="x")
    other.call(1, new_method(commands.Exchange.Delete, exchange="x"))
    internal = new_method(commands.Exchange.Declare, exchange="x", exchange_type="headers", internal=True)
    other.call(1, internal)
    client.publish("k", b"x", exchange="x")
    assert "cannot publish to internal exchange" in closes(client)[0]


def test_each_message_goes_its_own_way_though_its_key_is_remembered(client: Client) -> None:
    for queue in "ab":
        client.declare(queue)
        arguments = encode_table({"to": queue})
        client.call(1, new_method(commands.Queue.Bind, queue=queue, exchange="amq.headers", arguments=arguments))
    for queue in "abba":
        raw = encode_table({"to": queue}).raw
        client.publish(
            "k", queue.encode(), exchange="amq.headers", properties=b"\x20\x00" + bytes([0, 0, 0, len(raw)]) + raw
        )
        client.publish("k", b"nobody's", exchange="amq.headers")
    for queue in "ab":
        assert [client.get(queue, no_ack=True).body for _ in range(2)] == [queue.encode()] * 2
        assert client.get(queue) is None
