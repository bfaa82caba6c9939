"""Content assembly in all its orders, and settles."""

from __future__ import annotations

import dataclasses

import pytest
from pamqp import commands

from amqpd.base.limits import DEFAULTS
from amqpd.wire.methods import encode_method, new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, content_frames, frame, method_frame

PUBLISH = method_frame(1, new_method(commands.Basic.Publish, routing_key="q"))
HEADER_3 = frame(2, 1, b"\x00\x3c\x00\x00" + (3).to_bytes(8, "big") + b"\x00\x00")
HEADER_0 = frame(2, 1, b"\x00\x3c\x00\x00" + bytes(8) + b"\x00\x00")
BODY_3 = frame(3, 1, b"abc")
QOS = method_frame(1, new_method(commands.Basic.Qos))


def close_of(client: Client) -> tuple[int, str]:
    closes = [each.method for each in client.received if each.method.name in ("Connection.Close", "Channel.Close")]
    return (closes[0].reply_code, closes[0].reply_text) if closes else (0, "")


# What was sent before (method is expected, header is expected, body is expected), and what comes: 0 is fine.
@pytest.mark.parametrize(
    ("before", "comes", "reply_code"),
    [
        (b"", QOS, 0),
        (b"", PUBLISH, 0),
        (b"", HEADER_3, 505),
        (b"", BODY_3, 505),
        (PUBLISH, HEADER_3, 0),
        (PUBLISH, HEADER_0, 0),
        (PUBLISH, QOS, 505),
        (PUBLISH, PUBLISH, 505),
        (PUBLISH, BODY_3, 505),
        (PUBLISH + HEADER_0, QOS, 0),
        (PUBLISH + HEADER_0, BODY_3, 505),
        (PUBLISH + HEADER_3, BODY_3, 0),
        (PUBLISH + HEADER_3, QOS, 505),
        (PUBLISH + HEADER_3, PUBLISH, 505),
        (PUBLISH + HEADER_3, HEADER_3, 505),
        (PUBLISH + HEADER_3 + BODY_3, QOS, 0),
        (PUBLISH + HEADER_3 + BODY_3, BODY_3, 505),
    ],
)
def test_content_comes_in_one_order_only(client: Client, before: bytes, comes: bytes, reply_code: int) -> None:
    client.send_bytes(before)
    client.received.clear()
    client.send_bytes(comes)
    assert close_of(client)[0] == reply_code


@pytest.mark.parametrize(
    "settle",
    [
        new_method(commands.Basic.Ack, delivery_tag=1),
        new_method(commands.Basic.Nack, delivery_tag=1),
        new_method(commands.Basic.Reject, delivery_tag=1),
        new_method(commands.Channel.Close),
    ],
)
def test_no_method_may_come_between_a_publish_and_its_content(client: Client, settle: commands.Basic.Ack) -> None:
    client.send_bytes(PUBLISH)
    client.send(1, settle)
    assert close_of(client) == (
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
    )


def test_content_of_two_channels_may_be_interleaved(client: Client) -> None:
    client.declare("q")
    client.call(2, new_method(commands.Channel.Open))
    one = [PUBLISH, HEADER_3, frame(3, 1, b"a"), frame(3, 1, b"bc")]
    two = [method_frame(2, new_method(commands.Basic.Publish, routing_key="q")), *[content_frames(2, b"x")]]
    for part in [one[0], two[0], one[1], one[2], two[1], one[3]]:
        client.send_bytes(part)
    got = [client.get("q", no_ack=True) for _ in range(2)]
    assert [each.body for each in got if each] == [b"x", b"abc"]


def test_a_body_that_is_longer_than_announced_is_a_frame_error(client: Client) -> None:
    client.send_bytes(PUBLISH + HEADER_3 + frame(3, 1, b"abcd"))
    assert close_of(client)[0] == 501


def test_a_body_frame_without_a_byte_changes_nothing(client: Client) -> None:
    client.declare("q")
    client.send_bytes(PUBLISH + HEADER_3 + frame(3, 1, b"") + BODY_3)
    got = client.get("q")
    assert got is not None and got.body == b"abc"


@pytest.mark.parametrize(
    "payload",
    [
        b"\x00\x3c\x00\x28",
        b"\x00\x3c\x00\x28\x00\x00",
        b"\x00\x3c\x00\x28\x00\x00\x05ab",
        b"\x00\x3c\x00\x28\x00\x00\x00\x05ab\x00",
        b"\x00\x3c\x00\x28\x00\x00\x00\x01q",
        b"\x00\x3c\x00\x28\x00\x00\x00\x01q\x00\x00",
    ],
)
def test_a_malformed_publish_is_a_syntax_error(client: Client, payload: bytes) -> None:
    client.send_bytes(frame(1, 1, payload))
    assert close_of(client)[0] == 502


def test_a_header_of_another_class_is_unexpected(client: Client) -> None:
    client.send_bytes(PUBLISH + frame(2, 1, b"\x00\x32\x00\x00" + bytes(10)))
    assert close_of(client)[0] == 505


