"""One connection of the load generator: a non-blocking socket, the handshake, and rare methods through pamqp.

Owns: the socket, the bytes waiting to leave, what the broker said about flow (channel.flow, connection.blocked). Does
not own the hot half: deliveries and confirms are read by its `Peer`, messages come from its `Publisher`.

Invariant: buffers are queued whole, so a method never lands in the middle of a published message.
"""

from __future__ import annotations

import select
import socket
import time

from pamqp import commands, frame, heartbeat
from pamqp.base import Frame
from pamqp.common import FieldValue

from amqpd.cli.load import LoadError
from amqpd.cli.load.peer import Peer
from amqpd.cli.load.publisher import Publisher
from amqpd.cli.load.settings import Settings
from amqpd.wire.frames import PROTOCOL_HEADER

RECEIVE_BYTES = 262144
# Buffers in one gathered write: Linux refuses more than 1024.
SEND_BUFFERS_MAX = 1000

CAPABILITIES: dict[str, FieldValue] = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class LoadConnection:
    def __init__(self, connected: socket.socket, settings: Settings, name: str) -> None:
        """On a connected, non-blocking socket; `log_in` comes next."""
        self.socket = connected
        self.name = name
        self.publisher: Publisher | None = None
        self.is_flow_stopped = False
        self.is_blocked = False
        self.is_closing = False
        self.is_closed = False
        self.blocked_count = 0
        self.blocked_ns = 0
        self._blocked_since_ns = 0
        self.flow_count = 0
        self.send_count = 0
        self.receive_count = 0
        self.heartbeat_s = 0
        self._settings = settings
        self._waiting: list[bytes | memoryview] = []
        self._replies: list[Frame] = []
        self.peer = Peer(settings.frame_max)

    @classmethod
    def open(cls, settings: Settings, name: str) -> LoadConnection:
        """Connect, log in and open channel 1."""
        try:
            connected = socket.create_connection((settings.host, settings.port), timeout=settings.timeout_s)
        except OSError as error:
            raise LoadError(f"{name}: cannot connect to {settings.host}:{settings.port}: {error}") from None
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setblocking(False)
        connection = cls(connected, settings, name)
        try:
            connection.log_in()
        except BaseException:
            connected.close()
            raise
        return connection

    def fileno(self) -> int:
        return self.socket.fileno()

    # The hot half, called by the loop.

    def receive(self) -> bool:
        """Read once; True when the socket may hold more."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            raise LoadError(f"{self.name}: {error}") from None
        if not data:
            raise LoadError(f"{self.name}: the broker closed the socket without connection.close")
        self.receive_count += 1
        peer = self.peer
        try:
            peer.receive(data, time.monotonic_ns())
        except LoadError as error:
            raise LoadError(f"{self.name}: {error}") from None
        if peer.control:
            self._take_control()
        if len(peer.acks):
            self._waiting.append(peer.take_acks())
        return len(data) == RECEIVE_BYTES

    def queue(self, buffers: list[bytes]) -> None:
        self._waiting.extend(buffers)

    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def flush(self) -> bool:
        """Send what the socket takes; True when nothing waits any more."""
        while self._waiting:
            if not self._send_some():
                return False
        return True

    def _send_some(self) -> bool:
        """One write; False when the socket is full."""
        waiting = self._waiting
        self.send_count += 1
        try:
            if len(waiting) == 1:
                sent = self.socket.send(waiting[0])
            else:
                sent = self.socket.sendmsg(waiting[:SEND_BUFFERS_MAX])
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            # The reason may stand in what the broker sent before it closed.
            self.receive()
            raise LoadError(f"{self.name}: {error}") from None
        done = 0
        for buffer in waiting:
            if sent < len(buffer):
                break
            sent -= len(buffer)
            done += 1
        del waiting[:done]
        if sent:
            waiting[0] = memoryview(waiting[0])[sent:]
        return True

    # Rare methods.

    def send(self, method: Frame, channel: int = 1) -> None:
        self._waiting.append(frame.marshal(method, channel))

    def send_heartbeat(self) -> None:
        self._waiting.append(heartbeat.Heartbeat().marshal())

    def call(self, method: Frame, reply: type[Frame], channel: int = 1) -> Frame:
        """Send a method and wait for its reply; only before and after the load."""
        self.send(method, channel)
        return self.wait_for(reply)

    def wait_for(self, reply: type[Frame]) -> Frame:
        deadline = time.monotonic() + self._settings.timeout_s
        while True:
            for index, answer in enumerate(self._replies):
                if isinstance(answer, reply):
                    del self._replies[: index + 1]
                    return answer
            is_flushed = self.flush()
            received_count = self.receive_count
            self.receive()
            if self.receive_count == received_count:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise LoadError(f"{self.name}: no {reply.name} in {self._settings.timeout_s:g} s")
                poll = select.poll()
                poll.register(self.socket, select.POLLIN if is_flushed else select.POLLIN | select.POLLOUT)
                poll.poll(left_s * 1000)

    def ack_rest(self) -> None:
        """Queue the acknowledgement of an unfinished group."""
        self.peer.ack_rest()
        if len(self.peer.acks):
            self._waiting.append(self.peer.take_acks())

    def close_channel(self) -> None:
        self.is_closing = True
        self.send(commands.Channel.Close(200, "done", 0, 0))

    def blocked_ns_until(self, now_ns: int) -> int:
        """How long the broker has kept this connection blocked so far."""
        return self.blocked_ns + (now_ns - self._blocked_since_ns if self.is_blocked else 0)

    def close(self) -> None:
        """Say good-bye without waiting for the answer."""
        try:
            if not self._waiting:
                self.send(commands.Connection.Close(200, "bye", 0, 0), 0)
                self.flush()
        except LoadError:
            pass
        self.socket.close()

    def log_in(self) -> None:
        """The handshake up to an open channel 1."""
        settings = self._settings
        self._waiting.append(PROTOCOL_HEADER)
        self.wait_for(commands.Connection.Start)
        properties: dict[str, FieldValue] = {
            "product": "amqpd bench",
            "platform": "Python",
            "connection_name": f"amqpd bench {self.name}",
            "capabilities": CAPABILITIES,
        }
        credentials = f"\0{settings.user}\0{settings.password}"
        tune = self.call(
            commands.Connection.StartOk(properties, "PLAIN", credentials, "en_US"), commands.Connection.Tune, 0
        )
        assert isinstance(tune, commands.Connection.Tune)
        frame_max = min(settings.frame_max, tune.frame_max or settings.frame_max)
        self.peer.frame_max = frame_max
        if settings.heartbeat_s:
            self.heartbeat_s = min(settings.heartbeat_s, tune.heartbeat or settings.heartbeat_s)
        self.send(commands.Connection.TuneOk(tune.channel_max, frame_max, self.heartbeat_s), 0)
        self.call(commands.Connection.Open(settings.vhost), commands.Connection.OpenOk, 0)
        self.call(commands.Channel.Open(), commands.Channel.OpenOk)

    def _take_control(self) -> None:
        frames = self.peer.control
        self.peer.control = []
        for raw in frames:
            _, channel, method = frame.unmarshal(raw)
            assert isinstance(method, Frame)
            self._on_method(method, channel)

    def _on_method(self, method: Frame, channel: int) -> None:
        if isinstance(method, (commands.Connection.Close, commands.Channel.Close)):
            what = "connection" if isinstance(method, commands.Connection.Close) else "channel"
            raise LoadError(f"{self.name}: the broker closed the {what}: {method.reply_code} {method.reply_text}")
        if isinstance(method, commands.Basic.Cancel):
            raise LoadError(f"{self.name}: the broker cancelled the consumer (queue deleted?)")
        if isinstance(method, commands.Connection.Secure):
            raise LoadError(f"{self.name}: the broker wants a SASL challenge, which PLAIN has not")
        if isinstance(method, commands.Connection.Blocked):
            self.blocked_count += 1
            if not self.is_blocked:
                self.is_blocked = True
                self._blocked_since_ns = time.monotonic_ns()
        elif isinstance(method, commands.Connection.Unblocked):
            self.blocked_ns = self.blocked_ns_until(time.monotonic_ns())
            self.is_blocked = False
        elif isinstance(method, commands.Channel.Flow):
            self.flow_count += 1
            self.is_flow_stopped = not method.active
            self.send(commands.Channel.FlowOk(method.active), channel)
        else:
            self.is_closed = self.is_closed or isinstance(method, commands.Channel.CloseOk)
            self._replies.append(method)
