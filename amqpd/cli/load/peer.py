"""What arrives on one connection of the load generator: deliveries, confirms and returns, read in place.

Owns: finding frames in the bytes of one socket, the counters of what came, the acknowledgements that are due. Does not
own the socket, the clock or rare methods: those are left as whole frames in `control` for the client to decode.

Invariants: a frame is looked at only when it is whole; one receive has one arrival time, so messages of one stamp are
recorded in the histogram as a run; `acks` holds exactly the acknowledgements not yet taken.
Compiled together with `publisher.py` and `histogram.py`.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i32_be, read_i64_be, read_i64_le, write_i16_be, write_i64_be
from mypy_extensions import i16, i64

from amqpd.cli.load import LoadError
from amqpd.cli.load.histogram import Histogram
from amqpd.cli.load.publisher import Publisher
from amqpd.wire.frames import (
    BASIC_ACK,
    BASIC_DELIVER,
    BASIC_NACK,
    BASIC_RETURN,
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_OVERHEAD_BYTES,
)

# Frame header of channel 1, class and method: everything of a basic.ack in front of its delivery tag.
ACK_PREFIX: Final = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50"
ACK_ONE: Final = FRAME_END
ACK_MULTIPLE: Final = 0x0100 | FRAME_END
SEQUENCE_MASK: Final = (1 << 48) - 1
# Older than this is a stamp of another machine or a body that was not ours.
LATENCY_NS_MAX: Final = 3_600_000_000_000


@final
class Peer:
    def __init__(self, frame_max: i64) -> None:
        self.frame_max: i64 = frame_max
        self.control: list[bytes] = []
        self.acks = BytesWriter()
        self.is_recording = False
        self.latency = Histogram()
        self.delivered_count: i64 = 0
        self.delivered_bytes: i64 = 0
        self.redelivered_count: i64 = 0
        self.returned_count: i64 = 0
        self.heartbeat_count: i64 = 0
        self.out_of_order_count: i64 = 0
        self.gap_count: i64 = 0
        self.last_delivery_ns: i64 = 0
        self.unacked_count: i64 = 0
        self._ack_every: i64 = 0
        self._publisher: Publisher | None = None
        self._rest = b""
        self._delivery_tag: i64 = 0
        self._body_left: i64 = 0
        self._is_body_first = False
        self._is_return = False
        self._verifies = False
        self._last_sequences: list[int] = []
        self._run_stamp_ns: i64 = 0
        self._run_count: i64 = 0

    def consume(self, ack_every: i64, verified_producers: i64) -> None:
        """`ack_every` 0: no-ack; `verified_producers` 0: the order of arrival is not checked."""
        self._ack_every = ack_every
        self._verifies = verified_producers > 0
        self._last_sequences = [0] * verified_producers

    def confirm_to(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def receive(self, data: bytes, now_ns: i64) -> None:
        """Bytes that the socket gave at `now_ns`, cut anywhere."""
        if self._rest:
            data = self._rest + data
        at: i64 = 0
        end: i64 = len(data)
        delivered_before = self.delivered_count
        while end - at >= FRAME_OVERHEAD_BYTES:
            size = i64(read_i32_be(data, at + 3))
            after = at + size + FRAME_OVERHEAD_BYTES
            if after > end or size < 0:
                self._refuse_nonsense(data[at : at + 8], size)
                break
            if data[after - 1] != FRAME_END:
                raise LoadError(f"a frame ends in 0x{data[after - 1]:02x} (type {data[at]}, size {size})")
            kind: i64 = data[at]
            if kind == FRAME_METHOD:
                self._on_method(data, at, after, size, now_ns)
            elif kind == FRAME_HEADER:
                if size < 14:
                    raise LoadError("a content header is too short")
                self._body_left = read_i64_be(data, at + 11)
                self._is_body_first = True
                if self._body_left == 0:
                    self._on_message()
            elif kind == FRAME_BODY:
                self._on_body(data, at, size, now_ns)
            elif kind == FRAME_HEARTBEAT:
                self.heartbeat_count += 1
            else:
                raise LoadError(f"a frame of unknown type {kind} arrived")
            at = after
        self._rest = data[at:end] if at < end else b""
        self._record_run(now_ns)
        if self.delivered_count != delivered_before:
            self.last_delivery_ns = now_ns

    def ack_rest(self) -> None:
        """Acknowledge what `ack_every` has not reached."""
        if self.unacked_count:
            self._ack(ACK_MULTIPLE)

    def take_acks(self) -> bytes:
        taken = self.acks.getvalue()
        self.acks.truncate(0)
        return taken

    def _on_method(self, data: bytes, at: i64, after: i64, size: i64, now_ns: i64) -> None:
        if size < 4:
            raise LoadError(f"a method frame of {size} bytes arrived")
        method = i64(read_i32_be(data, at + 7))
        if method == BASIC_DELIVER:
            tag_at: i64 = at + 12 + data[at + 11]
            if tag_at + 10 > after:
                raise LoadError("a basic.deliver is too short")
            self._delivery_tag = read_i64_be(data, tag_at)
            if data[tag_at + 8] != 0:
                self.redelivered_count += 1
            self._is_return = False
        elif method == BASIC_ACK or method == BASIC_NACK:
            publisher = self._publisher
            if publisher is None or size < 13:
                raise LoadError("a confirm arrived where none can be")
            publisher.on_confirm(read_i64_be(data, at + 11), data[at + 19] & 1 != 0, method == BASIC_NACK, now_ns)
        elif method == BASIC_RETURN:
            self.returned_count += 1
            self._is_return = True
        else:
            self.control.append(data[at:after])

    def _on_body(self, data: bytes, at: i64, size: i64, now_ns: i64) -> None:
        if size > self._body_left:
            raise LoadError("a body is longer than its header says")
        if self._is_body_first:
            self._is_body_first = False
            if size >= 8 and not self._is_return:
                if self.is_recording:
                    stamp_ns = read_i64_le(data, at + 7)
                    if stamp_ns != self._run_stamp_ns:
                        self._record_run(now_ns)
                        self._run_stamp_ns = stamp_ns
                    self._run_count += 1
                if self._verifies and size >= 16:
                    self._verify(read_i64_le(data, at + 15))
        self.delivered_bytes += size
        self._body_left -= size
        if self._body_left == 0:
            self._on_message()

    def _on_message(self) -> None:
        if self._is_return:
            self._is_return = False
            return
        self.delivered_count += 1
        if self._ack_every:
            self.unacked_count += 1
            if self.unacked_count >= self._ack_every:
                self._ack(ACK_ONE if self._ack_every == 1 else ACK_MULTIPLE)

    def _ack(self, ending: i16) -> None:
        writer = self.acks
        writer.write(ACK_PREFIX)
        write_i64_be(writer, self._delivery_tag)
        write_i16_be(writer, ending)
        self.unacked_count = 0

    def _record_run(self, now_ns: i64) -> None:
        if self._run_count:
            latency_ns = now_ns - self._run_stamp_ns
            if 0 <= latency_ns < LATENCY_NS_MAX:
                self.latency.record(latency_ns, self._run_count)
            self._run_count = 0

    def _verify(self, stamp: i64) -> None:
        producer = stamp >> 48
        sequence = stamp & SEQUENCE_MASK
        if producer < 0 or producer >= len(self._last_sequences):
            return
        last: i64 = self._last_sequences[producer]
        if sequence <= last:
            self.out_of_order_count += 1
        elif sequence != last + 1:
            self.gap_count += 1
        self._last_sequences[producer] = sequence

    def _refuse_nonsense(self, start: bytes, size: i64) -> None:
        if start[:4] == b"AMQP":
            raise LoadError(f"the broker answers with protocol header {start[4:8].hex('-')}: it does not speak 0-9-1")
        if size < 0 or size + FRAME_OVERHEAD_BYTES > self.frame_max:
            raise LoadError(f"a frame of {size} bytes arrived, the negotiated maximum is {self.frame_max}")
