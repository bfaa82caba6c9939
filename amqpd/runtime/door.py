"""The door: every socket from accept until its first bytes, and then into its handshake.

    accept   a place with Admission, or the socket is closed at once
    wait     on the bare socket, which costs next to nothing: a transport or a TLS object is made for who speaks
    come in  the loop makes a transport, with TLS its handshake; then the socket belongs to a Peer (tcp.py)

Owns: the listening sockets, the bare ones, and what happens when no descriptor is left. Does not own who may stay
(admission.py) nor anything after the first bytes. Invariants: nothing is read here, bytes are only looked at; the time
for a handshake counts from accept; a stranger costs no TLS object before its ClientHello is whole.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final

from amqpd.runtime.admission import IN_LINE, SILENT, Guest
from amqpd.runtime.tcp import Peer, Peers
from amqpd.runtime.tls import HELLO_TIMEOUT_MS, explain, hello_bytes

if TYPE_CHECKING:
    from amqpd.base.limits import Limits

# A burst of reconnecting clients waits here; the kernel cuts it to net.core.somaxconn.
BACKLOG: Final = 4096
# Accepted in one go: those who came before are read in between.
ACCEPTED_PER_TURN_MAX: Final = 32
# How long nothing is accepted after there was no descriptor for it.
PAUSE_S: Final = 0.2
# How often somebody is called in while there is a line.
CALL_S: Final = 0.02
# Errors of one connection that waited to be accepted. Any other is the system's: no descriptor, no memory.
_GONE_AGAIN: Final = (errno.ECONNABORTED, errno.EPROTO, errno.EPERM)
_CLIENT_HELLO_BYTES_MAX: Final = 5 + (16 << 10)


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Visitor(Guest):
    """A socket at the door, later the place of its Peer."""

    def __init__(self, door: Door, accepted: socket.socket, host: str, port: int, limits: Limits) -> None:
        timeout_ms = limits.handshake_timeout_ms if door.context is None else HELLO_TIMEOUT_MS
        super().__init__(host, port, now_ms(), timeout_ms)
        self.peer: Peer | None = None
        self._door = door
        self._socket = accepted
        self._is_watched = False
        # Of a ClientHello, when we looked last.
        self._seen_bytes = 0
        self._coming: asyncio.Task[None] | None = None

    def wait(self) -> None:
        self._is_watched = True
        self._door.loop.add_reader(self._socket, self._look)

    def _look(self) -> None:
        """Something has come, or the peer is gone again."""
        is_tls = self._door.context is not None
        try:
            head = self._socket.recv(_CLIENT_HELLO_BYTES_MAX if is_tls else 1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            head = b""
        if not head:
            # Port scanners and health checks come and go like this.
            self._door.peers.admission.leave(self)
            self._close()
            return
        if is_tls and len(head) > self._seen_bytes:
            self._seen_bytes = len(head)
            wanted = min(hello_bytes(head), _CLIENT_HELLO_BYTES_MAX)
            if wanted > len(head):
                # Called again when it is whole, or when no more will come: then it is OpenSSL's to say what is wrong.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
                return
        self._unwatch()
        if is_tls:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            # From accept on it has as long as anybody else, for both handshakes.
            self.deadline_ms += self._door.peers.limits.handshake_timeout_ms - HELLO_TIMEOUT_MS
        if self._door.peers.admission.spoke(self, now_ms()):
            self.come_in()
        else:
            self._door.peers.line_up()

    def come_in(self) -> None:
        self._coming = self._door.loop.create_task(self._come_in())

    async def _come_in(self) -> None:
        door = self._door
        try:
            if door.context is None:
                await door.loop.connect_accepted_socket(self._new_peer, self._socket)
            else:
                left_s = max((self.deadline_ms - now_ms()) / 1000, 0.1)
                await door.loop.connect_accepted_socket(
                    self._new_peer, self._socket, ssl=door.context, ssl_handshake_timeout=left_s
                )
        except asyncio.CancelledError:
            self._socket.close()
            raise
        except Exception as error:
            # Whatever it is, it is about this socket alone.
            door.peers.admission.leave(self)
            self._socket.close()
            if not isinstance(error, OSError):
                door.logger.error("no handshake with %s:%d", self.host, self.port, exc_info=error)
            elif door.context is not None:
                door.peers.say_of(f"the TLS handshake with {self.host}:{self.port} failed", explain(error))

    def _new_peer(self) -> Peer:
        self.peer = Peer(self._door.peers, self)
        return self.peer

    def drop(self, why: str) -> None:
        self._door.peers.say_of(f"connection from {self.host}:{self.port} dropped", why)
        self.end()

    def end(self) -> None:
        """Without a word."""
        if self.connection is not None and self.peer is not None:
            self.peer.abort()
        elif self._coming is not None:
            self._coming.cancel()
        else:
            self._close()

    def forget(self) -> None:
        super().forget()
        self.peer = None
        self._coming = None

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._door.loop.remove_reader(self._socket)

    def _close(self) -> None:
        self._unwatch()
        self._socket.close()


class Door:
    """One listening socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        peers: Peers,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        logger: logging.Logger,
    ) -> None:
        self.loop = loop
        self.peers = peers
        self.context = context
        self._listening = listening
        self.logger = logger
        self._is_open = False
        self._is_short = False
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._listening.listen(BACKLOG)
        self._is_open = True
        self.loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if self._pause is not None:
            self._pause.cancel()
        self.loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN_MAX):
            try:
                accepted, name = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in _GONE_AGAIN:
                    continue
                self._have_a_pause(error)
                return
            self._receive(accepted, str(name[0]), int(name[1]))
        if self._is_short:
            self._is_short = False
            self.logger.warning("connections are accepted again")

    def _receive(self, accepted: socket.socket, host: str, port: int) -> None:
        accepted.setblocking(False)
        visitor = Visitor(self, accepted, host, port, self.peers.limits)
        refusal = self.peers.admission.enter(visitor, now_ms())
        if refusal:
            self.peers.say_of(f"connection from {host} refused", refusal)
            accepted.close()
        else:
            visitor.wait()

    def _have_a_pause(self, error: OSError) -> None:
        """The connection stays with the kernel, which would call us for it without end."""
        if not self._is_short:
            self._is_short = True
            self.logger.warning("no connection can be accepted for now: %s", error.strerror)
        self.loop.remove_reader(self._listening)
        self._pause = self.loop.call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if self._is_open:
            self.loop.add_reader(self._listening, self._accept)


class Line:
    """Calls in who waits, as soon as there is a place."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peers: Peers) -> None:
        self._loop = loop
        self._peers = peers
        self._timer: asyncio.TimerHandle | None = None
        peers.line_up = self.begin

    def begin(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(CALL_S, self._call)

    def _call(self) -> None:
        self._timer = None
        admission = self._peers.admission
        for guest in admission.call_in(now_ms()):
            assert isinstance(guest, Visitor)
            guest.come_in()
        if admission.has_line:
            self.begin()

    def close(self) -> None:
        """Whoever is still outside goes home."""
        if self._timer is not None:
            self._timer.cancel()
        for guest in self._peers.admission.strangers():
            if guest.stage in (SILENT, IN_LINE):
                self._peers.admission.leave(guest)
                assert isinstance(guest, Visitor)
                guest.end()
