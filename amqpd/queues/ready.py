"""The order in which ready messages leave: by message_id, the oldest first.

`ReadyOrder` is what a queue asks; `Ready` is the plain one. Others (priorities.py, measured.py) are made of it.
`Ready` owns two orders: `_items`, the arrivals, and `_returned`, what was delivered and came back. Whatever comes back was
once at the head, so every returned entry is older than every arrival that has not left yet. An entry that leaves from the
middle (it expired) is settled where it stands and skipped later; when such places are the majority both are packed.
A queue that gets deep goes on behind `_items` in a backlog (backlog.py), most of which can be on disk only.
Invariant: both go by message_id; `count` is the number of entries that are ready, on disk or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.base.sorted_timers import SortedTimers
from amqpd.base.timers import Timer
from amqpd.queues.backlog import Backlog
from amqpd.queues.entry import Entry
from amqpd.queues.expiry import arrived_wall_ms, deadline_of_logged
from amqpd.queues.losses import Losses
from amqpd.store.page import Page

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue

# Cleared places at the front of a run are dropped in blocks of at least this many.
COMPACT_COUNT: Final = 4096
NEVER: Final = 1 << 60


class ReadyOrder:
    def __init__(self) -> None:
        self.count: i64 = 0

    def append(self, entry: Entry) -> None:
        """A new arrival, younger than all that came before."""
        raise NotImplementedError

    def is_waiting(self) -> bool:
        """Is the next entry still to be read from the disk? Then it is on its way, and there is nothing to pop."""
        return False

    def is_surplus_waiting(self) -> bool:
        """As `is_waiting`, of what `pop_surplus` would give."""
        return self.is_waiting()

    def pop(self) -> Entry:
        """The next entry to deliver; the order must not be empty, nor waiting."""
        raise NotImplementedError

    def put_back(self, entry: Entry) -> None:
        """Back to its original place."""
        raise NotImplementedError

    def discard(self, entry: Entry) -> None:
        """It leaves from wherever it stands; the caller has settled it."""
        raise NotImplementedError

    def oldest(self) -> Entry | None:
        """What `pop` would give, which stays; None if there is none, or it has to be read first."""
        raise NotImplementedError

    def pop_surplus(self) -> Entry:
        """What leaves first when the queue is too long."""
        return self.pop()

    def entries(self) -> list[Entry]:
        """Everything that is in memory, in the order of leaving."""
        raise NotImplementedError

    def runs(self) -> list[list[Entry]]:
        """The same, in lists that don't change any more; what has left may stand there still."""
        raise NotImplementedError

    def pages(self) -> list[Page]:
        """Everything that is on disk only."""
        return []

    def append_page(self, page: Page) -> None:
        """What a restart found, younger than all that came before."""
        raise NotImplementedError

    def move_leaving(self) -> bool:
        """Have read what is on disk only and in a segment that should go; True once all of it is on its way."""
        return True

    def page_out(self, position_max: i64) -> bool:
        """Memory is short: leave it as far as possible, until the log is so long; True if that was all."""
        return True

    def lose(self, part: ReadyOrder, count: i64, body_bytes: i64) -> None:
        """So much of `part`, which may be this order, was on disk and is damaged."""
        self.count -= count

    def body_bytes(self) -> i64:
        """Of everything that is ready."""
        total: i64 = 0
        for run in self.runs():
            for entry in run:
                if entry.is_ready:
                    total += len(entry.message.body)
        for page in self.pages():
            total += page.body_bytes
        return total

    def dismantle(self) -> list[list[Entry]]:
        """What `runs` gives, and the order is at its end; `pages` are asked for before."""
        raise NotImplementedError


