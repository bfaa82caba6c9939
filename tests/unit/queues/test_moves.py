"""What is in memory; what is on disk only moves in test_backlog.py."""

from __future__ import annotations

from amqpd.queues.moves import Moving
from amqpd.queues.queue import Queue
from tests.fakes.core import logged, new_agenda, new_message, new_queue
from tests.fakes.in_one_go import move_leaving


def filled(count: int) -> Queue:
    agenda = new_agenda()
    queue = new_queue(agenda, durable=True)
    for message_id in range(1, count + 1):
        queue.publish(logged(agenda, new_message(message_id, b"x" * 100), queue))
    return queue


def test_messages_stay_where_no_segment_should_go() -> None:
    queue = filled(3)
    position = queue.agenda.log.position_gathered
    assert move_leaving(queue, 1 << 40)
    assert queue.agenda.log.position_gathered == position


def test_every_message_of_a_segment_that_should_go_is_copied_in_its_order() -> None:
    queue = filled(3)
    log = queue.agenda.log
    for segment in log.segments:
        segment.is_leaving = True
    position = log.position_gathered
    assert move_leaving(queue, 1 << 40)
    assert log.position_gathered - position > 300
    assert [entry.message.message_id for entry in queue.ready.entries()] == [1, 2, 3]


def test_no_more_is_copied_in_a_turn_than_there_is_room_for() -> None:
    queue = filled(3)
    log = queue.agenda.log
    for segment in log.segments:
        segment.is_leaving = True
    position = log.position_gathered
    assert not move_leaving(queue, position + 1)
    assert 100 < log.position_gathered - position < 200


def test_one_call_looks_at_no_more_than_it_is_told_and_the_next_goes_on_there() -> None:
    queue = filled(10)
    log = queue.agenda.log
    for segment in log.segments:
        segment.is_leaving = True
    moving = Moving(queue)
    position = log.position_gathered
    grown = []
    while not moving.go_on(1 << 40, 3):
        grown.append(log.position_gathered - position)
        position = log.position_gathered
        if len(grown) == 1:
            # One that is taken meanwhile is moved by who knows of unacked ones.
            assert queue.get(False) is not None
    assert len(grown) >= 3
    assert all(300 < each < 600 for each in grown[:2])


def test_a_queue_that_goes_is_moved_no_further() -> None:
    queue = filled(10)
    for segment in queue.agenda.log.segments:
        segment.is_leaving = True
    moving = Moving(queue)
    assert not moving.go_on(1 << 40, 3)
    queue.delete()
    position = queue.agenda.log.position_gathered
    assert moving.go_on(1 << 40, 100)
    assert queue.agenda.log.position_gathered == position
