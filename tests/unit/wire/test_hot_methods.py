"""What is written by hand, read back by the general decoder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.base import Frame

from amqpd.wire.hot_methods import (
    deliver_prefix,
    send_basic_ack,
    send_basic_deliver,
    send_basic_get_ok,
    send_basic_nack,
    send_basic_return,
    send_heartbeat,
    send_method,
)
from amqpd.wire.methods import decode_method, encode_method, new_method
from amqpd.wire.outbox import OUTBOX_HIGH_BYTES, Outbox
from tests.fuzz.streams import split_output

CHANNELS = st.integers(1, 65535)
# From 2^63 on no broker ever counts.
TAGS = st.integers(1, (1 << 63) - 1)
NAMES = st.text(max_size=60)
BODIES = st.one_of(
    st.binary(max_size=40), st.sampled_from([4087, 4088, 4089, 8176, 8177, 20_000]).map(lambda n: b"x" * n)
)
HEADER = b"\x00\x3c\x00\x00" + bytes(8) + b"\x80\x00\x04text"


def route_key(exchange: str, routing_key: str) -> bytes:
    first, second = exchange.encode(), routing_key.encode()
    return bytes([len(first)]) + first + bytes([len(second)]) + second


def written(outbox: Outbox, channel: int) -> list[tuple[int, bytes]]:
    frames = split_output(outbox.take())
    assert all(number == channel for _, number, _ in frames)
    return [(kind, payload) for kind, _, payload in frames]


def method_and_content(outbox: Outbox, channel: int, body: bytes) -> Frame:
    (kind, payload), header, *bodies = written(outbox, channel)
    assert kind == 1
    assert header == (2, HEADER)
    assert all(kind == 3 and 0 < len(part) <= outbox.payload_bytes_max for kind, part in bodies)
    assert b"".join(part for _, part in bodies) == body
    # No more frames than needed.
    assert len(bodies) == -(-len(body) // outbox.payload_bytes_max)
    return decode_method(payload)


@given(CHANNELS, NAMES, TAGS, st.booleans(), NAMES, NAMES, BODIES)
def test_deliver(channel: int, tag: str, number: int, redelivered: bool, exchange: str, key: str, body: bytes) -> None:
    outbox = Outbox(1, [])
    prefix = deliver_prefix(tag.encode())
    send_basic_deliver(outbox, channel, prefix, number, redelivered, route_key(exchange, key), HEADER, body)
    method = method_and_content(outbox, channel, body)
    assert isinstance(method, commands.Basic.Deliver)
    assert (method.consumer_tag, method.delivery_tag, method.redelivered) == (tag, number, redelivered)
    assert (method.exchange, method.routing_key) == (exchange, key)


@given(CHANNELS, TAGS, st.booleans(), NAMES, NAMES, st.integers(0, 2**31 - 1), BODIES)
def test_get_ok(channel: int, number: int, redelivered: bool, exchange: str, key: str, count: int, body: bytes) -> None:
    outbox = Outbox(1, [])
    send_basic_get_ok(outbox, channel, number, redelivered, route_key(exchange, key), count, HEADER, body)
    method = method_and_content(outbox, channel, body)
    assert isinstance(method, commands.Basic.GetOk)
    assert (method.delivery_tag, method.redelivered, method.message_count) == (number, redelivered, count)
    assert (method.exchange, method.routing_key) == (exchange, key)


@given(CHANNELS, NAMES, NAMES, NAMES, BODIES)
def test_return(channel: int, text: str, exchange: str, key: str, body: bytes) -> None:
    outbox = Outbox(1, [])
    send_basic_return(outbox, channel, 312, text.encode(), route_key(exchange, key), HEADER, body)
    method = method_and_content(outbox, channel, body)
    assert isinstance(method, commands.Basic.Return)
    assert (method.reply_code, method.reply_text, method.exchange, method.routing_key) == (312, text, exchange, key)


@given(CHANNELS, TAGS, st.booleans())
def test_ack_and_nack(channel: int, number: int, multiple: bool) -> None:
    outbox = Outbox(1, [])
    send_basic_ack(outbox, channel, number, multiple)
    send_basic_nack(outbox, channel, number, multiple)
    ack, nack = (decode_method(payload) for _, payload in written(outbox, channel))
    assert isinstance(ack, commands.Basic.Ack)
    assert isinstance(nack, commands.Basic.Nack)
    assert (ack.delivery_tag, ack.multiple) == (nack.delivery_tag, nack.multiple) == (number, multiple)
    assert not nack.requeue


def test_any_method_and_a_heartbeat() -> None:
    outbox = Outbox(1, [])
    qos_ok = encode_method(new_method(commands.Basic.QosOk))
    send_method(outbox, 65535, qos_ok)
    assert written(outbox, 65535) == [(1, qos_ok)]
    send_heartbeat(outbox)
    assert outbox.take() == b"\x08\x00\x00\x00\x00\x00\x00\xce"


def test_each_of_them_wakes_its_outbox() -> None:
    woken: list[Outbox] = []
    for number in range(7):
        outbox = Outbox(number, woken)
        if number == 0:
            send_basic_ack(outbox, 1, 1, False)
        elif number == 1:
            send_basic_nack(outbox, 1, 1, False)
        elif number == 2:
            send_basic_deliver(outbox, 1, deliver_prefix(b"t"), 1, False, b"\x00\x00", HEADER, b"")
        elif number == 3:
            send_basic_get_ok(outbox, 1, 1, False, b"\x00\x00", 0, HEADER, b"")
        elif number == 4:
            send_basic_return(outbox, 1, 312, b"NO_ROUTE", b"\x00\x00", HEADER, b"")
        elif number == 5:
            send_method(outbox, 0, b"\x00\x0a\x00\x33")
        else:
            send_heartbeat(outbox)
    assert [outbox.number for outbox in woken] == list(range(7))


def test_deliveries_close_the_door_when_enough_waits() -> None:
    outbox = Outbox(1, [])
    outbox.payload_bytes_max = 131_064
    sent = 0
    while outbox.is_open:
        send_basic_deliver(outbox, 1, deliver_prefix(b"t"), 1, False, b"\x00\x00", HEADER, bytes(100_000))
        sent += 1
    assert sent == -(-OUTBOX_HIGH_BYTES // 100_000)
