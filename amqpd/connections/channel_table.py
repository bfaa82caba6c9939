"""The channels of one connection by number: opened, closed from either side, and free for use again.

    (none) --channel.open--> open --channel.close--> (none), after close-ok is written
                             open --our close--> closing --close-ok--> (none)

Owns which numbers are in use. Does not own what happens on an open channel (channels/), nor the connection's end.
"""

from __future__ import annotations

from typing import final

from librt.strings import read_i32_be
from mypy_extensions import i64
from pamqp import commands

from amqpd.base.errors import ChannelFault, FrameError, NotAllowed, SoftError, UnexpectedFrame
from amqpd.channels.channel import Channel
from amqpd.channels.leases import lapse_leases
from amqpd.channels.session import Session
from amqpd.wire.frames import (
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    CHANNEL_OPEN,
    FRAME_BODY,
    FRAME_HEADER,
    FRAME_METHOD,
)
from amqpd.wire.hot_methods import send_method
from amqpd.wire.methods import decode_method, encode_method, new_method
from amqpd.wire.outbox import Outbox


@final
class ChannelTable:
    def __init__(self, outbox: Outbox) -> None:
        # Whose turn is next when the outbox has room again stands first.
        self.channels: dict[int, Channel] = {}
        self.channel_max: int = 0
        self._outbox = outbox

    def find(self, number: i64) -> Channel | None:
        return self.channels.get(int(number))

    def on_frame(self, session: Session, frame_type: i64, number: i64, payload: bytes) -> None:
        """A frame for a number without an open channel: open, the end of a close, and otherwise a fault or nothing."""
        index: i64 = 0
        if frame_type == FRAME_METHOD and len(payload) >= 4:
            index = i64(read_i32_be(payload, 0))
        channel = self.find(number)
        if channel is not None:
            self._on_closing(channel, index)
        elif index == CHANNEL_OPEN:
            decode_method(payload)
            self._open(session, number)
        elif frame_type == FRAME_METHOD:
            decode_method(payload)
            raise ChannelFault("expected 'channel.open'")
        elif frame_type == FRAME_HEADER or frame_type == FRAME_BODY:
            raise UnexpectedFrame("expected method frame, got non method frame instead")
        else:
            raise FrameError(f"unknown frame type {int(frame_type)}")

    def _on_closing(self, channel: Channel, index: i64) -> None:
        if index == CHANNEL_CLOSE_OK:
            self.forget(channel)
        elif index == CHANNEL_CLOSE:
            # Both closed at once: answer, and go on waiting for the close-ok.
            send_method(self._outbox, channel.number, encode_method(new_method(commands.Channel.CloseOk)))

    def _open(self, session: Session, number: i64) -> None:
        # RabbitMQ counts channels and does not look at their numbers.
        if len(self.channels) >= self.channel_max:
            raise NotAllowed(
                f"number of channels opened ({len(self.channels)}) has reached the negotiated channel_max "
                f"({self.channel_max})",
                is_about_method=False,
            )
        self.channels[int(number)] = Channel(number, session)
        send_method(self._outbox, number, encode_method(new_method(commands.Channel.OpenOk)))

    def close(self, channel: Channel, error: SoftError) -> None:
        """AMQP 0-9-1 channel.close: tell which method failed; from here only close-ok counts on this channel."""
        index = int(channel.method_index)
        channel.is_closing = True
        close = new_method(
            commands.Channel.Close,
            reply_code=error.reply_code,
            reply_text=error.reply_text,
            class_id=index >> 16,
            method_id=index & 0xFFFF,
        )
        send_method(self._outbox, channel.number, encode_method(close))
        channel.close()

    def lapse_leases(self, now_ms: i64) -> None:
        """Whatever was not settled in time goes back to its queue, or its channel is closed."""
        for channel in list(self.channels.values()):
            if not channel.is_closing:
                error = lapse_leases(channel, now_ms)
                if error is not None:
                    # No method has failed.
                    channel.method_index = 0
                    self.close(channel, error)

    def forget(self, channel: Channel) -> None:
        """Its number may be used again."""
        self.channels.pop(int(channel.number), None)

    def release(self) -> None:
        """End them all: consumers first, so that nothing requeued comes back to this connection."""
        channels = list(self.channels.values())
        for channel in channels:
            channel.cancel_consumers()
        for channel in channels:
            channel.release()
        self.channels.clear()

    def wake_queues(self) -> None:
        """The outbox has room again: who filled it last comes last, and if nobody knows, who came first before."""
        outbox = self._outbox
        if outbox.filled_by == 0:
            first = self._first_consuming()
            if first is not None:
                first.rotate()
        last = self.channels.pop(int(outbox.filled_by), None)
        outbox.filled_by = 0
        if last is not None:
            self.channels[int(last.number)] = last
        for channel in self.channels.values():
            channel.wake_queues()

    def _first_consuming(self) -> Channel | None:
        for channel in self.channels.values():
            if len(channel.consumers) > 0:
                return channel
        return None
