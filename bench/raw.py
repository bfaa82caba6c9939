"""AMQP clients that say raw bytes: whole floods are prepared beforehand and sent in one go, answers are only counted.

Owns: sockets, the handshake, and how often each method came. Does not own what is said. Of what arrives only the frames'
heads are looked at: half a microsecond for a delivery, so that the core that the broker needs is not taken by its clients.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable

from pamqp import commands, frame
from pamqp.base import Frame

RECEIVE_BYTES = 1 << 20
ANSWER_S = 300.0
STEP_S = 0.05

OPEN_OK = b"\x00\x0a\x00\x29"
CONNECTION_CLOSE = b"\x00\x0a\x00\x32"
CHANNEL_OPEN_OK = b"\x00\x14\x00\x0b"
CHANNEL_CLOSE = b"\x00\x14\x00\x28"
CHANNEL_CLOSE_OK = b"\x00\x14\x00\x29"
EXCHANGE_DECLARE_OK = b"\x00\x28\x00\x0b"
EXCHANGE_DELETE_OK = b"\x00\x28\x00\x15"
EXCHANGE_BIND_OK = b"\x00\x28\x00\x1f"
QUEUE_DECLARE_OK = b"\x00\x32\x00\x0b"
QUEUE_BIND_OK = b"\x00\x32\x00\x15"
QUEUE_UNBIND_OK = b"\x00\x32\x00\x33"
QUEUE_PURGE_OK = b"\x00\x32\x00\x1f"
QUEUE_DELETE_OK = b"\x00\x32\x00\x29"
QOS_OK = b"\x00\x3c\x00\x0b"
CONSUME_OK = b"\x00\x3c\x00\x15"
CANCEL_OK = b"\x00\x3c\x00\x1f"
RETURN = b"\x00\x3c\x00\x32"
DELIVER = b"\x00\x3c\x00\x3c"
GET_OK = b"\x00\x3c\x00\x47"
GET_EMPTY = b"\x00\x3c\x00\x48"
RECOVER_OK = b"\x00\x3c\x00\x6f"
TX_SELECT_OK = b"\x00\x5a\x00\x0b"
TX_COMMIT_OK = b"\x00\x5a\x00\x15"
TX_ROLLBACK_OK = b"\x00\x5a\x00\x1f"
# Of these the arguments are kept, of the last one that came.
KEPT = (CONNECTION_CLOSE, CHANNEL_CLOSE, QUEUE_DECLARE_OK)

# Type and size of a frame.
FRAME_HEAD = struct.Struct(">BxxI")
FRAME_METHOD = 1
HEADER = b"AMQP\x00\x00\x09\x01"


class AttackError(Exception):
    """The broker did not do what was expected of it, and what it did instead."""


def method(command: Frame, channel: int = 1) -> bytes:
    return frame.marshal(command, channel)


def handshake(user: str = "guest", password: str = "guest", heartbeat_s: int = 0) -> bytes:
    """All that a client says until channel 1 is open, without waiting for an answer."""
    start = commands.Connection.StartOk({"product": "neighbours"}, "PLAIN", f"\0{user}\0{password}", "en_US")
    tune = commands.Connection.TuneOk(2047, 131072, heartbeat_s)
    spoken = [
        method(start, 0),
        method(tune, 0),
        method(commands.Connection.Open("/"), 0),
        method(commands.Channel.Open()),
    ]
    return HEADER + b"".join(spoken)


class Peer:
    """One connection; `Wire` moves its bytes."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        # By the four octets of class and method.
        self.seen: Counter[bytes] = Counter()
        self.taken: Counter[bytes] = Counter()
        self.kept: dict[bytes, bytes] = {}
        self.is_gone = False
        self.is_reading = True
        self.received_bytes = 0
        self.outgoing: list[memoryview] = []
        self._rest = b""
        # Of a content frame, not come yet.
        self._skipped_bytes = 0

    def take(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if self._rest:
            data = self._rest + data
        at, end = self._skipped_bytes, len(data)
        while end - at > FRAME_HEAD.size:
            kind, size = FRAME_HEAD.unpack_from(data, at)
            after = at + size + 8
            if kind == FRAME_METHOD:
                if after > end:
                    break
                index = data[at + 7 : at + 11]
                self.seen[index] += 1
                if index in KEPT:
                    self.kept[index] = data[at + 11 : after - 1]
            at = after
        self._skipped_bytes = max(0, at - end)
        self._rest = data[at:]

    def came(self, index: bytes) -> int:
        """How many have come that nobody has waited for yet."""
        return self.seen[index] - self.taken[index]

    @property
    def is_refused(self) -> bool:
        return self.is_gone or CHANNEL_CLOSE in self.kept or CONNECTION_CLOSE in self.kept

    def complaint(self) -> str:
        """Why the broker closed; empty when it did not."""
        close = self.kept.get(CHANNEL_CLOSE) or self.kept.get(CONNECTION_CLOSE)
        if close is None:
            return "it closed the socket" if self.is_gone else ""
        return f"it closed: {int.from_bytes(close[:2], 'big')} {close[3 : 3 + close[2]].decode(errors='replace')}"

    def message_count(self) -> int:
        """Of the last queue.declare-ok."""
        payload = self.kept[QUEUE_DECLARE_OK]
        return int.from_bytes(payload[1 + payload[0] : 5 + payload[0]], "big")


class Wire:
    """All connections of an attack, moved together by one thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()

    def connect(self, count: int = 1, heartbeat_s: int = 0) -> list[Peer]:
        """Logged in, each with channel 1 open."""
        peers = [self.dial(handshake(heartbeat_s=heartbeat_s)) for _ in range(count)]
        for peer in peers:
            self.wait(peer, CHANNEL_OPEN_OK)
        return peers

    def dial(self, spoken: bytes) -> Peer:
        """A connection that says this as soon as it stands."""
        connected = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setblocking(False)
        peer = Peer(connected)
        self._selector.register(connected, selectors.EVENT_READ, peer)
        self.send(peer, spoken, is_waiting=False)
        return peer

    def send(self, peer: Peer, data: bytes, is_waiting: bool = True, timeout_s: float = ANSWER_S) -> None:
        """Into the socket, in one go as far as that takes it; answers are read meanwhile."""
        peer.outgoing.append(memoryview(data))
        self._write(peer)
        if is_waiting:
            self.run_until(lambda: not peer.outgoing or peer.is_gone, timeout_s)

    def wait(self, peer: Peer, index: bytes, count: int = 1, timeout_s: float = ANSWER_S) -> None:
        """Until so many more of the method have come."""
        self.run_until(lambda: peer.came(index) >= count or peer.is_refused, timeout_s)
        if peer.came(index) < count:
            raise AttackError(peer.complaint() or f"{peer.came(index)} of {count} answers came in {timeout_s:g} s")
        peer.taken[index] += count

    def call(self, peer: Peer, command: Frame, answer: bytes, channel: int = 1) -> None:
        self.send(peer, method(command, channel))
        self.wait(peer, answer)

    def expect(self, is_done: Callable[[], bool], what: str, timeout_s: float = ANSWER_S) -> None:
        if not self.run_until(is_done, timeout_s):
            raise AttackError(f"{what} within {timeout_s:g} s: no")

    def run_until(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not is_done():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            self.step(min(left_s, STEP_S))
        return True

    def step(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            peer: Peer = key.data
            if events & selectors.EVENT_WRITE:
                self._write(peer)
            if events & selectors.EVENT_READ:
                self._read(peer)

    def stop_reading(self, peer: Peer) -> None:
        peer.is_reading = False
        self._watch(peer)

    def drop(self, peer: Peer) -> None:
        """Gone without a word."""
        if not peer.is_gone:
            self._gone(peer)
        peer.socket.close()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self.drop(key.data)
        self._selector.close()

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            peer.take(data)
        elif not peer.is_gone:
            self._gone(peer)

    def _write(self, peer: Peer) -> None:
        while peer.outgoing:
            try:
                sent = peer.socket.send(peer.outgoing[0])
            except BlockingIOError:
                break
            except OSError:
                peer.outgoing.clear()
                break
            rest = peer.outgoing[0][sent:]
            peer.outgoing[:1] = [rest] if rest else []
        self._watch(peer)

    def _watch(self, peer: Peer) -> None:
        if peer.is_gone:
            return
        events = (selectors.EVENT_READ if peer.is_reading else 0) | (selectors.EVENT_WRITE if peer.outgoing else 0)
        known = peer.socket in self._selector.get_map()
        if not events and known:
            self._selector.unregister(peer.socket)
        elif events and not known:
            self._selector.register(peer.socket, events, peer)
        elif events and self._selector.get_key(peer.socket).events != events:
            self._selector.modify(peer.socket, events, peer)

    def _gone(self, peer: Peer) -> None:
        peer.is_gone = True
        peer.outgoing.clear()
        if peer.socket in self._selector.get_map():
            self._selector.unregister(peer.socket)
