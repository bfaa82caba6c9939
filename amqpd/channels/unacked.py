"""Deliveries that wait for their ack, by delivery tag.

Owns the tags of one channel. Does not own what settling means: it hands the entries out.
Layout: `_items[i]` is the delivery with tag `_base + i`; places before `_head` are done. Tags of no-ack deliveries are
never stored. A few old deliveries that stay unacked while millions pass are moved to `_old`, so that memory follows
what is unacked and not how long the oldest has been so.
Invariant: every tag in `_old` is smaller than `_base`; dict order is tag order.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry

COMPACT_COUNT: Final = 1024


@final
class Unacked:
    def __init__(self) -> None:
        self.count: i64 = 0
        self._items: list[Entry | None] = []
        self._base: i64 = 1
        self._head: i64 = 0
        self._old: dict[int, Entry] = {}

    def add(self, delivery_tag: i64, entry: Entry) -> None:
        """Tags only grow; a gap is the tags of no-ack deliveries."""
        items = self._items
        size: i64 = len(items)
        if self._base + size != delivery_tag:
            if self.count == len(self._old):
                items.clear()
                self._base = delivery_tag
                self._head = 0
            else:
                self._fill_gap(delivery_tag)
        items.append(entry)
        self.count += 1

    def _fill_gap(self, delivery_tag: i64) -> None:
        gap = delivery_tag - self._base - len(self._items)
        if gap > COMPACT_COUNT:
            self._retire(len(self._items))
            self._items.clear()
            self._base = delivery_tag
            self._head = 0
            return
        for _ in range(gap):
            self._items.append(None)

    def take(self, delivery_tag: i64) -> Entry | None:
        """The delivery with this tag, which is no longer unacked; None if there is none."""
        index = delivery_tag - self._base
        items = self._items
        if index < 0:
            old = self._old.pop(delivery_tag, None)
            if old is not None:
                self.count -= 1
            return old
        if index >= len(items):
            return None
        entry = items[index]
        if entry is None:
            return None
        items[index] = None
        self.count -= 1
        if index == self._head:
            self._advance(index + 1)
        elif index - self._head > 4 * self.count + 4 * COMPACT_COUNT:
            self._retire(index)
            self._advance(index)
        return entry

    def take_through(self, delivery_tag: i64) -> list[Entry]:
        """All deliveries up to and with this tag, oldest first."""
        taken: list[Entry] = []
        if len(self._old) > 0:
            for tag in list(self._old):
                if tag <= delivery_tag:
                    taken.append(self._old.pop(tag))
        end = delivery_tag - self._base + 1
        items = self._items
        if end > len(items):
            end = len(items)
        head = self._head
        if end > head:
            for index in range(head, end):
                entry = items[index]
                if entry is not None:
                    items[index] = None
                    taken.append(entry)
            self._advance(end)
        self.count -= len(taken)
        return taken

    def entries(self) -> list[Entry]:
        """Everything unacked, oldest first; it stays unacked."""
        found = list(self._old.values())
        for entry in self._items[self._head :]:
            if entry is not None:
                found.append(entry)
        return found

    def items(self) -> list[tuple[int, Entry]]:
        """The same, with their tags."""
        found = list(self._old.items())
        for index in range(self._head, len(self._items)):
            entry = self._items[index]
            if entry is not None:
                found.append((int(self._base + index), entry))
        return found

    def last_tag(self) -> i64:
        """The youngest tag that may be unacked."""
        return self._base + len(self._items)

    def take_all(self) -> list[Entry]:
        return self.take_through(self._base + len(self._items))

    def free_through(self, delivery_tag: i64) -> list[tuple[int, Entry]]:
        """Tags and entries up to and with this tag, but for those whose settling a transaction holds; they stay."""
        found = [(tag, entry) for tag, entry in self._old.items() if tag <= delivery_tag and not entry.is_held]
        end = delivery_tag - self._base + 1
        if end > len(self._items):
            end = len(self._items)
        for index in range(self._head, end):
            entry = self._items[index]
            if entry is not None and not entry.is_held:
                found.append((int(self._base + index), entry))
        return found

    def has(self, delivery_tag: i64) -> bool:
        index = delivery_tag - self._base
        if index < 0:
            return int(delivery_tag) in self._old
        return index < len(self._items) and self._items[index] is not None

    def find(self, delivery_tag: i64) -> Entry | None:
        """The delivery with this tag; it stays unacked."""
        index = delivery_tag - self._base
        if index < 0:
            return self._old.get(int(delivery_tag))
        return self._items[index] if index < len(self._items) else None

    def _advance(self, head: i64) -> None:
        items = self._items
        size: i64 = len(items)
        while head < size and items[head] is None:
            head += 1
        if head >= COMPACT_COUNT and head * 2 > size:
            del items[:head]
            self._base += head
            head = 0
        self._head = head

    def _retire(self, end: i64) -> None:
        """Move what is still unacked before place `end` out of the run."""
        items = self._items
        for index in range(self._head, end):
            entry = items[index]
            if entry is not None:
                items[index] = None
                self._old[self._base + index] = entry
        self._head = end
