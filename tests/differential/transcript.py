"""What was said, as lines that two brokers can be compared by.

Owns: rendering of methods, tables, properties and bodies; placeholders for whatever differs from run to run.
Invariant: nothing in a line depends on the clock, on a port, or on a generated name.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Mapping
from typing import Any

from . import codec
from .client import CLOSED, Event

_GENERATED = re.compile(r"amq\.(gen|ctag|rabbitmq\.reply-to)[-.][A-Za-z0-9_.+/=-]*[A-Za-z0-9_+/=-]")

# How far a broker's timestamp may be from our clock and still be called now.
NOW_S = 30.0


def render_text(text: str) -> str:
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "'" + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown) + "'"


def render_bytes(raw: bytes) -> str:
    if len(raw) > 100:
        return f"<{len(raw)} bytes, crc {zlib.crc32(raw):08x}>"
    return repr(raw)[1:]


def render_typed(tag: str, value: Any) -> str:
    if tag == "F":
        return "F" + render_table(value)
    if tag == "A":
        return "A[" + ", ".join(render_typed(*item) for item in value) + "]"
    if tag in ("S", "x"):
        return tag + render_bytes(value)
    if tag == "V":
        return "V"
    return f"{tag}:{value}"


def render_field(field: codec.Field) -> str:
    # The time in an x-death table: that it is there, that it is a timestamp, and that it is about now.
    if field.name == "time" and field.tag == "T" and abs(time.time() - field.value) < NOW_S:
        return "time: T:<now>"
    return f"{field.name}: {render_typed(field.tag, field.value)}"


def render_table(fields: list[codec.Field]) -> str:
    return "{" + ", ".join(render_field(field) for field in fields) + "}"


def render_argument(kind: str, value: Any) -> str:
    if kind == "T":
        return render_table(value)
    if kind in ("s", "S"):
        return render_text(value)
    if kind == "b":
        return "1" if value else "0"
    return str(value)


def render_sent(name: str, arguments: Mapping[str, Any]) -> str:
    """A method as the script gave it: only what it set."""
    words = [name]
    for argument, kind in codec.BY_NAME[name].arguments:
        if argument not in arguments:
            continue
        value = arguments[argument]
        if kind == "b":
            words.append(argument if value else f"not-{argument}")
        elif kind == "T":
            encoded = codec.table(value)
            try:
                words.append(argument + "=" + render_table(codec.Reader(encoded).table()))
            except (codec.Malformed, UnicodeDecodeError):
                words.append(f"{argument}=<{encoded.hex(' ')}>")
        elif kind in ("s", "S"):
            words.append(f"{argument}=" + render_text(codec.as_bytes(value).decode("utf-8", "surrogateescape")))
        else:
            words.append(f"{argument}={value}")
    return " ".join(words)


def render_properties(property_bytes: bytes) -> str:
    kinds = dict(codec.PROPERTIES)
    found = codec.read_properties(property_bytes)
    return "{" + ", ".join(f"{name}={render_argument(kinds[name], value)}" for name, value in found.items()) + "}"


def render_event(event: Event) -> str:
    """A method as the broker sent it: everything."""
    if event.name == CLOSED:
        return CLOSED
    if event.name == "protocol-header":
        return f"protocol-header {event['octets']}"
    words = [event.name]
    for argument, kind in codec.BY_NAME[event.name].arguments:
        if not argument.startswith("reserved"):
            words.append(f"{argument}={render_argument(kind, event[argument])}")
    if event.property_bytes is not None:
        words += [render_properties(event.property_bytes), render_bytes(event.body)]
    return " ".join(words)


class Transcript:
    """The lines of one behaviour."""

    def __init__(self, token: str) -> None:
        self.lines: list[str] = []
        self._token = token
        self._placeholders: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, line: str) -> None:
        self.lines.append(self.normalise(line))

    def normalise(self, line: str) -> str:
        """Without this run's token, and with generated names numbered in the order in which they appear."""
        return _GENERATED.sub(self._placeholder, line.replace(f"-{self._token}", ""))

    def _placeholder(self, found: re.Match[str]) -> str:
        name = found.group()
        if name not in self._placeholders:
            kind = found.group(1).removeprefix("rabbitmq.")
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._placeholders[name] = f"<{kind} {self._counts[kind]}>"
        return self._placeholders[name]
