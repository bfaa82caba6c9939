"""A histogram of durations with a bounded relative error, after HdrHistogram.

Owns: counts per bucket, the exact minimum, maximum and sum. Does not own units: the load engine records nanoseconds.

    value < 128            its own bucket
    otherwise              128 buckets for each power of two, so a bucket is narrower than 0.8 % of its value

Invariant: `count` is the sum of the buckets; a percentile never exceeds the recorded maximum.
Compiled together with `peer.py` and `publisher.py`: recording is on the path of every message.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

SUB_BITS: Final = 7
SUB_COUNT: Final = 1 << SUB_BITS
BUCKET_COUNT: Final = (64 - SUB_BITS) << SUB_BITS


@final
class Histogram:
    def __init__(self) -> None:
        self.count: i64 = 0
        self.value_max: i64 = 0
        self.value_min: i64 = 0
        self.value_sum: int = 0
        self._buckets: list[int] = [0] * BUCKET_COUNT

    def record(self, value: i64, times: i64) -> None:
        """Count `value` (below zero counts as zero) `times` times."""
        if value < 0:
            value = 0
        if self.count == 0 or value < self.value_min:
            self.value_min = value
        if value > self.value_max:
            self.value_max = value
        self.count += times
        self.value_sum += int(value * times)
        # The exponent by bisection: a bit_length() of an i64 would box it.
        shift: i64 = 0
        rest = value >> SUB_BITS
        if rest >= 0x100000000:
            shift += 32
            rest >>= 32
        if rest >= 0x10000:
            shift += 16
            rest >>= 16
        if rest >= 0x100:
            shift += 8
            rest >>= 8
        if rest >= 0x10:
            shift += 4
            rest >>= 4
        if rest >= 4:
            shift += 2
            rest >>= 2
        if rest >= 2:
            shift += 2
        elif rest == 1:
            shift += 1
        index: i64
        if shift == 0:
            index = value
        else:
            index = (shift << SUB_BITS) + ((value >> (shift - 1)) & (SUB_COUNT - 1))
        self._buckets[index] += times

    def percentile(self, fraction: float) -> int:
        """The upper edge of the bucket below which `fraction` of all values lie; 0 when nothing was recorded."""
        if self.count == 0:
            return 0
        wanted = int(fraction * int(self.count) + 0.999999)
        if wanted < 1:
            wanted = 1
        seen = 0
        for index, times in enumerate(self._buckets):
            seen += times
            if seen >= wanted:
                return min(upper_edge(index), int(self.value_max))
        return int(self.value_max)

    def mean(self) -> float:
        return self.value_sum / self.count if self.count else 0.0

    def add(self, other: Histogram) -> None:
        """Take over everything that `other` counted."""
        if other.count == 0:
            return
        if self.count == 0 or other.value_min < self.value_min:
            self.value_min = other.value_min
        if other.value_max > self.value_max:
            self.value_max = other.value_max
        self.count += other.count
        self.value_sum += other.value_sum
        for index, times in enumerate(other._buckets):
            if times:
                self._buckets[index] += times

    def clear(self) -> None:
        self.count = 0
        self.value_max = 0
        self.value_min = 0
        self.value_sum = 0
        self._buckets = [0] * BUCKET_COUNT


def upper_edge(index: int) -> int:
    """The largest value that falls into bucket `index`."""
    shift = index >> SUB_BITS
    if shift == 0:
        return index
    width = 1 << (shift - 1)
    return (SUB_COUNT + (index & (SUB_COUNT - 1))) * width + width - 1
