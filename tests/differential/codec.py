"""AMQP 0-9-1 on the wire, written for this test alone: methods, field tables, properties.

Owns: the method table, encoding from Python values, decoding into values that keep their type tags.
Does not own: sockets, or any opinion on what is legal. It shares no code with the broker nor with a client library,
so that a mistake cannot hide by being made on both sides, and it lets a behaviour write what a library would refuse.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

FRAME_METHOD = 1
FRAME_HEADER = 2
FRAME_BODY = 3
FRAME_HEARTBEAT = 8
FRAME_END = 0xCE


class Typed(NamedTuple):
    """A field value with its type tag: `Typed("s", 7)` is a 16 bit 7."""

    tag: str
    value: Any


class Field(NamedTuple):
    """One entry of a decoded field table."""

    name: str
    tag: str
    value: Any


class Malformed(Exception):
    """Bytes from the broker that are not AMQP."""


# Argument kinds: o octet, h short, l long, L longlong, s short string, S long string, b bit, T table.
_METHODS = """
10.10 connection.start version_major:o version_minor:o server_properties:T mechanisms:S locales:S
10.11 connection.start-ok client_properties:T mechanism:s response:S locale:s
10.20 connection.secure challenge:S
10.21 connection.secure-ok response:S
10.30 connection.tune channel_max:h frame_max:l heartbeat:h
10.31 connection.tune-ok channel_max:h frame_max:l heartbeat:h
10.40 connection.open virtual_host:s reserved_1:s reserved_2:b
10.41 connection.open-ok reserved_1:s
10.50 connection.close reply_code:h reply_text:s class_id:h method_id:h
10.51 connection.close-ok
10.60 connection.blocked reason:s
10.61 connection.unblocked
10.70 connection.update-secret new_secret:S reason:s
10.71 connection.update-secret-ok
20.10 channel.open reserved_1:s
20.11 channel.open-ok reserved_1:S
20.20 channel.flow active:b
20.21 channel.flow-ok active:b
20.40 channel.close reply_code:h reply_text:s class_id:h method_id:h
20.41 channel.close-ok
30.10 access.request realm:s exclusive:b passive:b active:b write:b read:b
30.11 access.request-ok ticket:h
40.10 exchange.declare ticket:h exchange:s type:s passive:b durable:b auto_delete:b internal:b nowait:b arguments:T
40.11 exchange.declare-ok
40.20 exchange.delete ticket:h exchange:s if_unused:b nowait:b
40.21 exchange.delete-ok
40.30 exchange.bind ticket:h destination:s source:s routing_key:s nowait:b arguments:T
40.31 exchange.bind-ok
40.40 exchange.unbind ticket:h destination:s source:s routing_key:s nowait:b arguments:T
40.51 exchange.unbind-ok
50.10 queue.declare ticket:h queue:s passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:T
50.11 queue.declare-ok queue:s message_count:l consumer_count:l
50.20 queue.bind ticket:h queue:s exchange:s routing_key:s nowait:b arguments:T
50.21 queue.bind-ok
50.30 queue.purge ticket:h queue:s nowait:b
50.31 queue.purge-ok message_count:l
50.40 queue.delete ticket:h queue:s if_unused:b if_empty:b nowait:b
50.41 queue.delete-ok message_count:l
50.50 queue.unbind ticket:h queue:s exchange:s routing_key:s arguments:T
50.51 queue.unbind-ok
60.10 basic.qos prefetch_size:l prefetch_count:h global:b
60.11 basic.qos-ok
60.20 basic.consume ticket:h queue:s consumer_tag:s no_local:b no_ack:b exclusive:b nowait:b arguments:T
60.21 basic.consume-ok consumer_tag:s
60.30 basic.cancel consumer_tag:s nowait:b
60.31 basic.cancel-ok consumer_tag:s
60.40 basic.publish ticket:h exchange:s routing_key:s mandatory:b immediate:b
60.50 basic.return reply_code:h reply_text:s exchange:s routing_key:s
60.60 basic.deliver consumer_tag:s delivery_tag:L redelivered:b exchange:s routing_key:s
60.70 basic.get ticket:h queue:s no_ack:b
60.71 basic.get-ok delivery_tag:L redelivered:b exchange:s routing_key:s message_count:l
60.72 basic.get-empty reserved_1:s
60.80 basic.ack delivery_tag:L multiple:b
60.90 basic.reject delivery_tag:L requeue:b
60.100 basic.recover-async requeue:b
60.110 basic.recover requeue:b
60.111 basic.recover-ok
60.120 basic.nack delivery_tag:L multiple:b requeue:b
85.10 confirm.select nowait:b
85.11 confirm.select-ok
90.10 tx.select
90.11 tx.select-ok
90.20 tx.commit
90.21 tx.commit-ok
90.30 tx.rollback
90.31 tx.rollback-ok
"""


class MethodLayout(NamedTuple):
    class_id: int
    method_id: int
    name: str
    arguments: tuple[tuple[str, str], ...]


def _read_layouts() -> list[MethodLayout]:
    layouts = []
    for line in _METHODS.strip().splitlines():
        number, name, *arguments = line.split()
        class_id, _, method_id = number.partition(".")
        pairs = tuple((a.rpartition(":")[0], a.rpartition(":")[2]) for a in arguments)
        layouts.append(MethodLayout(int(class_id), int(method_id), name, pairs))
    return layouts


BY_NAME = {layout.name: layout for layout in _read_layouts()}
BY_NUMBER = {(layout.class_id, layout.method_id): layout for layout in BY_NAME.values()}

WITH_CONTENT = frozenset({"basic.return", "basic.deliver", "basic.get-ok"})

# Basic properties in the order of their flags, the highest bit first.
PROPERTIES: tuple[tuple[str, str], ...] = (
    ("content_type", "s"),
    ("content_encoding", "s"),
    ("headers", "T"),
    ("delivery_mode", "o"),
    ("priority", "o"),
    ("correlation_id", "s"),
    ("reply_to", "s"),
    ("expiration", "s"),
    ("message_id", "s"),
    ("timestamp", "L"),
    ("type", "s"),
    ("user_id", "s"),
    ("app_id", "s"),
    ("cluster_id", "s"),
)

TableLike = Mapping[str, Any] | Iterable[tuple[str, Any] | Field] | bytes

_NUMBERS = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q", "T": ">Q"}
_FLOATS = {"f": ">f", "d": ">d"}


def as_bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)


def short_string(text: str | bytes) -> bytes:
    raw = as_bytes(text)
    return struct.pack(">B", len(raw)) + raw


def long_string(text: str | bytes) -> bytes:
    raw = as_bytes(text)
    return struct.pack(">I", len(raw)) + raw


def _typed(value: Any) -> Typed:
    if isinstance(value, Typed):
        return value
    if isinstance(value, bool):
        return Typed("t", value)
    if isinstance(value, int):
        return Typed("I" if -(2**31) <= value < 2**31 else "l", value)
    if isinstance(value, float):
        return Typed("d", value)
    if isinstance(value, str):
        return Typed("S", value)
    if isinstance(value, bytes):
        return Typed("x", value)
    if value is None:
        return Typed("V", None)
    if isinstance(value, list):
        return Typed("A", value)
    return Typed("F", value)


def field_value(value: Any) -> bytes:
    """A field value with its tag in front. Plain Python values get the tag that most clients give them."""
    tag, plain = _typed(value)
    head = tag.encode("latin-1")
    if tag in _NUMBERS:
        return head + struct.pack(_NUMBERS[tag], plain)
    if tag in _FLOATS:
        return head + struct.pack(_FLOATS[tag], plain)
    if tag == "t":
        return head + (b"\x01" if plain else b"\x00")
    if tag in ("S", "x"):
        return head + long_string(plain)
    if tag == "D":
        scale, digits = plain
        return head + struct.pack(">Bi", scale, digits)
    if tag == "F":
        return head + table(plain)
    if tag == "A":
        return head + long_string(b"".join(field_value(item) for item in plain))
    if tag == "V":
        return head
    return head + as_bytes(plain)


def table(entries: TableLike) -> bytes:
    """A field table with its length. `bytes` are taken as ready-made entries, well-formed or not."""
    if isinstance(entries, bytes):
        return long_string(entries)
    pairs = entries.items() if isinstance(entries, Mapping) else entries
    return long_string(b"".join(_entry(*pair) for pair in pairs))


def _entry(name: str, *value: Any) -> bytes:
    """A name with a value, or with the tag and the value of a field that was read."""
    return short_string(name) + field_value(Typed(*value) if len(value) == 2 else value[0])


def _argument(kind: str, value: Any) -> bytes:
    if kind == "T":
        return table({} if value is None else value)
    if kind in ("s", "S"):
        return (short_string if kind == "s" else long_string)("" if value is None else value)
    return struct.pack({"o": ">B", "h": ">H", "l": ">I", "L": ">Q"}[kind], value or 0)


def method(name: str, arguments: Mapping[str, Any]) -> bytes:
    """Payload of a method frame; arguments not given are zero, empty or false."""
    layout = BY_NAME[name]
    unknown = set(arguments) - {argument for argument, _ in layout.arguments}
    if unknown:
        raise TypeError(f"{name} has no argument {sorted(unknown)}")
    out = [struct.pack(">HH", layout.class_id, layout.method_id)]
    bits: list[bool] = []
    for argument, kind in (*layout.arguments, ("", "")):
        if kind == "b":
            bits.append(bool(arguments.get(argument)))
            continue
        if bits:
            out.append(struct.pack(">B", sum(1 << place for place, bit in enumerate(bits) if bit)))
            bits = []
        if kind:
            out.append(_argument(kind, arguments.get(argument)))
    return b"".join(out)


def properties(values: Mapping[str, Any]) -> bytes:
    """Property flags and properties, as they follow the body size in a content header."""
    unknown = set(values) - {name for name, _ in PROPERTIES}
    if unknown:
        raise TypeError(f"basic has no property {sorted(unknown)}")
    flags, out = 0, []
    for place, (name, kind) in enumerate(PROPERTIES):
        if name in values:
            flags |= 1 << (15 - place)
            out.append(_argument(kind, values[name]))
    return struct.pack(">H", flags) + b"".join(out)


def header(body_size: int, property_bytes: bytes, class_id: int = 60, weight: int = 0) -> bytes:
    return struct.pack(">HHQ", class_id, weight, body_size) + property_bytes


def frame(kind: int, channel: int, payload: bytes, end: int = FRAME_END) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


class Reader:
    """Takes values off the front of some bytes."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.raw):
            raise Malformed(f"{size} bytes wanted at {self.at} of {len(self.raw)}")
        self.at += size
        return self.raw[self.at - size : self.at]

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def short_string(self) -> str:
        return self.take(self.number(">B")).decode("utf-8", "surrogateescape")

    def long_string(self) -> bytes:
        return self.take(self.number(">I"))

    def table(self) -> list[Field]:
        inner = Reader(self.long_string())
        fields = []
        while inner.at < len(inner.raw):
            name = inner.short_string()
            fields.append(Field(name, *inner.field_value()))
        return fields

    def field_value(self) -> Typed:
        tag = self.take(1).decode("latin-1")
        if tag in _NUMBERS:
            return Typed(tag, self.number(_NUMBERS[tag]))
        if tag in _FLOATS:
            return Typed(tag, self.number(_FLOATS[tag]))
        if tag == "t":
            return Typed(tag, self.number(">B") != 0)
        if tag in ("S", "x"):
            return Typed(tag, self.long_string())
        if tag == "D":
            return Typed(tag, (self.number(">B"), self.number(">i")))
        if tag == "F":
            return Typed(tag, self.table())
        if tag == "A":
            inner, items = Reader(self.long_string()), []
            while inner.at < len(inner.raw):
                items.append(inner.field_value())
            return Typed(tag, items)
        if tag == "V":
            return Typed(tag, None)
        raise Malformed(f"field type {tag!r}")

    def argument(self, kind: str) -> Any:
        if kind == "T":
            return self.table()
        if kind == "s":
            return self.short_string()
        if kind == "S":
            return self.long_string().decode("utf-8", "surrogateescape")
        return self.number({"o": ">B", "h": ">H", "l": ">I", "L": ">Q"}[kind])


def read_method(payload: bytes) -> tuple[str, dict[str, Any]]:
    reader = Reader(payload)
    number = (reader.number(">H"), reader.number(">H"))
    if number not in BY_NUMBER:
        raise Malformed(f"method {number[0]}.{number[1]}")
    layout = BY_NUMBER[number]
    arguments: dict[str, Any] = {}
    bits_left, octet = 0, 0
    for name, kind in layout.arguments:
        if kind == "b":
            if not bits_left:
                octet, bits_left = reader.number(">B"), 8
            arguments[name] = bool(octet & 1)
            octet, bits_left = octet >> 1, bits_left - 1
        else:
            bits_left = 0
            arguments[name] = reader.argument(kind)
    if reader.at != len(payload):
        raise Malformed(f"{len(payload) - reader.at} bytes after {layout.name}")
    return layout.name, arguments


def read_properties(raw: bytes) -> dict[str, Any]:
    reader = Reader(raw)
    flags = reader.number(">H")
    return {name: reader.argument(kind) for place, (name, kind) in enumerate(PROPERTIES) if flags & (1 << (15 - place))}
