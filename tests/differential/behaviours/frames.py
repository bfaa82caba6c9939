"""Frames that are not what they should be: each ends the connection, with a code and a text."""

from __future__ import annotations

import struct

from .. import codec
from ..channel import Channel
from ..codec import FRAME_BODY, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD
from ..registry import behaviour
from ..session import Session


def _publishing(s: Session) -> Channel:
    """A channel that has begun a basic.publish."""
    ch = s.channel()
    ch.send("basic.publish", exchange="", routing_key="nowhere")
    return ch


@behaviour("frames")
def wrong_frame_end_is_501(s: Session) -> None:
    ch = s.channel()
    ch.send_frame(FRAME_METHOD, codec.method("basic.qos", {}), end=0xCD)
    ch.fault()


@behaviour("frames")
def wrong_frame_end_of_a_body_is_501(s: Session) -> None:
    ch = _publishing(s)
    ch.send_header(5)
    ch.send_frame(FRAME_BODY, b"hello", end=0x00)
    ch.fault()


@behaviour("frames")
def frame_above_frame_max_is_501(s: Session) -> None:
    ch = s.channel(frame_max=4096)
    ch.send("basic.publish", exchange="", routing_key="nowhere")
    ch.send_header(4097)
    ch.send_body(bytes(4097))
    ch.fault()


@behaviour("frames")
def payload_of_frame_max_is_tolerated(s: Session) -> None:
    ch = s.channel(frame_max=4096)
    q = ch.queue()
    ch.send("basic.publish", exchange="", routing_key=q)
    ch.send_header(4096)
    ch.send_body(bytes(4096))
    ch.get(q)


@behaviour("frames")
def frame_of_exactly_frame_max_is_fine(s: Session) -> None:
    ch = s.channel(frame_max=4096)
    q = ch.queue()
    ch.send("basic.publish", exchange="", routing_key=q)
    ch.send_header(4088)
    ch.send_body(bytes(4088))
    ch.get(q)


@behaviour("frames")
def announced_frame_size_is_enough_to_refuse_it(s: Session) -> None:
    ch = s.channel()
    ch.send_raw(struct.pack(">BHI", FRAME_METHOD, 1, 2**31), "the head of a frame of 2 GiB")
    ch.fault()


@behaviour("frames")
def unknown_frame_types_end_the_connection(s: Session) -> None:
    for kind in (0, 4, 5, 7, 9, 255):
        ch = s.channel()
        ch.send_frame(kind, b"")
        ch.fault()


@behaviour("frames")
def heartbeat_on_another_channel_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send_frame(FRAME_HEARTBEAT, b"", note="heartbeat")
    ch.fault()


@behaviour("frames")
def heartbeat_with_a_payload_ends_the_connection(s: Session) -> None:
    c = s.connect()
    c.send_frame(FRAME_HEARTBEAT, b"beat")
    c.fault()


@behaviour("frames")
def method_frame_too_short_for_a_method_ends_the_connection(s: Session) -> None:
    for payload in (b"", b"\x00", b"\x00\x0a\x00"):
        ch = s.channel()
        ch.send_frame(FRAME_METHOD, payload)
        ch.fault()


@behaviour("frames")
def unknown_class_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send_frame(FRAME_METHOD, struct.pack(">HH", 123, 10))
    ch.read()


@behaviour("frames")
def unknown_method_of_a_known_class_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send_frame(FRAME_METHOD, struct.pack(">HH", 60, 77))
    ch.read()


@behaviour("frames")
def method_cut_short_ends_the_connection(s: Session) -> None:
    whole = codec.method("queue.declare", {"queue": "some-queue", "arguments": {"x": 1}})
    for size in (6, 10, 17, len(whole) - 1):
        ch = s.channel()
        ch.send_frame(FRAME_METHOD, whole[:size], note=f"queue.declare, the first {size} octets of {len(whole)}")
        ch.fault()


@behaviour("frames")
def octets_after_a_methods_arguments_end_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send_frame(FRAME_METHOD, codec.method("basic.qos", {}) + b"more")
    ch.fault()


