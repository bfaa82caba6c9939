"""A part of a deep queue: some neighbours of its order, in memory or on disk only, and what it takes to read them back.

Owns these nouns, how much of a deep queue stays in memory, and what can leave it: what the log has anyway; and while memory
is short also what no durable queue holds, which the log gets for that alone. Does not own when a chunk leaves or comes back
(backlog.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.store.page import PAGE_COUNT_MAX, Page, PageWriter, Piece, fits_page

if TYPE_CHECKING:
    from amqpd.queues.agenda import Agenda
    from amqpd.queues.backlog import Backlog
    from amqpd.queues.ready import Ready


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
        # Once this is durable, everything in its pages can be read back.
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

    A page whose bytes could not be read has None, and `error` says why: it is asked for again.
    """

    def __init__(self, backlog: Backlog, chunk: Chunk) -> None:
        self.backlog = backlog
        self.chunk = chunk
        self.pages = chunk.pages
        self.pieces: list[list[Piece] | None] = []
        self.error: Exception | None = None
        # How often in a row it has come to nothing.
        self.failure_count: i64 = 0
        # Nobody wants it in memory: it only has to leave its segment.
        self.is_move = False


def can_leave(entry: Entry, is_stored: bool, agenda: Agenda) -> bool:
    """May it be on disk only? `is_stored`: so is its queue."""
    if entry.is_timed:
        return False
    message = entry.message
    if is_stored and message.segment is not None:
        return fits_page(message)
    return agenda.is_memory_short and agenda.log.can_spill(message)


@final
class Packer:
    """Makes the pages of a chunk of entries that can leave, added in their order."""

    def __init__(self, ready: Ready, agenda: Agenda) -> None:
        # How many entries it was given.
        self.count: i64 = 0
        self._ready = ready
        self._agenda = agenda
        self._is_stored = ready.is_stored
        self._logged = PageWriter()
        self._spilled: PageWriter | None = None

    def add(self, entry: Entry) -> None:
        message = entry.message
        self.count += 1
        if self._is_stored and message.segment is not None:
            self._logged.add_message(message, entry.redelivered, entry.delivery_count)
            message.holders -= 1
            return
        spilled = self._spilled
        if spilled is None:
            spilled = PageWriter(True)
            self._spilled = spilled
        copy = self._agenda.log.append_spilled(message, self._ready.arrived_wall_ms(entry))
        spilled.add_message(copy, entry.redelivered, entry.delivery_count)

    def split(self) -> None:
        """Something stands here that is in no page: what follows begins another one."""
        self._logged.split()

    @property
    def is_leaving(self) -> bool:
        """Should any segment go that something of this is in?"""
        return self._logged.is_leaving or (self._spilled is not None and self._spilled.is_leaving)

    def pages(self) -> list[Page]:
        """Everything so far."""
        pages = self._logged.pages()
        if self._spilled is not None:
            pages.extend(self._spilled.pages())
        return pages
