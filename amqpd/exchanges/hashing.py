"""Hashes that place messages: the same in every process, on every machine, for ever.

Owns 32 bits of hash for some octets, and their mixing. (Python's own `hash` of a string changes from start to start.)
All arithmetic stays below 63 bits, so that compiled and interpreted code agree to the bit. Not for secrets.
"""

from __future__ import annotations

import zlib
from typing import Final

from mypy_extensions import i64

MASK: Final = 0xFFFFFFFF


def mix32(value: i64) -> i64:
    """A bijection of 32 bits in which every bit depends on every other (the finalizer `lowbias32`)."""
    value = value & MASK
    value ^= value >> 16
    value = (value * 0x7FEB352D) & MASK
    value ^= value >> 15
    # 0x846CA68B less 2 to the 32: the product's low 32 bits are the same, and it fits into 64.
    value = (value * -0x7B935975) & MASK
    value ^= value >> 16
    return value


def hash32(raw: bytes) -> i64:
    crc: i64 = zlib.crc32(raw)
    return mix32(crc)
