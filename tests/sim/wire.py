"""AMQP as the simulated clients speak it: frames out, frames in as plain tuples.

Owns no state but the bytes of an unfinished frame. Hot methods are packed by hand, all others by amqpd.wire.methods, once
for equal arguments.
"""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import Any

from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import decode_method, encode_method, new_method

HEAD = Struct(">BHI")
SETTLE = Struct(">IQB")
CONTENT = Struct(">IQH")

ACK = 0x003C0050
REJECT = 0x003C005A
NACK = 0x003C0078
PUBLISH = b"\x00\x3c\x00\x28\x00\x00"

# What a frame was: (kind, channel, ...).
Event = tuple[Any, ...]


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return HEAD.pack(kind, channel, len(payload)) + payload + b"\xce"


def short(text: str) -> bytes:
    octets = text.encode()
    return bytes([len(octets)]) + octets


@cache
def call(channel: int, method: Any, values: tuple[tuple[str, Any], ...] = ()) -> bytes:
    """A method frame; a value that is a tuple of pairs is a table."""
    named = {name: encode_table(dict(value)) if isinstance(value, tuple) else value for name, value in values}
    return frame(1, channel, encode_method(new_method(method, **named)))


def method(channel: int, kind: Any, **values: Any) -> bytes:
    return call(channel, kind, tuple(values.items()))


def publish(
    channel: int,
    exchange: str,
    routing_key: str,
    body: bytes,
    is_persistent: bool,
    priority: int = 0,
    expiration: str = "",
    is_mandatory: bool = False,
    delay_ms: int = -1,
    dedup_id: str = "",
    frame_max: int = 4096,
) -> bytes:
    payload = PUBLISH + short(exchange) + short(routing_key) + (b"\x01" if is_mandatory else b"\x00")
    flags = 0x1000
    properties = b"\x02" if is_persistent else b"\x01"
    if delay_ms >= 0:
        flags |= 0x2000
        properties = b"\x00\x00\x00\x0d\x07x-delayI" + delay_ms.to_bytes(4, "big") + properties
    elif dedup_id:
        flags |= 0x2000
        properties = (
            b"\x00\x00\x00%c\x0ax-dedup-idS\x00\x00\x00%c" % (len(dedup_id) + 16, len(dedup_id))
            + dedup_id.encode()
            + properties
        )
    if priority:
        flags |= 0x0800
        properties += bytes([priority])
    if expiration:
        flags |= 0x0100
        properties += short(expiration)
    header = CONTENT.pack(0x003C0000, len(body), flags) + properties
    out = frame(1, channel, payload) + frame(2, channel, header)
    step = frame_max - 8
    for at in range(0, len(body), step):
        out += frame(3, channel, body[at : at + step])
    return out


def settle(channel: int, index: int, delivery_tag: int, bits: int) -> bytes:
    return frame(1, channel, SETTLE.pack(index, delivery_tag, bits))


def login(heartbeat_s: int) -> bytes:
    """Everything up to connection.open, in one go."""
    capabilities = (("capabilities", (("consumer_cancel_notify", True), ("connection.blocked", True))),)
    start_ok = _start_ok(capabilities)
    tune_ok = method(0, commands.Connection.TuneOk, channel_max=2047, frame_max=4096, heartbeat=heartbeat_s)
    return b"AMQP\x00\x00\x09\x01" + start_ok + tune_ok + method(0, commands.Connection.Open, virtual_host="/")


@cache
def _start_ok(properties: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]) -> bytes:
    table = encode_table({name: encode_table(dict(value)) for name, value in properties})
    values = {"mechanism": "PLAIN", "response": "\0guest\0guest", "locale": "en_US"}
    return frame(1, 0, encode_method(new_method(commands.Connection.StartOk, client_properties=table, **values)))


class Reader:
    """Bytes from the broker, in whatever pieces, to events:

    ("ack" | "nack", channel, delivery_tag, multiple)
    ("deliver", channel, consumer_tag, delivery_tag, redelivered, routing_key, header, body)
    ("get-ok", channel, delivery_tag, redelivered, message_count, header, body)
    ("return", channel, reply_code, body)
    ("method", channel, method)                       everything else
    """

    def __init__(self) -> None:
        self._input = b""
        self._content: list[Any] | None = None
        self._left = 0

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        data = self._input + data
        at = 0
        size = len(data)
        while size - at >= 8:
            kind, channel, length = HEAD.unpack_from(data, at)
            end = at + 7 + length
            if end >= size:
                break
            assert data[end] == 0xCE, "a frame of the broker has no end"
            self._take(events, kind, channel, data[at + 7 : end])
            at = end + 1
        self._input = data[at:]
        return events

    def _take(self, events: list[Event], kind: int, channel: int, payload: bytes) -> None:
        if kind == 1:
            self._method(events, channel, payload)
        elif kind == 2:
            assert self._content is not None, "a content header without its method"
            self._left = int.from_bytes(payload[4:12], "big")
            self._content += [payload, b""]
            self._finish(events)
        elif kind == 3:
            assert self._content is not None, "a body without its method"
            self._content[-1] += payload
            self._left -= len(payload)
            assert self._left >= 0, "a body longer than its header says"
            self._finish(events)
        else:
            assert kind == 8, f"a frame of kind {kind}"

    def _finish(self, events: list[Event]) -> None:
        if self._left == 0:
            assert self._content is not None
            events.append(tuple(self._content))
            self._content = None

    def _method(self, events: list[Event], channel: int, payload: bytes) -> None:
        assert self._content is None, "a method in the middle of a content"
        index = int.from_bytes(payload[:4], "big")
        if index == ACK or index == NACK:
            name = "ack" if index == ACK else "nack"
            events.append((name, channel, int.from_bytes(payload[4:12], "big"), payload[12] & 1 != 0))
        elif index == 0x003C003C:
            end = 5 + payload[4]
            exchange_end = end + 10 + payload[end + 9]
            tag = payload[5:end].decode()
            delivery_tag = int.from_bytes(payload[end : end + 8], "big")
            routing_key = payload[exchange_end + 1 :].decode()
            self._content = ["deliver", channel, tag, delivery_tag, payload[end + 8] != 0, routing_key]
        elif index == 0x003C0047:
            count = int.from_bytes(payload[-4:], "big")
            self._content = ["get-ok", channel, int.from_bytes(payload[4:12], "big"), payload[12] != 0, count]
        elif index == 0x003C0032:
            self._content = ["return", channel, int.from_bytes(payload[4:6], "big")]
        elif index >> 16 == 10 and index & 0xFFFF in (10, 30, 41):
            # start, tune, open-ok: nothing that a client of ours looks at.
            pass
        else:
            events.append(("method", channel, decode_method(payload)))
