from __future__ import annotations

from pamqp import commands

from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client


def consume(client: Client, **values: object) -> None:
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="t", **values))


def test_a_delivery_says_all_there_is_to_say_and_takes_a_credit(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=3))
    consume(client)
    client.publish("q", b"body", properties=b"\x80\x00\x04text")
    delivery = client.take_all(commands.Basic.Deliver)[0]
    method = delivery.method
    assert (method.consumer_tag, method.delivery_tag, method.redelivered) == ("t", 1, False)
    assert (method.exchange, method.routing_key) == ("", "q")
    assert (delivery.header[-7:], delivery.body) == (b"\x80\x00\x04text", b"body")
    channel = client.connection.channels[1]
    consumer = channel.consumers["t"]
    assert (consumer.credit, consumer.unacked_count, channel.unacked.count) == (2, 1, 1)


def test_a_no_ack_delivery_counts_a_tag_and_is_not_kept(client: Client) -> None:
    client.declare("q")
    consume(client, no_ack=True)
    client.publish("q", b"a")
    client.publish("q", b"b")
    assert [each.method.delivery_tag for each in client.take_all(commands.Basic.Deliver)] == [1, 2]
    channel = client.connection.channels[1]
    assert (channel.unacked.count, channel.next_delivery_tag) == (0, 3)


def test_no_ack_consumers_are_not_limited_by_prefetch(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=1))
    consume(client, no_ack=True)
    for _ in range(3):
        client.publish("q", b"x")
    assert len(client.bodies()) == 3


def test_the_tag_of_a_consumer_may_be_any_text(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="тэг"))
    client.publish("q", b"x")
    assert client.take_all(commands.Basic.Deliver)[0].method.consumer_tag == "тэг"


def test_a_cancelled_consumer_is_gone_from_its_channel(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    consume(client)
    broker.connect().call(1, new_method(commands.Queue.Delete, queue="q"))
    assert client.take_all(commands.Basic.Cancel)[0].method.consumer_tag == "t"
    assert client.connection.channels[1].consumers == {}


def test_who_did_not_ask_for_it_hears_nothing_of_the_cancel(broker: BrokerHarness) -> None:
    client = broker.connect(consumer_cancel_notify=False)
    client.declare("q")
    consume(client)
    broker.connect().call(1, new_method(commands.Queue.Delete, queue="q"))
    assert client.received == []
    assert client.connection.channels[1].consumers == {}
