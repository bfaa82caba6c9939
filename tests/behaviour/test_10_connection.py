"""Class 10: the protocol header, login, tune, heartbeats, close."""

from __future__ import annotations

import dataclasses

import pytest
from pamqp import commands

from amqpd.base.limits import DEFAULTS
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client, frame, method_frame


def start_ok(
    response: str = "\0guest\0guest", mechanism: str = "PLAIN", **capabilities: bool
) -> commands.Connection.StartOk:
    known: dict[str, object] = dict(capabilities)
    return new_method(
        commands.Connection.StartOk,
        client_properties=encode_table({"capabilities": encode_table(known)}),
        mechanism=mechanism,
        response=response,
        locale="en_US",
    )


def test_a_wrong_protocol_header_is_answered_with_ours_and_the_socket_closed(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x01\x00\x00")
    assert client.received[0].method == b"AMQP\x00\x00\x09\x01"
    assert client.is_closed


def test_http_on_the_port_is_explained_in_the_log(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
    assert client.is_closed
    assert any("HTTP" in line for line in broker.broker.agenda.lines)


def test_a_refused_login_with_the_capability_is_told_why(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.received.clear()
    close = client.call(0, start_ok("\0guest\0wrong", authentication_failure_close=True))
    assert (close.reply_code, close.reply_text) == (
        403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
    )


def test_a_refused_login_without_the_capability_only_loses_its_socket_after_a_second(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.received.clear()
    client.send(0, start_ok("\0guest\0wrong"))
    assert client.received == []
    assert not client.is_closed
    broker.advance(1100)
    assert client.is_closed


@pytest.mark.parametrize(
    ("frame_max", "text"),
    [
        (4095, "NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
        (131073, "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
    ],
)
def test_frame_max_out_of_range_closes_the_connection(broker: BrokerHarness, frame_max: int, text: str) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.send(0, start_ok())
    client.received.clear()
    client.send(0, new_method(commands.Connection.TuneOk, channel_max=1, frame_max=frame_max, heartbeat=0))
    close = client.received[0].method
    assert (close.reply_code, close.reply_text) == (530, text)


def test_an_idle_handshake_ends_after_its_time(broker: BrokerHarness) -> None:
    client = broker.raw()
    broker.advance(9_000)
    assert not client.is_closed
    broker.advance(2_000)
    assert client.is_closed


def test_a_silent_client_is_dropped_after_two_intervals_and_gets_heartbeats_until_then(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.send(0, start_ok())
    client.send(0, new_method(commands.Connection.TuneOk, channel_max=1, frame_max=4096, heartbeat=2))
    client.send(0, new_method(commands.Connection.Open, virtual_host="/"))
    broker.advance(3_900)
    assert client.heartbeats >= 3
    assert not client.is_closed
    broker.advance(400)
    assert client.is_closed


def test_any_traffic_counts_as_a_heartbeat(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.send(0, start_ok())
    client.send(0, new_method(commands.Connection.TuneOk, channel_max=1, frame_max=4096, heartbeat=1))
    client.send(0, new_method(commands.Connection.Open, virtual_host="/"))
    for _ in range(5):
        broker.advance(1_500)
        client.send_bytes(frame(8, 0, b""))
    assert not client.is_closed


def test_an_unknown_vhost_closes_with_530(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.send(0, start_ok())
    client.send(0, new_method(commands.Connection.TuneOk, channel_max=0, frame_max=0, heartbeat=0))
    client.received.clear()
    client.send(0, new_method(commands.Connection.Open, virtual_host="nowhere"))
    assert client.received[0].method.reply_text == "NOT_ALLOWED - vhost nowhere not found"


def test_a_bad_frame_end_is_501_and_nothing_more_is_read(client: Client) -> None:
    client.send_bytes(b"\x01\x00\x01\x00\x00\x00\x01\x00\x00" + method_frame(1, new_method(commands.Tx.Select)))
    assert [each.method.name for each in client.received] == ["Connection.Close"]
    assert client.received[0].method.reply_code == 501


def test_a_method_on_a_channel_that_is_not_open_is_504(client: Client) -> None:
    client.send(7, new_method(commands.Basic.Qos, prefetch_count=1))
    close = client.received[0].method
    assert (close.reply_code, close.reply_text) == (504, "CHANNEL_ERROR - expected 'channel.open'")


def test_shutdown_tells_every_client(broker: BrokerHarness, client: Client) -> None:
    broker.broker.shut_down()
    broker.settle()
    close = client.received[0].method
    assert close.reply_code == 320
    client.send(0, new_method(commands.Connection.CloseOk))
    assert client.is_closed


def test_update_secret_is_answered(client: Client) -> None:
    answer = client.call(0, new_method(commands.Connection.UpdateSecret, new_secret="x", reason="renewal"))
    assert isinstance(answer, commands.Connection.UpdateSecretOk)


def test_an_alarm_stops_who_publishes_and_only_that_one(broker: BrokerHarness, client: Client) -> None:
    other = broker.connect()
    client.declare("q")
    broker.broker.block("low on memory")
    client.publish("q", b"1")
    assert client.take_all(commands.Connection.Blocked)[0].method.reason == "low on memory"
    client.publish("q", b"2")
    assert not client.connection.reading
    assert other.declare("q").message_count == 0
    broker.broker.unblock()
    broker.settle()
    assert len(client.take_all(commands.Connection.Unblocked)) == 1
    assert other.declare("q").message_count == 2


def test_an_alarm_may_refuse_instead_and_then_who_waits_for_confirms_is_not_stopped() -> None:
    broker = BrokerHarness(dataclasses.replace(DEFAULTS, alarm_action="nack"))
    client, plain = broker.connect(), broker.connect()
    client.declare("q")
    client.call(1, new_method(commands.Confirm.Select))
    client.publish("q", b"1")
    assert len(client.take_all(commands.Basic.Ack)) == 1
    broker.broker.block("low on disk")
    client.publish("q", b"2")
    assert [each.method.delivery_tag for each in client.take_all(commands.Basic.Nack)] == [2]
    assert client.take_all(commands.Connection.Blocked) == []
    assert client.declare("q").message_count == 1
    plain.publish("q", b"3")
    plain.publish("q", b"waits")
    assert not plain.connection.reading
    broker.broker.unblock()
    broker.settle()
    client.publish("q", b"4")
    assert len(client.take_all(commands.Basic.Ack)) == 1
