from __future__ import annotations

import pytest

from amqpd.queues.arguments import read_options
from amqpd.queues.queue import Queue
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from tests.fakes.core import logged, new_agenda, new_consumer, new_message, new_queue


def bodies(queue: Queue) -> list[bytes]:
    return [entry.message.body for entry in queue.ready.entries()]


def filled(*texts: bytes, durable: bool = False) -> Queue:
    agenda = new_agenda()
    queue = new_queue(agenda, durable=durable)
    for at, text in enumerate(texts):
        message = new_message(at + 1, text)
        queue.publish(logged(agenda, message, queue) if durable else message)
    return queue


def records_of(queue: Queue) -> list[int]:
    """The kinds of the records that wait in the open batch, by their sizes."""
    batch = queue.agenda.log.seal([])
    assert batch is not None
    sizes = {2: 13, 3: 17, 4: 13}
    kinds, at = [], 0
    while at < len(batch.records):
        kind = batch.records[at]
        kinds.append(kind)
        if kind == 1:
            route, queues, header, body = (
                int.from_bytes(batch.records[at + start : at + end], "little")
                for start, end in ((17, 19), (19, 23), (23, 27), (27, 31))
            )
            at += 31 + 4 * queues + route + header + body
        else:
            at += sizes[kind]
    return kinds


MESSAGE, SETTLE, REQUEUE, DELIVERED = 1, 2, 3, 4


def test_messages_leave_in_the_order_in_which_they_came() -> None:
    queue = filled(b"a", b"b", b"c")
    got = [queue.get(True) for _ in range(4)]
    assert [entry.message.body for entry in got if entry] == [b"a", b"b", b"c"]
    assert got[3] is None


def test_a_message_got_with_no_ack_is_settled_at_once() -> None:
    queue = filled(b"a", durable=True)
    entry = queue.get(True)
    assert entry is not None and entry.is_settled
    assert queue.unacked_count == 0
    assert entry.message.holders == 0
    assert records_of(queue) == [MESSAGE, SETTLE]


def test_a_message_got_is_unacked_until_it_is_settled() -> None:
    queue = filled(b"a", durable=True)
    entry = queue.get(False)
    assert entry is not None and not entry.is_settled
    assert (queue.ready.count, queue.unacked_count) == (0, 1)
    queue.settle(entry)
    assert entry.is_settled
    assert queue.unacked_count == 0
    assert records_of(queue) == [MESSAGE, SETTLE]


def test_a_requeued_message_returns_to_its_place_as_redelivered_and_counted() -> None:
    queue = filled(b"a", b"b", b"c", durable=True)
    first, second = queue.get(False), queue.get(False)
    assert first is not None and second is not None
    queue.requeue(second)
    queue.requeue(first)
    assert bodies(queue) == [b"a", b"b", b"c"]
    assert (first.redelivered, first.delivery_count, first.consumer) == (True, 1, None)
    assert queue.unacked_count == 0
    assert records_of(queue)[3:] == [REQUEUE, REQUEUE]


def test_a_settled_message_can_not_be_settled_or_requeued_again() -> None:
    queue = filled(b"a")
    entry = queue.get(False)
    assert entry is not None
    queue.settle(entry)
    with pytest.raises(AssertionError):
        queue.settle(entry)
    with pytest.raises(AssertionError):
        queue.requeue(entry)


def test_purge_settles_what_is_ready_and_leaves_what_is_unacked() -> None:
    queue = filled(b"a", b"b", b"c", durable=True)
    kept = queue.get(False)
    assert queue.purge() == 2
    assert (queue.ready.count, queue.unacked_count) == (0, 1)
    assert kept is not None and not kept.is_settled
    assert records_of(queue) == [MESSAGE] * 3 + [SETTLE] * 2
    assert queue.purge() == 0


def test_delete_gives_the_log_back_its_space_without_a_record() -> None:
    queue = filled(b"a", b"b", durable=True)
    entry = queue.get(False)
    assert entry is not None
    assert queue.delete() == 1
    log = queue.agenda.log
    assert log.segments[0].live_count == 1
    queue.requeue(entry)
    assert queue.ready.count == 0
    assert entry.is_settled
    assert (log.segments[0].live_count, log.live_bytes) == (0, 0)
    assert records_of(queue) == [MESSAGE, MESSAGE]


