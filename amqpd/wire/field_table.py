"""Field tables: kept as the bytes that came in, read by key, changed by splicing.

    table   = *( key-size:octet key tag:octet value )       without the 4-byte size that goes before it on the wire
    array   = *( tag:octet value )

    t bool                b signed octet    s signed short    I signed long    l L signed long-long
                          B octet           u short           i long
    f float  d double     D decimal: scale octet, unsigned long
    S long string         x byte array      A array           F table          (each after a 4-byte size)
    T timestamp, seconds  V void, no bytes

(Tags are RabbitMQ's reading of AMQP 0-9-1 4.2.5.5, whose grammar nobody follows.) Owns: the encoding, its limits and
equality by value. Does not own what keys mean. Invariants: nothing here reads outside the bytes it is given, and the only
error that leaves a reader is SyntaxFault, also for a table that was never checked. Of two entries with one key the
first counts, as in RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, final

from librt.strings import (
    BytesWriter,
    read_f32_be,
    read_f64_be,
    read_i16_be,
    read_i32_be,
    read_i64_be,
    write_f64_be,
    write_i32_be,
    write_i64_be,
)
from mypy_extensions import i32, i64

from amqpd.base.errors import SyntaxFault

# RabbitMQ bounds neither depth nor entries; these bound the stack and what one look at a table may cost.
DEPTH_MAX: Final = 64
ENTRIES_MAX: Final = 1024
# What the size octet can say. AMQP 0-9-1 4.2.5.5 has field names "limited to 128 characters", which nobody obeys.
KEY_BYTES_MAX: Final = 255

# RabbitMQ's words for the types, as they stand in its error texts.
TYPE_NAMES: Final[dict[str, str]] = {
    "t": "bool",
    "b": "byte",
    "B": "unsignedbyte",
    "s": "short",
    "u": "unsignedshort",
    "I": "signedint",
    "i": "unsignedint",
    "l": "long",
    "L": "long",
    "f": "float",
    "d": "double",
    "D": "decimal",
    "S": "longstr",
    "x": "binary",
    "A": "array",
    "F": "table",
    "T": "timestamp",
    "V": "void",
}

INTEGER_TAGS: Final = "bBsuIilL"

_ARRAY: Final = 0x41
_TABLE: Final = 0x46


@final
class Timestamp:
    """Seconds since 1970, type `T`; not an int, so that it is never equal to one."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and self.seconds == other.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    def __repr__(self) -> str:
        return f"Timestamp({self.seconds})"


@final
class FieldTable:
    """One table, unchecked: see `checked_table` for one that a peer sent.

    Two are `==` when their bytes are; equality by value is `equal_tables`.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._plain: dict[str, object] | None = None

    def get(self, key: str) -> object:
        """The value, a nested table as FieldTable; None if absent or void."""
        at = _find(self.raw, key)
        if at < 0:
            return None
        return _decode(self.raw, at, len(self.raw), 1, False)

    def has(self, key: str) -> bool:
        return _find(self.raw, key) >= 0

    def tag(self, key: str) -> str:
        """The one-letter type of the value; "" if absent."""
        at = _find(self.raw, key)
        return "" if at < 0 else chr(self.raw[at])

    def encoded(self, key: str) -> bytes:
        """The value as it stands there, its tag first; b"" if absent."""
        raw = self.raw
        at = _find(raw, key)
        return b"" if at < 0 else raw[at : _value_end(raw, at, len(raw))]

    def comes_before(self, key: str, other: str) -> bool:
        """Whether both are there, and in this order."""
        at = _find(self.raw, key)
        return 0 <= at < _find(self.raw, other)

    def tables(self, key: str, count_max: i64) -> list[FieldTable]:
        """The tables in the array of this key, the first so many, whatever else is in it; none if it is no array."""
        raw = self.raw
        at = _find(raw, key)
        found: list[FieldTable] = []
        if at < 0 or raw[at] != _ARRAY:
            return found
        end = _value_end(raw, at, len(raw))
        at += 5
        while at < end and len(found) < count_max:
            after = _value_end(raw, at, end)
            if raw[at] == _TABLE:
                found.append(FieldTable(raw[at + 5 : after]))
            at = after
        return found

    def is_true(self, key: str) -> bool:
        """Whether the value is a boolean and true, which is how capabilities are announced."""
        value = self.get(key)
        return isinstance(value, bool) and value

    def entries(self) -> list[tuple[str, str, object]]:
        """(key, tag, value) of every entry in order, repeated keys included; values as `get` gives them."""
        raw = self.raw
        end: i64 = len(raw)
        found: list[tuple[str, str, object]] = []
        at: i64 = 0
        while at < end:
            tag_at = _tag_at(raw, at, end)
            after = _value_end(raw, tag_at, end)
            found.append((_text(raw[at + 1 : tag_at]), chr(raw[tag_at]), _decode(raw, tag_at, end, 1, False)))
            at = after
        return found

    def keys(self) -> list[str]:
        return [key for key, _, _ in self.entries()]

    def items(self) -> list[tuple[str, object]]:
        return [(key, value) for key, _, value in self.entries()]

    def to_dict(self) -> dict[str, object]:
        """All of it as plain Python, nested tables as dicts; decoded once, so not to be changed."""
        plain = self._plain
        if plain is None:
            plain = _decode_table(self.raw, 0, len(self.raw), 1)
            self._plain = plain
        return plain

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldTable) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"FieldTable({self.to_dict()!r})"


EMPTY_TABLE: Final = FieldTable(b"")


def type_name(tag: str) -> str:
    """RabbitMQ's name of a type; "none" for "", so that an absent argument reads as in its texts."""
    return TYPE_NAMES.get(tag, "none")


