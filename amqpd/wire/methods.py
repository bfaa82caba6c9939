"""Every method that is not hot: pamqp's command classes as values, read and written by their declared arguments.

Owns: method payload <-> value object, and the names of methods. Does not own the hot ones (channels and
`hot_methods.py` handle those by offset), nor what any method means. From pamqp come ids, argument names, order and types;
not its validation (it refuses names that RabbitMQ takes) and not its table decoder (it recurses without bound).

pamqp's annotations cannot say two things, and compiled code believes annotations, so two arguments have readers here:
- a table is our FieldTable: read it with `table_of(method)`, never as an attribute;
- a long string is text with surrogate escapes: `octets_of(method, name)` gives its bytes back exactly.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, TypeVar, final

from librt.strings import BytesWriter, read_i16_be, read_i32_be, read_i64_be, write_i32_be
from mypy_extensions import i32, i64, mypyc_attr
from pamqp import commands
from pamqp.base import Frame

from amqpd.base.errors import CommandInvalid, FrameError
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, checked_table, encode_table

M = TypeVar("M", bound=Frame)


@mypyc_attr(native_class=False)
class AccessRequest(Frame):
    """access.request of AMQP 0-8, which old clients still send; RabbitMQ grants ticket 1 and so do we."""

    __slots__: ClassVar[list[str]] = ["active", "exclusive", "passive", "read", "realm", "write"]
    frame_id: ClassVar[int] = 10
    index: ClassVar[int] = 0x001E000A
    name: ClassVar[str] = "Access.Request"
    synchronous: ClassVar[bool] = True
    valid_responses: ClassVar[list[str]] = ["Access.RequestOk"]


@mypyc_attr(native_class=False)
class AccessRequestOk(Frame):
    __slots__: ClassVar[list[str]] = ["ticket"]
    frame_id: ClassVar[int] = 11
    index: ClassVar[int] = 0x001E000B
    name: ClassVar[str] = "Access.RequestOk"
    _ticket = "short"


# Argument kinds.
_BIT: Final = 0
_OCTET: Final = 1
_SHORT: Final = 2
_LONG: Final = 3
_LONGLONG: Final = 4
_SHORTSTR: Final = 5
_LONGSTR: Final = 6
_TABLE: Final = 7

_KINDS: Final[dict[str, int]] = {
    "bit": _BIT,
    "octet": _OCTET,
    "short": _SHORT,
    "long": _LONG,
    "longlong": _LONGLONG,
    "shortstr": _SHORTSTR,
    "longstr": _LONGSTR,
    "table": _TABLE,
}

_SIZES: Final[dict[int, int]] = {_OCTET: 1, _SHORT: 2, _LONG: 4, _LONGLONG: 8}


@final
class _Layout:
    """What one method's payload holds after the class and method ids, in order."""

    def __init__(self, method_class: type[Frame], names: list[str], kinds: list[int]) -> None:
        self.method_class = method_class
        self.names = names
        self.kinds = kinds
        self.name = _dashed(method_class.name)


