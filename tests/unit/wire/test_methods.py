from __future__ import annotations

import pytest
from pamqp import commands
from pamqp.base import Frame

from amqpd.base.errors import CommandInvalid, FrameError, SyntaxFault
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table
from amqpd.wire.methods import (
    AccessRequest,
    AccessRequestOk,
    decode_method,
    encode_method,
    erlang_octets,
    method_name,
    new_method,
    octets_of,
    table_of,
)

ALL: list[type[Frame]] = [*commands.INDEX_MAPPING.values(), AccessRequest, AccessRequestOk]
TYPES = {
    "bit": True,
    "octet": 255,
    "short": 65535,
    "long": 2**32 - 1,
    "longlong": 2**64 - 1,
    "shortstr": "é" * 127,
    "longstr": "\udcff\x00",
    "table": FieldTable(b"\x01at\x07"),
}


def full(method_class: type[Frame]) -> Frame:
    if method_class is AccessRequest:
        return new_method(method_class, realm="/", exclusive=True, passive=False, active=True, write=True, read=True)
    names = method_class.__slots__
    return new_method(method_class, **{name: TYPES[method_class.amqp_type(name)] for name in names})


def same(a: Frame, b: Frame) -> bool:
    return type(a) is type(b) and all(getattr(a, name) == getattr(b, name) for name in a.__slots__)


@pytest.mark.parametrize("method_class", ALL, ids=lambda c: c.name)
def test_every_method_comes_back_as_it_was_with_every_argument_at_its_largest(method_class: type[Frame]) -> None:
    for method in (full(method_class), new_method(method_class)):
        payload = encode_method(method)
        assert payload[:4] == method_class.index.to_bytes(4, "big")
        assert same(decode_method(payload), method)


@pytest.mark.parametrize("method_class", ALL, ids=lambda c: c.name)
def test_every_method_that_ends_early_or_late_is_refused(method_class: type[Frame]) -> None:
    payload = encode_method(full(method_class))
    for size in range(len(payload)):
        with pytest.raises(FrameError):
            decode_method(payload[:size])
    with pytest.raises(FrameError, match="cannot decode"):
        decode_method(payload + b"\x00")


@pytest.mark.parametrize("method_class", list(commands.INDEX_MAPPING.values()), ids=lambda c: c.name)
def test_pamqp_reads_what_we_write(method_class: type[Frame]) -> None:
    method = full(method_class)
    for name in method_class.__slots__:
        if method_class.amqp_type(name) == "table":
            setattr(method, name, {"n": 70_000, "x": "y"})
        elif method_class.amqp_type(name) == "longstr":
            setattr(method, name, "text")
        elif method_class.amqp_type(name) == "longlong":
            setattr(method, name, 2**63 - 1)
    theirs = method_class.__new__(method_class)
    theirs.unmarshal(encode_method(method)[4:])
    assert same(theirs, method)


def test_bits_are_packed_from_the_lowest() -> None:
    method = new_method(commands.Queue.Declare, queue="q", durable=True, nowait=True)
    assert encode_method(method) == b"\x00\x32\x00\x0a\x00\x00\x01q\x12\x00\x00\x00\x00"


def test_a_new_method_has_zeros_where_nothing_is_said() -> None:
    method = new_method(commands.Queue.Declare, queue="q")
    assert (method.ticket, method.durable, method.passive, table_of(method)) == (0, False, False, EMPTY_TABLE)
    assert new_method(commands.Connection.Start).mechanisms == ""


def test_an_argument_that_a_method_does_not_have_is_our_bug() -> None:
    with pytest.raises(AssertionError, match=r"queue\.declare has no quue"):
        new_method(commands.Queue.Declare, quue="q")


def test_names_that_pamqp_would_refuse_are_taken() -> None:
    for name in ("a b", "sub/q{1}", "é", "x" * 255):
        payload = encode_method(new_method(commands.Queue.Declare, queue=name))
        method = decode_method(payload)
        assert isinstance(method, commands.Queue.Declare)
        assert method.queue == name