def test_a_header_that_is_cut_short_is_a_frame_error(client: Client) -> None:
    client.send_bytes(PUBLISH + frame(2, 1, b"\x00\x3c\x00\x00" + bytes(9)))
    assert close_of(client)[0] == 501


@pytest.mark.parametrize("size", [1001, 1 << 62, (1 << 63) + 5])
def test_a_message_that_is_too_large_closes_the_channel_before_its_body(size: int) -> None:
    client = BrokerHarness(dataclasses.replace(DEFAULTS, message_bytes_max=1000)).connect()
    client.send_bytes(PUBLISH + frame(2, 1, b"\x00\x3c\x00\x00" + size.to_bytes(8, "big") + b"\x00\x00"))
    assert close_of(client) == (
        406,
        f"PRECONDITION_FAILED - message size {size} is larger than configured max size 1000",
    )


@pytest.mark.parametrize("tag", [1 << 63, (1 << 64) - 1, 3])
@pytest.mark.parametrize("multiple", [True, False])
def test_a_tag_beyond_the_newest_is_unknown_and_settles_nothing(client: Client, tag: int, multiple: bool) -> None:
    client.declare("q")
    for _ in range(2):
        client.publish("q", b"x")
        client.get("q")
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=tag, multiple=multiple))
    assert close_of(client) == (406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")
    client.send(1, new_method(commands.Channel.CloseOk))
    client.call(1, new_method(commands.Channel.Open))
    client.received.clear()
    assert client.declare("q").message_count == 2


@pytest.mark.parametrize("tag", [1 << 63, 3])
def test_a_tag_beyond_the_newest_is_unknown_in_a_transaction_too(client: Client, tag: int) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Tx.Select))
    client.publish("q", b"x")
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=tag, multiple=True))
    assert close_of(client)[1] == f"PRECONDITION_FAILED - unknown delivery tag {tag}"


def test_an_ack_of_what_is_acked_is_unknown(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    client.get("q")
    for _ in range(2):
        client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    assert close_of(client) == (406, "PRECONDITION_FAILED - unknown delivery tag 1")


def test_a_route_is_looked_for_again_after_a_binding_came_or_went(client: Client) -> None:
    client.declare("q")
    bind = {"queue": "q", "exchange": "amq.direct", "routing_key": "k"}
    client.publish("k", b"lost", "amq.direct")
    client.call(1, new_method(commands.Queue.Bind, **bind))
    client.publish("k", b"kept", "amq.direct")
    client.call(1, new_method(commands.Queue.Unbind, **bind))
    client.publish("k", b"lost", "amq.direct")
    client.received.clear()
    got = [client.get("q"), client.get("q")]
    assert [each.body for each in got if each] == [b"kept"]


def test_a_publisher_whose_bytes_the_disk_can_not_follow_is_held_until_it_does() -> None:
    broker = BrokerHarness(dataclasses.replace(DEFAULTS, unconfirmed_bytes_max=1000))
    client = broker.connect()
    client.declare("q", durable=True)
    broker.hold_syncs = True
    client.publish("q", b"x" * 2000, properties=PERSISTENT)
    client.publish("q", b"transient")
    client.send(1, new_method(commands.Channel.Flow, active=True))
    for _ in range(100):
        client.publish("q", b"x" * 2000, properties=PERSISTENT)
    queue = broker.broker.vhosts["/"].queues["q"]
    # Nothing that came behind it was handled: neither what needs no disk, nor what would fill memory.
    assert (client.received, queue.ready.count) == ([], 1)
    assert broker.broker.agenda.log.pending_bytes < 5000
    broker.hold_syncs = False
    broker.settle()
    assert [type(each.method) for each in client.received] == [commands.Channel.FlowOk]
    assert queue.ready.count == 102


def test_a_publisher_whose_bytes_the_disk_follows_is_not_held() -> None:
    broker = BrokerHarness(dataclasses.replace(DEFAULTS, unconfirmed_bytes_max=10_000))
    client = broker.connect()
    client.declare("q", durable=True)
    broker.hold_syncs = True
    client.publish("q", b"x" * 2000, properties=PERSISTENT)
    client.send(1, new_method(commands.Channel.Flow, active=True))
    assert [type(each.method) for each in client.received] == [commands.Channel.FlowOk]


def test_a_channel_that_closes_gives_back_everything_it_had(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    client.send(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="t"))
    client.received.clear()
    client.send_bytes(PUBLISH + frame(2, 1, b"\x00\x3c\x00\x00" + b"\x7f" * 8 + b"\x00\x00"))
    queue = broker.broker.vhosts["/"].queues["q"]
    assert (queue.ready.count, queue.unacked_count, queue.consumers.all) == (1, 0, [])


def test_the_hot_methods_reject_arguments_of_another_size(client: Client) -> None:
    client.send_bytes(frame(1, 1, encode_method(new_method(commands.Basic.Ack, delivery_tag=1)) + b"\x00"))
    assert close_of(client)[0] == 501