# Walking --------------------------------------------------------------------------------------------------------------


def check_table(raw: bytes) -> None:
    """Refuse, with SyntaxFault, whatever is malformed or beyond the limits; reads each byte once."""
    _check_entries(raw, 0, len(raw), 1)


def checked_table(raw: bytes) -> FieldTable:
    if len(raw) == 0:
        return EMPTY_TABLE
    check_table(raw)
    return FieldTable(raw)


def _check_entries(raw: bytes, start: i64, end: i64, depth: i64) -> None:
    if depth > DEPTH_MAX:
        raise SyntaxFault(f"field table nested deeper than {DEPTH_MAX}")
    at = start
    count: i64 = 0
    while at < end:
        count += 1
        if count > ENTRIES_MAX:
            raise SyntaxFault(f"field table with more than {ENTRIES_MAX} entries")
        tag_at = _tag_at(raw, at, end)
        at = _value_end(raw, tag_at, end)
        tag = raw[tag_at]
        if tag == _TABLE:
            _check_entries(raw, tag_at + 5, at, depth + 1)
        elif tag == _ARRAY:
            _check_elements(raw, tag_at + 5, at, depth + 1)


def _check_elements(raw: bytes, start: i64, end: i64, depth: i64) -> None:
    # No bound on the count: the frame bounds it, each element costs its own bytes, and RabbitMQ has none either.
    if depth > DEPTH_MAX:
        raise SyntaxFault(f"field table nested deeper than {DEPTH_MAX}")
    tag_at = start
    while tag_at < end:
        after = _value_end(raw, tag_at, end)
        tag = raw[tag_at]
        if tag == _TABLE:
            _check_entries(raw, tag_at + 5, after, depth + 1)
        elif tag == _ARRAY:
            _check_elements(raw, tag_at + 5, after, depth + 1)
        tag_at = after


def _tag_at(raw: bytes, at: i64, end: i64) -> i64:
    """Where the tag of the entry that starts `at` stands."""
    key_size: i64 = raw[at]
    tag_at = at + 1 + key_size
    if tag_at >= end:
        raise SyntaxFault("field table ends inside an entry")
    return tag_at


