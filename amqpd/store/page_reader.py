"""The bytes of many pages at once: what lies close together in a segment is read in one go.

Owns what is read together. The messages of many deep queues lie mixed in the log; one by one, each would cost a system call
of its own, and a fight for the interpreter's lock. Does not own the check of what was read (log_reader.py), nor the messages
in it (page.py).
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.errors import UnknownFormat
from amqpd.store.disk import Disk
from amqpd.store.log_reader import LogReader
from amqpd.store.page import GAP_BYTES_MAX, Page, Piece

# A region is read as a whole unless that is more than so many times what is wanted of it.
SPARSE_MAX: Final = 16
REGION_BYTES_MAX: Final = 64 << 20


@final
class PageReader:
    def __init__(self, disk: Disk) -> None:
        self._log_reader = LogReader(disk)
        # Why a page could not be read, the last time that this was so.
        self.error: Exception = OSError()

    def read(self, pages: list[Page]) -> list[list[Piece] | None]:
        """For each page what `Page.messages` needs; None if that can't be read now: it is neither intact nor damaged."""
        found: list[list[Piece] | None] = [None for _ in pages]
        region: list[int] = []
        begin: i64 = 0
        end: i64 = 0
        number: i64 = -1
        for _, _, index in sorted([(int(page.segment.number), int(page.begin), at) for at, page in enumerate(pages)]):
            page = pages[index]
            is_near = page.segment.number == number and page.begin - end <= GAP_BYTES_MAX
            if not is_near or (page.end if page.end > end else end) - begin > REGION_BYTES_MAX:
                self._read_region(pages, region, begin, end, found)
                region = []
                number = page.segment.number
                begin = page.begin
                end = page.begin
            region.append(index)
            if page.end > end:
                end = page.end
        self._read_region(pages, region, begin, end, found)
        return found

    def _read_region(
        self, pages: list[Page], region: list[int], begin: i64, end: i64, found: list[list[Piece] | None]
    ) -> None:
        wanted: i64 = 0
        for index in region:
            wanted += pages[index].size_bytes
        together: list[Piece] | None = None
        if 0 < end - begin <= wanted * SPARSE_MAX:
            together = self._pieces(pages[region[0]], [(int(begin), int(end - begin))])
        for index in region:
            # What can't be read takes only its own page.
            found[index] = together if together is not None else self._pieces(pages[index], pages[index].ranges())

    def _pieces(self, page: Page, ranges: list[tuple[int, int]]) -> list[Piece] | None:
        try:
            blocks = self._log_reader.read(int(page.segment.number), ranges)
        except (OSError, MemoryError, UnknownFormat) as error:
            # Whoever asked says what that means: it may not be wanted any more.
            self.error = error
            return None
        return [Piece(ranges[at][0], block) for at, block in enumerate(blocks)]
