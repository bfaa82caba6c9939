"""Frames before, during and after their time; held and blocked input; ends."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from pamqp import commands
from pamqp.base import Frame

from amqpd.base.limits import DEFAULTS
from amqpd.connections.handshake import CLOSED, CLOSING, HEADER, NEXT, OPEN, REFUSED, START_SENT, TUNE_SENT, TUNED
from amqpd.wire.field_table import EMPTY_TABLE
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, frame, method_frame

C = commands.Connection
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
LOG_IN: tuple[Frame, ...] = (
    new_method(C.StartOk, client_properties=EMPTY_TABLE, mechanism="PLAIN", response="\0guest\0guest", locale="en_US"),
    new_method(C.TuneOk, channel_max=5, frame_max=4096, heartbeat=0),
    new_method(C.Open, virtual_host="/"),
)
METHODS: tuple[Frame, ...] = (
    *LOG_IN,
    new_method(C.UpdateSecret, new_secret="x"),
    new_method(C.Close, reply_code=200),
    new_method(C.CloseOk),
    new_method(C.Start),
    new_method(C.Blocked),
    new_method(commands.Channel.Open),
    new_method(commands.Basic.Qos),
)


def brought_to(broker: BrokerHarness, state: int) -> Client:
    client = broker.raw()
    if state == HEADER:
        return client
    client.send_bytes(PROTOCOL_HEADER)
    if state == REFUSED:
        client.send(0, new_method(C.StartOk, mechanism="PLAIN", response="\0guest\0no"))
    for method in LOG_IN[: {TUNE_SENT: 1, TUNED: 2, OPEN: 3, CLOSING: 3}.get(state, 0)]:
        client.send(0, method)
    if state == CLOSING:
        client.send_bytes(frame(1, 0, b""))
    client.received.clear()
    assert client.connection.state == state
    return client


def names(client: Client) -> list[str]:
    return [each.method.name for each in client.received]


@pytest.mark.parametrize(
    ("state", "method"),
    list(itertools.product((START_SENT, TUNE_SENT, TUNED, OPEN, REFUSED, CLOSING), METHODS)),
    ids=lambda value: value if isinstance(value, int) else value.name,
)
def test_each_method_in_each_state_leads_where_the_table_says(broker: BrokerHarness, state: int, method: Frame) -> None:
    client = brought_to(broker, state)
    client.send(0, method)
    after = NEXT.get((state, method.index))
    if state in (REFUSED, CLOSING) and after is None:
        # Nobody is listening any more.
        assert (client.connection.state, client.received) == (state, [])
    elif after is not None:
        assert client.connection.state == after
        assert client.is_closed == (after == CLOSED)
        assert ("Connection.CloseOk" in names(client)) == (method.name == "Connection.Close")
    else:
        assert names(client) == ["Connection.Close"]
        assert client.received[0].method.reply_code == (504 if state == OPEN else 503)
        assert client.connection.state == CLOSING


@pytest.mark.parametrize("state", [START_SENT, TUNE_SENT, TUNED])
@pytest.mark.parametrize(
    ("data", "reply_code"),
    [
        (frame(8, 0, b""), 0),
        (frame(8, 1, b""), 505),
        (frame(2, 0, bytes(14)), 505),
        (frame(3, 0, b"x"), 505),
        (frame(4, 0, b""), 501),
        (frame(1, 0, b"\x00\x0a"), 501),
        (method_frame(1, new_method(commands.Channel.Open)), 505),
        (b"\x01\x00\x00\x00\x00\x40\x00" + b"\x00\x0a", 501),
    ],
)
def test_frames_before_open_that_do_not_belong_there(
    broker: BrokerHarness, state: int, data: bytes, reply_code: int
) -> None:
    client = brought_to(broker, state)
    client.send_bytes(data)
    assert [each.method.reply_code for each in client.received] == ([reply_code] if reply_code else [])


@pytest.mark.parametrize(
    ("data", "reply_code"),
    [
        (frame(8, 0, b""), 0),
        (frame(8, 1, b""), 505),
        (frame(2, 0, bytes(14)), 505),
        (frame(4, 1, b""), 501),
        (frame(1, 1, b"\x00"), 501),
        (frame(2, 9, bytes(14)), 505),
        (frame(3, 9, b"x"), 505),
        (frame(8, 9, b""), 501),
        (frame(1, 9, b"\x00\x3c\x00\x0a" + bytes(7)), 504),
        (frame(1, 1, b"\x00\x3c\x00\x63"), 503),
        (frame(1, 1, b"\x80\x00\x00\x0a"), 503),
        (frame(1, 1, b"\xff\xff\xff\xff"), 503),
        (frame(1, 9, b"\xff\xff\xff\xff"), 503),
        (frame(1, 0, b"\xff\xff\xff\xff"), 503),
    ],
)
def test_frames_on_an_open_connection_that_do_not_belong_there(client: Client, data: bytes, reply_code: int) -> None:
    client.send_bytes(data)
    assert [each.method.reply_code for each in client.received] == ([reply_code] if reply_code else [])
    assert not any("internal error" in notice for notice in client.harness.broker.agenda.lines)


def test_a_frame_may_be_as_large_as_agreed_and_not_larger(broker: BrokerHarness) -> None:
    client = brought_to(broker, OPEN)
    client.call(1, new_method(commands.Channel.Open))
    client.send_bytes(method_frame(1, new_method(commands.Basic.Publish)))
    client.send_bytes(frame(2, 1, b"\x00\x3c\x00\x00" + (10_000).to_bytes(8, "big") + b"\x00\x00"))
    # RabbitMQ counts the payload alone.
    client.send_bytes(frame(3, 1, bytes(4096)))
    assert client.received == []
    client.send_bytes(b"\x03\x00\x01" + (4097).to_bytes(4, "big"))
    assert client.received[0].method.reply_text.startswith("FRAME_ERROR - ")


@pytest.mark.parametrize("lost", [b"\x01\x00\x01\x7f\xff\xff\xff", b"\x01\x00\x01\x00\x00\x00\x00\x00"])
@pytest.mark.parametrize("garbage", [b"", b"\x01", b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a", bytes(100)])
def test_once_framing_is_lost_only_close_ok_counts(client: Client, lost: bytes, garbage: bytes) -> None:
    close_ok = method_frame(0, new_method(C.CloseOk))
    client.send_bytes(lost + method_frame(0, new_method(C.Close)) + garbage)
    assert names(client) == ["Connection.Close"]
    assert not client.is_closed
    client.send_bytes(close_ok[:5])
    client.send_bytes(close_ok[5:])
    assert client.is_closed


def test_a_peer_that_never_answers_a_close_loses_its_socket_in_time(broker: BrokerHarness) -> None:
    client = brought_to(broker, CLOSING)
    broker.advance(9_900)
    assert not client.is_closed
    broker.advance(200)
    assert client.is_closed


def test_channels_are_limited_by_number_and_count(broker: BrokerHarness) -> None:
    client = brought_to(broker, OPEN)
    for number in range(1, 6):
        client.call(number, new_method(commands.Channel.Open))
    client.send(6, new_method(commands.Channel.Open))
    assert client.received[0].method.reply_text.startswith("NOT_ALLOWED - number of channels opened (5)")


def test_a_closed_channel_may_be_opened_again_at_once(client: Client) -> None:
    client.call(1, new_method(commands.Channel.Close))
    assert isinstance(client.call(1, new_method(commands.Channel.Open)), commands.Channel.OpenOk)


def test_both_sides_may_close_a_channel_at_once(client: Client) -> None:
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=9))
    client.send(1, new_method(commands.Channel.Close))
    client.send(1, new_method(commands.Channel.CloseOk))
    assert names(client) == ["Channel.Close", "Channel.CloseOk"]
    assert client.connection.channels == {}


def test_nothing_on_a_closing_channel_counts_but_its_close_ok(client: Client) -> None:
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=9))
    client.received.clear()
    for data in (
        method_frame(1, new_method(commands.Queue.Declare, queue="q")),
        frame(2, 1, bytes(14)),
        frame(3, 1, b"x"),
        method_frame(1, new_method(commands.Channel.Open)),
    ):
        client.send_bytes(data)
    assert client.received == []
    assert client.harness.broker.vhosts["/"].queues == {}


def test_a_held_connection_goes_on_in_order_once_the_disk_has_synced(broker: BrokerHarness, client: Client) -> None:
    broker.hold_syncs = True
    client.send(1, new_method(commands.Queue.Declare, queue="q", durable=True))
    client.publish("q", b"x", properties=PERSISTENT)
    client.send(1, new_method(commands.Basic.Get, queue="q"))
    assert client.received == []
    broker.hold_syncs = False
    broker.settle()
    assert names(client) == ["Queue.DeclareOk", "Basic.GetOk"]


def test_a_held_connection_is_not_read_beyond_its_bound(broker: BrokerHarness, client: Client) -> None:
    broker.hold_syncs = True
    client.send(1, new_method(commands.Queue.Declare, queue="q", durable=True))
    assert client.connection.reading
    for _ in range(9):
        client.publish("q", bytes(130_000))
    assert not client.connection.reading
    broker.hold_syncs = False
    broker.settle()
    assert client.connection.reading
    assert client.declare("q", durable=True).message_count == 9


def test_too_many_bytes_before_open_end_the_connection() -> None:
    broker = BrokerHarness(dataclasses.replace(DEFAULTS, bytes_before_open_max=1000))
    client = broker.raw()
    client.send_bytes(PROTOCOL_HEADER)
    client.send_bytes(frame(8, 0, b"") * 200)
    assert client.is_closed


def test_a_loopback_user_may_not_come_from_elsewhere(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.connection = broker.broker.connect("10.1.2.3", 5, False)
    client.send_bytes(PROTOCOL_HEADER)
    client.send(0, LOG_IN[0])
    assert client.connection.state == REFUSED
    assert any("localhost" in notice for notice in broker.broker.agenda.lines)


def test_a_connection_describes_itself_to_people(client: Client) -> None:
    assert client.connection.describe() == "127.0.0.1:50000 user 'guest'"


def test_a_lost_connection_leaves_nothing(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", exclusive=True)
    client.call(1, new_method(commands.Basic.Consume, queue="amq.rabbitmq.reply-to", no_ack=True))
    client.lose()
    client.connection.lost()
    vhost = broker.broker.vhosts["/"]
    assert (vhost.queues, vhost._reply_queues, broker.broker.connections) == ({}, {}, {})


def test_an_auto_delete_queue_ends_with_the_connection_of_its_last_consumer(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", auto_delete=True)
    client.publish("q", b"x")
    client.send(1, new_method(commands.Basic.Consume, queue="q"))
    client.send(0, new_method(C.Close, reply_code=200))
    assert client.is_closed
    assert broker.broker.vhosts["/"].queues == {}
