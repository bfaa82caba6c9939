"""Content that has not fully arrived: the pieces of one message's body, counted in the memory that they take.

Owns the pieces, and their share of the session's count. Does not own the order of frames (channel.py). Many small pieces
are joined into blocks, so that memory follows what was sent and not in how many frames it came; each byte is copied once
for that, and once when the body is complete.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.channels.session import Session

# What a piece takes beside its bytes: the object's head, its place in the list, and what the allocator rounds up.
PIECE_BYTES: Final = 64
# So many pieces become a block, if they are smaller than this on average.
BLOCK_COUNT: Final = 256
SMALL_BYTES: Final = 1024


@final
class Partial:
    def __init__(self, session: Session) -> None:
        # What the session has been told of.
        self.counted_bytes: i64 = 0
        # Memory or disk is short and the publisher would rather be refused than wait: nothing is kept any more.
        self.is_refused = False
        self._session = session
        self._pieces: list[bytes] = []
        # Pieces in front that are blocks, or large; the others, all together, have `_loose_bytes`.
        self._block_count: i64 = 0
        self._loose_bytes: i64 = 0

    def add(self, piece: bytes) -> None:
        """Raises ResourceFault if the connection has begun too much."""
        if self.is_refused:
            return
        pieces = self._pieces
        pieces.append(piece)
        size: i64 = len(piece)
        self._loose_bytes += size
        self._count(size + PIECE_BYTES)
        if len(pieces) - self._block_count == BLOCK_COUNT:
            if self._loose_bytes < BLOCK_COUNT * SMALL_BYTES:
                block = b"".join(pieces[self._block_count :])
                del pieces[self._block_count :]
                pieces.append(block)
                self._count(-(BLOCK_COUNT - 1) * PIECE_BYTES)
            self._block_count = len(pieces)
            self._loose_bytes = 0

    def take(self, last: bytes) -> bytes:
        """The whole body; nothing is kept here."""
        self._pieces.append(last)
        body = b"".join(self._pieces)
        self.drop()
        return body

    def refuse(self) -> None:
        self.drop()
        self.is_refused = True

    def drop(self) -> None:
        self._pieces = []
        self._block_count = 0
        self._loose_bytes = 0
        self._count(-self.counted_bytes)

    def _count(self, size_bytes: i64) -> None:
        self.counted_bytes += size_bytes
        self._session.count_partial(size_bytes)