@behaviour("frames")
def short_string_longer_than_its_frame_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send_frame(FRAME_METHOD, struct.pack(">HHHB", 50, 10, 0, 200) + b"short")
    ch.fault()


def _declare_with_table(s: Session, entries: bytes) -> None:
    ch = s.channel()
    ch.call("queue.declare", queue=s.name("q"), exclusive=True, arguments=entries)


@behaviour("frames")
def table_with_an_unknown_field_type_ends_the_connection(s: Session) -> None:
    _declare_with_table(s, b"\x01kZ\x00\x00\x00\x01")


@behaviour("frames")
def table_with_a_value_cut_short_ends_the_connection(s: Session) -> None:
    _declare_with_table(s, b"\x01kI\x00\x00")


@behaviour("frames")
def table_with_a_string_longer_than_itself_ends_the_connection(s: Session) -> None:
    _declare_with_table(s, b"\x01kS\x00\x00\x00\x40short")


@behaviour("frames")
def table_with_a_key_longer_than_itself_ends_the_connection(s: Session) -> None:
    _declare_with_table(s, b"\x40k")


@behaviour("frames")
def table_longer_than_its_frame_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    head = struct.pack(">HHH", 50, 10, 0) + codec.short_string("q") + b"\x00"
    ch.send_frame(FRAME_METHOD, head + struct.pack(">I", 1000) + b"\x01kt\x01")
    ch.fault()


@behaviour("frames")
def name_that_is_not_utf_8_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send("queue.declare", queue=b"\xff\xfe", exclusive=True)
    ch.read()


# Content


@behaviour("frames")
def header_without_a_publish_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send_header(0)
    ch.read()


@behaviour("frames")
def body_without_a_publish_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.send_body(b"body")
    ch.read()


@behaviour("frames")
def body_before_its_header_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_body(b"body")
    ch.read()


@behaviour("frames")
def second_header_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_header(5)
    ch.send_header(5)
    ch.read()


@behaviour("frames")
def method_in_the_place_of_a_header_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send("basic.qos", prefetch_count=1)
    ch.read()


@behaviour("frames")
def method_inside_a_body_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_header(10)
    ch.send_body(b"half ")
    ch.send("basic.qos", prefetch_count=1)
    ch.read()


@behaviour("frames")
def body_longer_than_announced_is_refused(s: Session) -> None:
    ch = _publishing(s)
    ch.send_header(4)
    ch.send_body(b"hello")
    ch.perhaps()


@behaviour("frames")
def body_longer_than_announced_in_its_second_frame_is_refused(s: Session) -> None:
    ch = _publishing(s)
    ch.send_header(6)
    ch.send_body(b"hello")
    ch.send_body(b"hello")
    ch.perhaps()


@behaviour("frames")
def body_frame_for_an_empty_body_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_header(0)
    ch.send_body(b"")
    ch.read()


