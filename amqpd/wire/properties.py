"""Basic properties, read and changed inside the content header frame's payload.

    0        2         4            12       14
    +--------+---------+------------+--------+--------------------------------+
    | class  | weight  | body size  | flags  | the properties that are there  |
    +--------+---------+------------+--------+--------------------------------+
    60       0         64 bits      16 bits  in the order of their flags, highest bit first   (AMQP 0-9-1 4.2.6.1)

Owns: where each property stands, and splicing one without touching another byte. Does not own what a property means.
Invariant: a header is checked once, by `check_header`, when it arrives; all other readers rely on that and at worst
raise IndexError. Nothing is decoded, nor any object made, unless asked for: `peek` first, it answers most questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from librt.strings import BytesWriter, read_i16_be, read_i32_be, read_i64_be, write_i32_be
from mypy_extensions import i32, i64

from amqpd.base.errors import FrameError, SyntaxFault, UnexpectedFrame
from amqpd.wire.field_table import FieldTable, check_table

CONTENT_TYPE: Final = 0x8000
CONTENT_ENCODING: Final = 0x4000
HEADERS: Final = 0x2000
DELIVERY_MODE: Final = 0x1000
PRIORITY: Final = 0x0800
CORRELATION_ID: Final = 0x0400
REPLY_TO: Final = 0x0200
EXPIRATION: Final = 0x0100
MESSAGE_ID: Final = 0x0080
TIMESTAMP: Final = 0x0040
TYPE: Final = 0x0020
USER_ID: Final = 0x0010
APP_ID: Final = 0x0008
CLUSTER_ID: Final = 0x0004
CONTINUATION: Final = 0x0001

# The properties that make the broker do something other than store and deliver.
NEEDS_A_LOOK: Final = 0x2B10  # HEADERS | PRIORITY | REPLY_TO | EXPIRATION | USER_ID
PERSISTENT: Final = 2

_FIXED_BYTES: Final = 14

# The header of a message without body and properties.
NO_PROPERTIES: Final = b"\x00\x3c" + bytes(12)


def peek(header: bytes) -> i64:
    """Which properties are there. Nothing but `is_persistent` is needed where no NEEDS_A_LOOK one is."""
    return i64(read_i16_be(header, 12)) & 0xFFFF


def body_size(header: bytes) -> i64:
    """The announced size of the body; below zero for what does not fit into 63 bits, which no limit allows anyway."""
    return read_i64_be(header, 4)


def is_persistent(header: bytes) -> bool:
    return read_delivery_mode(header) == PERSISTENT


def read_delivery_mode(header: bytes) -> i64:
    """Of a checked header, fast: -1 without one."""
    high: i64 = header[12]
    if high & 0x10 == 0:
        return -1
    at: i64 = 14
    if high & 0x80:
        at += 1 + i64(header[at])
    if high & 0x40:
        at += 1 + i64(header[at])
    if high & 0x20:
        at += 4 + (i64(read_i32_be(header, at)) & 0xFFFFFFFF)
    return header[at]


# Checking -------------------------------------------------------------------------------------------------------------


def check_header(header: bytes) -> None:
    """Refuse whatever is not exactly one well-formed header of class basic; each byte is read at most once."""
    size: i64 = len(header)
    if size < _FIXED_BYTES:
        raise FrameError("content header ends before its property flags")
    if read_i32_be(header, 0) != 0x003C0000:
        raise _not_basic(header)
    flags = i64(read_i16_be(header, 12)) & 0xFFFF
    # Most headers of fast publishers: nothing, or the delivery mode alone.
    if size == 14 + (flags >> 12) and (flags == DELIVERY_MODE or flags == 0):
        return
    if flags & CONTINUATION:
        # Class basic has fourteen properties, so there is nothing that a second flags word could announce.
        raise SyntaxFault("content header with more property flags than class 60 has")
    at: i64 = _FIXED_BYTES
    bit: i64 = CONTENT_TYPE
    while bit >= CLUSTER_ID:
        if flags & bit:
            after = _property_end(header, bit, at, size)
            if bit == HEADERS and after > at + 4:
                check_table(header[at + 4 : after])
            at = after
        bit >>= 1
    if at != size:
        raise SyntaxFault(f"content header with {int(size - at)} bytes after its properties")


def _not_basic(header: bytes) -> UnexpectedFrame:
    class_id = int(i64(read_i16_be(header, 0)) & 0xFFFF)
    got = f"one for class {class_id}" if class_id != 60 else "non content header frame"
    return UnexpectedFrame(f"expected content header for class 60, got {got} instead", True)


def _property_end(header: bytes, bit: i64, at: i64, size: i64) -> i64:
    after: i64
    if bit == HEADERS:
        if at + 4 > size:
            raise SyntaxFault("content header ends inside its properties")
        after = at + 4 + (i64(read_i32_be(header, at)) & 0xFFFFFFFF)
    elif bit & (DELIVERY_MODE | PRIORITY):
        after = at + 1
    elif bit == TIMESTAMP:
        after = at + 8
    else:
        if at >= size:
            raise SyntaxFault("content header ends inside its properties")
        after = at + 1 + i64(header[at])
    if after > size:
        raise SyntaxFault("content header ends inside its properties")
    return after


# Reading one ----------------------------------------------------------------------------------------------------------


def _place_of(header: bytes, wanted: i64) -> i64:
    """Where the property of this flag stands, or would stand."""
    flags = peek(header)
    size: i64 = len(header)
    at: i64 = _FIXED_BYTES
    bit: i64 = CONTENT_TYPE
    while bit > wanted:
        if flags & bit:
            at = _property_end(header, bit, at, size)
        bit >>= 1
    return at


def _octet(header: bytes, bit: i64) -> i64:
    if peek(header) & bit == 0:
        return -1
    return header[_place_of(header, bit)]


def short_string(header: bytes, bit: i64) -> bytes | None:
    """Any of the short string properties, by its flag; None if absent."""
    if peek(header) & bit == 0:
        return None
    at = _place_of(header, bit)
    return header[at + 1 : at + 1 + i64(header[at])]


def delivery_mode(header: bytes) -> i64:
    """-1 if absent."""
    return _octet(header, DELIVERY_MODE)


def priority(header: bytes) -> i64:
    """-1 if absent."""
    return _octet(header, PRIORITY)


def expiration(header: bytes) -> bytes | None:
    return short_string(header, EXPIRATION)


def user_id(header: bytes) -> bytes | None:
    return short_string(header, USER_ID)


def reply_to(header: bytes) -> bytes | None:
    return short_string(header, REPLY_TO)


def timestamp(header: bytes) -> int:
    """-1 if absent."""
    if peek(header) & TIMESTAMP == 0:
        return -1
    return int(read_i64_be(header, _place_of(header, TIMESTAMP))) & 0xFFFFFFFFFFFFFFFF


def headers(header: bytes) -> FieldTable | None:
    if peek(header) & HEADERS == 0:
        return None
    at = _place_of(header, HEADERS)
    return FieldTable(header[at + 4 : _property_end(header, HEADERS, at, len(header))])


# Splicing one ---------------------------------------------------------------------------------------------------------


def with_property(header: bytes, bit: i64, encoded: bytes) -> bytes:
    """The header with this property set to these encoded bytes; every other byte but the flag stays what it is."""
    return _spliced(header, bit, peek(header) | bit, encoded)


def without_property(header: bytes, bit: i64) -> bytes:
    flags = peek(header)
    if flags & bit == 0:
        return header
    return _spliced(header, bit, flags & (bit ^ 0xFFFF), b"")


def _spliced(header: bytes, bit: i64, flags: i64, encoded: bytes) -> bytes:
    start = _place_of(header, bit)
    end = start
    if peek(header) & bit:
        end = _property_end(header, bit, start, len(header))
    return header[:12] + bytes([flags >> 8, flags & 0xFF]) + header[_FIXED_BYTES:start] + encoded + header[end:]


def with_headers(header: bytes, table: FieldTable) -> bytes:
    return with_property(header, HEADERS, len(table.raw).to_bytes(4, "big") + table.raw)


def without_headers(header: bytes) -> bytes:
    return without_property(header, HEADERS)


def with_reply_to(header: bytes, address: bytes) -> bytes:
    return with_property(header, REPLY_TO, bytes([len(address)]) + address)


def without_expiration(header: bytes) -> bytes:
    return without_property(header, EXPIRATION)


# All at once, for tools and tests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Properties:
    """All properties of one message; None is absent."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: FieldTable | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


