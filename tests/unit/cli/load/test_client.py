"""One connection of the load generator, on a socket that is a script."""

from __future__ import annotations

import socket
from typing import cast

import pytest
from pamqp import commands, frame
from pamqp.base import Frame

from amqpd.cli.load import LoadError
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.settings import Settings
from amqpd.wire.frames import PROTOCOL_HEADER


class ScriptedSocket:
    """Gives what it was told to give, takes at most `room` bytes at a time, and keeps what it took."""

    def __init__(self, *incoming: bytes) -> None:
        self.incoming = list(incoming)
        self.sent = b""
        self.room = 1 << 20
        self.is_closed = False

    def recv(self, _size: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        return self.incoming.pop(0)

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        taken = bytes(data[: self.room])
        self.sent += taken
        self.room -= len(taken)
        return len(taken)

    def sendmsg(self, buffers: list[bytes]) -> int:
        return self.send(b"".join(buffers))

    def close(self) -> None:
        self.is_closed = True


def methods_in(data: bytes) -> list[Frame]:
    found: list[Frame] = []
    while data:
        size, _, method = frame.unmarshal(data)
        assert isinstance(method, Frame)
        found.append(method)
        data = data[size:]
    return found


def connection_on(script: ScriptedSocket, settings: Settings | None = None) -> LoadConnection:
    return LoadConnection(cast(socket.socket, script), settings or Settings(), "producer 0")


def method(each: Frame, channel: int = 1) -> bytes:
    return frame.marshal(each, channel)


LOGIN = (
    method(commands.Connection.Start(0, 9, {}, "PLAIN AMQPLAIN", "en_US"), 0),
    method(commands.Connection.Tune(2047, 8192, 60), 0),
    method(commands.Connection.OpenOk(), 0),
    method(commands.Channel.OpenOk(), 1),
)


def test_login_goes_up_to_an_open_channel_with_the_smaller_frame_max() -> None:
    script = ScriptedSocket(*LOGIN)
    connection = connection_on(script, Settings(user="me", password="pw", vhost="v", heartbeat_s=90))
    connection.log_in()
    assert script.sent.startswith(PROTOCOL_HEADER)
    start_ok, tune_ok, opened, channel = methods_in(script.sent[8:])
    assert isinstance(start_ok, commands.Connection.StartOk)
    assert (start_ok.mechanism, start_ok.response) == ("PLAIN", "\0me\0pw")
    assert isinstance(tune_ok, commands.Connection.TuneOk)
    assert (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat) == (2047, 8192, 60)
    assert isinstance(opened, commands.Connection.Open)
    assert opened.virtual_host == "v"
    assert isinstance(channel, commands.Channel.Open)
    assert connection.peer.frame_max == 8192


def test_reply_is_found_behind_whatever_comes_before_it() -> None:
    blocked, answer = method(commands.Connection.Blocked("low on disk"), 0), method(commands.Queue.PurgeOk(7))
    connection = connection_on(ScriptedSocket(blocked + answer[:4], answer[4:]))
    reply = connection.call(commands.Queue.Purge(queue="q"), commands.Queue.PurgeOk)
    assert isinstance(reply, commands.Queue.PurgeOk)
    assert reply.message_count == 7
    assert connection.is_blocked


@pytest.mark.parametrize(
    ("incoming", "sentence"),
    [
        (method(commands.Connection.Close(403, "ACCESS_REFUSED - no", 0, 0), 0), "closed the connection: 403 ACCESS"),
        (method(commands.Channel.Close(404, "NOT_FOUND - no", 0, 0)), "closed the channel: 404 NOT_FOUND"),
        (method(commands.Basic.Cancel("tag")), "cancelled the consumer"),
        (method(commands.Connection.Secure("who?"), 0), "SASL challenge"),
        (b"", "without connection.close"),
        (b"AMQP\x00\x01\x00\x00", "does not speak 0-9-1"),
    ],
)
def test_broker_that_ends_it_is_quoted_with_the_name_of_the_connection(incoming: bytes, sentence: str) -> None:
    connection = connection_on(ScriptedSocket(incoming))
    with pytest.raises(LoadError, match=f"producer 0: .*{sentence}"):
        connection.receive()


def test_short_writes_continue_where_they_stopped() -> None:
    script = ScriptedSocket()
    connection = connection_on(script)
    connection.queue([b"one", b"two", b"three"])
    for script.room in (2, 3, 1):
        assert not connection.flush()
    script.room = 100
    assert connection.flush()
    assert script.sent == b"onetwothree"
    assert not connection.has_waiting()


def test_method_queued_between_blocks_stays_between_them() -> None:
    script = ScriptedSocket()
    connection = connection_on(script)
    connection.queue([b"block"])
    script.room = 2
    connection.flush()
    connection.send(commands.Channel.FlowOk(True))
    connection.queue([b"next"])
    script.room = 100
    connection.flush()
    assert script.sent == b"block" + method(commands.Channel.FlowOk(True)) + b"next"


def test_more_buffers_than_one_write_takes_are_all_sent() -> None:
    script = ScriptedSocket()
    connection = connection_on(script)
    connection.queue([b"x"] * 2500)
    assert connection.flush()
    assert script.sent == b"x" * 2500


def test_flow_is_answered_and_obeyed() -> None:
    connection = connection_on(
        ScriptedSocket(method(commands.Channel.Flow(False)), method(commands.Channel.Flow(True)))
    )
    connection.receive()
    assert connection.is_flow_stopped
    connection.receive()
    assert not connection.is_flow_stopped
    assert connection.flow_count == 2
    assert connection.has_waiting()


def test_time_in_which_the_broker_blocks_is_added_up() -> None:
    blocked, unblocked = method(commands.Connection.Blocked(""), 0), method(commands.Connection.Unblocked(), 0)
    connection = connection_on(ScriptedSocket(blocked, unblocked))
    assert connection.blocked_ns_until(1 << 62) == 0
    connection.receive()
    assert connection.is_blocked
    assert connection.blocked_ns_until(1 << 62) > 0
    connection.receive()
    assert not connection.is_blocked
    assert 0 < connection.blocked_ns_until(1 << 62) < 60_000_000_000
    assert connection.blocked_count == 1


def test_acknowledgements_wait_to_be_sent_after_a_read() -> None:
    delivery = (
        method(commands.Basic.Deliver("c", 1, False, "", "q"))
        + b"\x02\x00\x01\x00\x00\x00\x0e"
        + (b"\x00\x3c\x00\x00" + bytes(8) + b"\x00\x00\xce")
    )
    script = ScriptedSocket(delivery)
    connection = connection_on(script)
    connection.peer.consume(1, 0)
    connection.receive()
    connection.flush()
    (ack,) = methods_in(script.sent)
    assert isinstance(ack, commands.Basic.Ack)
    assert ack.delivery_tag == 1


def test_good_bye_is_not_said_in_the_middle_of_a_message() -> None:
    script = ScriptedSocket()
    connection = connection_on(script)
    connection.queue([b"half"])
    script.room = 2
    connection.flush()
    connection.close()
    assert script.sent == b"ha"
    assert script.is_closed
