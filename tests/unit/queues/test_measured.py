"""Bytes that are ready, whatever way they come and go."""

from __future__ import annotations

from amqpd.queues.entry import Entry
from amqpd.queues.measured import MeasuredReady
from amqpd.queues.ready import Ready
from tests.fakes.core import new_message, new_queue

QUEUE = new_queue()


def entry(message_id: int, size_bytes: int) -> Entry:
    return Entry(new_message(message_id, bytes(size_bytes)), QUEUE)


def test_ready_bytes_follow_every_way_in_and_out() -> None:
    ready = MeasuredReady(Ready())
    entries = [entry(message_id, message_id * 10) for message_id in (1, 2, 3, 4)]
    for each in entries:
        ready.append(each)
    assert (ready.count, ready.ready_bytes) == (4, 100)
    first = ready.pop()
    assert ready.ready_bytes == 90
    ready.put_back(first)
    assert (ready.oldest(), ready.ready_bytes) == (first, 100)
    ready.discard(entries[2])
    assert (ready.count, ready.ready_bytes) == (3, 70)
    assert ready.pop_surplus() is first
    assert ready.entries() == [entries[1], entries[3]]
    ready.dismantle()
    assert (ready.count, ready.ready_bytes) == (0, 0)


def test_what_was_there_before_is_counted() -> None:
    plain = Ready()
    plain.append(entry(1, 7))
    assert MeasuredReady(plain).ready_bytes == 7
