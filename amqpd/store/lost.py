"""A message that was given up, because what was read in its place is not what was written.

Owns what is told of it, so that somebody can find out later which messages are gone. Does not own the list (runtime/lost.py).
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64


@final
class Lost:
    def __init__(self, queue_id: i64, message_id: i64, segment_number: i64, offset: i64, size_bytes: i64) -> None:
        self.queue_id = queue_id
        self.message_id = message_id
        # Where it should have been: 0 if nobody knows.
        self.segment_number = segment_number
        self.offset = offset
        # Of the whole record.
        self.size_bytes = size_bytes
        self.vhost = ""
        self.queue = ""
        self.wall_ms: i64 = 0
        # Where no message can be named: what was found.
        self.what = ""


def loss_of_unknown(what: str) -> Lost:
    """A part of the log is damaged, and it is not known which messages stood there."""
    lost = Lost(0, 0, 0, 0, 0)
    lost.what = what
    return lost
