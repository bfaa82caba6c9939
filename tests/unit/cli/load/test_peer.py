"""What arrives on one connection: deliveries, confirms, returns, and the acknowledgements they cause."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header, heartbeat

from amqpd.cli.load import LoadError
from amqpd.cli.load.peer import Peer
from amqpd.cli.load.publisher import Publisher, Template

NOW = 1_000_000_000


def content(data: bytes, frame_max: int = 4096) -> bytes:
    start = frame.marshal(header.ContentHeader(0, len(data), commands.Basic.Properties(delivery_mode=1)), 1)
    step = frame_max - 8
    return start + b"".join(
        frame.marshal(body.ContentBody(data[at : at + step]), 1) for at in range(0, len(data), step)
    )


def delivery(tag: int, data: bytes, *, redelivered: bool = False) -> bytes:
    return frame.marshal(commands.Basic.Deliver("consumer", tag, redelivered, "exchange", "key"), 1) + content(data)


def stamp(published_ns: int, producer: int = 0, sequence: int = 1, size: int = 32) -> bytes:
    return struct.pack("<qq", published_ns, producer << 48 | sequence).ljust(size, b".")


def consumer(ack_every: int = 1, verified: int = 0) -> Peer:
    peer = Peer(131072)
    peer.consume(ack_every, verified)
    peer.is_recording = True
    return peer


def acknowledged(peer: Peer) -> list[tuple[int, bool]]:
    data = peer.take_acks()
    found = []
    while data:
        size, _, method = frame.unmarshal(data)
        assert isinstance(method, commands.Basic.Ack)
        found.append((method.delivery_tag, method.multiple))
        data = data[size:]
    return found


def test_delivery_is_counted_timed_and_acknowledged() -> None:
    peer = consumer()
    peer.receive(delivery(1, stamp(NOW - 500)) + delivery(2, stamp(NOW - 900), redelivered=True), NOW)
    assert (peer.delivered_count, peer.delivered_bytes, peer.redelivered_count) == (2, 64, 1)
    assert (peer.latency.value_min, peer.latency.value_max) == (500, 900)
    assert acknowledged(peer) == [(1, False), (2, False)]
    assert acknowledged(peer) == []


def test_group_is_acknowledged_at_once_and_its_rest_on_demand() -> None:
    peer = consumer(ack_every=3)
    peer.receive(b"".join(delivery(tag, b"x") for tag in range(1, 6)), NOW)
    assert acknowledged(peer) == [(3, True)]
    peer.ack_rest()
    assert acknowledged(peer) == [(5, True)]
    peer.ack_rest()
    assert acknowledged(peer) == []


def test_consumer_without_acknowledgements_sends_none() -> None:
    peer = consumer(ack_every=0)
    peer.receive(delivery(1, b"x"), NOW)
    peer.ack_rest()
    assert acknowledged(peer) == []


@given(st.lists(st.integers(min_value=1, max_value=400), max_size=20), st.sampled_from([0, 7, 16, 100, 9000]))
def test_bytes_cut_anywhere_give_the_same_result(cuts: list[int], size: int) -> None:
    data = b"".join(delivery(tag, stamp(NOW - tag, sequence=tag)[:size].ljust(size, b".")) for tag in range(1, 4))
    data += heartbeat.Heartbeat().marshal() + frame.marshal(commands.Channel.Flow(False), 1)
    whole, pieces = consumer(verified=1), consumer(verified=1)
    whole.receive(data, NOW)
    for cut in cuts:
        pieces.receive(data[:cut], NOW)
        data = data[cut:]
    pieces.receive(data, NOW)
    for name in ("delivered_count", "delivered_bytes", "heartbeat_count", "out_of_order_count", "gap_count", "control"):
        assert getattr(whole, name) == getattr(pieces, name), name
    assert whole.latency.count == pieces.latency.count == (3 if size >= 8 else 0)
    assert acknowledged(whole) == acknowledged(pieces) == [(1, False), (2, False), (3, False)]


def test_latencies_are_left_out_unless_recording() -> None:
    peer = consumer()
    peer.is_recording = False
    peer.receive(delivery(1, stamp(NOW)), NOW)
    assert peer.latency.count == 0
    assert peer.delivered_count == 1


@pytest.mark.parametrize("published_ns", [NOW + 1, NOW - 3_700_000_000_000, -1 << 62])
def test_stamp_of_another_clock_is_not_a_latency(published_ns: int) -> None:
    peer = consumer()
    peer.receive(delivery(1, stamp(published_ns)), NOW)
    assert peer.latency.count == 0
    assert peer.delivered_count == 1


def test_order_is_checked_per_producer() -> None:
    peer = consumer(verified=2)
    sequences = [(0, 1), (1, 1), (0, 2), (0, 4), (1, 2), (0, 3), (5, 1)]
    peer.receive(b"".join(delivery(1, stamp(NOW, producer, each)) for producer, each in sequences), NOW)
    assert (peer.out_of_order_count, peer.gap_count) == (1, 1)


def test_returned_message_is_not_a_delivery() -> None:
    peer = consumer()
    returned = frame.marshal(commands.Basic.Return(312, "NO_ROUTE", "", "nowhere"), 1) + content(stamp(NOW - 1))
    peer.receive(returned + delivery(1, b"x"), NOW)
    assert (peer.returned_count, peer.delivered_count, peer.latency.count) == (1, 1, 0)
    assert acknowledged(peer) == [(1, False)]


def test_confirms_go_to_the_publisher() -> None:
    publisher = Publisher(0, [Template(b"m", b"", 0)], 1000, 10, 1, 0, 0.0, 0.0)
    publisher.publish(5, NOW)
    peer = Peer(131072)
    peer.confirm_to(publisher)
    peer.receive(
        frame.marshal(commands.Basic.Ack(3, True), 1) + frame.marshal(commands.Basic.Nack(4, False, False), 1), NOW
    )
    assert (publisher.confirmed_count, publisher.nacked_count, publisher.outstanding_count) == (3, 1, 1)


def test_rare_methods_are_left_for_the_client_as_whole_frames() -> None:
    peer = consumer()
    close = frame.marshal(commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0), 0)
    peer.receive(close[:5], NOW)
    assert peer.control == []
    peer.receive(close[5:], NOW)
    assert peer.control == [close]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"AMQP\x00\x01\x00\x00", "does not speak 0-9-1"),
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x0a\x00\x0a\x00", "ends in 0x00"),
        (b"\x07\x00\x01\x00\x00\x00\x00\xce", "unknown type 7"),
        (b"\x01\x00\x01\x00\x10\x00\x00\xce", "negotiated maximum"),
        (b"\x01\x00\x01\xff\xff\xff\xff\xce", "negotiated maximum"),
        (b"\x01\x00\x01\x00\x00\x00\x02\x00\x0a\xce", "method frame of 2 bytes"),
        (b"\x02\x00\x01\x00\x00\x00\x02\x00\x0a\xce", "content header is too short"),
        (b"\x03\x00\x01\x00\x00\x00\x02ab\xce", "longer than its header says"),
        (b"\x01\x00\x01\x00\x00\x00\x06\x00\x3c\x00\x3c\x01a\xce", "basic.deliver is too short"),
        (frame.marshal(commands.Basic.Ack(1, False), 1), "where none can be"),
    ],
)
def test_bytes_that_are_not_amqp_end_the_run_with_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(LoadError, match=sentence):
        consumer().receive(data, NOW)


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused_but_never_crash(data: bytes) -> None:
    peer = consumer(verified=1)
    try:
        peer.receive(delivery(1, stamp(NOW)) + data, NOW)
    except LoadError:
        pass
    assert peer.delivered_count >= 1
