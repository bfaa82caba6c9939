"""A run of messages of one queue that is on disk only: where they are, and what must be known without reading them.

Owns the packed layout, its making, and turning the log's bytes back into messages. Does not own when a run goes to the
disk or comes back (queues/backlog.py), nor the reading (page_reader.py). All of a page is in one segment. For each
message 14 bytes, little endian, in the order of message_id:

    id_delta(4) offset(4) body(4) meta(2)

`id_delta` counts from the first; `body` is the body's size in 28 bits, and above them the share_shift; `meta` is the size of
the record in front of the body in 15 bits, and above them whether it was redelivered. Invariant: a page never changes.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i64_le
from mypy_extensions import i64

from amqpd.base.message import Message, SegmentUse
from amqpd.store.record import MESSAGE, MESSAGE_FIXED_SIZE, MOVE, SPILLED, read_u16, read_u32, write_u16, write_u32

PAGE_ENTRY_SIZE: Final = 14
PAGE_COUNT_MAX: Final = 256
BODY_BYTES_MAX: Final = (1 << 28) - 1
META_BYTES_MAX: Final = (1 << 15) - 1
OFFSET_MAX: Final = (1 << 32) - 1
SHARE_SHIFT_MAX: Final = 15
_REDELIVERED: Final = 1 << 15
# Two messages that are less than this apart are read in one go.
GAP_BYTES_MAX: Final = 16 << 10


def share_shift(holders: i64) -> i64:
    """How often a message's size is halved to give the share of each of its holders; never too much of it in all."""
    shift: i64 = 0
    while shift < SHARE_SHIFT_MAX and (1 << shift) < holders:
        shift += 1
    return shift


def fits_page(message: Message) -> bool:
    """Can it be described by a page? Only what is in the log, and no giants."""
    body_bytes: i64 = len(message.body)
    return (
        message.segment is not None
        and body_bytes <= BODY_BYTES_MAX
        and message.logged_bytes - body_bytes <= META_BYTES_MAX
        and message.offset <= OFFSET_MAX
    )


@final
class Piece:
    """Bytes of a segment, and where they begin in it; they may be fewer than were asked for."""

    def __init__(self, begin: i64, data: bytes) -> None:
        self.begin = begin
        self.end: i64 = begin + len(data)
        self.data = data


@final
class Page:
    def __init__(self, segment: SegmentUse, first_id: i64, last_id: i64, data: bytes) -> None:
        self.segment = segment
        self.first_id = first_id
        self.last_id = last_id
        self.count: i64 = len(data) // PAGE_ENTRY_SIZE
        self.data = data
        self.body_bytes: i64 = 0
        self.live_bytes: i64 = 0
        # Of the whole records.
        self.size_bytes: i64 = 0
        # Between these offsets in the segment stands all of it, and perhaps much else.
        self.begin: i64 = read_u32(data, 4)
        self.end: i64 = 0
        # It is on disk only because memory is short: no log needs it, and no restart.
        self.is_spilled = False
        # All of it may have been delivered, whatever is said of each.
        self.is_redelivered = False
        # Of those that came back, which are few: how often, by message_id.
        self.delivery_counts: dict[int, int] | None = None
        for at in range(0, len(data), PAGE_ENTRY_SIZE):
            body = read_u32(data, at + 8)
            body_bytes = body & BODY_BYTES_MAX
            size = body_bytes + (read_u16(data, at + 12) & META_BYTES_MAX)
            self.body_bytes += body_bytes
            self.size_bytes += size
            self.live_bytes += size >> (body >> 28)
            offset = read_u32(data, at + 4)
            if offset < self.begin:
                self.begin = offset
            if offset + size > self.end:
                self.end = offset + size

    def message_id(self, index: i64) -> i64:
        return self.first_id + read_u32(self.data, index * PAGE_ENTRY_SIZE)

    def offset(self, index: i64) -> i64:
        return read_u32(self.data, index * PAGE_ENTRY_SIZE + 4)

    def body_size(self, index: i64) -> i64:
        return read_u32(self.data, index * PAGE_ENTRY_SIZE + 8) & BODY_BYTES_MAX

    def size(self, index: i64) -> i64:
        """Of the whole record."""
        return self.body_size(index) + (read_u16(self.data, index * PAGE_ENTRY_SIZE + 12) & META_BYTES_MAX)

    def share_shift(self, index: i64) -> i64:
        return read_u32(self.data, index * PAGE_ENTRY_SIZE + 8) >> 28

    def redelivered(self, index: i64) -> bool:
        return self.is_redelivered or read_u16(self.data, index * PAGE_ENTRY_SIZE + 12) & _REDELIVERED != 0

    def delivery_count(self, message_id: i64) -> i64:
        counts = self.delivery_counts
        return counts.get(int(message_id), 0) if counts is not None else 0

    def index_of(self, message_id: i64) -> i64:
        """-1 if it is not in this page."""
        low: i64 = 0
        high = self.count
        while low < high:
            middle = (low + high) >> 1
            if self.message_id(middle) < message_id:
                low = middle + 1
            else:
                high = middle
        return low if low < self.count and self.message_id(low) == message_id else -1

    def ranges(self) -> list[tuple[int, int]]:
        """What to read of the segment, as offset and size: neighbours together."""
        found: list[tuple[int, int]] = []
        begin: i64 = -1
        end: i64 = -1
        for index in range(self.count):
            offset = self.offset(index)
            # Moved messages stand in another order than that of their ids.
            if begin < 0 or offset < begin or offset - end > GAP_BYTES_MAX:
                if begin >= 0:
                    found.append((begin, end - begin))
                begin = offset
                end = offset
            if offset + self.size(index) > end:
                end = offset + self.size(index)
        if begin >= 0:
            found.append((begin, end - begin))
        return found

    def messages(self, pieces: list[Piece]) -> list[Message | None]:
        """The messages, from the bytes of `ranges` or more; None in the place of one that is not what was written.

        The pieces do not overlap, and stand in the order in which the messages need them.
        """
        found: list[Message | None] = []
        at_piece: i64 = 0
        route_key = b""
        for index in range(self.count):
            offset = self.offset(index)
            while at_piece < len(pieces) and not pieces[at_piece].begin <= offset < pieces[at_piece].end:
                at_piece += 1
            if at_piece >= len(pieces):
                found.append(None)
                continue
            piece = pieces[at_piece]
            message = self._message(index, piece.data, offset - piece.begin, route_key)
            if message is not None:
                # Most messages in a row come by the same route: let them share its bytes.
                route_key = message.route_key
            found.append(message)
        return found

    def _message(self, index: i64, block: bytes, at: i64, route_key: bytes) -> Message | None:
        size = self.size(index)
        message_id = self.message_id(index)
        if at + size > len(block) or size < MESSAGE_FIXED_SIZE:
            return None
        kind: i64 = block[at]
        body_size = read_u32(block, at + 27)
        if (
            not (kind == SPILLED if self.is_spilled else kind in (MESSAGE, MOVE))
            or read_i64_le(block, at + 1) != message_id
            or body_size != self.body_size(index)
        ):
            return None
        route_key_size = read_u16(block, at + 17)
        header_size = read_u32(block, at + 23)
        route_key_at = at + MESSAGE_FIXED_SIZE + 4 * read_u32(block, at + 19)
        header_at = route_key_at + route_key_size
        body_at = header_at + header_size
        if body_at + body_size != at + size:
            return None
        found_key = block[route_key_at:header_at]
        if found_key == route_key:
            found_key = route_key
        message = Message(message_id, found_key, block[header_at:body_at], block[body_at : body_at + body_size])
        message.enqueued_ms = read_i64_le(block, at + 9)
        if self.is_spilled:
            # Back in memory it needs its place no more.
            return message
        message.segment = self.segment
        message.offset = self.offset(index)
        message.logged_bytes = size
        message.share_shift = self.share_shift(index)
        message.holders = 1
        return message


