"""The order in which ready messages leave: by message_id, the oldest first.

`ReadyOrder` is what a queue asks; `Ready` is the plain one. Others (priorities.py, measured.py) are made of it.
`Ready` owns two runs: `_items`, the arrivals, and `_returned`, what was delivered and came back. Whatever comes back was
once at the head, so every returned entry is older than every arrival that has not left yet. An entry that leaves from the
middle (it expired) is settled where it stands and skipped later; when such places are the majority the runs are packed.
Invariant: both runs grow by message_id; `count` is the number of entries that are ready.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry

# Cleared places at the front of a run are dropped in blocks of at least this many.
COMPACT_COUNT: Final = 4096


class ReadyOrder:
    def __init__(self) -> None:
        self.count: i64 = 0

    def append(self, entry: Entry) -> None:
        """A new arrival, younger than all that came before."""
        raise NotImplementedError

    def pop(self) -> Entry:
        """The next entry to deliver; the order must not be empty."""
        raise NotImplementedError

    def put_back(self, entry: Entry) -> None:
        """Back to its original place."""
        raise NotImplementedError

    def discard(self, entry: Entry) -> None:
        """It leaves from wherever it stands; the caller has settled it."""
        raise NotImplementedError

    def oldest(self) -> Entry | None:
        """What `pop` would give, which stays."""
        raise NotImplementedError

    def pop_surplus(self) -> Entry:
        """What leaves first when the queue is too long."""
        return self.pop()

    def entries(self) -> list[Entry]:
        """Everything, in the order of leaving."""
        raise NotImplementedError

    def clear(self) -> None:
        raise NotImplementedError


@final
class Ready(ReadyOrder):
    def __init__(self) -> None:
        self.count = 0
        self._items: list[Entry | None] = []
        self._head: i64 = 0
        self._returned: list[Entry] = []
        self._returned_head: i64 = 0
        # Entries in the runs that were discarded.
        self._discarded: i64 = 0

    def append(self, entry: Entry) -> None:
        entry.is_ready = True
        self._items.append(entry)
        self.count += 1

    def pop(self) -> Entry:
        self.count -= 1
        while True:
            entry = self._pop_returned() if len(self._returned) > 0 else self._pop_item()
            if entry.is_ready:
                entry.is_ready = False
                return entry
            self._discarded -= 1

    def _pop_item(self) -> Entry:
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
        entry.is_ready = True
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

    def discard(self, entry: Entry) -> None:
        entry.is_ready = False
        self.count -= 1
        self._discarded += 1
        if self._discarded >= COMPACT_COUNT and self._discarded > self.count:
            self._pack()

    def _pack(self) -> None:
        self._items = [entry for entry in self._items[self._head :] if entry is not None and entry.is_ready]
        self._head = 0
        self._returned = [entry for entry in self._returned[self._returned_head :] if entry.is_ready]
        self._returned_head = 0
        self._discarded = 0

    def oldest(self) -> Entry | None:
        while len(self._returned) > 0:
            entry = self._returned[self._returned_head]
            if entry.is_ready:
                return entry
            self._discarded -= 1
            self._pop_returned()
        while self._head < len(self._items):
            item = self._items[self._head]
            if item is not None and item.is_ready:
                return item
            self._discarded -= 1
            self._pop_item()
        return None

    def entries(self) -> list[Entry]:
        found = [entry for entry in self._returned[self._returned_head :] if entry.is_ready]
        for entry in self._items[self._head :]:
            if entry is not None and entry.is_ready:
                found.append(entry)
        return found

    def find(self, message_id: i64) -> Entry | None:
        """Among the ready arrivals; what was delivered and came back is not looked at."""
        items = self._items
        low = self._head
        high: i64 = len(items)
        while low < high:
            middle = (low + high) >> 1
            # What left already stands there still, but tells nothing.
            at = middle
            found: Entry | None = None
            while found is None and at < high:
                entry = items[at]
                if entry is not None and entry.is_ready:
                    found = entry
                at += 1
            if found is None or found.message.message_id > message_id:
                high = middle
            elif found.message.message_id < message_id:
                low = at
            else:
                return found
        return None

    def page(self, offset: i64, count: i64) -> list[Entry]:
        """`count` arrivals, leaving out the first `offset`."""
        found: list[Entry] = []
        for at in range(self._head, len(self._items)):
            if len(found) >= count:
                break
            entry = self._items[at]
            if entry is None or not entry.is_ready:
                continue
            if offset > 0:
                offset -= 1
            else:
                found.append(entry)
        return found

    def clear(self) -> None:
        for entry in self.entries():
            entry.is_ready = False
        self.count = 0
        self._items = []
        self._head = 0
        self._returned = []
        self._returned_head = 0
        self._discarded = 0
