"""Properties and bodies: what goes in comes out, to the octet; what is checked on the way."""

from __future__ import annotations

import struct
from typing import Any

from .. import codec
from ..channel import Channel
from ..codec import Typed
from ..registry import behaviour
from ..session import Session

EVERY_PROPERTY: dict[str, Any] = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"a": 1},
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "correlation",
    "reply_to": "reply",
    "expiration": "60000",
    "message_id": "message",
    "timestamp": 1700000000,
    "type": "type",
    "user_id": "guest",
    "app_id": "app",
    "cluster_id": "cluster",
}


def _round_trip(ch: Channel, property_bytes: bytes, body: bytes = b"body") -> None:
    """Publish raw property octets and compare with what a consumer gets."""
    q = ch.queue("q")
    ch.log(f"> properties {property_bytes.hex(' ')}")
    arguments = {"exchange": "", "routing_key": q}
    ch.client.write(
        codec.frame(codec.FRAME_METHOD, ch.number, codec.method("basic.publish", arguments))
        + codec.frame(codec.FRAME_HEADER, ch.number, codec.header(len(body), property_bytes))
        + codec.frame(codec.FRAME_BODY, ch.number, body)
    )
    event = ch.get(q, no_ack=True)
    if event.property_bytes is not None:
        is_same = event.property_bytes == property_bytes and event.body == body
        ch.log("= the same octets" if is_same else f"= other octets: {event.property_bytes.hex(' ')}")


def _table_round_trip(s: Session, *entries: tuple[str, object]) -> None:
    ch = s.channel()
    _round_trip(ch, codec.properties({"headers": list(entries)}))


