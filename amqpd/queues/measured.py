"""A ready order that also knows how many body bytes are ready, for x-max-length-bytes."""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.queues.ready import ReadyOrder
from amqpd.store.page import Page


@final
class MeasuredReady(ReadyOrder):
    def __init__(self, order: ReadyOrder) -> None:
        self.count = order.count
        self.ready_bytes = order.body_bytes()
        self.order = order

    def is_waiting(self) -> bool:
        return self.order.is_waiting()

    def is_surplus_waiting(self) -> bool:
        return self.order.is_surplus_waiting()

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

    def runs(self) -> list[list[Entry]]:
        return self.order.runs()

    def pages(self) -> list[Page]:
        return self.order.pages()

    def append_page(self, page: Page) -> None:
        self.count += page.count
        self.ready_bytes += page.body_bytes
        self.order.append_page(page)

    def move_leaving(self) -> bool:
        return self.order.move_leaving()

    def page_out(self, position_max: i64) -> bool:
        return self.order.page_out(position_max)

    def lose(self, part: ReadyOrder, count: i64, body_bytes: i64) -> None:
        self.count -= count
        self.ready_bytes -= body_bytes
        self.order.lose(part, count, body_bytes)

    def dismantle(self) -> list[list[Entry]]:
        self.count = 0
        self.ready_bytes = 0
        return self.order.dismantle()
