from __future__ import annotations

from dataclasses import fields, replace

import pytest

from amqpd.base.errors import FrameError, SyntaxFault, UnexpectedFrame
from amqpd.wire import properties as p
from amqpd.wire.field_table import encode_table
from amqpd.wire.properties import Properties, check_header, decode_properties, encode_header

ALL = Properties(
    content_type="application/json",
    content_encoding="utf-8",
    headers=encode_table({"a": 1, "x-death": [{"count": 1}]}),
    delivery_mode=2,
    priority=9,
    correlation_id="correlation",
    reply_to="replies",
    expiration="60000",
    message_id="message",
    timestamp=2**64 - 1,
    type="kind",
    user_id="guest",
    app_id="app",
    cluster_id="cluster",
)
NAMES = [field.name for field in fields(Properties)]
BITS = {name: 0x8000 >> i for i, name in enumerate(NAMES)}
PREFIX = b"\x00\x3c\x00\x00" + bytes(8)


def test_all_properties_stand_in_the_order_of_the_specification() -> None:
    header = encode_header(5, replace(ALL, headers=encode_table({})))
    assert header == (
        b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\xff\xfc\x10application/json\x05utf-8\x00\x00\x00\x00\x02\x09"
        b"\x0bcorrelation\x07replies\x0560000\x07message" + b"\xff" * 8 + b"\x04kind\x05guest\x03app\x07cluster"
    )
    assert p.body_size(header) == 5


@pytest.mark.parametrize("name", NAMES)
def test_each_property_is_found_alone_among_all_and_when_only_it_is_missing(name: str) -> None:
    value = getattr(ALL, name)
    alone = replace(Properties(), **{name: value})
    assert decode_properties(encode_header(0, alone)) == alone
    assert p.peek(encode_header(0, alone)) == BITS[name]
    missing = replace(ALL, **{name: None})
    assert decode_properties(encode_header(0, missing)) == missing


def test_all_or_none_of_the_properties_come_back() -> None:
    for properties in (ALL, Properties()):
        assert decode_properties(encode_header(1, properties)) == properties


def test_single_readers_give_what_is_there_and_say_when_it_is_not() -> None:
    full, bare = encode_header(0, ALL), encode_header(0, Properties())
    assert (p.delivery_mode(full), p.priority(full), p.timestamp(full)) == (2, 9, 2**64 - 1)
    assert (p.delivery_mode(bare), p.priority(bare), p.timestamp(bare)) == (-1, -1, -1)
    assert (p.expiration(full), p.user_id(full), p.reply_to(full)) == (b"60000", b"guest", b"replies")
    assert (p.expiration(bare), p.user_id(bare), p.reply_to(bare), p.headers(bare)) == (None, None, None, None)
    assert p.headers(full) == ALL.headers


@pytest.mark.parametrize("mode", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("content_type", [None, "", "text/plain"])
@pytest.mark.parametrize("content_encoding", [None, "gzip"])
@pytest.mark.parametrize("headers", [None, {}, {"a": "b"}])
def test_only_delivery_mode_2_is_persistent_whatever_stands_before_it(
    mode: int | None, content_type: str | None, content_encoding: str | None, headers: dict[str, object] | None
) -> None:
    table = None if headers is None else encode_table(headers)
    header = encode_header(0, Properties(content_type, content_encoding, table, mode, 2))
    assert p.is_persistent(header) is (mode == 2)


def test_one_look_at_the_flags_tells_whether_the_broker_must_act_on_anything() -> None:
    for name in NAMES:
        header = encode_header(0, replace(Properties(), **{name: getattr(ALL, name)}))
        acts = name in ("headers", "priority", "reply_to", "expiration", "user_id")
        assert (p.peek(header) & p.NEEDS_A_LOOK != 0) is acts


# Malformed --------------------------------------------------------------------------------------------------------------


def test_a_header_that_ends_early_is_a_syntax_error_wherever_it_ends() -> None:
    whole = encode_header(0, ALL)
    check_header(whole)
    for size in range(len(whole)):
        with pytest.raises(FrameError if size < 14 else SyntaxFault):
            check_header(whole[:size])
    for name in NAMES:
        whole = encode_header(0, replace(Properties(), **{name: getattr(ALL, name)}))
        for size in range(14, len(whole)):
            with pytest.raises(SyntaxFault):
                check_header(whole[:size])


@pytest.mark.parametrize(
    "rest", [b"\x00\x00\x00", b"\x10\x00\x02\x00", b"\x10\x00", b"\x80\x00\x05abcd", b"\x20\x00\xff\xff\xff\xff"]
)
def test_sizes_that_do_not_add_up_are_syntax_errors(rest: bytes) -> None:
    with pytest.raises(SyntaxFault):
        check_header(PREFIX + rest)


def test_more_flags_than_the_class_has_are_a_syntax_error() -> None:
    with pytest.raises(SyntaxFault):
        check_header(PREFIX + b"\x00\x01\x00\x00")


def test_the_one_undefined_flag_is_ignored_as_in_rabbitmq() -> None:
    check_header(PREFIX + b"\x00\x02")


def test_a_bad_headers_table_is_a_syntax_error() -> None:
    with pytest.raises(SyntaxFault, match="unknown type"):
        check_header(PREFIX + b"\x20\x00\x00\x00\x00\x03\x01aq")


def test_a_header_of_another_class_or_with_a_weight_is_an_unexpected_frame() -> None:
    with pytest.raises(UnexpectedFrame, match="expected content header for class 60, got one for class 61 instead"):
        check_header(b"\x00\x3d\x00\x00" + bytes(10))
    with pytest.raises(UnexpectedFrame, match="got non content header frame instead"):
        check_header(b"\x00\x3c\x00\x01" + bytes(10))


def test_a_body_size_of_two_to_the_63_is_not_small() -> None:
    assert p.body_size(b"\x00\x3c\x00\x00\x80" + bytes(9)) < 0


# Splicing ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("properties", [ALL, Properties(), Properties(delivery_mode=2), Properties(app_id="x")])
def test_setting_or_removing_one_property_leaves_the_others_alone(properties: Properties) -> None:
    header = encode_header(7, properties)
    table = encode_table({"new": True})
    for changed, expected in (
        (p.with_headers(header, table), replace(properties, headers=table)),
        (p.without_headers(header), replace(properties, headers=None)),
        (p.with_reply_to(header, b"elsewhere"), replace(properties, reply_to="elsewhere")),
        (p.without_expiration(header), replace(properties, expiration=None)),
        (p.with_property(header, p.DELIVERY_MODE, b"\x02"), replace(properties, delivery_mode=2)),
        (p.without_property(header, p.CLUSTER_ID), replace(properties, cluster_id=None)),
        (p.with_property(header, p.TIMESTAMP, bytes(8)), replace(properties, timestamp=0)),
    ):
        assert changed == encode_header(7, expected)


def test_bytes_that_nobody_would_encode_survive_splicing() -> None:
    header = PREFIX + b"\xa0\x02\x01\xff" + b"\x00\x00\x00\x04\x01at\x07"
    check_header(header)
    assert p.with_reply_to(header, b"r") == PREFIX + b"\xa2\x02\x01\xff" + b"\x00\x00\x00\x04\x01at\x07" + b"\x01r"


def test_what_a_property_can_not_hold_is_the_callers_mistake() -> None:
    for properties in (Properties(type="x" * 256), Properties(priority=256), Properties(delivery_mode=-1)):
        with pytest.raises(ValueError):
            encode_header(0, properties)
