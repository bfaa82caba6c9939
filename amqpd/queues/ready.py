"""The order in which ready messages leave: by message_id, the oldest first.

Owns two runs: `_items`, the arrivals, and `_returned`, what was delivered and came back. Whatever comes back was once at
the head, so every returned entry is older than every arrival that has not left yet.
Invariant: both runs grow by message_id; `count` is their length.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry

# Cleared places at the front of a run are dropped in blocks of at least this many.
COMPACT_COUNT: Final = 4096


@final
class Ready:
    def __init__(self) -> None:
        self.count: i64 = 0
        self._items: list[Entry | None] = []
        self._head: i64 = 0
        self._returned: list[Entry] = []
        self._returned_head: i64 = 0

    def append(self, entry: Entry) -> None:
        self._items.append(entry)
        self.count += 1

    def pop(self) -> Entry:
        """The oldest entry; the order must not be empty."""
        self.count -= 1
        if len(self._returned) > 0:
            return self._pop_returned()
        head = self._head
        items = self._items
        entry = items[head]
        assert entry is not None
        items[head] = None
        head += 1
        if head >= COMPACT_COUNT and head * 2 > len(items):
            del items[:head]
            head = 0
        self._head = head
        return entry

    def _pop_returned(self) -> Entry:
        head = self._returned_head
        entry = self._returned[head]
        head += 1
        if head == len(self._returned):
            self._returned = []
            head = 0
        elif head >= COMPACT_COUNT and head * 2 > len(self._returned):
            del self._returned[:head]
            head = 0
        self._returned_head = head
        return entry

    def put_back(self, entry: Entry) -> None:
        """Back to its original place."""
        self.count += 1
        run = self._returned
        message_id = entry.message.message_id
        size: i64 = len(run)
        if size == 0 or run[size - 1].message.message_id < message_id:
            run.append(entry)
            return
        low = self._returned_head
        high = size
        while low < high:
            middle = (low + high) >> 1
            if run[middle].message.message_id < message_id:
                low = middle + 1
            else:
                high = middle
        run.insert(low, entry)

    def entries(self) -> list[Entry]:
        """Everything, the oldest first."""
        found = self._returned[self._returned_head :]
        for entry in self._items[self._head :]:
            assert entry is not None
            found.append(entry)
        return found

    def clear(self) -> None:
        self.count = 0
        self._items = []
        self._head = 0
        self._returned = []
        self._returned_head = 0
