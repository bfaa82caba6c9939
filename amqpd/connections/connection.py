"""One TCP peer: bytes in, frames to the handshake or to a channel by number, errors to close methods.

Owns the input that has not been handled, the connection's state and its channels. Does not own what a method means
(channels) nor the socket (runtime).

Input is handled frame by frame until it ends, or until the session is held (a reply waits for the disk, to write or to
read) or blocked (a resource alarm); the rest stays in `_input` and goes on when the broker calls `resume`.
Invariants: whole or byte by byte gives the same result; only AmqpError is answered, anything else is our bug (541).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from librt.strings import read_i16_be, read_i32_be, read_i64_be
from mypy_extensions import i64
from pamqp import commands
from pamqp.base import Frame

from amqpd import __version__
from amqpd.base.errors import (
    AmqpError,
    FrameError,
    HardError,
    InternalFault,
    LoginRefused,
    SoftError,
    UnexpectedFrame,
)
from amqpd.channels.channel import Channel
from amqpd.channels.dispatch import dispatch
from amqpd.channels.session import Session
from amqpd.connections.channel_table import ChannelTable
from amqpd.connections.framing import PROTOCOL_HEADERS, bad_end, guess_protocol, too_large
from amqpd.connections.handshake import (
    CLOSED,
    CLOSING,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    HEADER,
    OPEN,
    REFUSED,
    START_SENT,
    TUNE_SENT,
    next_state,
    start_method,
)
from amqpd.connections.heartbeats import Heartbeats
from amqpd.connections.login import decide, on_open, on_start_ok, on_tune_ok
from amqpd.connections.throttle import Attempt
from amqpd.wire.field_table import FieldTable
from amqpd.wire.frames import (
    BASIC_ACK,
    BASIC_GET,
    BASIC_NACK,
    BASIC_PUBLISH,
    BASIC_REJECT,
    CHANNEL_CLOSE,
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    PROTOCOL_HEADER,
)
from amqpd.wire.hot_methods import send_heartbeat, send_method
from amqpd.wire.methods import decode_method, encode_method, new_method
from amqpd.wire.outbox import Outbox

if TYPE_CHECKING:
    from amqpd.broker import Broker

# How long a refused client without authentication_failure_close waits for the socket to close: guessing costs time.
REFUSED_MS: Final = 1000
# Unhandled input of a held connection beyond which its socket is not read.
HELD_INPUT_BYTES_MAX: Final = 1 << 20
# What handling of input costs of a turn's budget: plain frames by their bytes, a rare method by itself.
BYTES_PER_UNIT_SHIFT: Final = 8
METHOD_COST: Final = 20
# Less than this is handled whatever the turn has cost so far: a quiet connection does not wait for the busy ones.
SMALL_INPUT_BYTES: Final = 16 << 10
# A peer that leaves so many times outgoing_bytes_max unread is not heard before it reads.
UNSENT_SHARE: Final = 4
# All that still counts once frames can't be told apart any more.
CLOSE_OK_FRAME: Final = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x33\xce"


@final
class Connection:
    def __init__(self, number: i64, outbox: Outbox, broker: Broker, peer_host: str, peer_port: int, tls: bool) -> None:
        self.number = number
        self.outbox = outbox
        self.peer_host = peer_host
        self.peer_port = peer_port
        self.tls = tls
        self.state: int = HEADER
        self.user = ""
        self.client_name = ""
        self.client_properties = FieldTable(b"")
        self.session: Session | None = None
        self._table = ChannelTable(outbox)
        self.frame_max: i64 = broker.limits.frame_bytes_before_tune_max
        self.broker = broker
        self.limits = broker.limits
        self.agenda = broker.agenda
        self.heartbeats = Heartbeats(0, broker.agenda.monotonic_ms)
        # When the shell should have seen the end of the handshake, or of a close; it says so itself if it began earlier.
        self.deadline_ms: i64 = broker.agenda.monotonic_ms + broker.limits.handshake_timeout_ms
        # A login that has to wait, because there were many wrong ones before it.
        self.attempt: Attempt | None = None
        # The peer said connection.close itself: it will end its socket when it has read our close-ok.
        self.is_peer_leaving = False
        self._input = b""
        self._at: i64 = 0
        # After a frame with a wrong size or end nothing says where the next one begins.
        self._is_framing_lost = False
        self._bytes_before_open: i64 = 0
        # The method on channel 0 that an error is about.
        self._method_index: int = 0
        self._last_number: i64 = -1
        self._last_channel: Channel | None = None

    # What others ask

    @property
    def channels(self) -> dict[int, Channel]:
        return self._table.channels

    def set_channel_max(self, channel_max: int) -> None:
        self._table.channel_max = channel_max

    @property
    def closing(self) -> bool:
        """Close the socket once the output is written."""
        return self.state == CLOSED

    @property
    def reading(self) -> bool:
        """False: leave what comes in the socket for now."""
        session = self.session
        if session is None:
            return True
        if session.is_blocked or session.is_resting:
            return False
        return not session.is_held or len(self._input) < HELD_INPUT_BYTES_MAX

    @property
    def is_held_back(self) -> bool:
        """It is we who do not answer."""
        return self.attempt is not None

    def describe(self) -> str:
        """For people: where from, and who."""
        name = f" '{self.client_name}'" if self.client_name != "" else ""
        user = f" user '{self.user}'" if self.user != "" else ""
        return f"{self.peer_host}:{self.peer_port}{name}{user}"

    # Bytes in

    def receive(self, data: bytes) -> None:
        self.heartbeats.received(self.agenda.monotonic_ms)
        if self.session is None:
            self._count_before_open(len(data))
        if len(self._input) > 0:
            data = self._input + data
        self._input = data
        self._at = 0
        session = self.session
        if session is not None:
            agenda = self.agenda
            if agenda.budget <= 0 and len(data) >= SMALL_INPUT_BYTES:
                session.rest()
            agenda.budget -= len(data) >> BYTES_PER_UNIT_SHIFT
        self._handle_input()

    def _count_before_open(self, size: i64) -> None:
        """Whoever has not logged in may not make us work or remember much."""
        self._bytes_before_open += size
        if self._bytes_before_open > self.limits.bytes_before_open_max and self.state < CLOSING:
            self.agenda.warn(f"{self.describe()} sent too much before connection.open, dropped")
            self._end()

    def resume(self) -> None:
        """Go on with what has been received already."""
        if len(self._input) > 0 and self.state != CLOSED:
            self._handle_input()

    def _handle_input(self) -> None:
        if self.state == CLOSED or (self.state == HEADER and not self._take_protocol_header()):
            self._input = self._input if self.state == HEADER else b""
            return
        if self.attempt is not None:
            return
        while not self._handled_all():
            pass
        if self.state == CLOSED:
            self._input = b""
        elif self._at > 0:
            self._input = self._input[self._at :]
        self._at = 0

    def _handled_all(self) -> bool:
        """False if an error ended a run of frames; what comes after the bad one is still to be handled."""
        try:
            self._handle_frames()
            return True
        except SoftError as soft:
            self._close_channel(soft)
        except HardError as hard:
            self._close_connection(hard)
        except Exception as error:
            self.fail(error)
        return False

    def fail(self, error: Exception) -> None:
        """This program is wrong about something that this peer has asked for: it is told, and everybody else goes on."""
        self.agenda.failed(self.describe(), error)
        try:
            self._close_connection(InternalFault("the broker made an error, see its log"))
        except Exception as again:
            self.agenda.failed(f"the end of {self.describe()}", again)
            self._end()

    def _take_protocol_header(self) -> bool:
        data = self._input
        if len(data) < len(PROTOCOL_HEADER):
            return False
        if data[:8] in PROTOCOL_HEADERS:
            self._at = 8
            self._become(START_SENT)
            self.send(start_method(self.limits, __version__))
            return True
        # AMQP 0-9-1 4.2.2: "If the server does not recognise the ... protocol it MUST respond with the protocol header
        # it supports, and close".
        self.agenda.warn(f"{self.describe()} does not speak AMQP 0-9-1: {guess_protocol(data)}")
        self.outbox.writer.write(PROTOCOL_HEADER)
        self._end()
        return False

    def _seek_close_ok(self) -> None:
        if self._input.find(CLOSE_OK_FRAME, self._at) >= 0:
            self._end()
        else:
            self._at = max(self._at, len(self._input) - len(CLOSE_OK_FRAME) + 1)

    def _handle_frames(self) -> None:
        if self._is_framing_lost:
            self._seek_close_ok()
            return
        data = self._input
        pos: i64 = self._at
        size_of_input: i64 = len(data)
        session = self.session
        began = pos
        while size_of_input - pos >= 7:
            if session is not None and (session.is_held or session.is_blocked):
                break
            began = pos
            frame_type = data[pos]
            number = i64(read_i16_be(data, pos + 1)) & 0xFFFF
            size = i64(read_i32_be(data, pos + 3)) & 0xFFFFFFFF
            # RabbitMQ counts the payload alone, so eight octets more than AMQP has are fine.
            if size > self.frame_max:
                self._at = pos + 7
                self._is_framing_lost = True
                raise FrameError(too_large(int(frame_type), int(number), int(size), int(self.frame_max)))
            end = pos + 7 + size
            if end >= size_of_input:
                break
            if data[end] != FRAME_END:
                self._at = end + 1
                self._is_framing_lost = True
                raise FrameError(bad_end(int(frame_type), int(number), int(size), data[end]))
            at = pos + 7
            pos = end + 1
            self._at = pos
            if number == 0 or session is None:
                self._last_number = -1
                self._last_channel = None
                if self._on_connection_frame(frame_type, number, data[at:end]):
                    session = self.session
                    if self.attempt is not None:
                        return
                if self.state == CLOSED:
                    self._at = size_of_input
                    return
                continue
            if number != self._last_number:
                self._last_channel = self._table.find(number)
                self._last_number = number
            channel = self._last_channel
            if channel is None or channel.is_closing or self.state != OPEN:
                self._on_other_frame(session, frame_type, number, data[at:end])
            else:
                self._on_channel_frame(channel, frame_type, data, at, end)
        if session is not None and session.is_repeating:
            session.is_repeating = False
            self._at = began

    def _on_channel_frame(self, channel: Channel, frame_type: i64, data: bytes, at: i64, end: i64) -> None:
        """The hot methods are read where they lie; all others become a method object first."""
        if frame_type == FRAME_METHOD:
            size = end - at
            if size < 4:
                raise FrameError("a method frame is cut short")
            index = i64(read_i32_be(data, at))
            if index == BASIC_PUBLISH:
                channel.on_basic_publish(data, at + 4, end)
            elif index == BASIC_ACK and size == 13:
                channel.on_basic_ack(read_i64_be(data, at + 4), (data[at + 12] & 1) != 0)
            elif index == BASIC_NACK and size == 13:
                channel.method_index = index
                bits = data[at + 12]
                channel.on_basic_reject(read_i64_be(data, at + 4), (bits & 1) != 0, (bits & 2) != 0)
            elif index == BASIC_REJECT and size == 13:
                channel.method_index = index
                channel.on_basic_reject(read_i64_be(data, at + 4), False, (data[at + 12] & 1) != 0)
            else:
                self._on_channel_method(channel, index, data[at:end])
        elif frame_type == FRAME_HEADER:
            channel.on_content_header(data, at, end)
        elif frame_type == FRAME_BODY:
            channel.on_content_body(data, at, end)
        elif frame_type == FRAME_HEARTBEAT:
            raise UnexpectedFrame("heartbeat frame on a channel other than 0")
        else:
            raise FrameError(f"unknown frame type {int(frame_type)}")

    def _on_other_frame(self, session: Session, frame_type: i64, number: i64, payload: bytes) -> None:
        """On a channel that is not open. After connection.close only its close-ok counts."""
        if self.state == OPEN:
            if frame_type == FRAME_METHOD and len(payload) >= 4:
                self._method_index = int(i64(read_i32_be(payload, 0)))
            self._last_number = -1
            self._last_channel = None
            self._table.on_frame(session, frame_type, number, payload)
            session.charge(METHOD_COST)

    # Channels

    def _on_channel_method(self, channel: Channel, index: i64, payload: bytes) -> None:
        channel.expect_method()
        channel.method_index = index
        if index == CHANNEL_CLOSE:
            decode_method(payload)
            self._table.forget(channel)
            self._last_number = -1
            self._last_channel = None
            channel.close()
            send_method(self.outbox, channel.number, encode_method(new_method(commands.Channel.CloseOk)))
        else:
            dispatch(channel, decode_method(payload))
            if index == BASIC_GET and not self.outbox.is_open:
                # A few bytes ask for many: not before the last answer is on its way.
                channel.session.hold_for_peer()
        channel.session.charge(METHOD_COST)

    def _close_channel(self, error: SoftError) -> None:
        """A channel's own fault ends only that channel; one that has no channel to end is ours."""
        channel = self._last_channel
        if channel is None or channel.is_closing:
            self._close_connection(InternalFault(error.explanation))
            return
        self.agenda.notice(f"channel {int(channel.number)} of {self.describe()} closed: {error.reply_text}")
        self._table.close(channel, error)

    # Channel 0

    def _on_connection_frame(self, frame_type: i64, number: i64, payload: bytes) -> bool:
        """True if the session may have changed."""
        if self.state >= CLOSING:
            if frame_type == FRAME_METHOD and number == 0 and len(payload) >= 4:
                index = int(read_i32_be(payload, 0))
                if index == CONNECTION_CLOSE:
                    send_method(self.outbox, 0, encode_method(new_method(commands.Connection.CloseOk)))
                if index in (CONNECTION_CLOSE, CONNECTION_CLOSE_OK):
                    self._end()
            return True
        if self.state == REFUSED:
            return False
        if frame_type == FRAME_HEARTBEAT:
            if number != 0:
                raise UnexpectedFrame("heartbeat frame on a channel other than 0")
            if len(payload) > 0:
                raise FrameError("a heartbeat frame has no payload")
            return False
        if number != 0:
            raise UnexpectedFrame(f"frame on channel {int(number)} before connection.open")
        if frame_type != FRAME_METHOD:
            if frame_type == FRAME_HEADER or frame_type == FRAME_BODY:
                raise UnexpectedFrame("content on channel 0")
            raise FrameError(f"unknown frame type {int(frame_type)}")
        if len(payload) < 4:
            raise FrameError("a method frame is cut short")
        self._method_index = int(i64(read_i32_be(payload, 0)) & 0xFFFFFFFF)
        method = decode_method(payload)
        after = next_state(self.state, self._method_index)
        if isinstance(method, commands.Connection.StartOk):
            on_start_ok(self, method)
        elif isinstance(method, commands.Connection.TuneOk):
            on_tune_ok(self, method)
        elif isinstance(method, commands.Connection.Open):
            on_open(self, method)
        elif isinstance(method, commands.Connection.UpdateSecret):
            self.send(new_method(commands.Connection.UpdateSecretOk))
        elif isinstance(method, commands.Connection.Close):
            if self.session is not None:
                self.agenda.notice(f"{self.describe()} has closed its connection")
            self.release()
            self.is_peer_leaving = True
            self.send(new_method(commands.Connection.CloseOk))
        if self.state not in (REFUSED, CLOSING, CLOSED) and self.attempt is None:
            self._become(after)
        return True

    def _decide(self, attempt: Attempt) -> None:
        """The login has waited long enough; what came meanwhile is handled next."""
        self.attempt = None
        self.deadline_ms = self.agenda.monotonic_ms + self.limits.handshake_timeout_ms
        try:
            decide(self, attempt)
            if self.state == START_SENT:
                self._become(TUNE_SENT)
        except HardError as refused:
            self._close_connection(refused)
        self.resume()

    def refuse(self) -> None:
        """Without authentication_failure_close there is nothing to say: the socket closes after a while."""
        self._become(REFUSED)
        self.deadline_ms = self.agenda.monotonic_ms + REFUSED_MS

    # Ends

    def force_close(self, explanation: str) -> None:
        """connection.close 320 from the operator's side: shutdown, or a person who wants this connection gone."""
        if self.state in (HEADER, REFUSED):
            self._end()
        elif self.state < CLOSING:
            self._method_index = 0
            self._last_channel = None
            self.agenda.notice(f"{self.describe()} is told to go: {explanation}")
            self._say_close(AmqpError(320, explanation))

    def _close_connection(self, error: AmqpError) -> None:
        if self.state >= CLOSING:
            self._end()
            return
        # Of a refused login the log knows more already than the client is told.
        if not isinstance(error, LoginRefused):
            self.agenda.warn(f"connection of {self.describe()} closed: {error.reply_text}")
        self._say_close(error)

    def _say_close(self, error: AmqpError) -> None:
        self.release()
        if self.session is not None:
            self.session.let_go()
        index = self._failed_index() if error.is_about_method else 0
        close = new_method(
            commands.Connection.Close,
            reply_code=error.reply_code,
            reply_text=error.reply_text,
            class_id=index >> 16,
            method_id=index & 0xFFFF,
        )
        self.send(close)
        self._become(CLOSING)
        self.deadline_ms = self.agenda.monotonic_ms + self.limits.close_timeout_ms

    def _failed_index(self) -> int:
        channel = self._last_channel
        index = int(channel.method_index) if channel is not None else self._method_index
        # A class id above 32767 reads as a negative number.
        return index & 0xFFFFFFFF

    def release(self) -> None:
        """Give back everything: consumers first, so that nothing requeued comes back to this connection."""
        self._table.release()
        session = self.session
        if session is not None:
            session.vhost.delete_queues_of(self.number)

    def lost(self) -> None:
        """The socket is gone."""
        if self.state == OPEN:
            # RabbitMQ's words.
            self.agenda.warn(f"{self.describe()}: client unexpectedly closed TCP connection")
        self._let_go()

    def give_up(self, why: str) -> None:
        """The peer is as good as gone; whoever says so closes the socket."""
        self.agenda.warn(f"{self.describe()} is dropped: {why}")
        self._let_go()

    def _let_go(self) -> None:
        if self.state != CLOSED:
            self.release()
            self._become(CLOSED)
            self.attempt = None

    def _end(self) -> None:
        self._become(CLOSED)
        self.outbox.wake()

    # Output and time

    def take_output(self) -> bytes:
        """What waits for the socket. With the outbox empty, deliveries that it had to stop may go on."""
        taken = self.outbox.take()
        self._reopen()
        return taken

    def set_writable(self, writable: bool) -> None:
        """The socket's own buffer is full, or has room again."""
        outbox = self.outbox
        outbox.is_socket_full = not writable
        if writable:
            self._reopen()
        else:
            outbox.is_open = False

    def unsent(self, size_bytes: i64) -> None:
        """The socket is full and so much waits for it. Deliveries wait already; with far too much so does whatever is asked."""
        session = self.session
        if session is not None and size_bytes > UNSENT_SHARE * self.limits.outgoing_bytes_max:
            session.hold_for_peer()

    def _reopen(self) -> None:
        if self.outbox.is_open or self.outbox.is_socket_full:
            return
        self.outbox.is_open = True
        if self.session is not None:
            self.session.end_hold_for_peer()
        self._table.wake_queues()

    def tick(self, now_ms: i64) -> None:
        if self.state != OPEN:
            attempt = self.attempt
            if attempt is not None:
                if self.broker.throttle.is_due(attempt, now_ms):
                    self._decide(attempt)
            elif self.state != CLOSED and now_ms >= self.deadline_ms:
                if self.state < OPEN:
                    self.agenda.warn(f"{self.describe()} did not finish its handshake in time")
                self._let_go()
                self.outbox.wake()
            return
        if self.heartbeats.is_due(now_ms, self.outbox.written_bytes):
            send_heartbeat(self.outbox)
        session = self.session
        if session is not None and (session.is_blocked or not self.reading):
            # We do not read, so silence says nothing.
            self.heartbeats.received(now_ms)
        elif self.heartbeats.is_dead(now_ms):
            self.give_up("missed heartbeats")
            self.outbox.wake()
            return
        if session is not None and session.has_leases and session.may_lapse(now_ms, self.reading):
            self._table.lapse_leases(now_ms)

    def timeouts_changed(self) -> None:
        for channel in self.channels.values():
            channel.timeouts_changed()

    def send(self, method: Frame) -> None:
        send_method(self.outbox, 0, encode_method(method))

    def _become(self, state: int) -> None:
        assert state >= self.state, "a connection's state only moves forward"
        self.state = state