@behaviour("frames")
def empty_body_frames_inside_a_body_are_fine(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.send("basic.publish", exchange="", routing_key=q)
    ch.send_header(4)
    ch.send_body(b"")
    ch.send_body(b"ab")
    ch.send_body(b"")
    ch.send_body(b"cd")
    ch.get(q)


@behaviour("frames")
def header_of_another_class_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_frame(FRAME_HEADER, codec.header(0, b"\0\0", class_id=50))
    ch.read()


@behaviour("frames")
def header_with_a_weight_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_frame(FRAME_HEADER, codec.header(0, b"\0\0", weight=1))
    ch.read()


@behaviour("frames")
def header_too_short_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_frame(FRAME_HEADER, b"\x00\x3c\x00\x00")
    ch.fault()


@behaviour("frames")
def header_with_properties_cut_short_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_frame(FRAME_HEADER, codec.header(0, struct.pack(">H", 0x8000) + b"\x20text"))
    ch.read()


@behaviour("frames")
def header_with_octets_after_its_properties_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_frame(FRAME_HEADER, codec.header(0, struct.pack(">H", 0x1000) + b"\x02more"))
    ch.read()


@behaviour("frames")
def header_with_malformed_headers_ends_the_connection(s: Session) -> None:
    ch = _publishing(s)
    ch.send_frame(FRAME_HEADER, codec.header(0, struct.pack(">H", 0x2000) + codec.table(b"\x01kZ")))
    ch.read()


@behaviour("frames")
def content_on_channel_0_ends_the_connection(s: Session) -> None:
    for kind, payload in ((FRAME_HEADER, codec.header(0, b"\0\0")), (FRAME_BODY, b"body")):
        c = s.connect()
        c.send_frame(kind, payload)
        c.fault()


@behaviour("frames")
def two_channels_may_interleave_their_contents(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue()
    one.send("basic.publish", exchange="", routing_key=q)
    two.send("basic.publish", exchange="", routing_key=q)
    two.send_header(4)
    one.send_header(6)
    one.send_body(b"one")
    two.send_body(b"two.")
    two.sync()
    one.send_body(b"two")
    one.sync()
    one.drain(q)


# How the octets are cut must not matter.


@behaviour("frames")
def frames_may_come_octet_by_octet(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    publish = codec.frame(FRAME_METHOD, 1, codec.method("basic.publish", {"routing_key": q}))
    header = codec.frame(FRAME_HEADER, 1, codec.header(5, codec.properties({"content_type": "text/plain"})))
    for octet in publish + header + codec.frame(FRAME_BODY, 1, b"hello"):
        ch.client.write(bytes([octet]))
    ch.get(q)


@behaviour("frames")
def many_frames_may_come_at_once(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    publish = codec.frame(FRAME_METHOD, 1, codec.method("basic.publish", {"routing_key": q}))
    header = codec.frame(FRAME_HEADER, 1, codec.header(4, b"\0\0"))
    bodies = [codec.frame(FRAME_BODY, 1, b"%04d" % number) for number in range(500)]
    ch.send_raw(b"".join(publish + header + body for body in bodies), "500 publishes in one write")
    ch.call("queue.purge", queue=q)


# Channels that are not there


@behaviour("frames")
def method_on_a_channel_that_is_not_open_is_504(s: Session) -> None:
    s.connect().lane(5).call("queue.declare", queue="x", passive=True)


@behaviour("frames")
def publish_on_a_channel_that_is_not_open_is_504(s: Session) -> None:
    lane = s.connect().lane(5)
    lane.publish("", "nowhere", b"body")
    lane.read()


@behaviour("frames")
def content_frames_on_a_channel_that_is_not_open_end_the_connection(s: Session) -> None:
    for kind, payload in ((FRAME_HEADER, codec.header(0, b"\0\0")), (FRAME_BODY, b"body")):
        lane = s.connect().lane(5)
        lane.send_frame(kind, payload)
        lane.read()


@behaviour("frames")
def close_of_a_channel_that_is_not_open_ends_the_connection(s: Session) -> None:
    s.connect().lane(5).call("channel.close", reply_code=200)


@behaviour("frames")
def second_channel_open_is_504(s: Session) -> None:
    s.channel().call("channel.open")


@behaviour("frames")
def channels_are_counted_against_channel_max(s: Session) -> None:
    c = s.connect(channel_max=3)
    for number in (1, 2, 3, 4):
        c.lane(number).call("channel.open")


@behaviour("frames")
def closed_channels_do_not_count_against_channel_max(s: Session) -> None:
    c = s.connect(channel_max=1)
    for _ in range(3):
        ch = c.lane(1)
        ch.call("channel.open")
        ch.close()


@behaviour("frames")
def channel_number_above_channel_max_is_not_looked_at(s: Session) -> None:
    s.connect(channel_max=3).lane(4).call("channel.open")


@behaviour("frames")
def methods_that_only_a_server_sends_are_refused_on_a_channel(s: Session) -> None:
    for name in ("queue.declare-ok", "channel.open-ok", "basic.consume-ok", "basic.get-empty", "confirm.select-ok"):
        s.channel().call(name)