def test_an_unacked_message_of_a_deleted_queue_can_still_be_acked() -> None:
    queue = filled(b"a", durable=True)
    entry = queue.get(False)
    assert entry is not None
    queue.delete()
    queue.settle(entry)
    assert queue.agenda.log.live_bytes == 0
    assert records_of(queue) == [MESSAGE]


def test_a_transient_queue_writes_no_record() -> None:
    queue = filled(b"a", b"b")
    entry = queue.get(False)
    assert entry is not None
    queue.requeue(entry)
    queue.purge()
    assert not queue.agenda.log.dirty


def test_an_exclusive_queue_is_never_stored() -> None:
    assert not new_queue(durable=True, owner=3).is_stored
    assert new_queue(durable=True, owner=3).is_exclusive
    assert new_queue(durable=True).is_stored
    assert not new_queue(durable=True).is_exclusive


def test_wake_asks_for_a_look_only_where_a_message_meets_a_consumer() -> None:
    agenda = new_agenda()
    queue = new_queue(agenda)
    queue.wake()
    consumer = new_consumer(queue, credit=0)
    queue.add_consumer(consumer)
    assert agenda.active == []
    queue.publish(new_message(1))
    queue.wake()
    queue.wake()
    assert agenda.active == [queue]


def test_removing_the_last_consumer_is_told() -> None:
    queue = new_queue()
    one, two = new_consumer(queue, "1"), new_consumer(queue, "2")
    queue.add_consumer(one)
    queue.add_consumer(two)
    assert not queue.remove_consumer(one)
    assert not queue.remove_consumer(one)
    assert queue.remove_consumer(two)


def test_the_watermark_moves_only_forward_and_only_for_what_is_logged() -> None:
    queue = filled(b"a", b"b", durable=True)
    queue.delivered_to = 2
    queue.get(False)
    assert queue.agenda.moved == []
    agenda = new_agenda()
    transient = new_queue(agenda, durable=True)
    transient.publish(new_message(1))
    transient.get(False)
    assert agenda.moved == []


def test_a_deleted_queue_logs_no_watermark() -> None:
    queue = filled(b"a", durable=True)
    queue.get(False)
    queue.delete()
    queue.agenda.log_watermarks()
    assert records_of(queue) == [MESSAGE]


def test_expiry_counts_from_the_last_use_and_not_while_there_is_a_consumer() -> None:
    agenda = new_agenda()
    options = read_options(encode_table({"x-expires": 1000}), "here")
    queue = Queue(1, "/", "q", False, False, 0, EMPTY_TABLE, options, agenda)
    agenda.monotonic_ms = 999
    assert not queue.is_expired
    agenda.monotonic_ms = 1000
    assert queue.is_expired
    queue.get(True)
    assert not queue.is_expired
    agenda.monotonic_ms = 2000
    assert queue.is_expired
    queue.touch()
    assert not queue.is_expired
    consumer = new_consumer(queue)
    queue.add_consumer(consumer)
    agenda.monotonic_ms = 9000
    assert not queue.is_expired
    queue.remove_consumer(consumer)
    assert not queue.is_expired
    agenda.monotonic_ms = 10_000
    assert queue.is_expired


def test_a_queue_without_expiry_never_expires() -> None:
    agenda = new_agenda()
    queue = new_queue(agenda)
    agenda.monotonic_ms = 1 << 40
    assert not queue.is_expired


def test_a_deleted_queue_leaves_no_timer_that_has_something_to_do() -> None:
    agenda = new_agenda()
    options = read_options(encode_table({"x-message-ttl": 1000}), "here")
    queue = Queue(1, "/", "q", False, False, 0, EMPTY_TABLE, options, agenda)
    queue.publish(new_message(1))
    queue.publish(new_message(2))
    assert agenda.wheel.count == 1
    queue.delete()
    assert queue.head_timer is None
    assert agenda.wheel._done_count == 1
    agenda.wheel.advance(2000)
    assert (agenda.wheel.count, agenda.wheel._done_count) == (0, 0)
