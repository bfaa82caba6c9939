"""A small asyncio AMQP client that says exactly what it is told, and tells exactly what it heard.

Owns: one socket, framing, content in both directions, replies to calls. Does not own reconnecting, retrying or any other
kindness: a checker must know of every single attempt. The methods of the hot path are written and read by hand, the rest
goes through pamqp.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.common import FieldTable
from pamqp.header import ProtocolHeader

METHOD, HEADER, BODY = 1, 2, 3
END = b"\xce"
DELIVER, GET_OK, RETURN, ACK, NACK = 0x3C003C, 0x3C0047, 0x3C0032, 0x3C0050, 0x3C0078
FRAME_HEAD = struct.Struct(">BHI")
# A content header with delivery_mode and nothing else.
CONTENT_HEADER = struct.Struct(">BHIHHQHBB")
CONTENT_HEADER_SIZE = 15
DELIVERY_MODE_FLAG = 0x1000
SETTLE = struct.Struct(">BHIIQBB")

CLIENT_PROPERTIES: FieldTable = {
    "product": "chaos",
    "capabilities": {
        "basic.nack": True,
        "connection.blocked": True,
        "consumer_cancel_notify": True,
        "publisher_confirms": True,
        "authentication_failure_close": True,
    },
}


class Lost(Exception):
    """The socket is gone; what was said last may or may not have been heard."""


class Closed(Exception):
    """The broker closed the channel or the connection."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


class Content(NamedTuple):
    """A message as it arrived: by basic.deliver, basic.get-ok (no consumer tag) or basic.return (tag 0)."""

    method: int
    delivery_tag: int
    redelivered: bool
    body: bytes


def ignore(*_: Any) -> None:
    """What a callback is until somebody wants to hear."""


