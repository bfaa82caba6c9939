"""A part of a deep queue: some neighbours of its order, in memory or on disk only, and what it takes to read them back.

Owns these nouns, and how much of a deep queue stays in memory. Does not own when a chunk leaves or comes back (backlog.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.store.page import PAGE_COUNT_MAX, Page, Piece

if TYPE_CHECKING:
    from amqpd.queues.backlog import Backlog


@final
class Depth:
    """When a queue is deep, and how much of a deep one stays in memory."""

    def __init__(
        self,
        head_count: i64 = 256,
        head_bytes: i64 = 1 << 20,
        chunk_count: i64 = PAGE_COUNT_MAX,
        chunk_bytes: i64 = 256 << 10,
        resident_chunks: i64 = 256,
    ) -> None:
        # With more arrivals or body bytes than this a queue is deep, and goes on in chunks.
        self.head_count = head_count
        self.head_bytes = head_bytes
        # A chunk is full at so many messages, or body bytes.
        self.chunk_count = chunk_count
        self.chunk_bytes = chunk_bytes
        # So many chunks of all deep queues together stay in memory, besides those that are read ahead.
        self.resident_chunks = resident_chunks


@final
class Chunk:
    """Some neighbours of the order: in memory, or described by pages."""

    def __init__(self, entries: list[Entry], pages: list[Page], mark: i64) -> None:
        self.entries = entries
        self.pages = pages
        # Once this is durable, everything in it can be read back.
        self.mark = mark
        self.read: PageRead | None = None

    @property
    def is_cold(self) -> bool:
        return len(self.pages) > 0

    @property
    def is_leaving(self) -> bool:
        for page in self.pages:
            if page.segment.is_leaving:
                return True
        return False


@final
class PageRead:
    """What a chunk wants from the log. The shell fills `pieces`, one list for each page, and hands it back.

    A page whose bytes can't be read has None.
    """

    def __init__(self, backlog: Backlog, chunk: Chunk) -> None:
        self.backlog = backlog
        self.chunk = chunk
        self.pages = chunk.pages
        self.pieces: list[list[Piece] | None] = []
        self.tries: i64 = 1
        # Nobody wants it in memory: it only has to leave its segment.
        self.is_move = False