def _value_end(raw: bytes, tag_at: i64, end: i64) -> i64:
    """Where the value whose tag stands at `tag_at` ends, which is never after `end`."""
    tag: i64 = raw[tag_at]
    size: i64
    # Long strings, signed longs and booleans are nearly all that is ever seen, hence first.
    if tag == 0x53 or tag == 0x46 or tag == 0x41 or tag == 0x78:  # S F A x
        if tag_at + 5 > end:
            raise SyntaxFault("field table ends inside a value")
        size = 4 + (i64(read_i32_be(raw, tag_at + 1)) & 0xFFFFFFFF)
    elif tag == 0x49 or tag == 0x69 or tag == 0x66:  # I i f
        size = 4
    elif tag == 0x74 or tag == 0x62 or tag == 0x42:  # t b B
        size = 1
    elif tag == 0x6C or tag == 0x4C or tag == 0x54 or tag == 0x64:  # l L T d
        size = 8
    elif tag == 0x73 or tag == 0x75:  # s u
        size = 2
    elif tag == 0x44:  # D
        size = 5
    elif tag == 0x56:  # V
        size = 0
    else:
        raise SyntaxFault(f"field table with a value of unknown type {tag}")
    after = tag_at + 1 + size
    if after > end:
        raise SyntaxFault("field table ends inside a value")
    return after


def _find(raw: bytes, key: str) -> i64:
    """Where the tag of the first entry with `key` stands; -1 if there is none."""
    end: i64 = len(raw)
    if end == 0:
        return -1
    wanted = key.encode("utf-8", "surrogateescape")
    size: i64 = len(wanted)
    at: i64 = 0
    while at < end:
        tag_at = _tag_at(raw, at, end)
        if raw[at] == size and raw[at + 1 : tag_at] == wanted:
            _value_end(raw, tag_at, end)
            return tag_at
        at = _value_end(raw, tag_at, end)
    return -1


# Decoding -------------------------------------------------------------------------------------------------------------


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _decode(raw: bytes, tag_at: i64, end: i64, depth: i64, plainly: bool) -> object:
    """The value whose tag stands at `tag_at`; nested tables as dicts if `plainly`, else as FieldTable."""
    if depth > DEPTH_MAX:
        raise SyntaxFault(f"field table nested deeper than {DEPTH_MAX}")
    after = _value_end(raw, tag_at, end)
    tag = chr(raw[tag_at])
    at: i64 = tag_at + 1
    if tag == "S":
        return _text(raw[at + 4 : after])
    if tag == "t":
        return raw[at] != 0
    if tag == "I":
        return int(i64(read_i32_be(raw, at)))
    if tag == "l" or tag == "L":
        return int(read_i64_be(raw, at))
    if tag == "F":
        if plainly:
            return _decode_table(raw, at + 4, after, depth + 1)
        return FieldTable(raw[at + 4 : after])
    if tag == "A":
        return _decode_array(raw, at + 4, after, depth + 1, plainly)
    if tag == "x":
        return raw[at + 4 : after]
    if tag == "V":
        return None
    if tag == "T":
        return Timestamp(int(read_i64_be(raw, at)) & 0xFFFFFFFFFFFFFFFF)
    if tag == "d":
        return read_f64_be(raw, at)
    if tag == "f":
        return read_f32_be(raw, at)
    if tag == "D":
        return Decimal(int(i64(read_i32_be(raw, at + 1)) & 0xFFFFFFFF)).scaleb(-raw[at])
    if tag == "i":
        return int(i64(read_i32_be(raw, at)) & 0xFFFFFFFF)
    if tag == "s":
        return int(i64(read_i16_be(raw, at)))
    if tag == "u":
        return int(i64(read_i16_be(raw, at)) & 0xFFFF)
    octet = raw[at]
    return octet - 256 if tag == "b" and octet > 127 else octet


def _decode_table(raw: bytes, start: i64, end: i64, depth: i64) -> dict[str, object]:
    plain: dict[str, object] = {}
    at = start
    while at < end:
        tag_at = _tag_at(raw, at, end)
        key = _text(raw[at + 1 : tag_at])
        if key not in plain:
            plain[key] = _decode(raw, tag_at, end, depth, True)
        at = _value_end(raw, tag_at, end)
    return plain


def _decode_array(raw: bytes, start: i64, end: i64, depth: i64, plainly: bool) -> list[object]:
    elements: list[object] = []
    at = start
    while at < end:
        elements.append(_decode(raw, at, end, depth, plainly))
        at = _value_end(raw, at, end)
    return elements


