from __future__ import annotations

from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.queue import Queue
from amqpd.queues.restart import Description, restore, settle_down
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.log import Log, fresh_start
from amqpd.wire.field_table import EMPTY_TABLE
from tests.fakes.core import logged, new_agenda, new_message, new_queue
from tests.fakes.in_one_go import describe

WALL_MS = 1_700_000_000_000


def queue_with(ttl_ms: int) -> Queue:
    options = QueueOptions()
    options.message_ttl_ms = ttl_ms
    return Queue(1, "/", "q", True, False, 0, EMPTY_TABLE, options, Agenda(Log(fresh_start(1)), 0, WALL_MS))


def test_what_recovery_found_comes_back_with_its_history() -> None:
    queue = new_queue(durable=True)
    restore(queue, new_message(1), 3, True)
    restore(queue, new_message(2), 0, False)
    entries = queue.ready.entries()
    assert [(each.delivery_count, each.redelivered) for each in entries] == [(3, True), (0, False)]


def test_time_went_on_while_the_broker_was_down() -> None:
    queue = queue_with(1000)
    for message_id, age_ms in ((1, 5000), (2, 400), (3, 0)):
        message = new_message(message_id)
        message.enqueued_ms = WALL_MS - age_ms
        restore(queue, message, 0, False)
    assert [each.due_ms for each in queue.ready.entries()] == [-4000, 600, 1000]
    queue.agenda.monotonic_ms = 100
    queue.agenda.wheel.advance(100)
    assert [each.message.message_id for each in queue.ready.entries()] == [2, 3]
    queue.agenda.monotonic_ms = 600
    settle_down(queue)
    assert [each.message.message_id for each in queue.ready.entries()] == [3]


def test_who_waits_comes_back_with_what_is_left_of_its_wait_and_of_its_time() -> None:
    queue = queue_with(1000)
    message = new_message(1)
    message.enqueued_ms = WALL_MS - 300
    restore(queue, message, 1, True, WALL_MS + 200)
    assert queue.ready.count == 0
    (each,) = queue.waiting.tries()
    assert (each.ready_at_ms, each.due_ms, each.entry.due_ms) == (200, 200, 700)


def test_what_is_ready_or_waits_is_described_and_what_is_unacked_is_not() -> None:
    agenda = new_agenda()
    queue = new_queue(agenda, durable=True)
    for message_id in (1, 2, 3):
        queue.publish(logged(agenda, new_message(message_id), queue))
    assert queue.get(False) is not None
    builder = CheckpointBuilder(agenda.log, 1)
    describe(queue, builder)
    assert builder.entry_count == 2
    restore(queue, logged(agenda, new_message(4), queue), 1, True, agenda.wall_ms + 100)
    builder = CheckpointBuilder(agenda.log, 1)
    describe(queue, builder)
    assert builder.entry_count == 3


def test_a_queue_is_described_a_part_at_a_time_as_it_was_in_the_beginning() -> None:
    agenda = new_agenda()
    queue = new_queue(agenda, durable=True)
    for message_id in range(1, 8):
        queue.publish(logged(agenda, new_message(message_id), queue))
    restore(queue, logged(agenda, new_message(8), queue), 1, True, agenda.wall_ms + 100)
    builder = CheckpointBuilder(agenda.log, 1)
    description = Description(queue, builder)
    counts = []
    assert not description.go_on(3)
    counts.append(int(builder.entry_count))
    # Meanwhile one comes, for which there is a log; one goes; and one that waited is ready.
    queue.publish(logged(agenda, new_message(9), queue))
    assert queue.get(True) is not None
    agenda.monotonic_ms = 100
    agenda.wheel.advance(110)
    assert queue.waiting.count == 0
    while not description.go_on(2):
        counts.append(int(builder.entry_count))
    # Seven to two less one that went; and the one that waited.
    assert counts == [3, 5, 6]
    assert builder.entry_count == 7


def test_a_queue_that_goes_while_it_is_described_is_described_no_further() -> None:
    agenda = new_agenda()
    queue = new_queue(agenda, durable=True)
    for message_id in range(1, 8):
        queue.publish(logged(agenda, new_message(message_id), queue))
    builder = CheckpointBuilder(agenda.log, 1)
    description = Description(queue, builder)
    assert not description.go_on(3)
    queue.delete()
    assert description.go_on(100)
    assert builder.entry_count == 3
