"""The publishing half of one producer connection: which messages may go now, their bytes, and their confirms.

Owns: the sequence numbers of one producer, its confirm window and its pace. Does not own the socket or the clock: the
loop asks for blocks of bytes, says what time it is, and hands in the confirms that arrive.

A body begins, little endian, with the monotonic nanosecond at which it was published and with
`producer number << 48 | sequence from 1`; a body of less than 16 or 8 bytes lacks the second or both. A message is
kept as `head`, everything before the stamp, and `tail`, everything behind it, so publishing is two copies and two writes.

Invariant: `outstanding_count` is the number of tags in `low_tag..published_count` that stand in the ring.
Compiled together with `peer.py` and `histogram.py`.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, write_i64_le
from mypy_extensions import i64

from amqpd.cli.load import LoadError
from amqpd.cli.load.histogram import Histogram

# From this size on a tail is handed to the socket as it is (gathered write) instead of being copied into a block.
GATHER_BYTES_MIN: Final = 2048
# Buffers in one gathered write; Linux takes 1024.
GATHER_COUNT_MAX: Final = 1000


@final
class Template:
    """One message to publish, cut where the stamp goes."""

    def __init__(self, head: bytes, tail: bytes, stamp_bytes: int) -> None:
        assert stamp_bytes in (0, 8, 16)
        self.head = head
        self.tail = tail
        self.stamp_bytes: i64 = stamp_bytes
        self.size: i64 = len(head) + len(tail) + stamp_bytes


@final
class Publisher:
    def __init__(
        self,
        number: i64,
        templates: list[Template],
        block_bytes: i64,
        window: i64,
        batch: i64,
        count_max: i64,
        interval_ns: float,
        offset_ns: float,
    ) -> None:
        """`window` 0: no confirms; `count_max` 0: no end; `interval_ns` 0: as fast as the broker takes it."""
        assert templates
        size_max: i64 = 1
        for template in templates:
            if template.size > size_max:
                size_max = template.size
        block_count = block_bytes // size_max
        if block_count < 1:
            block_count = 1
        gathers = size_max >= GATHER_BYTES_MIN
        if gathers and block_count > GATHER_COUNT_MAX // 2:
            block_count = GATHER_COUNT_MAX // 2
        self.published_count: i64 = 0
        self.published_bytes: i64 = 0
        self.confirmed_count: i64 = 0
        self.nacked_count: i64 = 0
        self.outstanding_count: i64 = 0
        self.low_tag: i64 = 1
        self.lag_ns_max: i64 = 0
        self.confirm_latency = Histogram()
        self.is_recording = False
        # The broker, not our pace, holds the next message back: the wait counts into its latency.
        self.is_held_back = False
        self.started_ns: i64 = 0
        self.window: i64 = window
        self.count_max: i64 = count_max
        self.interval_ns = interval_ns
        self._offset_ns = offset_ns
        self._stamp_high: i64 = number << 48
        self._templates = templates
        self._next_template: i64 = 0
        self._block_count: i64 = block_count
        self._batch: i64 = batch
        self._gathers = gathers
        ring_size: i64 = 1024
        while ring_size < 4 * window:
            ring_size *= 2
        self._ring_mask: i64 = ring_size - 1
        # Publish time of every tag that waits for its confirm, None when it does not; one object for a whole block.
        self._ring: list[object] = [None] * ring_size if window else []

    def due_ns(self, index: i64) -> float:
        """When message `index` of this producer is due, at a fixed rate."""
        return float(self.started_ns) + self._offset_ns + float(index) * self.interval_ns

    def is_finished(self) -> bool:
        return self.count_max > 0 and self.published_count >= self.count_max

    def allowed_count(self, now_ns: i64) -> i64:
        """How many messages may be published now: bounded by block, count, window and pace."""
        allowed = self._block_count
        left: i64 = 0
        if self.count_max:
            left = self.count_max - self.published_count
            if left <= 0:
                return 0
            if allowed > left:
                allowed = left
        if self.window:
            room = self.window - self.outstanding_count
            # Tags confirmed out of order keep their place in the ring until the lowest one is confirmed.
            ring_room = self._ring_mask + 1 - (self.published_count + 1 - self.low_tag)
            if room > ring_room:
                room = ring_room
            least = self._batch
            if self.interval_ns > 0.0:
                least = 1
            if self.count_max and left < least:
                least = left
            if room < least:
                self.is_held_back = True
                return 0
            if allowed > room:
                allowed = room
        if self.interval_ns > 0.0:
            elapsed = (float(now_ns) - self.due_ns(0)) / self.interval_ns
            due: i64 = 0
            if elapsed >= 0.0:
                due = i64(elapsed) + 1
            due -= self.published_count
            if due <= 0:
                self.is_held_back = False
                return 0
            if allowed > due:
                allowed = due
            if self.is_recording and not self.is_held_back:
                lag = i64(float(now_ns) - self.due_ns(self.published_count))
                if lag > self.lag_ns_max:
                    self.lag_ns_max = lag
        return allowed

    def publish(self, count: i64, now_ns: i64) -> list[bytes]:
        """The bytes of the next `count` messages, as few or many buffers to be sent in this order."""
        buffers: list[bytes] = []
        writer = BytesWriter()
        templates = self._templates
        template_count: i64 = len(templates)
        turn = self._next_template
        ring = self._ring
        window = self.window
        waits = self.is_held_back and self.interval_ns > 0.0
        stamp_ns = now_ns
        stamp: object = now_ns
        sequence = self.published_count
        last = sequence + count
        while sequence < last:
            if waits:
                due = i64(self.due_ns(sequence))
                stamp_ns = due if due < now_ns else now_ns
                stamp = stamp_ns
            template = templates[turn]
            turn += 1
            if turn == template_count:
                turn = 0
            sequence += 1
            writer.write(template.head)
            if template.stamp_bytes != 0:
                write_i64_le(writer, stamp_ns)
                if template.stamp_bytes == 16:
                    write_i64_le(writer, self._stamp_high | sequence)
            if self._gathers:
                buffers.append(writer.getvalue())
                buffers.append(template.tail)
                writer.truncate(0)
            else:
                writer.write(template.tail)
            self.published_bytes += template.size
            if window:
                ring[sequence & self._ring_mask] = stamp
        if not self._gathers:
            buffers.append(writer.getvalue())
        self._next_template = turn
        self.published_count = last
        if window:
            self.outstanding_count += count
        return buffers

    def on_confirm(self, delivery_tag: i64, multiple: bool, is_nack: bool, now_ns: i64) -> None:
        """basic.ack or basic.nack from the broker."""
        if self.window == 0:
            raise LoadError("a confirm arrived without confirm.select")
        last = self.published_count
        # AMQP 0-9-1 basic.ack: with `multiple`, tag zero means everything outstanding.
        if multiple and delivery_tag == 0:
            delivery_tag = last
        if delivery_tag > last or delivery_tag < 1:
            raise LoadError(f"a confirm of tag {delivery_tag} arrived, but only {last} were published")
        ring = self._ring
        mask = self._ring_mask
        tag = self.low_tag if multiple else delivery_tag
        settled: i64 = 0
        run: i64 = 0
        run_stamp: object = None
        while tag <= delivery_tag:
            stamp = ring[tag & mask] if tag >= self.low_tag else None
            if stamp is not None:
                ring[tag & mask] = None
                settled += 1
                if stamp is not run_stamp:
                    self._record(run_stamp, run, is_nack, now_ns)
                    run_stamp = stamp
                    run = 0
                run += 1
            tag += 1
        self._record(run_stamp, run, is_nack, now_ns)
        self.outstanding_count -= settled
        if is_nack:
            self.nacked_count += settled
        else:
            self.confirmed_count += settled
        low = self.low_tag
        if multiple and low <= delivery_tag:
            low = delivery_tag + 1
        while low <= last and ring[low & mask] is None:
            low += 1
        self.low_tag = low

    def _record(self, stamp: object, times: i64, is_nack: bool, now_ns: i64) -> None:
        if times == 0 or is_nack or not self.is_recording:
            return
        assert isinstance(stamp, int)
        published_ns: i64 = stamp
        self.confirm_latency.record(now_ns - published_ns, times)
