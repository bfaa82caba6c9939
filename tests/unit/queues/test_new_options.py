"""Deadlines by a new TTL are in test_retime.py."""

from __future__ import annotations

from itertools import pairwise

from amqpd.queues.agenda import TURN_BUDGET
from amqpd.queues.arguments import QueueOptions, read_options
from amqpd.queues.new_options import apply_options
from amqpd.queues.queue import Queue
from amqpd.wire.field_table import encode_table
from tests.fakes.core import new_message, new_queue


def options(**values: object) -> QueueOptions:
    return read_options(encode_table({f"x-{key.replace('_', '-')}": value for key, value in values.items()}), "here")


def filled(*bodies: bytes) -> Queue:
    queue = new_queue()
    for at, body in enumerate(bodies):
        queue.publish(new_message(at + 1, body))
    return queue


def bodies(queue: Queue) -> list[bytes]:
    return [entry.message.body for entry in queue.ready.entries()]


def test_what_is_too_much_by_a_new_limit_leaves_at_once_unless_it_only_refuses() -> None:
    queue = filled(b"a", b"b", b"c")
    apply_options(queue, options(max_length=2, overflow="reject-publish"))
    assert bodies(queue) == [b"a", b"b", b"c"]
    assert queue.refuses(1)
    apply_options(queue, options(max_length=2))
    assert bodies(queue) == [b"b", b"c"]
    apply_options(queue, options(max_length_bytes=1))
    assert bodies(queue) == [b"c"]
    apply_options(queue, options())
    queue.publish(new_message(4, b"d"))
    assert bodies(queue) == [b"c", b"d"]


def test_the_time_until_an_unused_queue_goes_begins_when_it_is_set() -> None:
    queue = filled()
    queue.agenda.monotonic_ms = 5000
    apply_options(queue, options(expires=1000))
    assert not queue.is_expired
    queue.agenda.monotonic_ms = 5900
    apply_options(queue, options(expires=1000, max_length=1))
    queue.agenda.monotonic_ms = 6000
    assert queue.is_expired


def test_who_holds_messages_hears_of_a_new_consumer_timeout_only() -> None:
    queue = filled()
    apply_options(queue, options(max_length=1))
    assert not queue.agenda.has_new_timeouts
    apply_options(queue, options(max_length=1, consumer_timeout=60_000))
    assert queue.agenda.has_new_timeouts


def test_a_window_comes_changes_and_goes() -> None:
    queue = filled()
    wanted = options()
    wanted.dedup_window_ms = 1000
    apply_options(queue, wanted)
    window = queue.dedup
    assert window is not None and window.window_ms == 1000
    longer = options()
    longer.dedup_window_ms = 2000
    apply_options(queue, longer)
    assert queue.dedup is window
    assert window.window_ms == 2000
    apply_options(queue, options())
    assert queue.dedup is None
    assert window.is_closed


def many(count: int) -> Queue:
    queue = new_queue()
    for message_id in range(1, count + 1):
        queue.publish(new_message(message_id))
    return queue


def next_turn(queue: Queue) -> None:
    agenda = queue.agenda
    agenda.budget = TURN_BUDGET
    agenda.wheel.advance(agenda.monotonic_ms, TURN_BUDGET)


def test_a_new_limit_drops_very_many_in_several_turns() -> None:
    queue = many(3 * TURN_BUDGET)
    apply_options(queue, options(max_length=10))
    left = [3 * TURN_BUDGET, int(queue.ready.count)]
    while queue.agenda.wheel.is_behind:
        # Publishes go on, and keep nobody waiting either.
        queue.publish(new_message(10_000 + len(left)))
        next_turn(queue)
        left.append(int(queue.ready.count))
    assert len(left) >= 4
    assert all(before - after <= TURN_BUDGET + 100 for before, after in pairwise(left))
    assert left[-1] == 10
    assert queue.agenda.wheel.count == 0


def test_a_new_ttl_reaches_very_many_in_several_turns() -> None:
    queue = many(2 * TURN_BUDGET + 500)
    agenda = queue.agenda
    agenda.monotonic_ms = 1_000
    apply_options(queue, options(message_ttl=60_000))
    assert sum(entry.due_ms != 0 for entry in queue.ready.entries()) == TURN_BUDGET
    # One that has its turn still to come leaves and comes back: it is retimed then.
    taken = queue.get(False)
    assert taken is not None
    assert taken.due_ms == 0
    queue.requeue(taken)
    assert taken.due_ms == 61_000
    while agenda.wheel.is_behind:
        next_turn(queue)
    assert queue.retiming is None
    assert {int(entry.due_ms) for entry in queue.ready.entries()} == {61_000}
    # One timer for all of them.
    assert agenda.wheel.count <= 2
    agenda.monotonic_ms = 61_000
    for _ in range(10):
        next_turn(queue)
    assert queue.ready.count == 0


def test_a_ttl_that_changes_while_the_last_one_is_on_its_way_is_the_one_that_counts() -> None:
    queue = many(TURN_BUDGET + 10)
    agenda = queue.agenda
    for ttl_ms in (60_000, 5_000, 90_000):
        apply_options(queue, options(message_ttl=ttl_ms))
    while agenda.wheel.is_behind:
        next_turn(queue)
    assert {int(entry.due_ms) for entry in queue.ready.entries()} == {90_000}


def test_a_queue_that_goes_while_it_gets_a_new_ttl_leaves_nothing_to_do() -> None:
    queue = many(TURN_BUDGET + 10)
    apply_options(queue, options(message_ttl=60_000))
    assert queue.agenda.wheel.is_behind
    queue.delete()
    next_turn(queue)
    assert not queue.agenda.wheel.is_behind
    assert queue.agenda.wheel.count == 0
