"""Messages that came back and wait for their next try."""

from __future__ import annotations

import pytest

from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions, read_options
from amqpd.queues.back_off import FAILED, RETURNED
from amqpd.queues.entry import Entry
from amqpd.queues.new_options import apply_options
from amqpd.queues.queue import Queue
from amqpd.queues.restart import restore
from amqpd.store.log import Log, fresh_start
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from tests.fakes.core import logged, new_message

WALL_MS = 1_700_000_000_000
RETRY = 6


def options(**values: object) -> QueueOptions:
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in values.items()})
    return read_options(table, "queue 'q'")


def queue_of(durable: bool = False, **values: object) -> Queue:
    agenda = Agenda(Log(fresh_start(1)), 0, WALL_MS)
    return Queue(1, "/", "q", durable, False, 0, EMPTY_TABLE, options(**values), agenda)


def retrying(*message_ids: int, durable: bool = False, **values: object) -> Queue:
    """A queue with a back-off of 1 s, 2 s, ..., and these messages."""
    queue = queue_of(durable, delayed_retry_type="failed", **values)
    for message_id in message_ids:
        message = new_message(message_id)
        queue.publish(logged(queue.agenda, message, queue) if durable else message)
    return queue


def fail(queue: Queue, why: int = FAILED) -> Entry:
    """Deliver the next message and let it come back."""
    entry = queue.get(False)
    assert entry is not None
    queue.requeue(entry, why)
    return entry


def pass_to(queue: Queue, now_ms: int) -> None:
    agenda = queue.agenda
    agenda.monotonic_ms = now_ms
    agenda.wall_ms = WALL_MS + now_ms
    agenda.wheel.advance(now_ms)


def ids(queue: Queue) -> list[int]:
    return [int(entry.message.message_id) for entry in queue.ready.entries()]


def test_who_waits_is_neither_ready_nor_unacked() -> None:
    queue = retrying(1, 2)
    fail(queue)
    assert (ids(queue), queue.unacked_count, queue.waiting.count) == ([2], 0, 1)


def test_it_comes_back_to_its_place_when_its_time_is_over_and_not_before() -> None:
    queue = retrying(1, 2, 3)
    entry = fail(queue)
    pass_to(queue, 999)
    assert ids(queue) == [2, 3]
    pass_to(queue, 1000)
    assert ids(queue) == [1, 2, 3]
    assert (entry.redelivered, entry.delivery_count, queue.waiting.count) == (True, 1, 0)


def test_each_waits_for_itself() -> None:
    queue = retrying(1, 2)
    fail(queue)
    fail(queue)
    pass_to(queue, 1000)
    fail(queue)
    assert ids(queue) == [2]
    pass_to(queue, 2990)
    assert ids(queue) == [2]
    pass_to(queue, 3000)
    assert ids(queue) == [1, 2]


def test_what_the_back_off_is_not_for_comes_back_at_once() -> None:
    queue = retrying(1)
    fail(queue, RETURNED)
    assert (ids(queue), queue.waiting.count) == ([1], 0)


def test_its_own_time_goes_on_while_it_waits() -> None:
    queue = queue_of(delayed_retry_type="failed", delayed_retry_min=60_000)
    message = new_message(1)
    message.ttl_ms = 500
    queue.publish(message)
    entry = fail(queue)
    pass_to(queue, 510)
    assert entry.is_settled
    assert queue.waiting.count == 0


def test_the_queues_ttl_goes_on_and_counts_on_after_the_wait() -> None:
    queue = retrying(1, 2, message_ttl=1500)
    short = fail(queue)
    long = queue.get(False)
    assert long is not None
    pass_to(queue, 600)
    queue.requeue(long, FAILED)
    pass_to(queue, 1000)
    assert ids(queue) == [1]
    pass_to(queue, 1510)
    assert short.is_settled and long.is_settled
    assert (queue.ready.count, queue.waiting.count) == (0, 0)


def test_a_ttl_from_a_policy_counts_for_who_waits() -> None:
    queue = retrying(1, durable=True, delayed_retry_min=60_000)
    entry = fail(queue)
    apply_options(queue, options(delayed_retry_type="failed", message_ttl=300))
    pass_to(queue, 310)
    assert entry.is_settled


def test_a_ttl_that_a_policy_takes_away_lets_it_live() -> None:
    queue = retrying(1, durable=True, message_ttl=500)
    fail(queue)
    apply_options(queue, options(delayed_retry_type="failed"))
    pass_to(queue, 990)
    assert queue.waiting.count == 1
    pass_to(queue, 1000)
    assert ids(queue) == [1]


def test_a_policy_changes_the_next_wait_and_not_this_one() -> None:
    queue = retrying(1)
    fail(queue)
    apply_options(queue, options(delayed_retry_type="failed", delayed_retry_min=10_000))
    pass_to(queue, 1000)
    assert ids(queue) == [1]
    fail(queue)
    pass_to(queue, 20_990)
    assert ids(queue) == []
    apply_options(queue, options())
    pass_to(queue, 21_000)
    fail(queue)
    assert ids(queue) == [1]


def test_after_the_last_try_it_does_not_wait_but_goes() -> None:
    queue = retrying(1, delivery_limit=1, dead_letter_exchange="dead")
    fail(queue)
    pass_to(queue, 1000)
    fail(queue)
    assert queue.waiting.count == 0
    assert queue.departing.take().reason == "delivery_limit"


@pytest.mark.parametrize("durable", [False, True])
def test_purge_and_delete_drop_who_waits(durable: bool) -> None:
    for end in ("purge", "delete"):
        queue = retrying(1, 2, durable=durable)
        entry = fail(queue)
        assert (queue.purge() if end == "purge" else queue.delete()) == 2
        assert entry.is_settled
        assert queue.agenda.log.live_bytes == 0
        pass_to(queue, 10_000)
        assert (queue.ready.count, queue.waiting.count, queue.agenda.wheel.count) == (0, 0, 0)


def test_an_unacked_message_of_a_deleted_queue_waits_for_nothing() -> None:
    queue = retrying(1)
    entry = queue.get(False)
    assert entry is not None
    queue.delete()
    queue.requeue(entry, FAILED)
    assert entry.is_settled
    assert queue.waiting.count == 0


def test_the_record_says_when_by_the_wall_clock() -> None:
    queue = retrying(1, durable=True)
    queue.agenda.log.seal([])
    fail(queue)
    batch = queue.agenda.log.seal([])
    assert batch is not None
    record = batch.records[-25:]
    assert record[0] == RETRY
    assert int.from_bytes(record[13:17], "little") == 1
    assert int.from_bytes(record[17:25], "little") == WALL_MS + 1000
    pass_to(queue, 1000)
    assert not queue.agenda.log.dirty


def test_who_is_restored_waits_for_the_rest_and_keeps_its_place() -> None:
    queue = queue_of(durable=True)
    for message_id, ready_at_ms in ((1, 0), (2, WALL_MS + 500), (3, WALL_MS - 1), (4, WALL_MS + 300), (5, 0)):
        restore(queue, new_message(message_id), 1, True, ready_at_ms, message_id < 4)
    assert ids(queue) == [1, 3, 5]
    pass_to(queue, 300)
    assert ids(queue) == [1, 3, 4, 5]
    pass_to(queue, 500)
    assert ids(queue) == [1, 2, 3, 4, 5]
    got = queue.get(False)
    assert got is not None and got.message.message_id == 1
