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


def body_frame(body: bytes) -> bytes:
    return frame(3, 1, body)


def header_of(size: int, tail: bytes = b"\x00\x00") -> bytes:
    return frame(2, 1, b"\x00\x3c\x00\x00" + size.to_bytes(8, "big") + tail)


def partial_bytes(client: Client) -> int:
    session = client.connection.session
    assert session is not None
    return int(session.partial_bytes)


def test_empty_body_frames_are_fine_and_nothing_is_kept_of_them(client: Client) -> None:
    client.declare("q")
    client.send_bytes(PUBLISH + header_of(4) + body_frame(b"") * 10_000)
    assert partial_bytes(client) == 0
    client.send_bytes(body_frame(b"ab") + body_frame(b"") * 10_000)
    assert 0 < partial_bytes(client) < 200
    client.send_bytes(body_frame(b"cd"))
    got = client.get("q")
    assert got is not None
    assert got.body == b"abcd"
    assert partial_bytes(client) == 0


def test_content_in_small_frames_counts_as_what_it_takes() -> None:
    """It took thirty times as much."""
    limits = dataclasses.replace(DEFAULTS, message_bytes_max=400_000, partial_bytes_max=400_000)
    client = BrokerHarness(limits).connect()
    client.declare("q")
    client.send_bytes(PUBLISH + header_of(300_000) + body_frame(b"ab") * 149_999)
    assert close_of(client) == (0, "")
    assert 299_998 < partial_bytes(client) < 400_000
    client.send_bytes(body_frame(b"ab"))
    got = client.get("q")
    assert got is not None
    assert got.body == b"ab" * 150_000


def test_nothing_is_gathered_of_what_may_not_be_published(broker: BrokerHarness, client: Client) -> None:
    client.send_bytes(method_frame(1, new_method(commands.Basic.Publish, exchange="nowhere", routing_key="q")))
    client.send_bytes(header_of(4))
    assert close_of(client) == (0, "")
    client.send_bytes(body_frame(b"ab"))
    assert close_of(client) == (404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'")
    client.send_bytes(body_frame(b"cd"))
    assert partial_bytes(client) == 0
    broker.broker.access.set_permissions("guest", "/", ".*", "", ".*")
    other = broker.connect()
    other.send_bytes(PUBLISH + header_of(4) + body_frame(b"ab"))
    assert close_of(other)[0] == 403


def test_long_headers_count_too(client: Client) -> None:
    client.declare("q")
    value = b"x" * 60_000
    entry = b"\x01k" + b"S" + len(value).to_bytes(4, "big") + value
    tail = b"\x20\x00" + len(entry).to_bytes(4, "big") + entry
    client.send_bytes(PUBLISH + header_of(4, tail))
    assert partial_bytes(client) > 60_000
    client.send_bytes(body_frame(b"ab") + body_frame(b"cd"))
    client.publish("q", b"short")
    assert partial_bytes(client) == 0
    client.send_bytes(PUBLISH + header_of(4, tail) + body_frame(b"ab"))
    session = client.connection.session
    client.send_bytes(frame(1, 1, b"\x00\x14\x00\x28\x00\x00\x00\x00\x00\x00\x00"))
    assert session is not None
    assert session.partial_bytes == 0


def test_under_an_alarm_no_more_of_a_message_is_read_and_afterwards_the_rest(broker: BrokerHarness) -> None:
    client = broker.connect(connection__blocked=True)
    client.declare("q")
    client.send_bytes(PUBLISH + header_of(6) + body_frame(b"ab"))
    broker.broker.block("low on memory")
    client.send_bytes(body_frame(b"cd") + body_frame(b"ef"))
    assert not client.connection.reading
    assert partial_bytes(client) < 200
    assert len(client.take_all(commands.Connection.Blocked)) == 1
    assert broker.connect().declare("q").message_count == 0
    broker.broker.unblock()
    broker.settle()
    assert len(client.take_all(commands.Connection.Unblocked)) == 1
    got = client.get("q")
    assert got is not None
    assert got.body == b"abcdef"


@pytest.mark.parametrize("is_over", [False, True])
def test_under_an_alarm_that_refuses_nothing_is_gathered_and_the_message_is_refused(is_over: bool) -> None:
    broker = BrokerHarness(dataclasses.replace(DEFAULTS, alarm_action="nack"))
    client = broker.connect()
    client.declare("q")
    client.call(1, new_method(commands.Confirm.Select))
    client.send_bytes(PUBLISH + header_of(6) + body_frame(b"ab"))
    broker.broker.block("low on disk")
    client.send_bytes(body_frame(b"cd"))
    assert partial_bytes(client) == 0
    if is_over:
        broker.broker.unblock()
    client.send_bytes(body_frame(b"ef"))
    assert [each.method.delivery_tag for each in client.take_all(commands.Basic.Nack)] == [1]
    assert client.declare("q").message_count == 0
    broker.broker.unblock()
    client.publish("q", b"later")
    assert [each.method.delivery_tag for each in client.take_all(commands.Basic.Ack)] == [2]


def test_a_transaction_does_not_grow_under_an_alarm(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Tx.Select))
    broker.broker.block("low on memory")
    client.publish("q", b"1")
    assert not client.connection.reading


def test_routes_that_the_channels_of_a_connection_remember_are_bounded_together() -> None:
    limits = dataclasses.replace(DEFAULTS, routes_per_connection_bytes_max=20_000)
    broker = BrokerHarness(limits)
    client = broker.connect()
    client.declare("q")
    session = client.connection.session
    assert session is not None
    for channel in (2, 3):
        client.call(channel, new_method(commands.Channel.Open))
    for number in range(100):
        for channel in (1, 2, 3):
            client.publish(f"key-{number}", b"x", channel=channel)
            assert session.route_bytes <= 20_000
    held = [client.connection.channels[channel]._routes for channel in (1, 2, 3)]
    assert session.route_bytes == sum(int(route.size_bytes) for routes in held for route in routes.values())
    client.publish("q", b"arrives", channel=3)
    got = client.get("q")
    assert got is not None
    assert got.body == b"arrives"
    for channel in (1, 2, 3):
        client.call(channel, new_method(commands.Channel.Close, reply_code=200, reply_text="", class_id=0, method_id=0))
    assert session.route_bytes == 0


def test_route_that_is_found_again_counts_once(client: Client) -> None:
    session = client.connection.session
    assert session is not None
    sizes = []
    for number in range(3):
        client.publish("q", b"x")
        sizes.append(int(session.route_bytes))
        client.declare(f"drops-the-routes-{number}")
    assert sizes[0] > 0
    assert sizes == sizes[:1] * 3


def test_route_too_large_to_remember_is_found_each_time() -> None:
    client = BrokerHarness(dataclasses.replace(DEFAULTS, routes_per_connection_bytes_max=0)).connect()
    client.declare("q")
    for body in (b"1", b"2"):
        client.publish("q", body)
    assert client.declare("q").message_count == 2
