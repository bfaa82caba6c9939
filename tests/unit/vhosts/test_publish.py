from __future__ import annotations

import pytest

from amqpd.base.message import Message
from amqpd.exchanges.registry import create
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.overflow import REJECT_PUBLISH
from amqpd.queues.queue import Queue
from amqpd.store.log import Log, fresh_start
from amqpd.vhosts.publish import REFUSED, Room, put, refusing
from amqpd.vhosts.routing import Route
from amqpd.wire.field_table import EMPTY_TABLE
from amqpd.wire.properties import NO_PROPERTIES

PERSISTENT = b"\x00\x3c\x00\x00" + bytes(8) + b"\x10\x00\x02"


class World:
    def __init__(self) -> None:
        self.log = Log(fresh_start(1))
        self.agenda = Agenda(self.log)
        self.exchange = create("fanout", "x", True, False, False, EMPTY_TABLE)

    def queue(self, queue_id: int, durable: bool = True, room: int = -1, room_bytes: int = -1) -> Queue:
        options = QueueOptions()
        options.overflow = REJECT_PUBLISH
        options.max_length = room
        options.max_length_bytes = room_bytes
        return Queue(queue_id, "/", f"q{queue_id}", durable, False, 0, EMPTY_TABLE, options, self.agenda)

    def route(self, *queues: Queue) -> Route:
        return Route(self.exchange, "", list(queues), True)

    def message(self, body: bytes = b"x", header: bytes = PERSISTENT) -> Message:
        return Message(self.log.next_message_id(), b"\x00\x00", header, body)


@pytest.fixture
def world() -> World:
    return World()


def test_a_persistent_message_is_logged_once_for_all_its_queues(world: World) -> None:
    queues = [world.queue(1), world.queue(2), world.queue(3, durable=False)]
    mark = put(world.route(*queues), world.message(), world.agenda)
    assert mark == world.log.mark
    assert [queue.ready.count for queue in queues] == [1, 1, 1]
    assert world.log.live_bytes > 0
    assert world.log.segment.live_count == 2


def test_what_need_not_survive_waits_for_nothing(world: World) -> None:
    assert put(world.route(world.queue(1)), world.message(header=NO_PROPERTIES), world.agenda) == 0
    assert put(world.route(world.queue(2, durable=False)), world.message(), world.agenda) == 0
    assert put(world.route(), world.message(), world.agenda) == 0
    assert not world.log.dirty


def test_one_queue_without_room_and_none_has_it(world: World) -> None:
    full, free = world.queue(1, room=0), world.queue(2)
    route = world.route(free, full)
    assert put(route, world.message(), world.agenda) == REFUSED
    assert (free.ready.count, world.log.dirty) == (0, False)
    assert refusing(route, 1) is full


def test_room_is_for_all_or_for_none(world: World) -> None:
    route = world.route(world.queue(1, room=2))
    room = Room()
    assert [room.takes(route, 1) for _ in range(3)] == [True, True, False]


def test_room_in_bytes_is_counted_together(world: World) -> None:
    route = world.route(world.queue(1, room_bytes=100))
    route.queues[0].ready = world.queue(2, room_bytes=100).ready
    room = Room()
    assert [room.takes(route, 60), room.takes(route, 60), room.takes(route, 40)] == [True, False, True]
