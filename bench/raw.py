"""AMQP clients that say raw bytes: whole floods are prepared beforehand and sent in one go, answers are only counted.

Owns: sockets, the handshake, and how often each method came. Does not own what is said. Answers are not parsed, because that
would take the core that the broker needs: the four octets of a method's class and index are counted where they stand. They
can't stand anywhere else as long as bodies are letters and delivery tags stay below 1.3 million (0x140028).
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable

from pamqp import commands, frame
from pamqp.base import Frame

RECEIVE_BYTES = 1 << 20
ANSWER_S = 300.0
TAIL_BYTES = 2048
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
COUNTED = tuple(value for value in dict(globals()).values() if isinstance(value, bytes) and len(value) == 4)

# Frame type, channel, size; class and index; reply code, length of the reply text.
CLOSE = re.compile(rb"\x01..\x00\x00..\x00(?:\x0a\x00\x32|\x14\x00\x28)(..)(.)", re.DOTALL)
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
        self.seen = dict.fromkeys(COUNTED, 0)
        self.taken = dict.fromkeys(COUNTED, 0)
        self.tail = b""
        self.is_gone = False
        self.is_reading = True
        self.received_bytes = 0
        self.outgoing: list[memoryview] = []

    def take(self, data: bytes) -> None:
        self.received_bytes += len(data)
        # A method may be cut anywhere; one that was whole in the last chunk does not fit into three octets.
        joined = self.tail[-3:] + data
        for index in COUNTED:
            self.seen[index] += joined.count(index)
        self.tail = (self.tail + data)[-TAIL_BYTES:] if len(data) < TAIL_BYTES else data[-TAIL_BYTES:]

    def came(self, index: bytes) -> int:
        """How many have come that nobody has waited for yet."""
        return self.seen[index] - self.taken[index]

    def complaint(self) -> str:
        """Why the broker closed; empty when it did not."""
        found = CLOSE.search(self.tail)
        if found is None:
            return "it closed the socket" if self.is_gone else ""
        text = self.tail[found.end() : found.end() + found[2][0]].decode(errors="replace")
        return f"it closed: {int.from_bytes(found[1], 'big')} {text}"


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
        self.run_until(lambda: peer.came(index) >= count or peer.seen[CHANNEL_CLOSE] > 0 or peer.is_gone, timeout_s)
        if peer.came(index) < count:
            self.run_until(lambda: False, STEP_S)
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