# Encoding and splicing ------------------------------------------------------------------------------------------------


def encode_table(values: Mapping[str, object]) -> FieldTable:
    """Python to a table; ValueError for what no field can hold."""
    if not values:
        return EMPTY_TABLE
    w = BytesWriter()
    _write_table(w, values, 1)
    return FieldTable(w.getvalue())


def encode_value(value: object) -> tuple[str, bytes]:
    """(tag, bytes after the tag), as `with_entry` wants them."""
    w = BytesWriter()
    _write_value(w, value, 1)
    tagged = w.getvalue()
    return chr(tagged[0]), tagged[1:]


def with_entry(table: FieldTable, key: str, tag: str, encoded_value: bytes) -> FieldTable:
    """The table with this value in the place of the key's first, or at the end; all other bytes stay what they are."""
    raw = table.raw
    name = _key_bytes(key)
    entry = bytes([len(name)]) + name + tag.encode("ascii") + encoded_value
    tag_at = _find(raw, key)
    if tag_at < 0:
        return FieldTable(raw + entry)
    start = tag_at - 1 - len(name)
    return FieldTable(raw[:start] + entry + raw[_value_end(raw, tag_at, len(raw)) :])


def with_value(table: FieldTable, key: str, value: object) -> FieldTable:
    tag, encoded = encode_value(value)
    return with_entry(table, key, tag, encoded)


def without(table: FieldTable, key: str) -> FieldTable:
    """The table without any entry of this key; itself if there is none."""
    size: i64 = len(_key_bytes(key))
    while True:
        raw = table.raw
        tag_at = _find(raw, key)
        if tag_at < 0:
            return table
        table = FieldTable(raw[: tag_at - 1 - size] + raw[_value_end(raw, tag_at, len(raw)) :])


def _key_bytes(key: str) -> bytes:
    name = key.encode("utf-8", "surrogateescape")
    if len(name) > KEY_BYTES_MAX:
        raise ValueError(f"a field table key has at most {KEY_BYTES_MAX} bytes")
    return name


def _write_table(w: BytesWriter, values: Mapping[str, object], depth: i64) -> None:
    if depth > DEPTH_MAX:
        raise ValueError(f"a field table is nested at most {DEPTH_MAX} deep")
    for key, value in values.items():
        name = _key_bytes(key)
        w.append(len(name))
        w.write(name)
        _write_value(w, value, depth)


