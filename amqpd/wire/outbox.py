"""Encoded bytes waiting to leave on one connection.

Owns the one writer of a connection and whether more may be put into it. Does not own the socket: the shell takes the
bytes once per turn and says whether the socket took them.
Invariant: an outbox with bytes, or whose connection wants closing, stands in `woken` exactly once.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter
from mypy_extensions import i64

# A turn stops delivering to a connection when this much waits for its socket; replies are never held back.
OUTBOX_HIGH_BYTES: Final = 1 << 20
# A writer that grew beyond this gives its memory back when it is emptied.
OUTBOX_KEEP_BYTES: Final = 1 << 16


@final
class Outbox:
    def __init__(self, number: i64, woken: list[Outbox]) -> None:
        self.number = number
        self.writer = BytesWriter()
        # Largest body frame payload that the peer takes: negotiated frame_max less the frame's own 8 bytes.
        self.payload_bytes_max: i64 = 4096 - 8
        # Deliveries ask this before they write; replies do not.
        self.is_open = True
        self.is_socket_full = False
        # The channel whose delivery filled it last, 0 if nobody knows: when there is room again, others come first.
        self.filled_by: i64 = 0
        self.written_bytes: i64 = 0
        self._woken = woken
        self._is_woken = False

    def wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._woken.append(self)

    def check_high(self) -> None:
        """Close the door for deliveries when enough waits already."""
        if len(self.writer) >= OUTBOX_HIGH_BYTES:
            self.is_open = False

    def take(self) -> bytes:
        """Everything that waits; the outbox is empty and asleep afterwards."""
        self._is_woken = False
        writer = self.writer
        size: i64 = len(writer)
        if size == 0:
            return b""
        taken = writer.getvalue()
        self.written_bytes += size
        if size > OUTBOX_KEEP_BYTES:
            self.writer = BytesWriter()
        else:
            writer.truncate(0)
        return taken
