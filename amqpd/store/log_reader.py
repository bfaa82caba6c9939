"""Reading messages back from the log: pieces of segments, and no byte of a batch whose checksum does not hold.

Owns which batches have been checked: each is once, when something of it is read for the first time. What is in a damaged
batch comes back as zeros, which no message is made of; only bytes that were read, and whose checksum does not hold, are damage.
No size that stands in the file is believed before it is compared with the file's. Does not own what is read together
(page_reader.py), nor the thread.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.store.batch import BATCH_HEADER_SIZE, BATCH_MAGIC, BatchHeader, find_batch, try_read_batch
from amqpd.store.disk import Disk
from amqpd.store.segment import SEGMENT_HEADER_SIZE

# Headers of batches are looked for in pieces of this size.
BLOCK_BYTES: Final = 1 << 20
# So many segments are known at a time; the one that was known first is forgotten first.
SEGMENTS_MAX: Final = 64

_UNKNOWN: Final = 0
_INTACT: Final = 1
_DAMAGED: Final = 2


@final
class _Batches:
    """Where the batches of one segment begin, as far as that was asked for."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.verdicts = bytearray()
        self.end: i64 = SEGMENT_HEADER_SIZE
        # How long the file is, as of this read.
        self.size: i64 = 0
        # Damage up to the end of the file: where it ends may look different when more has been written.
        self.is_open_ended = False


@final
class LogReader:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._segments: dict[int, _Batches] = {}

    def read(self, number: int, ranges: list[tuple[int, int]]) -> list[bytes]:
        """Pieces by offset and size, in ascending order.

        OSError if the segment can't be read, UnknownFormat if a newer version wrote something of it.
        """
        blocks = self._disk.read_ranges(number, ranges)
        # Afterwards, for it grows: so everything that was read lies within it.
        size = self._disk.segment_size(number)
        batches = self._segments.get(number)
        if batches is None:
            while len(self._segments) >= SEGMENTS_MAX:
                del self._segments[next(iter(self._segments))]
            batches = _Batches()
            self._segments[number] = batches
        batches.size = size
        for index in range(len(ranges)):
            # What is missing at its end is no matter of checksums.
            blocks[index] = self._without_damage(number, batches, blocks[index], ranges[index][0], len(blocks[index]))
        if batches.is_open_ended:
            del self._segments[number]
        return blocks

    def _without_damage(self, number: int, batches: _Batches, block: bytes, begin: i64, size: i64) -> bytes:
        end = begin + size
        self._index(number, batches, end)
        at = _last_before(batches.starts, begin)
        damaged: bytearray | None = None
        while at < len(batches.starts) and batches.starts[at] < end:
            if batches.verdicts[at] == _UNKNOWN:
                self._check(number, batches, at)
                self._index(number, batches, end)
                # What was damaged may begin sooner than was thought.
                at = _last_before(batches.starts, begin)
                continue
            if batches.verdicts[at] == _DAMAGED:
                if damaged is None:
                    damaged = bytearray(block)
                low: i64 = batches.starts[at]
                high: i64 = batches.starts[at + 1] if at + 1 < len(batches.starts) else batches.end
                low = low if low > begin else begin
                high = high if high < end else end
                # It may end in front of what is read: its size was a lie.
                if high > low:
                    damaged[low - begin : high - begin] = bytes(int(high - low))
            at += 1
        return block if damaged is None else bytes(damaged)

    def _check(self, number: int, batches: _Batches, at: i64) -> None:
        if not self._is_intact(number, batches, at):
            self._pass_damage(number, batches, at)

    def _is_intact(self, number: int, batches: _Batches, at: i64) -> bool:
        start = batches.starts[at]
        end = batches.starts[at + 1] if at + 1 < len(batches.starts) else int(batches.end)
        data = self._disk.read(number, start, end - start)
        if len(data) < BATCH_HEADER_SIZE:
            return False
        batch = try_read_batch(data, 0, BatchHeader(data, 0).log_id)
        if batch is None or batch.end != end - start:
            return False
        batches.verdicts[at] = _INTACT
        return True

    def _index(self, number: int, batches: _Batches, until: i64) -> None:
        """Know all batches up to that offset, from one header to the next."""
        while batches.end < until:
            data = self._disk.read(number, int(batches.end), BLOCK_BYTES)
            if len(data) == 0:
                return
            if not self._step(batches, data):
                self._pass_damage(number, batches, len(batches.starts))

    def _step(self, batches: _Batches, data: bytes) -> bool:
        """All headers in this block, which begins where a batch should; False if none does."""
        at: i64 = 0
        size: i64 = len(data)
        while at + BATCH_HEADER_SIZE <= size:
            if data[at : at + 4] != BATCH_MAGIC:
                break
            header = BatchHeader(data, at)
            if not 0 <= header.records_size <= batches.size - batches.end - BATCH_HEADER_SIZE:
                break
            batches.starts.append(int(batches.end))
            batches.verdicts.append(_UNKNOWN)
            batches.end += header.end - at
            at = header.end
        return at > 0

    def _pass_damage(self, number: int, batches: _Batches, at_batch: i64) -> None:
        """No intact one there: what stands in front of the next intact batch is one damaged place.

        It begins sooner if the batches before have not been checked and are not intact: their sizes may be lies too.
        """
        while at_batch > 0 and batches.verdicts[at_batch - 1] == _UNKNOWN:
            if self._is_intact(number, batches, at_batch - 1):
                break
            at_batch -= 1
        if at_batch < len(batches.starts):
            batches.end = batches.starts[at_batch]
            del batches.starts[at_batch:]
            del batches.verdicts[at_batch:]
        data = self._disk.read(number, int(batches.end), max(0, int(batches.size - batches.end)))
        found = None
        if len(data) >= BATCH_HEADER_SIZE:
            at: i64 = data.find(BATCH_MAGIC, 1)
            while at >= 0 and found is None and at + BATCH_HEADER_SIZE <= len(data):
                found = find_batch(data, at, BatchHeader(data, at).log_id)
                at = data.find(BATCH_MAGIC, at + 1)
        batches.starts.append(int(batches.end))
        batches.verdicts.append(_DAMAGED)
        batches.end += found.offset if found is not None else len(data)
        if found is None:
            batches.is_open_ended = True


def _last_before(starts: list[int], offset: i64) -> i64:
    """The place of the last start that is not behind this offset; 0 if there is none."""
    low: i64 = 0
    high: i64 = len(starts)
    while low < high:
        middle = (low + high) >> 1
        if starts[middle] <= offset:
            low = middle + 1
        else:
            high = middle
    return low - 1 if low > 0 else 0