def _dashed(name: str) -> str:
    """`Queue.DeclareOk` -> `queue.declare-ok`, the specification's spelling."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _layouts() -> dict[int, _Layout]:
    found: dict[int, _Layout] = {}
    # pamqp leaves the element type of this dict open.
    known: dict[int, type[Frame]] = dict(commands.INDEX_MAPPING)
    for index, method_class in known.items():
        names = list(method_class.__slots__)
        found[index] = _Layout(method_class, names, [_KINDS[method_class.amqp_type(name)] for name in names])
    names = ["realm", "exclusive", "passive", "active", "write", "read"]
    found[AccessRequest.index] = _Layout(AccessRequest, names, [_SHORTSTR, _BIT, _BIT, _BIT, _BIT, _BIT])
    found[AccessRequestOk.index] = _Layout(AccessRequestOk, ["ticket"], [_SHORT])
    return found


_LAYOUTS: Final[dict[int, _Layout]] = _layouts()


def method_name(index: int) -> str:
    """`queue.declare` for class id << 16 | method id; the numbers where there is no such method."""
    layout = _LAYOUTS.get(index)
    return layout.name if layout is not None else f"{index >> 16}.{index & 0xFFFF}"


def new_method(method_class: type[M], **values: object) -> M:
    """A method with these arguments and zero, false, "" or an empty table for the others."""
    layout = _LAYOUTS[method_class.index]
    method = method_class.__new__(method_class)
    for i in range(len(layout.names)):
        name = layout.names[i]
        setattr(method, name, values.pop(name) if name in values else _zero(layout.kinds[i]))
    assert not values, f"{layout.name} has no {', '.join(values)}"
    return method


def _zero(kind: int) -> object:
    if kind == _BIT:
        return False
    if kind in (_SHORTSTR, _LONGSTR):
        return ""
    return EMPTY_TABLE if kind == _TABLE else 0


def table_of(method: Frame, name: str = "arguments") -> FieldTable:
    """A table argument of a method that was decoded here or made by `new_method`."""
    value: object = getattr(method, name)
    return _table(value)


def octets_of(method: Frame, name: str) -> bytes:
    """A string argument as the bytes that came in; a SASL response is not text."""
    value: object = getattr(method, name)
    return _octets(value)


# Decoding -------------------------------------------------------------------------------------------------------------


def decode_method(payload: bytes) -> Frame:
    """The method in one method frame's payload.

    FrameError where the payload is not exactly the method's arguments or a short string is not UTF-8 (RabbitMQ's code
    and text), SyntaxFault for a bad table, CommandInvalid for a method that does not exist.
    """
    if len(payload) < 4:
        raise FrameError(f"type 1, all octets = {erlang_octets(payload)}: unknown_frame")
    layout = _LAYOUTS.get(int(i64(read_i32_be(payload, 0)) & 0xFFFFFFFF))
    if layout is None:
        # RabbitMQ's reader crashes on these and drops the socket; its code for a method it does not handle is kinder.
        raise CommandInvalid("unimplemented method")
    method = layout.method_class.__new__(layout.method_class)
    names = layout.names
    kinds = layout.kinds
    at: i64 = 4
    bit: i64 = 0
    for i in range(len(names)):
        kind = kinds[i]
        if kind == _BIT:
            # AMQP 0-9-1 4.2.5.2: "... bits are packed into octets", the first into the lowest bit.
            if bit == 0 or bit == 256:
                _need(payload, at + 1)
                at += 1
                bit = 1
            setattr(method, names[i], (i64(payload[at - 1]) & bit) != 0)
            bit <<= 1
            continue
        bit = 0
        after = _argument_end(payload, kind, at)
        setattr(method, names[i], _argument(payload, kind, at, after))
        at = after
    if at != len(payload):
        raise _cannot_decode(payload)
    return method


def _need(payload: bytes, end: i64) -> None:
    if end > len(payload):
        raise _cannot_decode(payload)


def _cannot_decode(payload: bytes) -> FrameError:
    return FrameError(f"cannot decode {erlang_octets(payload[4:])}", True)


def erlang_octets(raw: bytes) -> str:
    """Bytes as RabbitMQ prints them into its error texts: `<<0,50,255>>`; as many as a reply text has room for."""
    return "<<" + ",".join([str(octet) for octet in raw[:255]]) + ">>"


def _argument_end(payload: bytes, kind: int, at: i64) -> i64:
    size: i64
    if kind == _SHORTSTR:
        _need(payload, at + 1)
        size = 1 + i64(payload[at])
    elif kind in (_TABLE, _LONGSTR):
        _need(payload, at + 4)
        size = 4 + (i64(read_i32_be(payload, at)) & 0xFFFFFFFF)
    elif kind == _SHORT:
        size = 2
    elif kind == _LONG:
        size = 4
    elif kind == _LONGLONG:
        size = 8
    else:
        size = 1
    _need(payload, at + size)
    return at + size


def _argument(payload: bytes, kind: int, at: i64, after: i64) -> object:
    if kind == _SHORTSTR:
        try:
            return payload[at + 1 : after].decode("utf-8")
        except UnicodeDecodeError as error:
            raise FrameError("Malformed UTF-8 in shortstr") from error
    if kind == _TABLE:
        return checked_table(payload[at + 4 : after])
    if kind == _LONGSTR:
        return payload[at + 4 : after].decode("utf-8", "surrogateescape")
    if kind == _SHORT:
        return int(i64(read_i16_be(payload, at)) & 0xFFFF)
    if kind == _LONG:
        return int(i64(read_i32_be(payload, at)) & 0xFFFFFFFF)
    if kind == _LONGLONG:
        return int(read_i64_be(payload, at)) & 0xFFFFFFFFFFFFFFFF
    return payload[at]


# Encoding -------------------------------------------------------------------------------------------------------------


def encode_method(method: Frame) -> bytes:
    """The payload of a method frame; a table may be a FieldTable, a dict or None."""
    layout = _LAYOUTS[method.index]
    w = BytesWriter()
    write_i32_be(w, i32(method.index))
    bits: i64 = 0
    bit: i64 = 0
    for i in range(len(layout.names)):
        value: object = getattr(method, layout.names[i])
        if layout.kinds[i] == _BIT:
            if bit == 0:
                bit = 1
            if value:
                bits |= bit
            bit <<= 1
            if bit == 256:
                w.append(int(bits))
                bits = bit = 0
            continue
        if bit != 0:
            w.append(int(bits))
            bits = bit = 0
        _write_argument(w, layout.kinds[i], value)
    if bit != 0:
        w.append(int(bits))
    return w.getvalue()


def _write_argument(w: BytesWriter, kind: int, value: object) -> None:
    if kind == _SHORTSTR:
        octets = _octets(value)
        if len(octets) > 255:
            raise ValueError("a short string has at most 255 bytes")
        w.append(len(octets))
        w.write(octets)
    elif kind == _LONGSTR:
        octets = _octets(value)
        write_i32_be(w, i32(len(octets)))
        w.write(octets)
    elif kind == _TABLE:
        raw = _table(value).raw
        write_i32_be(w, i32(len(raw)))
        w.write(raw)
    else:
        assert isinstance(value, int)
        # Raises OverflowError for what does not fit: no caller of ours sends such a number.
        w.write(value.to_bytes(_SIZES[kind], "big"))


def _octets(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogateescape")


def _table(value: object) -> FieldTable:
    if isinstance(value, FieldTable):
        return value
    if value is None:
        return EMPTY_TABLE
    assert isinstance(value, dict)
    return encode_table(value)