@behaviour("content")
def every_property_comes_back(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", **EVERY_PROPERTY)
    ch.get(q)


@behaviour("content")
def each_property_alone_comes_back_alone(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for name, value in EVERY_PROPERTY.items():
        ch.publish("", q, name.encode(), **{name: value})
        ch.get(q, no_ack=True)


@behaviour("content")
def properties_never_set_stay_absent(s: Session) -> None:
    ch = s.channel()
    _round_trip(ch, b"\0\0")


@behaviour("content")
def empty_strings_are_not_absent(s: Session) -> None:
    ch = s.channel()
    names = ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id")
    _round_trip(ch, codec.properties(dict.fromkeys(names, "")))


@behaviour("content")
def empty_headers_are_not_absent(s: Session) -> None:
    ch = s.channel()
    _round_trip(ch, codec.properties({"headers": {}}))


@behaviour("content")
def property_texts_need_not_be_utf_8(s: Session) -> None:
    ch = s.channel()
    _round_trip(ch, codec.properties({"content_type": b"\xff\xfe", "correlation_id": b"\x00\x80"}))


@behaviour("content")
def numbers_at_their_limits_come_back(s: Session) -> None:
    ch = s.channel()
    _round_trip(ch, codec.properties({"delivery_mode": 1, "priority": 255, "timestamp": 2**64 - 1}))
    _round_trip(ch, codec.properties({"delivery_mode": 2, "priority": 0, "timestamp": 0}))


@behaviour("content")
def delivery_mode_3_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", delivery_mode=3)
    ch.perhaps()


@behaviour("content")
def header_integers_keep_their_width(s: Session) -> None:
    _table_round_trip(
        s,
        ("b", Typed("b", -128)),
        ("B", Typed("B", 255)),
        ("s", Typed("s", -32768)),
        ("u", Typed("u", 65535)),
        ("I", Typed("I", -(2**31))),
        ("i", Typed("i", 2**32 - 1)),
        ("l", Typed("l", -(2**63))),
        ("l max", Typed("l", 2**63 - 1)),
    )


@behaviour("content")
def header_integer_of_type_capital_l_comes_back(s: Session) -> None:
    _table_round_trip(s, ("L", Typed("L", 2**40)))


@behaviour("content")
def header_floats_keep_their_octets(s: Session) -> None:
    _table_round_trip(
        s, ("f", Typed("f", 0.1)), ("d", 0.1), ("minus zero", -0.0), ("big", 1e300), ("f small", Typed("f", 1e-40))
    )


@behaviour("content")
def header_float_that_is_no_number_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    entry = codec.short_string("nan") + b"d" + struct.pack(">d", float("nan"))
    ch.send("basic.publish", exchange="", routing_key="nowhere")
    ch.send_frame(codec.FRAME_HEADER, codec.header(0, codec.properties({"headers": entry})), note="header with a NaN")
    ch.perhaps()


@behaviour("content")
def header_booleans_times_decimals_and_void_come_back(s: Session) -> None:
    _table_round_trip(
        s,
        ("true", True),
        ("false", False),
        ("time", Typed("T", 1700000000)),
        ("decimal", Typed("D", (2, 31415))),
        ("void", None),
    )


@behaviour("content")
def negative_decimals_come_back(s: Session) -> None:
    _table_round_trip(s, ("decimal", Typed("D", (2, -31415))))


@behaviour("content")
def header_texts_and_octets_keep_their_type(s: Session) -> None:
    _table_round_trip(s, ("S", "naïve ☃"), ("x", b"\x00\xff"), ("S binary", Typed("S", b"\xff\xfe")), ("empty", ""))


@behaviour("content")
def header_tables_and_arrays_nest(s: Session) -> None:
    deep: object = "end"
    for level in range(10):
        deep = {"in": deep} if level % 2 else [deep, level]
    _table_round_trip(
        s, ("deep", deep), ("empty table", {}), ("empty array", []), ("mixed", [1, "a", None, True, [2.5]])
    )


@behaviour("content")
def header_tables_may_nest_deeply(s: Session) -> None:
    deep: object = "end"
    for _ in range(50):
        deep = {"in": deep}
    _table_round_trip(s, ("deep", deep))


@behaviour("content")
def headers_keep_their_order(s: Session) -> None:
    _table_round_trip(s, ("z", 1), ("a", 2), ("M", 3), ("", 4), ("b", 5))


@behaviour("content")
def headers_named_twice_come_back_twice(s: Session) -> None:
    _table_round_trip(s, ("a", 1), ("a", 2))


@behaviour("content")
def booleans_that_are_neither_0_nor_1_come_back(s: Session) -> None:
    ch = s.channel()
    _round_trip(ch, codec.properties({"headers": codec.short_string("t") + b"t\x05"}))


@behaviour("content")
def long_header_names_and_values_come_back(s: Session) -> None:
    _table_round_trip(s, ("n" * 255, "v" * 10000))


@behaviour("content")
def headers_of_a_delivery_are_those_of_the_publish(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag", no_ack=True)
    ch.publish("", q, b"m", headers=[("z", Typed("s", 1)), ("a", [None, {"x": Typed("f", 0.5)}])], delivery_mode=2)
    ch.read()


# Bodies


def _echo(ch: Channel, queue: str, size: int) -> None:
    """Publish a body and tell in which frames it came back."""
    body = bytes(number % 251 for number in range(size))
    ch.publish("", queue, body)
    event = ch.get(queue, no_ack=True)
    is_same = event.body == body
    ch.log(f"= {'the same' if is_same else 'another'} body in frames of {event.body_frames}")


@behaviour("content")
def empty_body_has_no_frame(s: Session) -> None:
    ch = s.channel()
    _echo(ch, ch.queue(), 0)


@behaviour("content")
def bodies_are_cut_at_the_smallest_frame_max(s: Session) -> None:
    ch = s.channel(frame_max=4096)
    q = ch.queue()
    for size in (1, 4087, 4088, 4089, 8176, 8177, 20000):
        _echo(ch, q, size)


@behaviour("content")
def bodies_are_cut_at_the_largest_frame_max(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for size in (131063, 131064, 131065, 300000):
        _echo(ch, q, size)


@behaviour("content")
def consumer_gets_bodies_cut_at_its_own_frame_max(s: Session) -> None:
    publisher, consumer = s.channel(), s.channel(frame_max=5000)
    q = publisher.queue()
    consumer.consume(q, "tag")
    publisher.publish("", q, bytes(12000))
    event = consumer.read_one()
    consumer.log(f"= frames of {event.body_frames}")


@behaviour("content")
def body_of_several_megabytes_comes_back(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    body = bytes(range(256)) * 16384
    ch.publish("", q, body)
    event = ch.get(q, no_ack=True)
    ch.log(f"= {event.body == body}, {len(event.body_frames)} frames")


@behaviour("content")
def bodies_may_come_in_frames_of_any_size(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.send("basic.publish", exchange="", routing_key=q)
    ch.send_header(10)
    for part in (b"a", b"bcd", b"efghi", b"j"):
        ch.send_body(part)
    event = ch.get(q)
    ch.log(f"= frames of {event.body_frames}")


@behaviour("content")
def returned_body_is_cut_like_any_other(s: Session) -> None:
    ch = s.channel(frame_max=4096)
    ch.publish("amq.direct", s.name("nowhere"), bytes(9000), mandatory=True)
    event = ch.read_one()
    ch.log(f"= frames of {event.body_frames}")


@behaviour("content")
def bodies_may_hold_anything(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for body in (b"\xce", b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00\x00\x00\x00\x00\xce", bytes(range(256))):
        ch.publish("", q, body)
        ch.get(q, no_ack=True)


# What is checked


@behaviour("content")
def each_malformed_expiration_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for expiration in ("soon", "", "-1", "1.5", "10s", " 10", "10 ", "0x10", "315360000001"):
        ch.publish("", q, b"m", expiration=expiration)
        ch.read()
        ch.open()


@behaviour("content")
def each_well_formed_expiration_is_kept(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for expiration in ("60000", "0060000", "315360000000"):
        ch.publish("", q, b"m", expiration=expiration)
        ch.sync()
        ch.get(q, no_ack=True)


@behaviour("content")
def expiration_may_have_a_plus_sign(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", expiration="+60000")
    ch.get(q)


@behaviour("content")
def delivery_mode_0_is_406(s: Session) -> None:
    ch = s.channel()
    ch.publish("", ch.queue(), b"m", delivery_mode=0)
    ch.perhaps()


@behaviour("content")
def expiration_is_checked_though_nobody_gets_the_message(s: Session) -> None:
    ch = s.channel()
    ch.publish("", s.name("nowhere"), b"m", expiration="soon")
    ch.read()


@behaviour("content")
def user_id_of_another_user_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", user_id="somebody")
    ch.read()


@behaviour("content")
def empty_user_id_is_another_user(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", user_id="")
    ch.read()


@behaviour("content")
def own_user_id_is_fine(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", user_id=s.address.user)
    ch.get(q)


@behaviour("content")
def missing_exchange_is_seen_before_a_malformed_expiration(s: Session) -> None:
    ch = s.channel()
    ch.publish(s.name("missing"), "", b"m", expiration="soon", user_id="somebody")
    ch.read()


@behaviour("content")
def malformed_expiration_and_another_user(s: Session) -> None:
    ch = s.channel()
    ch.publish("", s.name("nowhere"), b"m", expiration="soon", user_id="somebody")
    ch.read()


@behaviour("content")
def immediate_and_a_missing_exchange(s: Session) -> None:
    ch = s.channel()
    ch.publish(s.name("missing"), "", b"m", immediate=True)
    ch.read()


@behaviour("content")
def order_of_one_publisher_is_kept(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, *(b"%d" % number for number in range(30)))
    ch.drain(q)


@behaviour("content")
def order_is_kept_across_sizes_and_modes(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(durable=True)
    for number in range(12):
        body = b"%d" % number + bytes((number % 4) * 5000)
        ch.publish("", q, body, delivery_mode=1 + number % 2)
    ch.drain(q)