def test_tables_may_be_given_as_dicts_and_come_back_as_tables() -> None:
    method = new_method(commands.Queue.Declare, queue="q", arguments={"x-expires": 1000})
    assert table_of(method) == encode_table({"x-expires": 1000})
    assert table_of(decode_method(encode_method(method))).get("x-expires") == 1000
    start_ok = new_method(commands.Connection.StartOk, client_properties={"product": "x"})
    assert table_of(start_ok, "client_properties").get("product") == "x"
    assert table_of(new_method(commands.Queue.Declare, arguments=None)) == EMPTY_TABLE


def test_a_sasl_response_comes_back_byte_for_byte() -> None:
    response = bytes(range(256))
    method = new_method(commands.Connection.StartOk, mechanism="PLAIN", response=response, locale="en_US")
    assert octets_of(decode_method(encode_method(method)), "response") == response


# Texts and codes that RabbitMQ 3.10 answers to the same bytes.


def test_arguments_that_do_not_fit_are_frame_errors_with_rabbitmqs_text() -> None:
    with pytest.raises(FrameError) as caught:
        decode_method(b"\x00\x32\x00\x0a\x00\x00\x01q")
    assert caught.value.reply_text == "FRAME_ERROR - cannot decode <<0,0,1,113>>"
    with pytest.raises(FrameError) as caught:
        decode_method(b"\x00\x32\x00\x0a\x00\x00\x01q\x00\xff\xff\xff\xff")
    assert caught.value.reply_text == "FRAME_ERROR - cannot decode <<0,0,1,113,0,255,255,255,255>>"


def test_a_payload_too_short_for_a_method_is_an_unknown_frame() -> None:
    with pytest.raises(FrameError) as caught:
        decode_method(b"\x00\x32\x00")
    assert caught.value.reply_text == "FRAME_ERROR - type 1, all octets = <<0,50,0>>: unknown_frame"


def test_a_name_that_is_not_utf_8_is_a_frame_error() -> None:
    with pytest.raises(FrameError) as caught:
        decode_method(b"\x00\x32\x00\x0a\x00\x00\x01\xff\x00\x00\x00\x00\x00")
    assert caught.value.reply_text == "FRAME_ERROR - Malformed UTF-8 in shortstr"


def test_a_bad_table_is_a_syntax_error() -> None:
    with pytest.raises(SyntaxFault):
        decode_method(b"\x00\x32\x00\x0a\x00\x00\x01q\x00\x00\x00\x00\x03\x01aq")


@pytest.mark.parametrize("index", [0x00320063, 0x004D000A, 0x000A0063, 0, 0xFFFFFFFF])
def test_a_method_that_does_not_exist_is_an_invalid_command(index: int) -> None:
    with pytest.raises(CommandInvalid, match="unimplemented method"):
        decode_method(index.to_bytes(4, "big"))


def test_a_long_payload_in_an_error_text_still_fits_a_reply() -> None:
    with pytest.raises(FrameError) as caught:
        decode_method(b"\x00\x32\x00\x0a\x00\x00\x01q" + b"\xff" * 100_000)
    assert len(caught.value.reply_text.encode()) <= 255
    assert len(caught.value.explanation) < 2_000


def test_what_an_argument_can_not_hold_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError):
        encode_method(new_method(commands.Queue.Declare, queue="x" * 256))
    with pytest.raises(OverflowError):
        encode_method(new_method(commands.Connection.Tune, channel_max=65_536))


def test_methods_are_named_as_in_the_specification() -> None:
    assert method_name(0x0032000B) == "queue.declare-ok"
    assert method_name(0x003C0064) == "basic.recover-async"
    assert method_name(0x000A0047) == "connection.update-secret-ok"
    assert method_name(0x001E000A) == "access.request"
    assert method_name(0x004D0003) == "77.3"


def test_octets_are_shown_as_erlang_shows_them() -> None:
    assert erlang_octets(b"") == "<<>>"
    assert erlang_octets(b"\x00\xff") == "<<0,255>>"