@final
class PageWriter:
    """Packs messages, added in the order of message_id, into as few pages as they fit."""

    def __init__(self, is_spilled: bool = False) -> None:
        self._is_spilled = is_spilled
        self._writer = BytesWriter()
        self._segment: SegmentUse | None = None
        self._first_id: i64 = 0
        self._last_id: i64 = 0
        self._counts: dict[int, int] = {}
        self._pages: list[Page] = []
        # How many messages it was given.
        self.count: i64 = 0

    def add(
        self,
        message_id: i64,
        segment: SegmentUse,
        offset: i64,
        body_bytes: i64,
        meta_bytes: i64,
        shift: i64,
        redelivered: bool,
        delivery_count: i64,
    ) -> None:
        writer = self._writer
        if (
            segment is not self._segment
            or len(writer) >= PAGE_COUNT_MAX * PAGE_ENTRY_SIZE
            or message_id - self._first_id > OFFSET_MAX
        ):
            self._close()
            self._segment = segment
            self._first_id = message_id
        self._last_id = message_id
        self.count += 1
        write_u32(writer, message_id - self._first_id)
        write_u32(writer, offset)
        write_u32(writer, body_bytes | (shift << 28))
        write_u16(writer, meta_bytes | _REDELIVERED if redelivered else meta_bytes)
        if delivery_count > 0:
            self._counts[int(message_id)] = int(delivery_count)

    def add_message(self, message: Message, redelivered: bool, delivery_count: i64) -> None:
        segment = message.segment
        assert segment is not None
        body_bytes: i64 = len(message.body)
        self.add(
            message.message_id,
            segment,
            message.offset,
            body_bytes,
            message.logged_bytes - body_bytes,
            message.share_shift,
            redelivered,
            delivery_count,
        )

    def add_place(self, page: Page, index: i64) -> None:
        """As in another page."""
        message_id = page.message_id(index)
        body_bytes = page.body_size(index)
        self.add(
            message_id,
            page.segment,
            page.offset(index),
            body_bytes,
            page.size(index) - body_bytes,
            page.share_shift(index),
            page.redelivered(index),
            page.delivery_count(message_id),
        )

    @property
    def is_leaving(self) -> bool:
        """Should any segment go that something of this is in?"""
        for page in self._pages:
            if page.segment.is_leaving:
                return True
        return self._segment is not None and self._segment.is_leaving

    def pages(self) -> list[Page]:
        """Everything so far."""
        pages = self._pages[:]
        page = self._page()
        if page is not None:
            pages.append(page)
        return pages

    def _page(self) -> Page | None:
        """The open one as it is now."""
        segment = self._segment
        if segment is None or len(self._writer) == 0:
            return None
        page = Page(segment, self._first_id, self._last_id, self._writer.getvalue())
        page.is_spilled = self._is_spilled
        if len(self._counts) > 0:
            page.delivery_counts = self._counts
        return page

    def _close(self) -> None:
        page = self._page()
        if page is not None:
            self._pages.append(page)
            self._writer.truncate(0)
            self._counts = {}

    def split(self) -> None:
        """Something stands here that is in no page: what follows begins another one."""
        self._close()
        self._segment = None

    def finish(self) -> list[Page]:
        self.split()
        pages = self._pages
        self._pages = []
        self.count = 0
        return pages
