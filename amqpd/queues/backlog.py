"""What stands behind the head of a long queue: chunks of arrivals, most of them on disk only.

Owns which chunks leave memory and when they are read back: the ones that are farthest from being delivered go, or do not
even stay when they arrive; a few are read ahead of whoever takes messages, once the log has them. Does not own the head of
the order (ready.py), the packed form (store/page.py), nor the reading (the shell does it, between turns). A plain queue
that is not deep has no backlog at all.

    head (ready.py) | chunk | chunk | chunk on disk | ... | chunk on disk | tail, which grows: in memory or not

Invariant: the order of arrival; what can't leave memory (chunk.py) keeps its whole chunk there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.queues.chunk import Chunk, Packer, PageRead, can_leave
from amqpd.queues.entry import Entry
from amqpd.store.page import Page, PageWriter

if TYPE_CHECKING:
    from amqpd.queues.agenda import Agenda
    from amqpd.queues.ready import Ready

# So many chunks are read ahead, at most.
READ_AHEAD_CHUNKS: Final = 16
# Chunks that are gone are forgotten in blocks of at least this many.
COMPACT_COUNT: Final = 256
# So many chunks of one queue are read at a time to be moved.
MOVES_MAX: Final = 16


class Getter:
    """Somebody who waits for the next message of a queue to be in memory."""

    def back_in_memory(self) -> None:
        """It is, or the queue is gone."""
        raise NotImplementedError


@final
class Backlog:
    def __init__(self, ready: Ready, agenda: Agenda) -> None:
        self._ready = ready
        self._agenda = agenda
        self._chunks: list[Chunk] = []
        self._first: i64 = 0
        # The youngest: here, or only their addresses there. One of the two is always empty.
        self._tail: list[Entry] = []
        self._cold_tail: Packer | None = None
        self._tail_bytes: i64 = 0
        # Once this is durable, everything in the cold tail can be read back.
        self._tail_mark: i64 = 0
        # Chunks in memory.
        self._resident_count: i64 = 0
        self._is_unsynced = False
        self.is_ended = False
        agenda.deep_count += 1

    def end(self) -> None:
        """Nothing stands here any more, or nobody wants it: forget everything."""
        if not self.is_ended:
            self.is_ended = True
            self._agenda.deep_count -= 1
        self._chunks = []
        self._first = 0
        self._tail = []
        self._cold_tail = None

    # In

    def append(self, entry: Entry) -> None:
        if len(self._tail) == 0 and self._append_cold(entry):
            return
        self._tail.append(entry)
        self._tail_bytes += len(entry.message.body)
        depth = self._agenda.depth
        if len(self._tail) >= depth.chunk_count or self._tail_bytes >= depth.chunk_bytes:
            self._close_tail()

    def _append_cold(self, entry: Entry) -> bool:
        """Keep only the address of an arrival, while its bytes are in the cache; False if it has to stay in memory.

        Put off until the chunk is full, leaving would cost as much as arriving.
        """
        cold = self._cold_tail
        if cold is None and self._resident_count < self._allowance():
            return False
        agenda = self._agenda
        if not can_leave(entry, self._ready.is_stored, agenda):
            self._close_cold_tail()
            return False
        if cold is None:
            cold = Packer(self._ready, agenda)
            self._cold_tail = cold
        cold.add(entry)
        self._tail_mark = agenda.log.gathered_mark
        self._tail_bytes += len(entry.message.body)
        depth = agenda.depth
        if cold.count >= depth.chunk_count or self._tail_bytes >= depth.chunk_bytes:
            self._close_cold_tail()
        return True

    def _close_cold_tail(self) -> None:
        cold = self._cold_tail
        if cold is not None:
            self._cold_tail = None
            self._tail_bytes = 0
            self._chunks.append(Chunk([], cold.pages(), self._tail_mark))

    def _close_tail(self) -> None:
        chunk = Chunk(self._tail, [], 0)
        self._chunks.append(chunk)
        self._resident_count += 1
        self._tail = []
        self._tail_bytes = 0
        if self._resident_count > self._allowance():
            self._chill(chunk)

    def append_page(self, page: Page) -> None:
        """What a restart found, younger than all that came before."""
        if len(self._tail) > 0:
            self._close_tail()
        self._close_cold_tail()
        self._chunks.append(Chunk([], [page], 0))

    def _allowance(self) -> i64:
        """How many chunks may stay in memory."""
        agenda = self._agenda
        return 0 if agenda.is_memory_short else agenda.depth.resident_chunks // (agenda.deep_count + 1)

    def _chill(self, chunk: Chunk) -> None:
        ready = self._ready
        for entry in chunk.entries:
            if entry.is_ready and not can_leave(entry, ready.is_stored, self._agenda):
                # It has to stay in memory, and the others keep it company.
                return
        packer = Packer(ready, self._agenda)
        discarded: i64 = 0
        for entry in chunk.entries:
            if entry.is_ready:
                packer.add(entry)
                # Nobody finds it any more; who still has it from before is told that it is not what it was.
                entry.is_ready = False
            else:
                discarded += 1
                # Out of the order, but it may be a dead letter that nobody took: what is said of a page is not said of it.
                packer.split()
        chunk.pages = packer.pages()
        # What was moved meanwhile may not be durable where it is now.
        chunk.mark = self._agenda.log.gathered_mark
        chunk.entries = []
        self._resident_count -= 1
        ready.forget_discarded(discarded)
        self._list(chunk)

    def _list(self, chunk: Chunk) -> None:
        """A checkpoint that is being made may be on its way through what was in memory: it has to hear where that went."""
        checkpoint = self._agenda.checkpoint
        if checkpoint is None or not self._ready.is_stored:
            return
        for page in chunk.pages:
            if not page.is_spilled:
                checkpoint.add_page(self._ready.queue_id, page)

    def page_out(self, position_max: i64) -> bool:
        """Memory is short: all that can leaves it, except what is next, until the log is so long. True if that was all."""
        log = self._agenda.log
        for at in range(self._first + self._ahead(), len(self._chunks)):
            chunk = self._chunks[at]
            if len(chunk.entries) == 0:
                continue
            if log.position_gathered >= position_max:
                return False
            self._chill(chunk)
        return True

    # Out

    def take_first(self) -> list[Entry]:
        """The next entries in order, which leave; empty if the backlog is at its end. The first must not be cold."""
        if self._first < len(self._chunks):
            chunk = self._chunks[self._first]
            assert not chunk.is_cold
            entries = chunk.entries
            chunk.entries = []
            self._resident_count -= 1
            self._first += 1
            if self._first >= COMPACT_COUNT and self._first * 2 > len(self._chunks):
                del self._chunks[: self._first]
                self._first = 0
            self._read_ahead()
            return entries
        entries = self._tail
        self._tail = []
        self._tail_bytes = 0
        return entries

    @property
    def is_empty(self) -> bool:
        return self._first >= len(self._chunks) and len(self._tail) == 0 and self._cold_tail is None

    def is_first_cold(self) -> bool:
        """Does whoever wants the next entry have to wait? Then it is on its way."""
        if self._first >= len(self._chunks):
            self._close_cold_tail()
        if self._first >= len(self._chunks) or not self._chunks[self._first].is_cold:
            return False
        self._read_ahead()
        return True

    def _ahead(self) -> i64:
        """How many chunks should be in memory, from the first one on."""
        ahead = READ_AHEAD_CHUNKS * 8 // (self._agenda.deep_count + 1)
        if ahead > READ_AHEAD_CHUNKS:
            return READ_AHEAD_CHUNKS
        return ahead if ahead > 1 else 1

    def _read_ahead(self) -> None:
        agenda = self._agenda
        end = self._first + self._ahead()
        if end > len(self._chunks):
            end = len(self._chunks)
        for at in range(self._first, end):
            chunk = self._chunks[at]
            if chunk.is_cold and chunk.read is not None:
                chunk.read.is_move = False
            elif chunk.is_cold and chunk.mark <= agenda.log.synced_mark:
                self._read(chunk)
            elif chunk.is_cold:
                # It has just come, or moved: when the disk has it.
                if not self._is_unsynced:
                    self._is_unsynced = True
                    agenda.unsynced.append(self)
                return

    def synced(self) -> None:
        self._is_unsynced = False
        if not self.is_ended:
            self._read_ahead()

    def _read(self, chunk: Chunk) -> PageRead:
        read = PageRead(self, chunk)
        chunk.read = read
        self._agenda.reads.append(read)
        return read

    def arrived(self, read: PageRead) -> None:
        """What was read is back, as far as anybody still wants it."""
        chunk = read.chunk
        is_wanted = not self.is_ended and chunk.read is read
        if is_wanted and None in read.pieces:
            # That says nothing about the bytes: only what was read can be damaged.
            self._ready.losses.failed(read)
            return
        if read.failure_count > 0:
            self._ready.losses.over()
        if not is_wanted:
            return
        chunk.read = None
        if read.is_move:
            self._move(chunk, read)
        else:
            self._warm(chunk, read)

    def ask_again(self, read: PageRead) -> None:
        """It could not be read; perhaps it can by now."""
        if self.is_ended or read.chunk.read is not read:
            self._ready.losses.over()
        else:
            self._agenda.reads.append(read)

    def _warm(self, chunk: Chunk, read: PageRead) -> None:
        entries: list[Entry] = []
        lost_count: i64 = 0
        lost_bytes: i64 = 0
        was_spilled = False
        for number, page in enumerate(read.pages):
            for index, message in enumerate(page.messages(read.pieces[number] or [])):
                if message is None:
                    lost_count += 1
                    lost_bytes += page.body_size(index)
                    self._ready.give_up(page, index)
                else:
                    entries.append(self._ready.warm(message, page, index))
            if page.is_spilled:
                was_spilled = True
                self._agenda.log.release_page(page)
        if was_spilled:
            # Its messages stand among those that were logged anyway.
            entries.sort(key=_message_id)
        chunk.pages = []
        chunk.entries = entries
        self._resident_count += 1
        self._ready.back_in_memory(lost_count, lost_bytes)

    # Out of segments that should go

    def move_leaving(self) -> bool:
        """Have read what has to move; True once all of it is on its way."""
        cold = self._cold_tail
        if cold is not None and cold.is_leaving:
            self._close_cold_tail()
        count: i64 = 0
        for at in range(self._first, len(self._chunks)):
            chunk = self._chunks[at]
            if not chunk.is_cold or not chunk.is_leaving:
                continue
            count += 1
            if count > MOVES_MAX:
                return False
            if chunk.read is None and chunk.mark <= self._agenda.log.synced_mark:
                self._read(chunk).is_move = True
        return count == 0

    def _move(self, chunk: Chunk, read: PageRead) -> None:
        """Log once more what is in a segment that should go, and stay on disk. What is damaged is given up."""
        log = self._agenda.log
        lost_count: i64 = 0
        lost_bytes: i64 = 0
        pages: list[Page] = []
        for number, page in enumerate(read.pages):
            if not page.segment.is_leaving:
                pages.append(page)
                continue
            messages = page.messages(read.pieces[number] or [])
            writer = PageWriter(page.is_spilled)
            for index, message in enumerate(messages):
                if message is None:
                    # It would be tried again and again, and its segment never go.
                    lost_count += 1
                    lost_bytes += page.body_size(index)
                    self._ready.give_up(page, index)
                else:
                    if page.is_spilled:
                        moved = log.append_spilled(message, message.enqueued_ms)
                    else:
                        moved = log.append_move(self._ready.queue_id, message)
                    writer.add_message(moved, page.redelivered(index), page.delivery_count(message.message_id))
            if page.is_spilled:
                log.release_page(page)
            pages.extend(writer.finish())
        chunk.pages = pages
        chunk.mark = log.gathered_mark
        if len(pages) == 0:
            # All of it is lost: an empty chunk that is in memory.
            self._resident_count += 1
        if lost_count > 0:
            self._ready.back_in_memory(lost_count, lost_bytes)

    # All of it

    def entries(self) -> list[Entry]:
        """What is ready and in memory."""
        found: list[Entry] = []
        for at in range(self._first, len(self._chunks)):
            for entry in self._chunks[at].entries:
                if entry.is_ready:
                    found.append(entry)
        for entry in self._tail:
            if entry.is_ready:
                found.append(entry)
        return found

    def runs(self) -> list[list[Entry]]:
        """The same, chunk by chunk; a chunk's list never changes."""
        found: list[list[Entry]] = []
        for at in range(self._first, len(self._chunks)):
            if len(self._chunks[at].entries) > 0:
                found.append(self._chunks[at].entries)
        found.append(self._tail[:])
        return found

    def pages(self) -> list[Page]:
        """What is on disk only."""
        found: list[Page] = []
        for at in range(self._first, len(self._chunks)):
            found.extend(self._chunks[at].pages)
        if self._cold_tail is not None:
            found.extend(self._cold_tail.pages())
        return found


def _message_id(entry: Entry) -> int:
    return int(entry.message.message_id)
