"""What one queue holds while the log is replayed: pages that a checkpoint listed, and single entries.

Owns that a message is in one of the two, and the packing into pages at the end. Does not own what records mean (replay.py).
A message of a page becomes a single entry when a record says something of it that a page can't. Bytes are not kept for what
can be read back when it is wanted: only addresses, so that a restart costs little memory however deep the queue is.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.store.page import BODY_BYTES_MAX, META_BYTES_MAX, OFFSET_MAX, Page, PageWriter
from amqpd.store.record import PARKED_MS
from amqpd.store.recovered import RecoveredEntry


def can_be_in_page(offset: i64, body_bytes: i64, meta_bytes: i64) -> bool:
    return offset <= OFFSET_MAX and body_bytes <= BODY_BYTES_MAX and 0 < meta_bytes <= META_BYTES_MAX


@final
class QueueReplay:
    def __init__(self, is_resident: bool) -> None:
        """`is_resident`: all of its messages are needed in memory."""
        self.is_resident = is_resident
        self.entries: dict[int, RecoveredEntry] = {}
        self._pages: list[Page] = []
        # For each page which of its places are empty by now; None if none is.
        self._gone: list[bytearray | None] = []
        self._gone_counts: list[int] = []
        self._is_sorted = True
        self._last_id: i64 = 0
        # Where the last search ended: the next one is likely to be near.
        self._near: i64 = 0

    # In

    def add_page(self, page: Page) -> None:
        if page.first_id <= self._last_id or len(self.entries) > 0:
            # What left memory while the checkpoint was made may be listed by itself too.
            self._is_sorted = False
        if page.last_id > self._last_id:
            self._last_id = page.last_id
        self._pages.append(page)
        self._gone.append(None)
        self._gone_counts.append(0)

    def add(self, entry: RecoveredEntry) -> None:
        """In the place of whatever is known of the message."""
        self._sort()
        message_id = entry.message.message_id
        if message_id <= self._last_id:
            self._clear(message_id)
        self.entries[int(message_id)] = entry

    def has(self, message_id: i64) -> bool:
        self._sort()
        if int(message_id) in self.entries:
            return True
        return message_id <= self._last_id and self._place(message_id) >= 0

    # What records change

    def settle(self, message_id: i64) -> bool:
        """False if it is not here."""
        # Before anything is looked up: it may bring everything out of the pages.
        self._sort()
        if self.entries.pop(int(message_id), None) is not None:
            return True
        return message_id <= self._last_id and self._clear(message_id)

    def settle_range(self, first_id: i64, last_id: i64) -> None:
        self._sort()
        number = self._first_page(first_id)
        while number < len(self._pages) and self._pages[number].first_id <= last_id:
            page = self._pages[number]
            for index in range(page.count):
                if first_id <= page.message_id(index) <= last_id:
                    self._clear_at(number, index)
            number += 1
        # Ranges are short and entries may be millions, or the other way round.
        if last_id - first_id < len(self.entries):
            for message_id in range(int(first_id), int(last_id) + 1):
                self.entries.pop(message_id, None)
        else:
            for message_id in [each for each in self.entries if first_id <= each <= last_id]:
                del self.entries[message_id]

    def take(self, message_id: i64) -> RecoveredEntry | None:
        """As a single entry, out of its page if it is in one."""
        self._sort()
        entry = self.entries.get(int(message_id))
        if entry is not None or message_id > self._last_id:
            return entry
        index = self._place(message_id)
        if index < 0:
            return None
        entry = _entry_of(self._pages[self._near], index)
        self._clear_at(self._near, index)
        self.entries[int(message_id)] = entry
        return entry

    # Pages

    def _clear(self, message_id: i64) -> bool:
        index = self._place(message_id)
        if index < 0:
            return False
        self._clear_at(self._near, index)
        return True

    def _clear_at(self, number: i64, index: i64) -> None:
        gone = self._gone[number]
        if gone is None:
            gone = bytearray(int(self._pages[number].count))
            self._gone[number] = gone
        if gone[index] == 0:
            gone[index] = 1
            self._gone_counts[number] += 1

    def _place(self, message_id: i64) -> i64:
        """The place in the page, which is then at `_near`; -1 if it is in none. The pages are sorted."""
        pages = self._pages
        near = self._near
        if not (near < len(pages) and pages[near].first_id <= message_id <= pages[near].last_id):
            near = self._first_page(message_id)
            if near == len(pages):
                return -1
            self._near = near
        index = pages[near].index_of(message_id)
        gone = self._gone[near]
        return -1 if index < 0 or (gone is not None and gone[index] != 0) else index

    def _first_page(self, message_id: i64) -> i64:
        """The first one that does not end before this id."""
        pages = self._pages
        low: i64 = 0
        high: i64 = len(pages)
        while low < high:
            middle = (low + high) >> 1
            if pages[middle].last_id < message_id:
                low = middle + 1
            else:
                high = middle
        return low

    def _sort(self) -> None:
        if self._is_sorted:
            return
        self._is_sorted = True
        order = sorted(range(len(self._pages)), key=self._first_id_of)
        self._pages = [self._pages[at] for at in order]
        self._gone = [self._gone[at] for at in order]
        self._gone_counts = [self._gone_counts[at] for at in order]
        for at in range(1, len(self._pages)):
            # Levels of priorities overlap: no place is found twice, but pages must not be looked at as one run.
            if self._pages[at].first_id <= self._pages[at - 1].last_id:
                self._unpack_all()
                return
        for message_id in self.entries:
            if message_id <= self._last_id:
                self._clear(message_id)

    def _first_id_of(self, at: int) -> int:
        return int(self._pages[at].first_id)

    def _unpack_all(self) -> None:
        for number in range(len(self._pages)):
            self._unpack(number)
        self._pages = []
        self._gone = []
        self._gone_counts = []
        self._last_id = 0

    def _unpack(self, number: i64) -> None:
        page = self._pages[number]
        gone = self._gone[number]
        for index in range(page.count):
            message_id = int(page.message_id(index))
            if (gone is None or gone[index] == 0) and message_id not in self.entries:
                self.entries[message_id] = _entry_of(page, index)

    # The end

    def settle_down(self) -> None:
        """No more records come: bring what must be in memory out of the pages."""
        self._sort()
        for entry in self.entries.values():
            if entry.ready_at_ms == PARKED_MS:
                entry.is_needed = True
            elif entry.ready_at_ms != 0:
                # The order of what waits and what does not is found in memory.
                self.is_resident = True
        if self.is_resident:
            self._unpack_all()

    def wanted(self) -> list[RecoveredEntry]:
        """Entries whose bytes are needed and not there."""
        found: list[RecoveredEntry] = []
        for entry in self.entries.values():
            if not entry.is_here and not self._fits(entry):
                found.append(entry)
        return found

    def _fits(self, entry: RecoveredEntry) -> bool:
        message = entry.message
        if self.is_resident or entry.is_needed:
            return False
        return can_be_in_page(message.offset, entry.body_bytes, message.logged_bytes - entry.body_bytes)

    def pack(self, all_redelivered: bool, delivered_to: i64) -> list[Page]:
        """Everything that can be on disk only, in order; what is left in `entries` is in memory."""
        loose = sorted(self.entries)
        at: i64 = 0
        pages: list[Page] = []
        for number in range(len(self._pages)):
            page = self._pages[number]
            while at < len(loose) and loose[at] < page.first_id:
                at += 1
            is_mixed = at < len(loose) and loose[at] <= page.last_id
            if is_mixed or self._gone_counts[number] > 0 or (delivered_to >= page.first_id and not all_redelivered):
                self._unpack(number)
            else:
                page.is_redelivered = page.is_redelivered or all_redelivered
                pages.append(page)
        writer = PageWriter()
        kept_count = 0
        for message_id in sorted(self.entries):
            if kept_count < len(pages) and pages[kept_count].first_id < message_id:
                # What stands on both sides of a page is not in one.
                writer.split()
                while kept_count < len(pages) and pages[kept_count].first_id < message_id:
                    kept_count += 1
            entry = self.entries[message_id]
            if all_redelivered or message_id <= delivered_to:
                entry.redelivered = True
            message = entry.message
            segment = message.segment
            if segment is None or entry.is_here or not self._fits(entry):
                writer.split()
                continue
            writer.add(
                message_id,
                segment,
                message.offset,
                entry.body_bytes,
                message.logged_bytes - entry.body_bytes,
                message.share_shift,
                entry.redelivered,
                entry.delivery_count,
            )
            del self.entries[message_id]
        pages.extend(writer.finish())
        pages.sort(key=_first_id)
        return pages


def _first_id(page: Page) -> int:
    return int(page.first_id)


def _entry_of(page: Page, index: i64) -> RecoveredEntry:
    message_id = page.message_id(index)
    message = Message(message_id, b"", b"", b"")
    message.segment = page.segment
    message.offset = page.offset(index)
    message.logged_bytes = page.size(index)
    message.share_shift = page.share_shift(index)
    message.holders = 1
    entry = RecoveredEntry(message)
    entry.body_bytes = page.body_size(index)
    entry.redelivered = page.redelivered(index)
    entry.delivery_count = page.delivery_count(message_id)
    return entry