def _write_value(w: BytesWriter, value: object, depth: i64) -> None:
    if isinstance(value, str):
        _write_sized(w, "S", value.encode("utf-8", "surrogateescape"))
    elif isinstance(value, bool):
        w.append(ord("t"))
        w.append(1 if value else 0)
    elif isinstance(value, int):
        _write_integer(w, value)
    elif isinstance(value, bytes):
        _write_sized(w, "S", value)
    elif value is None:
        w.append(ord("V"))
    elif isinstance(value, FieldTable):
        _write_sized(w, "F", value.raw)
    elif isinstance(value, dict):
        nested = BytesWriter()
        _write_table(nested, value, depth + 1)
        _write_sized(w, "F", nested.getvalue())
    elif isinstance(value, (list, tuple)):
        nested = BytesWriter()
        if depth >= DEPTH_MAX:
            raise ValueError(f"a field table is nested at most {DEPTH_MAX} deep")
        for element in value:
            _write_value(nested, element, depth + 1)
        _write_sized(w, "A", nested.getvalue())
    elif isinstance(value, float):
        w.append(ord("d"))
        write_f64_be(w, value)
    elif isinstance(value, Timestamp):
        w.append(ord("T"))
        w.write((value.seconds & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big"))
    elif isinstance(value, datetime):
        # A naive one is taken as UTC: the core knows no other zone.
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        w.append(ord("T"))
        write_i64_be(w, i64(int(aware.timestamp())))
    elif isinstance(value, Decimal):
        _write_decimal(w, value)
    else:
        raise ValueError(f"no field type holds a {type(value).__name__}")


def _write_sized(w: BytesWriter, tag: str, raw: bytes) -> None:
    w.append(ord(tag))
    write_i32_be(w, i32(len(raw)))
    w.write(raw)


def _write_integer(w: BytesWriter, value: int) -> None:
    if -0x80000000 <= value <= 0x7FFFFFFF:
        w.append(ord("I"))
        write_i32_be(w, i32(value))
    elif -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        w.append(ord("l"))
        write_i64_be(w, i64(value))
    else:
        raise ValueError(f"{value} does not fit into 64 bits")


def _write_decimal(w: BytesWriter, value: Decimal) -> None:
    if not value.is_finite():
        raise ValueError(f"no field type holds {value}")
    scale = 0
    while scale < 255 and value <= 0xFFFFFFFF and value != value.to_integral_value():
        value = value.scaleb(1)
        scale += 1
    if not 0 <= value <= 0xFFFFFFFF or value != value.to_integral_value():
        raise ValueError("a decimal field holds 32 unsigned bits and a scale up to 255")
    unscaled = int(value)
    w.append(ord("D"))
    w.append(scale)
    w.write(unscaled.to_bytes(4, "big"))


# Equality by value ----------------------------------------------------------------------------------------------------


def equal_tables(a: FieldTable, b: FieldTable) -> bool:
    """The same keys with the same values, in any order; see `same_value`."""
    return a.raw == b.raw or _same_tables(a, b, 1)


def same_value(a: object, b: object, tag_a: str = "", tag_b: str = "") -> bool:
    """Whether two decoded values are equal whatever the width they came in.

    All integer types compare by value, and a long string with a byte array; a boolean is no integer, an integer no
    float, a timestamp neither; a decimal is its scale and digits, as in RabbitMQ, so that 3.14 is not 3.140. The tags
    are optional: a value's kind is told from the value where they are "".
    """
    return _same(a, b, tag_a, tag_b, 1)


def _same(a: object, b: object, tag_a: str, tag_b: str, depth: i64) -> bool:
    kind = _kind(a, tag_a)
    if kind != _kind(b, tag_b):
        return False
    if kind == "string":
        return _octets(a) == _octets(b)
    if kind == "table":
        return _same_tables(_as_table(a), _as_table(b), depth + 1)
    if kind == "array":
        return _same_arrays(a, b, depth + 1)
    if kind == "decimal":
        return str(a) == str(b)
    return a == b


def _kind(value: object, tag: str) -> str:
    if tag != "":
        if tag in INTEGER_TAGS:
            return "integer"
        if tag == "S" or tag == "x":
            return "string"
        if tag == "f" or tag == "d":
            return "float"
        return type_name(tag)
    if isinstance(value, (str, bytes)):
        return "string"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, (FieldTable, dict)):
        return "table"
    if isinstance(value, (list, tuple)):
        return "array"
    if isinstance(value, float):
        return "float"
    if isinstance(value, Timestamp):
        return "timestamp"
    if isinstance(value, Decimal):
        return "decimal"
    return "void"


def _octets(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    assert isinstance(value, bytes)
    return value


def _as_table(value: object) -> FieldTable:
    if isinstance(value, FieldTable):
        return value
    assert isinstance(value, dict)
    return encode_table(value)


def _same_arrays(a: object, b: object, depth: i64) -> bool:
    assert isinstance(a, (list, tuple)) and isinstance(b, (list, tuple))
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        if not _same(a[i], b[i], "", "", depth):
            return False
    return True


def _same_tables(a: FieldTable, b: FieldTable, depth: i64) -> bool:
    if depth > DEPTH_MAX:
        raise SyntaxFault(f"field table nested deeper than {DEPTH_MAX}")
    mine = _first_entries(a)
    theirs = _first_entries(b)
    if len(mine) != len(theirs):
        return False
    for key, (tag, value) in mine.items():
        other = theirs.get(key)
        if other is None or not _same(value, other[1], tag, other[0], depth):
            return False
    return True


def _first_entries(table: FieldTable) -> dict[str, tuple[str, object]]:
    found: dict[str, tuple[str, object]] = {}
    for key, tag, value in table.entries():
        if key not in found:
            found[key] = (tag, value)
    return found
