from __future__ import annotations

import dataclasses

import pytest
from pamqp import commands

from amqpd.base.limits import DEFAULTS
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client

B = commands.Basic


def refusal(client: Client, method: object) -> str:
    return str(client.call(1, method).reply_text)  # type: ignore[arg-type]


def consume(client: Client, tag: str = "t", **values: object) -> object:
    return client.call(1, new_method(B.Consume, queue="q", consumer_tag=tag, **values))


def test_a_prefetch_size_is_not_implemented(client: Client) -> None:
    assert refusal_of_connection(client, new_method(B.Qos, prefetch_size=1)) == "NOT_IMPLEMENTED - prefetch_size!=0 (1)"


def refusal_of_connection(client: Client, method: object) -> str:
    client.send(1, method)  # type: ignore[arg-type]
    close = client.received[-1].method
    assert close.name == "Connection.Close"
    return str(close.reply_text)


def test_a_consumer_tag_that_is_used_closes_the_connection(client: Client) -> None:
    client.declare("q")
    consume(client)
    assert refusal_of_connection(client, new_method(B.Consume, queue="q", consumer_tag="t")) == (
        "NOT_ALLOWED - attempt to reuse consumer tag 't'"
    )


def test_a_tag_is_made_up_where_none_is_given(client: Client) -> None:
    client.declare("q")
    one, two = consume(client, ""), consume(client, "")
    assert one.consumer_tag.startswith("amq.ctag-")  # type: ignore[attr-defined]
    assert one.consumer_tag != two.consumer_tag  # type: ignore[attr-defined]


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_exclusive_means_alone(client: Client, first: bool, second: bool) -> None:
    client.declare("q")
    consume(client, "1", exclusive=first)
    assert refusal(client, new_method(B.Consume, queue="q", consumer_tag="2", exclusive=second)) == (
        "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"
    )


def test_consumers_of_a_channel_and_of_a_queue_are_limited() -> None:
    broker = BrokerHarness(dataclasses.replace(DEFAULTS, consumers_per_channel_max=2, consumers_per_queue_max=3))
    client, other = broker.connect(), broker.connect()
    client.declare("q")
    consume(client, "1")
    consume(client, "2")
    consume(other, "1")
    assert refusal(other, new_method(B.Consume, queue="q", consumer_tag="2")).startswith("PRECONDITION_FAILED")
    assert "consumers per channel" in refusal_of_connection(client, new_method(B.Consume, queue="q", consumer_tag="3"))


def test_consumers_of_all_channels_of_a_connection_are_limited_together() -> None:
    client = BrokerHarness(dataclasses.replace(DEFAULTS, consumers_per_connection_max=3)).connect()
    client.declare("q")
    client.declare("goes")
    for channel in (2, 3):
        client.call(channel, new_method(commands.Channel.Open))
    ends = [
        lambda: client.call(1, new_method(B.Cancel, consumer_tag="1")),
        lambda: client.call(2, new_method(commands.Queue.Delete, queue="goes")),
        lambda: client.call(2, new_method(commands.Channel.Close)),
    ]
    consume(client, "1")
    client.call(2, new_method(B.Consume, queue="goes", consumer_tag="2"))
    client.call(2, new_method(B.Consume, queue="q", consumer_tag="3"))
    for number, end in enumerate(ends):
        end()
        client.call(3, new_method(B.Consume, queue="q", consumer_tag=f"more-{number}"))
    session = client.connection.session
    assert session is not None
    assert session.consumer_count == 3
    refused = refusal_of_connection(client, new_method(B.Consume, queue="q", consumer_tag="4"))
    assert "consumers per connection" in refused
    assert session.consumer_count == 0


def test_consume_ok_comes_before_the_first_delivery(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    client.send(1, new_method(B.Consume, queue="q"))
    assert [each.method.name for each in client.received] == ["Basic.ConsumeOk", "Basic.Deliver"]


def test_cancel_is_idempotent_and_the_last_one_ends_an_auto_delete_queue(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", auto_delete=True)
    assert client.call(1, new_method(B.Cancel, consumer_tag="none")).consumer_tag == "none"
    consume(client, "1")
    consume(client, "2")
    client.call(1, new_method(B.Cancel, consumer_tag="1"))
    assert "q" in broker.broker.vhosts["/"].queues
    client.call(1, new_method(B.Cancel, consumer_tag="2"))
    assert "q" not in broker.broker.vhosts["/"].queues


def test_get_tells_how_many_are_left_and_empty_is_told(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"a")
    client.publish("q", b"b")
    first = client.get("q")
    assert first is not None and (first.method.message_count, first.method.delivery_tag) == (1, 1)
    client.get("q")
    assert client.get("q") is None


def test_get_is_not_limited_by_prefetch(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(B.Qos, prefetch_count=1, global_=True))
    for _ in range(3):
        client.publish("q", b"x")
    assert all(client.get("q") is not None for _ in range(3))


def test_a_lower_global_prefetch_only_waits(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(B.Qos, prefetch_count=3, global_=True))
    consume(client)
    for _ in range(6):
        client.publish("q", b"x")
    assert len(client.bodies()) == 3
    client.call(1, new_method(B.Qos, prefetch_count=1, global_=True))
    client.send(1, new_method(B.Ack, delivery_tag=2, multiple=True))
    assert client.bodies() == []
    client.send(1, new_method(B.Ack, delivery_tag=3))
    assert len(client.bodies()) == 1
    client.call(1, new_method(B.Qos, prefetch_count=0, global_=True))
    client.send(1, new_method(B.Qos, prefetch_count=0, global_=True))
    assert len(client.bodies()) + len(client.bodies()) <= 2
    client.send(1, new_method(B.Ack, delivery_tag=0, multiple=True))
    assert client.declare("q").message_count == 0


def test_recover_without_requeue_sends_what_basic_get_took_back_to_its_queue(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    client.get("q")
    client.call(1, new_method(B.Recover, requeue=False))
    again = client.get("q")
    assert again is not None and again.method.redelivered


def test_only_one_reply_consumer_per_channel(client: Client) -> None:
    name = "amq.rabbitmq.reply-to"
    client.call(1, new_method(B.Consume, queue=name, no_ack=True))
    assert refusal(client, new_method(B.Consume, queue=name, no_ack=True)) == (
        "PRECONDITION_FAILED - reply consumer already set"
    )


def test_a_cancelled_reply_consumer_may_be_replaced(client: Client) -> None:
    name = "amq.rabbitmq.reply-to"
    client.call(1, new_method(B.Consume, queue=name, no_ack=True, consumer_tag="r"))
    client.call(1, new_method(B.Cancel, consumer_tag="r"))
    assert isinstance(client.call(1, new_method(B.Consume, queue=name, no_ack=True)), B.ConsumeOk)


@pytest.mark.parametrize("method", [new_method(B.Get, queue="q"), new_method(B.Consume, queue="q")])
def test_reading_needs_permission_to_read(broker: BrokerHarness, client: Client, method: object) -> None:
    client.declare("q")
    broker.broker.access.set_permissions("guest", "/", ".*", ".*", "")
    assert refusal(client, method) == "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'guest'"
