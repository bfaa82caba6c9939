from __future__ import annotations

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.departure import Departure
from amqpd.queues.entry import Entry
from amqpd.queues.overflow import DROP_HEAD, REJECT_PUBLISH
from amqpd.queues.queue import Queue
from amqpd.queues.refused import RETRIED_COUNT_MAX, RETRY_MS
from amqpd.store.log import Log, fresh_start
from amqpd.wire.field_table import EMPTY_TABLE


class World:
    def __init__(self, room: int = 0) -> None:
        self.agenda = Agenda(Log(fresh_start(1)))
        self.source = Queue(1, "/", "source", False, False, 0, EMPTY_TABLE, QueueOptions(), self.agenda)
        options = QueueOptions()
        options.overflow = REJECT_PUBLISH
        options.max_length = room
        self.target = Queue(2, "/", "target", False, False, 0, EMPTY_TABLE, options, self.agenda)

    def refuse(self, count: int, size: int = 3) -> None:
        for number in range(count):
            message = Message(number + 1, b"\x00\x00", b"", b"x" * size)
            self.source.hold_back(Departure(Entry(message, self.source), "rejected"), self.target)

    def advance(self, ms: int) -> None:
        self.agenda.monotonic_ms += ms
        self.agenda.wheel.advance(self.agenda.monotonic_ms)


def test_who_was_refused_is_counted_with_its_bytes() -> None:
    world = World()
    world.refuse(4)
    refused = world.source.refused
    assert (refused.count, refused.body_bytes, len(refused.entries())) == (4, 12, 4)
    assert refused.take_oldest().entry.message.message_id == 1
    assert (refused.count, refused.body_bytes) == (3, 9)
    assert len(refused.clear()) == 3
    assert (refused.count, refused.body_bytes) == (0, 0)


def test_a_retry_lets_go_as_many_as_there_is_room_for() -> None:
    world = World(room=2)
    world.refuse(5)
    world.advance(RETRY_MS + 10)
    assert (world.source.departing.count, world.source.refused.count) == (2, 3)


def test_very_many_are_tried_in_several_turns() -> None:
    world = World()
    world.refuse(2 * RETRIED_COUNT_MAX)
    world.target.options.overflow = DROP_HEAD
    world.advance(RETRY_MS + 10)
    assert world.source.departing.count == RETRIED_COUNT_MAX
    world.advance(20)
    assert world.source.refused.count == 0


def test_nobody_is_tried_more_often_than_once_a_second() -> None:
    world = World()
    world.refuse(1)
    for _ in range(5):
        world.advance(RETRY_MS + 10)
        assert world.agenda.wheel.count == 1
    assert world.source.refused.count == 1
