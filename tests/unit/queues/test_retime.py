from __future__ import annotations

from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.entry import Entry
from amqpd.queues.new_options import apply_options
from amqpd.queues.queue import Queue
from amqpd.queues.retime import Arrivals, arrived_ms
from amqpd.store.log import Log, fresh_start
from amqpd.wire.field_table import EMPTY_TABLE
from tests.fakes.core import new_entry, new_message

WALL_MS = 1_700_000_000_000


def agenda_at(monotonic_ms: int) -> Agenda:
    return Agenda(Log(fresh_start(1)), monotonic_ms, WALL_MS + monotonic_ms)


def options(ttl_ms: int = -1, max_priority: int = -1) -> QueueOptions:
    found = QueueOptions()
    found.message_ttl_ms = ttl_ms
    found.max_priority = max_priority
    return found


def queue_of(agenda: Agenda, wanted: QueueOptions) -> Queue:
    return Queue(1, "/", "q", False, False, 0, EMPTY_TABLE, wanted, agenda)


def publish(queue: Queue, message_id: int, ttl_ms: int = -1) -> None:
    message = new_message(message_id)
    message.ttl_ms = ttl_ms
    queue.publish(message)


def pass_to(agenda: Agenda, monotonic_ms: int) -> None:
    agenda.monotonic_ms = monotonic_ms
    agenda.wall_ms = WALL_MS + monotonic_ms
    agenda.wheel.advance(monotonic_ms)


def deadlines(queue: Queue) -> list[int]:
    return [entry.due_ms for entry in queue.ready.entries()]


def timed(message_id: int, due_ms: int, enqueued_ms: int = 0) -> Entry:
    entry = new_entry(message_id)
    entry.due_ms = due_ms
    entry.message.enqueued_ms = enqueued_ms
    return entry


def test_a_message_came_when_it_was_logged_and_else_now() -> None:
    message = new_message(1)
    assert arrived_ms(message, 5_000, WALL_MS) == 5_000
    message.enqueued_ms = WALL_MS - 300
    assert arrived_ms(message, 5_000, WALL_MS) == 4_700
    message.enqueued_ms = WALL_MS + 300  # the clock was set back
    assert arrived_ms(message, 5_000, WALL_MS) == 5_000


def test_a_deadline_tells_when_a_message_came_and_what_came_before_is_no_younger() -> None:
    entries = [timed(1, 0), timed(2, 2_500), timed(3, 0, WALL_MS - 100), timed(4, 0)]
    for in_order, first_ms in ((True, 1_500), (False, 5_000)):
        arrivals = Arrivals(1_000, in_order, 5_000, WALL_MS)
        assert [arrivals.came_ms(entry) for entry in reversed(entries)] == [5_000, 4_900, 1_500, first_ms]


def test_a_shorter_ttl_counts_from_the_arrival() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options(60_000))
    publish(queue, 1)
    pass_to(agenda, 3_000)
    publish(queue, 2)
    apply_options(queue, options(2_500))
    assert deadlines(queue) == [3_500, 5_500]
    pass_to(agenda, 3_510)
    assert queue.ready.count == 1
    pass_to(agenda, 5_510)
    assert queue.ready.count == 0


def test_what_is_overdue_by_a_new_ttl_leaves_at_the_next_tick() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options(60_000))
    publish(queue, 1)
    pass_to(agenda, 9_000)
    apply_options(queue, options(500))
    pass_to(agenda, 9_020)
    assert queue.ready.count == 0


def test_a_longer_ttl_keeps_what_would_have_gone() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options(1_000))
    publish(queue, 1)
    apply_options(queue, options(5_000))
    pass_to(agenda, 5_900)
    assert queue.ready.count == 1
    pass_to(agenda, 6_020)
    assert queue.ready.count == 0


def test_without_a_ttl_nothing_goes_any_more_but_what_has_its_own() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options(1_000))
    publish(queue, 1)
    publish(queue, 2, ttl_ms=3_000)
    apply_options(queue, options())
    assert deadlines(queue) == [0, 4_000]
    pass_to(agenda, 3_000)
    assert queue.ready.count == 2
    pass_to(agenda, 4_020)
    assert [entry.message.message_id for entry in queue.ready.entries()] == [1]


def test_a_message_with_its_own_ttl_moves_in_the_wheel_and_back() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options())
    publish(queue, 1, ttl_ms=60_000)
    publish(queue, 2, ttl_ms=60_000)
    apply_options(queue, options(1_000))
    apply_options(queue, options(5_000))
    pass_to(agenda, 2_100)
    assert queue.ready.count == 2
    pass_to(agenda, 6_020)
    assert queue.ready.count == 0
    pass_to(agenda, 70_000)
    assert agenda.wheel.count == 0


def test_a_priority_queue_is_retimed_one_by_one() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options(60_000, max_priority=3))
    publish(queue, 1)
    pass_to(agenda, 2_000)
    publish(queue, 2)
    apply_options(queue, options(1_500, max_priority=3))
    pass_to(agenda, 2_520)
    assert [entry.message.message_id for entry in queue.ready.entries()] == [2]


def test_a_message_that_comes_back_has_the_new_deadline_if_the_log_knows_when_it_came() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options())
    publish(queue, 1)
    publish(queue, 2)
    logged, unlogged = queue.get(False), queue.get(False)
    assert logged is not None and unlogged is not None
    logged.message.enqueued_ms = agenda.wall_ms
    apply_options(queue, options(2_000))
    pass_to(agenda, 2_000)
    queue.requeue(unlogged)
    queue.requeue(logged)
    assert deadlines(queue) == [3_000, 4_000]
    pass_to(agenda, 3_020)
    assert [entry.message.message_id for entry in queue.ready.entries()] == [2]


def test_a_message_that_comes_back_stays_once_there_is_no_ttl() -> None:
    agenda = agenda_at(1_000)
    queue = queue_of(agenda, options(1_000))
    publish(queue, 1)
    entry = queue.get(False)
    assert entry is not None
    apply_options(queue, options())
    pass_to(agenda, 5_000)
    queue.requeue(entry)
    assert deadlines(queue) == [0]
