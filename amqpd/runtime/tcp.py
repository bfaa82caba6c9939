"""Sockets: listeners, and one Peer per accepted connection.

Owns: the transports, their back-pressure in both directions, and the patience with peers that don't read. Does not own
the order of a turn (turn.py), who may stay (admission.py), nor a single byte of AMQP (the core).
Invariant: a Peer calls `broker.connect` once and `broker.lost` once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from amqpd.config import Address
from amqpd.runtime.admission import DONE, Admission, Guest
from amqpd.runtime.turn import Turn

if TYPE_CHECKING:
    from amqpd.base.limits import Limits
    from amqpd.connections.connection import Connection

# uvloop reads into a buffer of 256 KiB; what fills (nearly) all of it comes from a peer that has more to say.
READ_BYTES_FULL = 200 * 1024


class Peers:
    """What all peers share, and those of them that need watching."""

    def __init__(self, turn: Turn, admission: Admission, limits: Limits) -> None:
        self.turn = turn
        self.admission = admission
        self.limits = limits
        # Peers that left unread as much as the kernel and our buffer hold, and peers that should be gone soon.
        self.watched: dict[Peer, None] = {}
        self.lost_count = 0
        # Somebody waits for a place: set by who calls them in.
        self.line_up: Callable[[], None] = lambda: None
        # By reason, what happened to strangers since `watch`.
        self._said_count: dict[str, int] = {}

    def watch(self, now_s: float) -> None:
        """Once per second: give up those that make no progress."""
        self.admission.expire(int(now_s * 1000))
        for peer in list(self.watched):
            peer.lose_patience(now_s)
        for why, count in self._said_count.items():
            if count > 1:
                self._say(f"{count - 1} more connections went the same way: {why}")
        self._said_count.clear()

    def say_of(self, what: str, why: str) -> None:
        """Of a stranger: `what` happened to it, and why. Strangers may come by the thousand, so one a second is named."""
        count = self._said_count.get(why, 0)
        self._said_count[why] = count + 1
        if count == 0:
            self._say(f"{what}: {why}")

    def _say(self, line: str) -> None:
        self.turn.begin()
        self.turn.broker.agenda.warn(line)


class Peer(asyncio.Protocol):
    __slots__ = (
        "_connection",
        "_guest",
        "_is_full",
        "_is_leaving",
        "_is_reading",
        "_patience_s",
        "_peers",
        "_transport",
        "_turn",
        "_unsent_bytes",
    )

    _connection: Connection
    _transport: asyncio.Transport

    def __init__(self, peers: Peers, guest: Guest) -> None:
        self._peers = peers
        self._guest = guest
        self._turn = peers.turn
        self._is_reading = True
        self._is_leaving = False
        self._is_full = False
        # Deadline for progress while watched: the loop's time, or 0 before the first look.
        self._patience_s = 0.0
        self._unsent_bytes = 0

    # From the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        peers = self._peers
        guest = self._guest
        if guest.stage == DONE:
            # Dropped while the loop was making the transport.
            transport.abort()
            return
        high = peers.limits.outgoing_bytes_max
        transport.set_write_buffer_limits(high=high, low=high // 4)
        turn = self._turn
        turn.begin()
        is_tls = transport.get_extra_info("sslcontext") is not None
        connection = turn.broker.connect(guest.host, guest.port, is_tls)
        connection.deadline_ms = guest.deadline_ms
        self._connection = connection
        turn.peers[connection] = self
        guest.connection = connection

    def data_received(self, data: bytes) -> None:
        turn = self._turn
        if not turn.is_open:
            turn.begin()
        connection = self._connection
        turn.broker.receive(connection, data)
        if not connection.reading:
            self._read_or_not()
        elif len(data) >= READ_BYTES_FULL and self._is_reading:
            # There is more: the loop would read up to 32 such buffers before anything leaves. Others come first.
            self._is_reading = False
            self._transport.pause_reading()
            turn.resting.append(self)

    def pause_writing(self) -> None:
        self._is_full = True
        self._turn.begin()
        self._connection.set_writable(False)
        self._watch()

    def resume_writing(self) -> None:
        self._is_full = False
        self._turn.begin()
        self._peers.watched.pop(self, None)
        # What the core held back leaves at the end of this turn.
        self._connection.set_writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        peers = self._peers
        peers.admission.leave(self._guest)
        self._guest.forget()
        connection = getattr(self, "_connection", None)
        if connection is None:
            return
        peers.watched.pop(self, None)
        peers.lost_count += 1
        turn = self._turn
        del turn.peers[connection]
        turn.begin()
        turn.broker.lost(connection)

    # From the turn

    def flush(self) -> None:
        connection = self._connection
        transport = self._transport
        output = connection.take_output()
        if transport.is_closing():
            return
        if output:
            transport.write(output)
        if self._is_full:
            connection.unsent(transport.get_write_buffer_size())
        if connection.closing:
            self._say_goodbye()
        else:
            self._read_or_not()

    def _say_goodbye(self) -> None:
        """We have said our last word, but the peer may be in the middle of one: a closed socket would answer that with a
        reset, which takes our word away unread. So we only end our side, and discard what comes until the peer ends its.
        A peer that closes in order ends first, as with RabbitMQ.
        """
        if self._is_leaving:
            return
        self._is_leaving = True
        if self._connection.is_peer_leaving:
            self._read_or_not()
        elif self._transport.can_write_eof():
            self._transport.write_eof()
            self._read_or_not()
        else:
            self._transport.close()
        self._watch()

    def rested(self) -> None:
        """The turn in which this peer had filled its buffer is over."""
        self._read_or_not()

    def abort(self) -> None:
        self._transport.abort()

    def _read_or_not(self) -> None:
        reading = self._connection.reading or self._is_leaving
        if reading is self._is_reading or self._transport.is_closing():
            return
        self._is_reading = reading
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # Patience

    def _watch(self) -> None:
        if self not in self._peers.watched:
            self._patience_s = 0.0
            self._peers.watched[self] = None

    def lose_patience(self, now_s: float) -> None:
        limits = self._peers.limits
        unsent_bytes = self._transport.get_write_buffer_size()
        if self._patience_s == 0.0 or unsent_bytes < self._unsent_bytes:
            timeout_ms = limits.close_timeout_ms if self._is_leaving else limits.outgoing_stalled_timeout_ms
            self._patience_s = now_s + timeout_ms / 1000
        elif now_s >= self._patience_s:
            self._turn.begin()
            if not self._is_leaving:
                self._connection.give_up(f"it has not read for too long, with {unsent_bytes} bytes waiting")
            self._transport.abort()
        self._unsent_bytes = unsent_bytes


class CannotListen(Exception):
    """An address that can't be listened on, as one sentence."""


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def bind(address: Address) -> list[socket.socket]:
    """Listening sockets for all that the host name stands for; accepting begins with `listen`."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"can't listen on {address}: {error.strerror}") from None
    bound: list[socket.socket] = []
    for family, kind, protocol, _, name in dict.fromkeys(found):
        listening = socket.socket(family, kind, protocol)
        bound.append(listening)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit it: a confirm must not wait for the peer's delayed ack.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(name)
            listening.setblocking(False)
        except OSError as error:
            for each in bound:
                each.close()
            raise CannotListen(f"can't listen on {address}: {error.strerror}") from None
    return bound
