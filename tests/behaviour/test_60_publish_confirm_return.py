"""Class 60 and 85: publish, mandatory, confirms."""

from __future__ import annotations

from pamqp import commands

from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, content_frames, method_frame


def test_a_message_comes_back_as_it_was_sent(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"hello", properties=b"\x80\x00\x04text")
    got = client.get("q", no_ack=True)
    assert got is not None
    assert got.body == b"hello"
    assert got.header == b"\x00\x3c\x00\x00" + (5).to_bytes(8, "big") + b"\x80\x00\x04text"
    assert (got.method.exchange, got.method.routing_key, got.method.redelivered) == ("", "q", False)


def test_an_empty_body_has_no_body_frame(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"")
    got = client.get("q")
    assert got is not None and got.body == b""


def test_an_unroutable_mandatory_message_is_returned_before_its_confirm(client: Client) -> None:
    client.call(1, new_method(commands.Confirm.Select))
    client.publish("nowhere", b"x", mandatory=True)
    names = [each.method.name for each in client.received]
    assert names == ["Basic.Return", "Basic.Ack"]
    assert client.received[0].method.reply_code == 312
    assert client.received[0].body == b"x"


def test_a_persistent_message_is_confirmed_only_after_the_sync(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", durable=True)
    client.call(1, new_method(commands.Confirm.Select))
    broker.hold_syncs = True
    for _ in range(3):
        client.publish("q", b"x", properties=PERSISTENT)
    assert client.take_all(commands.Basic.Ack) == []
    broker.hold_syncs = False
    broker.settle()
    acks = client.take_all(commands.Basic.Ack)
    assert [(each.method.delivery_tag, each.method.multiple) for each in acks] == [(3, True)]


def test_confirms_stay_in_publish_order_when_transient_follows_persistent(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", durable=True)
    client.call(1, new_method(commands.Confirm.Select))
    broker.hold_syncs = True
    client.publish("q", b"1", properties=PERSISTENT)
    client.publish("q", b"2")
    assert client.take_all(commands.Basic.Ack) == []
    broker.hold_syncs = False
    broker.settle()
    assert client.take_all(commands.Basic.Ack)[-1].method.delivery_tag == 2


def test_publishing_to_a_missing_exchange_closes_the_channel_and_frees_its_number(client: Client) -> None:
    client.publish("q", b"x", exchange="none")
    close = client.take_all(commands.Channel.Close)[0].method
    assert (close.reply_code, close.reply_text) == (404, "NOT_FOUND - no exchange 'none' in vhost '/'")
    assert (close.class_id, close.method_id) == (60, 40)
    client.send(1, new_method(commands.Basic.Qos, prefetch_count=1))
    assert client.received == []
    client.send(1, new_method(commands.Channel.CloseOk))
    assert isinstance(client.call(1, new_method(commands.Channel.Open)), commands.Channel.OpenOk)


def test_immediate_is_not_implemented(client: Client) -> None:
    publish = new_method(commands.Basic.Publish, routing_key="q", immediate=True)
    from tests.behaviour.harness import content_frames, method_frame

    client.send_bytes(method_frame(1, publish) + content_frames(1, b"x"))
    close = client.received[0].method
    assert (close.reply_code, close.reply_text) == (540, "NOT_IMPLEMENTED - immediate=true")


def test_a_big_body_is_split_at_the_frame_max_of_the_consumer(client: Client) -> None:
    body = bytes(range(256)) * 2000
    client.declare("q")
    client.publish("q", body)
    got = client.get("q", no_ack=True)
    assert got is not None and got.body == body


def test_input_byte_by_byte_gives_the_same_result(broker: BrokerHarness, client: Client) -> None:
    from tests.behaviour.harness import content_frames, method_frame

    client.declare("q")
    data = b"".join(
        method_frame(1, new_method(commands.Basic.Publish, routing_key="q")) + content_frames(1, body)
        for body in (b"one", b"", b"three" * 50)
    )
    for at in range(len(data)):
        client.send_bytes(data[at : at + 1])
    bodies = []
    while (got := client.get("q", no_ack=True)) is not None:
        bodies.append(got.body)
    assert bodies == [b"one", b"", b"three" * 50]


def test_a_confirm_is_not_merged_across_a_return(client: Client) -> None:
    """Clients that count what they get would wait for ever."""
    client.declare("q")
    client.call(1, new_method(commands.Confirm.Select))
    plain = method_frame(1, new_method(commands.Basic.Publish, exchange="", routing_key="q"))
    lost = method_frame(1, new_method(commands.Basic.Publish, exchange="", routing_key="none", mandatory=True))
    content = content_frames(1, b"x")
    client.send_bytes((plain + content) * 2 + (lost + content) * 2 + (plain + content) * 2)
    told = [(each.method.name, getattr(each.method, "delivery_tag", 0)) for each in client.received]
    assert told == [
        ("Basic.Ack", 2),
        ("Basic.Return", 0),
        ("Basic.Ack", 3),
        ("Basic.Return", 0),
        ("Basic.Ack", 4),
        ("Basic.Ack", 6),
    ]