def decode_properties(header: bytes) -> Properties:
    """Checks first, so any bytes will do."""
    check_header(header)
    seconds = timestamp(header)
    return Properties(
        content_type=_text(header, CONTENT_TYPE),
        content_encoding=_text(header, CONTENT_ENCODING),
        headers=headers(header),
        delivery_mode=_optional(delivery_mode(header)),
        priority=_optional(priority(header)),
        correlation_id=_text(header, CORRELATION_ID),
        reply_to=_text(header, REPLY_TO),
        expiration=_text(header, EXPIRATION),
        message_id=_text(header, MESSAGE_ID),
        timestamp=None if seconds < 0 else seconds,
        type=_text(header, TYPE),
        user_id=_text(header, USER_ID),
        app_id=_text(header, APP_ID),
        cluster_id=_text(header, CLUSTER_ID),
    )


def _text(header: bytes, bit: i64) -> str | None:
    raw = short_string(header, bit)
    return None if raw is None else raw.decode("utf-8", "surrogateescape")


def _optional(octet: i64) -> int | None:
    return None if octet < 0 else int(octet)


def encode_header(body_size: int, properties: Properties) -> bytes:
    """The payload of a content header frame; ValueError for what a property can't hold."""
    w = BytesWriter()
    flags = _write_short(w, properties.content_type, CONTENT_TYPE)
    flags |= _write_short(w, properties.content_encoding, CONTENT_ENCODING)
    table = properties.headers
    if table is not None:
        write_i32_be(w, i32(len(table.raw)))
        w.write(table.raw)
        flags |= HEADERS
    flags |= _write_integer(w, properties.delivery_mode, 1, DELIVERY_MODE)
    flags |= _write_integer(w, properties.priority, 1, PRIORITY)
    flags |= _write_short(w, properties.correlation_id, CORRELATION_ID)
    flags |= _write_short(w, properties.reply_to, REPLY_TO)
    flags |= _write_short(w, properties.expiration, EXPIRATION)
    flags |= _write_short(w, properties.message_id, MESSAGE_ID)
    flags |= _write_integer(w, properties.timestamp, 8, TIMESTAMP)
    flags |= _write_short(w, properties.type, TYPE)
    flags |= _write_short(w, properties.user_id, USER_ID)
    flags |= _write_short(w, properties.app_id, APP_ID)
    flags |= _write_short(w, properties.cluster_id, CLUSTER_ID)
    return b"\x00\x3c\x00\x00" + body_size.to_bytes(8, "big") + flags.to_bytes(2, "big") + w.getvalue()


def _write_short(w: BytesWriter, text: str | None, bit: int) -> int:
    if text is None:
        return 0
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) > 255:
        raise ValueError("a short string property has at most 255 bytes")
    w.append(len(raw))
    w.write(raw)
    return bit


def _write_integer(w: BytesWriter, value: int | None, size: int, bit: int) -> int:
    if value is None:
        return 0
    if not 0 <= value < 1 << (8 * size):
        raise ValueError(f"{value} does not fit into {size} bytes")
    w.write(value.to_bytes(size, "big"))
    return bit
