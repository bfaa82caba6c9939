"""What is said of bytes that can't be AMQP frames: which protocol headers are taken, and the texts for the rest.

Owns no state; the connection finds the frames.
"""

from __future__ import annotations

from typing import Final

from amqpd.wire.frames import PROTOCOL_HEADER

# RabbitMQ takes the headers of 0-9-1 and of its elder siblings, and speaks 0-9-1 to all of them.
PROTOCOL_HEADERS: Final = (PROTOCOL_HEADER, b"AMQP\x01\x01\x00\x09", b"AMQP\x01\x01\x08\x00", b"AMQP\x01\x01\x09\x01")


def guess_protocol(data: bytes) -> str:
    """What a stranger at the door probably is."""
    if data[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE"):
        return "this looks like HTTP; the management API listens on another port"
    if data[:2] == b"\x16\x03":
        return "this looks like TLS; use the port of --amqps for it"
    if data[:4] == b"AMQP":
        return f"its protocol header asks for version {'-'.join([str(each) for each in data[4:8]])}"
    return "its first bytes are no protocol header"


def too_large(frame_type: int, number: int, size: int, frame_max: int) -> str:
    return f"type {frame_type}, channel {number}: frame of {size + 8} bytes is larger than frame_max {frame_max}"


def bad_end(frame_type: int, number: int, size: int, octet: int) -> str:
    return f"type {frame_type}, channel {number}, payload of {size} bytes: frame end octet is {octet}, not 206"
