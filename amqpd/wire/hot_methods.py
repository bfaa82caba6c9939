"""The methods of the hot path, written by hand straight into an outbox: deliver, get-ok, return, ack, nack.

Their readers stand where the bytes are read (`channels/channel.py`); everything rare goes through `methods.py`.
"""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, write_i16_be, write_i32_be, write_i64_be
from mypy_extensions import i16, i32, i64

from amqpd.wire.frames import (
    BASIC_ACK,
    BASIC_GET_OK,
    BASIC_NACK,
    BASIC_RETURN,
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
)
from amqpd.wire.outbox import Outbox

DELIVER_PREFIX: Final = b"\x00\x3c\x00\x3c"


def _short(channel_number: i64) -> i16:
    # Interpreted, i16 refuses what is above 32767; the octets are the same.
    return i16(((channel_number + 0x8000) & 0xFFFF) - 0x8000)


def deliver_prefix(consumer_tag: bytes) -> bytes:
    """The constant start of every basic.deliver to one consumer: class, method and consumer tag."""
    return DELIVER_PREFIX + bytes([len(consumer_tag)]) + consumer_tag


def send_basic_deliver(
    outbox: Outbox,
    channel_number: i64,
    prefix: bytes,
    delivery_tag: i64,
    redelivered: bool,
    route_key: bytes,
    header: bytes,
    body: bytes,
) -> None:
    w = outbox.writer
    w.append(FRAME_METHOD)
    write_i16_be(w, _short(channel_number))
    write_i32_be(w, i32(len(prefix) + 9 + len(route_key)))
    w.write(prefix)
    write_i64_be(w, delivery_tag)
    w.append(1 if redelivered else 0)
    w.write(route_key)
    w.append(FRAME_END)
    _write_content(outbox, w, channel_number, header, body)
    if len(w) >= 1048576:
        outbox.check_high()
    outbox.wake()


def _write_content(outbox: Outbox, w: BytesWriter, channel_number: i64, header: bytes, body: bytes) -> None:
    w.append(FRAME_HEADER)
    write_i16_be(w, _short(channel_number))
    write_i32_be(w, i32(len(header)))
    w.write(header)
    w.append(FRAME_END)
    size: i64 = len(body)
    # AMQP 0-9-1 4.2.6.2: an empty body has no body frame.
    if size == 0:
        return
    payload_max = outbox.payload_bytes_max
    if size <= payload_max:
        w.append(FRAME_BODY)
        write_i16_be(w, _short(channel_number))
        write_i32_be(w, i32(size))
        w.write(body)
        w.append(FRAME_END)
        return
    at: i64 = 0
    while at < size:
        end = at + payload_max
        if end > size:
            end = size
        w.append(FRAME_BODY)
        write_i16_be(w, _short(channel_number))
        write_i32_be(w, i32(end - at))
        w.write(body[at:end])
        w.append(FRAME_END)
        at = end


def send_basic_get_ok(
    outbox: Outbox,
    channel_number: i64,
    delivery_tag: i64,
    redelivered: bool,
    route_key: bytes,
    message_count: i64,
    header: bytes,
    body: bytes,
) -> None:
    w = outbox.writer
    w.append(FRAME_METHOD)
    write_i16_be(w, _short(channel_number))
    write_i32_be(w, i32(17 + len(route_key)))
    write_i32_be(w, BASIC_GET_OK)
    write_i64_be(w, delivery_tag)
    w.append(1 if redelivered else 0)
    w.write(route_key)
    write_i32_be(w, i32(message_count))
    w.append(FRAME_END)
    _write_content(outbox, w, channel_number, header, body)
    if len(w) >= 1048576:
        outbox.check_high()
    outbox.wake()


def send_basic_return(
    outbox: Outbox,
    channel_number: i64,
    reply_code: i64,
    reply_text: bytes,
    route_key: bytes,
    header: bytes,
    body: bytes,
) -> None:
    w = outbox.writer
    w.append(FRAME_METHOD)
    write_i16_be(w, _short(channel_number))
    write_i32_be(w, i32(7 + len(reply_text) + len(route_key)))
    write_i32_be(w, BASIC_RETURN)
    write_i16_be(w, i16(reply_code))
    w.append(len(reply_text))
    w.write(reply_text)
    w.write(route_key)
    w.append(FRAME_END)
    _write_content(outbox, w, channel_number, header, body)
    if len(w) >= 1048576:
        outbox.check_high()
    outbox.wake()


def send_basic_ack(outbox: Outbox, channel_number: i64, delivery_tag: i64, multiple: bool) -> None:
    w = outbox.writer
    w.append(FRAME_METHOD)
    write_i16_be(w, _short(channel_number))
    write_i32_be(w, 13)
    write_i32_be(w, BASIC_ACK)
    write_i64_be(w, delivery_tag)
    w.append(1 if multiple else 0)
    w.append(FRAME_END)
    outbox.wake()


def send_basic_nack(outbox: Outbox, channel_number: i64, delivery_tag: i64, multiple: bool) -> None:
    w = outbox.writer
    w.append(FRAME_METHOD)
    write_i16_be(w, _short(channel_number))
    write_i32_be(w, 13)
    write_i32_be(w, BASIC_NACK)
    write_i64_be(w, delivery_tag)
    w.append(1 if multiple else 0)
    w.append(FRAME_END)
    outbox.wake()


def send_method(outbox: Outbox, channel_number: i64, payload: bytes) -> None:
    """One method frame around an encoded payload."""
    w = outbox.writer
    w.append(FRAME_METHOD)
    write_i16_be(w, _short(channel_number))
    write_i32_be(w, i32(len(payload)))
    w.write(payload)
    w.append(FRAME_END)
    outbox.wake()


def send_heartbeat(outbox: Outbox) -> None:
    w = outbox.writer
    w.append(FRAME_HEARTBEAT)
    write_i16_be(w, 0)
    write_i32_be(w, 0)
    w.append(FRAME_END)
    outbox.wake()
