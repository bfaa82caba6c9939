"""A ready order that also knows how many body bytes are ready, for x-max-length-bytes."""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.queues.ready import ReadyOrder


@final
class MeasuredReady(ReadyOrder):
    def __init__(self, order: ReadyOrder) -> None:
        self.count = order.count
        self.ready_bytes: i64 = 0
        self.order = order
        for entry in order.entries():
            self.ready_bytes += len(entry.message.body)

    def append(self, entry: Entry) -> None:
        self.count += 1
        self.ready_bytes += len(entry.message.body)
        self.order.append(entry)

    def put_back(self, entry: Entry) -> None:
        self.count += 1
        self.ready_bytes += len(entry.message.body)
        self.order.put_back(entry)

    def pop(self) -> Entry:
        return self._left(self.order.pop())

    def pop_surplus(self) -> Entry:
        return self._left(self.order.pop_surplus())

    def _left(self, entry: Entry) -> Entry:
        self.count -= 1
        self.ready_bytes -= len(entry.message.body)
        return entry

    def discard(self, entry: Entry) -> None:
        self.order.discard(entry)
        self._left(entry)

    def oldest(self) -> Entry | None:
        return self.order.oldest()

    def entries(self) -> list[Entry]:
        return self.order.entries()

    def clear(self) -> None:
        self.count = 0
        self.ready_bytes = 0
        self.order.clear()
