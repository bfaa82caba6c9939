"""One TCP connection to a broker, frame by frame, well-formed or not.

Owns: the socket, cutting the stream into frames, joining methods with their content, an inbox per channel.
Does not own: the transcript, or what should happen. Every wait ends at a deadline.
Frames of one channel keep their order; channels are read independently, since a broker may interleave them as it likes.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from . import codec

WAIT_S = 6.0
# Name of the event that tells that the broker closed the socket.
CLOSED = "(closed)"


class Stuck(Exception):
    """What a behaviour waited for did not come in time."""


class Ended(Exception):
    """The broker closed the socket while a behaviour wanted more of it."""


@dataclass(eq=False)
class Event:
    """Something received on a channel: a method with its content, a stray frame, or the end of the connection."""

    name: str
    channel: int
    arguments: dict[str, Any] = field(default_factory=dict)
    property_bytes: bytes | None = None
    body: bytes = b""
    # Sizes of the whole frames that carried the body.
    body_frames: list[int] = field(default_factory=list)
    body_size: int = -1

    @property
    def is_complete(self) -> bool:
        return self.name not in codec.WITH_CONTENT or len(self.body) == self.body_size

    @property
    def properties(self) -> dict[str, Any]:
        return codec.read_properties(self.property_bytes or b"\0\0")

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]


class Client:
    """The socket of one connection."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._inboxes: dict[int, deque[Event]] = {}
        self._partial: dict[int, Event] = {}
        self.is_ended = False
        self.heartbeats_received = 0

    def close(self) -> None:
        """Drop the socket without a word."""
        self._socket.close()
        self.is_ended = True

    def reset(self) -> None:
        """Drop the socket with a TCP reset, as a killed peer's machine may do."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def half_close(self) -> None:
        """Say that nothing more will be written; still read."""
        self._socket.shutdown(socket.SHUT_WR)

    def write(self, raw: bytes) -> None:
        # A broker that has given up on us may close while we write; what it said before that is still to be read.
        try:
            self._socket.settimeout(WAIT_S)
            self._socket.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def inbox(self, channel: int) -> deque[Event]:
        return self._inboxes.setdefault(channel, deque())

    def next_event(self, channel: int, skip: Collection[str] = (), wait_s: float = WAIT_S) -> Event | None:
        """The next event of `channel` not named in `skip`, or None at the deadline; Ended when no more can come.

        The end of the connection is news to every channel: connection.close is handed to whoever reads next.
        """
        deadline = time.monotonic() + wait_s
        while True:
            event = self._take_event(channel, skip)
            if event is not None:
                return event
            if self.is_ended:
                raise Ended
            if not self._pump(deadline):
                return None

    def _take_event(self, channel: int, skip: Collection[str]) -> Event | None:
        inbox = self.inbox(channel)
        for event in inbox:
            if event.name not in skip:
                inbox.remove(event)
                return event
        control = self.inbox(0)
        if control and control[0].name == "connection.close":
            return control.popleft()
        return None

    def read_raw(self, wait_s: float = WAIT_S) -> bytes:
        """Everything up to the end of the stream, not taken for frames."""
        deadline = time.monotonic() + wait_s
        while self._fill(deadline):
            pass
        if not self.is_ended:
            raise Stuck("the end of the stream")
        raw, self._received = self._received, b""
        return raw

    def read_end(self, wait_s: float = WAIT_S) -> bool:
        """Whether the broker closes the socket in time; frames still coming are kept in the inboxes."""
        deadline = time.monotonic() + wait_s
        while not self.is_ended:
            if not self._pump(deadline):
                return self.is_ended
        return True

    def _fill(self, deadline: float) -> bool:
        """Read once. False at the deadline or at the end of the stream."""
        left_s = deadline - time.monotonic()
        if left_s <= 0 or self.is_ended:
            return False
        self._socket.settimeout(left_s)
        try:
            chunk = self._socket.recv(1 << 16)
        except TimeoutError:
            return False
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self.is_ended = True
            return False
        self._received += chunk
        return True

    def _pump(self, deadline: float) -> bool:
        """Take one frame into its inbox. False at the deadline; the end of the stream also counts as progress."""
        while True:
            taken = self._take_frame()
            if taken:
                return True
            if not self._fill(deadline):
                return self.is_ended

    def _take_frame(self) -> bool:
        raw = self._received
        if raw[:4] == b"AMQP" and len(raw) >= 8:
            self._received = raw[8:]
            self.inbox(0).append(Event("protocol-header", 0, {"octets": raw[:8].hex(" ")}))
            return True
        if len(raw) < 7:
            return False
        kind, channel, size = struct.unpack(">BHI", raw[:7])
        if len(raw) < size + 8:
            return False
        payload, end = raw[7 : 7 + size], raw[7 + size]
        self._received = raw[8 + size :]
        if end != codec.FRAME_END:
            raise codec.Malformed(f"frame end {end:#x}")
        self._take_payload(kind, channel, payload)
        return True

    def _take_payload(self, kind: int, channel: int, payload: bytes) -> None:
        if kind == codec.FRAME_HEARTBEAT:
            # Heartbeats are no part of the conversation; those that look for them count them.
            self.heartbeats_received += 1
            return
        if kind == codec.FRAME_METHOD:
            name, arguments = codec.read_method(payload)
            event = Event(name, channel, arguments)
            if name in codec.WITH_CONTENT:
                self._partial[channel] = event
            else:
                self.inbox(channel).append(event)
            return
        partial = self._partial.get(channel)
        if partial is None:
            raise codec.Malformed(f"frame of type {kind} without a method")
        if kind == codec.FRAME_HEADER:
            class_id, weight, partial.body_size = struct.unpack(">HHQ", payload[:12])
            if (class_id, weight) != (60, 0):
                raise codec.Malformed(f"content header of class {class_id}, weight {weight}")
            partial.property_bytes = payload[12:]
        elif kind == codec.FRAME_BODY:
            partial.body += payload
            partial.body_frames.append(len(payload) + 8)
        else:
            raise codec.Malformed(f"frame type {kind}")
        if partial.is_complete:
            del self._partial[channel]
            self.inbox(channel).append(partial)
