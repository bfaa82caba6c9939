from __future__ import annotations

from amqpd.base.message import Message
from amqpd.queues.agenda import TURN_BUDGET, Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.queue import Queue
from amqpd.store.log import Log, fresh_start
from amqpd.wire.field_table import EMPTY_TABLE

COUNT = 3 * TURN_BUDGET


def filled(ttl_ms: int = -1) -> Queue:
    agenda = Agenda(Log(fresh_start(1)))
    queue = Queue(1, "/", "q", True, False, 0, EMPTY_TABLE, QueueOptions(), agenda)
    publish(queue, COUNT, ttl_ms)
    return queue


def publish(queue: Queue, count: int, ttl_ms: int = -1) -> None:
    for _ in range(count):
        message = Message(queue.agenda.log.next_message_id(), b"\x00\x00", b"", b"x")
        message.ttl_ms = ttl_ms
        queue.publish(message)


def turns(queue: Queue) -> int:
    count = 0
    while queue.agenda.works.count > 0:
        queue.agenda.budget = TURN_BUDGET
        queue.agenda.works.go_on()
        count += 1
    return count


def test_a_purged_queue_is_empty_at_once_and_what_it_held_goes_in_slices() -> None:
    queue = filled()
    assert (queue.purge(), queue.ready.count) == (COUNT, 0)
    publish(queue, 2)
    assert turns(queue) >= 2
    assert queue.ready.count == 2


def test_a_timer_of_what_was_purged_does_nothing_to_what_came_after() -> None:
    queue = filled(ttl_ms=1000)
    queue.purge()
    publish(queue, 2)
    queue.agenda.monotonic_ms = 5_000
    queue.agenda.wheel.advance(5_000)
    assert queue.ready.count == 2
    turns(queue)
    assert queue.ready.count == 2
    assert queue.agenda.wheel.count < 10_000


def test_what_was_unacked_while_the_queue_was_purged_still_expires_on_time() -> None:
    queue = filled(ttl_ms=1000)
    entry = queue.get(False)
    assert entry is not None
    queue.purge()
    queue.requeue(entry)
    assert queue.ready.count == 1
    queue.agenda.monotonic_ms = 1_020
    queue.agenda.wheel.advance(1_020)
    assert queue.ready.count == 0
