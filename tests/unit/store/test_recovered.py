from __future__ import annotations

from amqpd.base.message import Message
from amqpd.store.log import fresh_start
from amqpd.store.recovered import Recovered, RecoveredEntry


def test_nothing_recovered_is_a_fresh_node() -> None:
    recovered = Recovered(fresh_start(5))
    assert recovered.queues == {}
    assert (recovered.next_queue_id, recovered.next_generation, recovered.checkpoint_segment) == (1, 1, 0)
    assert recovered.report.damage == []


def test_entry_is_new_until_told_otherwise() -> None:
    entry = RecoveredEntry(Message(1, b"", b"", b""))
    assert (entry.delivery_count, entry.redelivered) == (0, False)
