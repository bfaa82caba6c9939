from __future__ import annotations

from amqpd.queues.entry import Entry
from tests.fakes.core import new_message, new_queue


def test_a_new_entry_was_never_delivered_and_nobody_has_it() -> None:
    queue, message = new_queue(), new_message(7)
    entry = Entry(message, queue)
    assert entry.message is message
    assert entry.queue is queue
    assert entry.consumer is None
    assert (entry.delivery_count, entry.redelivered, entry.is_settled) == (0, False, False)