@final
class Ready(ReadyOrder):
    def __init__(self, home: Queue | None = None) -> None:
        """`home`: the queue, if its messages may leave memory."""
        self.count = 0
        self.is_stored = home is not None and home.is_stored
        self._home = home
        self._head_count_max: i64 = home.agenda.depth.head_count if home is not None else NEVER
        self._head_bytes_max: i64 = home.agenda.depth.head_bytes if home is not None else NEVER
        self._items: list[Entry | None] = []
        self._head: i64 = 0
        self._head_bytes: i64 = 0
        self._backlog: Backlog | None = None
        self._returned = SortedTimers()
        # Entries in both that were discarded.
        self._discarded: i64 = 0

    def append(self, entry: Entry) -> None:
        entry.is_ready = True
        self.count += 1
        if self._backlog is not None:
            self._backlog.append(entry)
            return
        self._items.append(entry)
        self._head_bytes += len(entry.message.body)
        if len(self._items) - self._head > self._head_count_max or self._head_bytes > self._head_bytes_max:
            self._deepen()

    def _deepen(self) -> None:
        home = self._home
        if home is None:
            return
        if len(self._items) - self._head <= self._head_count_max:
            # What was discarded has been counted too.
            self._head_bytes = 0
            for entry in self._items[self._head :]:
                if entry is not None:
                    self._head_bytes += len(entry.message.body)
            if self._head_bytes <= self._head_bytes_max:
                return
        self._backlog = Backlog(self, home.agenda)

    def append_page(self, page: Page) -> None:
        self.count += page.count
        if self._backlog is None:
            assert self._home is not None
            self._backlog = Backlog(self, self._home.agenda)
        self._backlog.append_page(page)

    def is_waiting(self) -> bool:
        backlog = self._backlog
        if backlog is None or self.count == 0:
            return False
        return self.oldest() is None

    def pop(self) -> Entry:
        self.count -= 1
        while True:
            entry = _entry_of(self._returned.pop()) if self._returned.count > 0 else self._pop_item()
            if entry.is_ready:
                entry.is_ready = False
                return entry
            self._discarded -= 1

    def _refill(self) -> None:
        """The head run is at its end: go on with what stands behind it."""
        backlog = self._backlog
        assert backlog is not None
        self._items = []
        self._items.extend(backlog.take_first())
        self._head = 0
        if backlog.is_empty:
            backlog.end()
            self._backlog = None
            self._head_bytes = 0

    def _pop_item(self) -> Entry:
        if self._head >= len(self._items):
            self._refill()
        head = self._head
        items = self._items
        entry = items[head]
        assert entry is not None
        items[head] = None
        self._head_bytes -= len(entry.message.body)
        head += 1
        if head >= COMPACT_COUNT and head * 2 > len(items):
            del items[:head]
            head = 0
        self._head = head
        return entry

    def put_back(self, entry: Entry) -> None:
        entry.is_ready = True
        self.count += 1
        self._returned.push(entry.message.message_id, 0, entry)

    def discard(self, entry: Entry) -> None:
        entry.is_ready = False
        self.count -= 1
        self._discarded += 1
        if self._discarded >= COMPACT_COUNT and self._discarded > self.count and self._backlog is None:
            self._pack()

    def _pack(self) -> None:
        self._items = [entry for entry in self._items[self._head :] if entry is not None and entry.is_ready]
        self._head = 0
        returned = self._returned_entries()
        self._returned.clear()
        for entry in returned:
            self._returned.push(entry.message.message_id, 0, entry)
        self._discarded = 0

    def oldest(self) -> Entry | None:
        while self._returned.count > 0:
            entry = _entry_of(self._returned.first())
            if entry.is_ready:
                return entry
            self._discarded -= 1
            self._returned.pop()
        while True:
            if self._head >= len(self._items):
                if self._backlog is None or self._backlog.is_empty or self._backlog.is_first_cold():
                    return None
                self._refill()
                continue
            item = self._items[self._head]
            if item is not None and item.is_ready:
                return item
            self._discarded -= 1
            self._pop_item()

    def _returned_entries(self) -> list[Entry]:
        """Those of them that are ready, the oldest first."""
        found: list[Entry] = []
        for timer in self._returned.timers():
            entry = _entry_of(timer)
            if entry.is_ready:
                found.append(entry)
        if not self._returned.is_in_order:
            found.sort(key=_message_id)
        return found

    def entries(self) -> list[Entry]:
        found = self._returned_entries()
        for entry in self._items[self._head :]:
            if entry is not None and entry.is_ready:
                found.append(entry)
        if self._backlog is not None:
            found.extend(self._backlog.entries())
        return found

    def runs(self) -> list[list[Entry]]:
        # Places are cleared before the head only.
        found = [self._returned_entries(), cast("list[Entry]", self._items[self._head :])]
        if self._backlog is not None:
            found.extend(self._backlog.runs())
        return found

    def move_leaving(self) -> bool:
        return self._backlog.move_leaving() if self._backlog is not None else True

    def page_out(self, position_max: i64) -> bool:
        return self._backlog.page_out(position_max) if self._backlog is not None else True

    def pages(self) -> list[Page]:
        return self._backlog.pages() if self._backlog is not None else []

    # What the backlog asks for

    @property
    def queue_id(self) -> i64:
        assert self._home is not None
        return self._home.queue_id

    def warm(self, message: Message, page: Page, index: i64) -> Entry:
        """The entry of a message that was read back."""
        assert self._home is not None
        entry = Entry(message, self._home)
        entry.redelivered = page.redelivered(index)
        entry.delivery_count = page.delivery_count(message.message_id)
        entry.is_ready = True
        entry.due_ms = deadline_of_logged(self._home.options.message_ttl_ms, message, self._home.agenda)
        return entry

    def arrived_wall_ms(self, entry: Entry) -> i64:
        home = self._home
        assert home is not None
        # While the queue gets a new TTL nobody knows which one the deadline of this entry was made of.
        ttl_ms: i64 = home.options.message_ttl_ms if home.retiming is None else -1
        return arrived_wall_ms(ttl_ms, entry, home.agenda)

    def forget_discarded(self, count: i64) -> None:
        self._discarded -= count

    @property
    def losses(self) -> Losses:
        home = self._home
        assert home is not None
        losses = home.losses
        if losses is None:
            losses = Losses(home)
            home.losses = losses
        return losses

    def give_up(self, page: Page, index: i64) -> None:
        """It was read, and the disk does not have a message any more as it was written."""
        home = self._home
        assert home is not None
        self.losses.lose(page, index)
        if not page.is_spilled:
            home.agenda.log.settle_one(home.queue_id, page, index)

    def back_in_memory(self, lost_count: i64, lost_bytes: i64) -> None:
        home = self._home
        assert home is not None
        if lost_count > 0:
            self.losses.tell()
            home.ready.lose(self, lost_count, lost_bytes)
        home.back_in_memory()

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

    def dismantle(self) -> list[list[Entry]]:
        runs = self.runs()
        if self._backlog is not None:
            self._backlog.end()
            self._backlog = None
        self.count = 0
        self._head_bytes = 0
        self._items = []
        self._head = 0
        self._returned.clear()
        self._discarded = 0
        return runs


def _entry_of(timer: Timer) -> Entry:
    assert isinstance(timer, Entry)
    return timer


def _message_id(entry: Entry) -> int:
    return int(entry.message.message_id)