class Channel:
    def __init__(self, client: Client, number: int) -> None:
        self.client = client
        self.number = number
        self.on_deliver: Callable[[Content], None] = ignore
        self.on_return: Callable[[Content], None] = ignore
        # Delivery tag, multiple, and whether it is an ack.
        self.on_confirm: Callable[[int, bool, bool], None] = ignore
        self.closed: Exception | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._publish_frames: dict[tuple[str, str, bool], bytes] = {}
        self._incoming: tuple[int, int, bool] | None = None
        self._incoming_left = 0
        self._incoming_parts: list[bytes] = []

    # Out

    async def call(self, method: Frame) -> Any:
        """Send a method and wait for its reply."""
        if self.closed is not None:
            raise self.closed
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(reply)
        self.client.write(frame.marshal(method, self.number))
        return await reply

    def publish(
        self, exchange: str, routing_key: str, body: bytes, *, is_persistent: bool = True, is_mandatory: bool = False
    ) -> None:
        self.client.write(self.publish_frames(exchange, routing_key, body, is_persistent, is_mandatory))

    def publish_frames(
        self, exchange: str, routing_key: str, body: bytes, is_persistent: bool, is_mandatory: bool = False
    ) -> bytes:
        key = (exchange, routing_key, is_mandatory)
        method = self._publish_frames.get(key)
        if method is None:
            publish = commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=is_mandatory)
            method = self._publish_frames[key] = frame.marshal(publish, self.number)
        number, size = self.number, len(body)
        mode = 2 if is_persistent else 1
        header = CONTENT_HEADER.pack(HEADER, number, CONTENT_HEADER_SIZE, 60, 0, size, DELIVERY_MODE_FLAG, mode, END[0])
        parts = [method, header]
        most = self.client.frame_max - 8
        for at in range(0, size, most):
            part = body[at : at + most]
            parts += (FRAME_HEAD.pack(BODY, number, len(part)), part, END)
        return b"".join(parts)

    def ack(self, delivery_tag: int, is_multiple: bool = False) -> None:
        self.client.write(SETTLE.pack(METHOD, self.number, 13, ACK, delivery_tag, int(is_multiple), END[0]))

    def nack(self, delivery_tag: int, is_multiple: bool = False, is_requeue: bool = True) -> None:
        bits = int(is_multiple) | int(is_requeue) << 1
        self.client.write(SETTLE.pack(METHOD, self.number, 13, NACK, delivery_tag, bits, END[0]))

    async def get(self, queue: str) -> Content | None:
        got = await self.call(commands.Basic.Get(queue=queue))
        return got if isinstance(got, Content) else None

    async def close(self) -> None:
        await self.call(commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
        self.end(Closed(200, "closed by us"))

    # In

    def answer(self, value: Any) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(value)
                return

    def end(self, why: Exception) -> None:
        if self.closed is None:
            self.closed = why
        self.client.channels.pop(self.number, None)
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(why)

    def on_method(self, data: bytes, at: int, end: int) -> bool:
        """A method of the hot path; False if it is another one."""
        index = int.from_bytes(data[at : at + 4], "big")
        if index == DELIVER:
            at += 5 + data[at + 4]
            self._incoming = (index, int.from_bytes(data[at : at + 8], "big"), data[at + 8] != 0)
        elif index == GET_OK:
            self._incoming = (index, int.from_bytes(data[at + 4 : at + 12], "big"), data[at + 12] != 0)
        elif index == RETURN:
            self._incoming = (index, 0, False)
        elif index in (ACK, NACK):
            self.on_confirm(int.from_bytes(data[at + 4 : at + 12], "big"), data[at + 12] & 1 != 0, index == ACK)
        else:
            return False
        return True

    def on_header(self, data: bytes, at: int) -> None:
        self._incoming_left = int.from_bytes(data[at + 4 : at + 12], "big")
        if self._incoming_left == 0:
            self._complete()

    def on_body(self, payload: bytes) -> None:
        self._incoming_parts.append(payload)
        self._incoming_left -= len(payload)
        if self._incoming_left == 0:
            self._complete()

    def _complete(self) -> None:
        assert self._incoming is not None, "content without a method"
        method, delivery_tag, redelivered = self._incoming
        content = Content(method, delivery_tag, redelivered, b"".join(self._incoming_parts))
        self._incoming = None
        self._incoming_parts = []
        if method == DELIVER:
            self.on_deliver(content)
        elif method == GET_OK:
            self.answer(content)
        else:
            self.on_return(content)


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self.frame_max = 4096
        self.lost = asyncio.Event()
        # The reason of connection.blocked, while it holds.
        self.blocked = ""
        self.blocked_count = 0
        self.unblocked_count = 0
        self.close_reason = ""
        self.room = asyncio.Event()
        self.room.set()
        self.on_room: Callable[[], None] = ignore
        self._control = Channel(self, 0)
        self._input = b""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(cls, host: str, port: int, receive_buffer_bytes: int = 0) -> Client:
        """As guest; a small receive buffer makes a peer that does not read felt sooner."""
        loop = asyncio.get_running_loop()
        peer = socket.socket()
        if receive_buffer_bytes:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        peer.setblocking(False)
        try:
            await loop.sock_connect(peer, (host, port))
        except OSError:
            peer.close()
            raise
        _, client = await loop.create_connection(cls, sock=peer)
        control = client._control
        await client._first(ProtocolHeader().marshal())
        start_ok = commands.Connection.StartOk(
            client_properties=CLIENT_PROPERTIES,
            mechanism="PLAIN",
            response="\0guest\0guest",
            locale="en_US",
        )
        tune: commands.Connection.Tune = await control.call(start_ok)
        client.frame_max = tune.frame_max
        tune_ok = commands.Connection.TuneOk(channel_max=tune.channel_max, frame_max=tune.frame_max, heartbeat=0)
        client.write(frame.marshal(tune_ok, 0))
        await control.call(commands.Connection.Open(virtual_host="/"))
        return client

    async def _first(self, header: bytes) -> None:
        start = asyncio.get_running_loop().create_future()
        self._control._waiting.append(start)
        self.write(header)
        await start

    async def channel(self) -> Channel:
        number = max(self.channels, default=0) + 1
        channel = self.channels[number] = Channel(self, number)
        await channel.call(commands.Channel.Open())
        return channel

    def write(self, data: bytes) -> None:
        if self._transport is None or self.lost.is_set():
            raise Lost
        self._transport.write(data)

    def pause_reading(self) -> None:
        """From now on this is a peer that does not read."""
        assert self._transport is not None
        self._transport.pause_reading()

    def abort(self) -> None:
        """Drop the socket without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        close = commands.Connection.Close(reply_code=200, reply_text="bye", class_id=0, method_id=0)
        await self._control.call(close)
        self.abort()

    # From the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self.room.set()
        for channel in [self._control, *self.channels.values()]:
            channel.end(Lost())

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()
        self.on_room()

    def data_received(self, data: bytes) -> None:
        if self._input:
            data = self._input + data
        at, size = 0, len(data)
        while size - at >= 8:
            kind, number, length = FRAME_HEAD.unpack_from(data, at)
            end = at + 7 + length
            if end >= size:
                break
            self._on_frame(kind, number, data, at, end)
            at = end + 1
        self._input = data[at:]

    def _on_frame(self, kind: int, number: int, data: bytes, at: int, end: int) -> None:
        if data[end] != END[0]:
            raise AssertionError("the broker sent a frame without its end octet")
        channel = self.channels.get(number)
        if channel is not None and number > 0:
            if kind == HEADER:
                channel.on_header(data, at + 7)
                return
            if kind == BODY:
                channel.on_body(data[at + 7 : end])
                return
            if kind == METHOD and channel.on_method(data, at + 7, end):
                return
        if kind == METHOD:
            _, _, method = frame.unmarshal(data[at : end + 1])
            self._on_rare(number, channel or self._control, method)

    def _on_rare(self, number: int, channel: Channel, method: Any) -> None:
        if isinstance(method, commands.Connection.Blocked):
            self.blocked = method.reason or "(no reason)"
            self.blocked_count += 1
        elif isinstance(method, commands.Connection.Unblocked):
            self.blocked = ""
            self.unblocked_count += 1
            self.on_room()
        elif isinstance(method, commands.Connection.Close):
            self.close_reason = f"{method.reply_code} {method.reply_text}"
            self.write(frame.marshal(commands.Connection.CloseOk(), 0))
            for each in [self._control, *self.channels.values()]:
                each.end(Closed(method.reply_code or 0, method.reply_text))
        elif isinstance(method, commands.Channel.Close):
            self.write(frame.marshal(commands.Channel.CloseOk(), number))
            channel.end(Closed(method.reply_code or 0, method.reply_text))
        elif not isinstance(method, commands.Basic.Cancel):
            channel.answer(method)
