from __future__ import annotations

from amqpd.base.limits import Limits
from amqpd.base.message import Message
from amqpd.queues.agenda import TURN_BUDGET, Agenda
from amqpd.queues.queue import Queue
from amqpd.store.log import Log, fresh_start
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.departures import SENT_OFF_COUNT_MAX, Departures
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from amqpd.wire.properties import NO_PROPERTIES


class World:
    def __init__(self) -> None:
        self.agenda = Agenda(Log(fresh_start(1)))
        self.vhost = VHost("/", Limits(), self.agenda, Changes(1))
        self.departures = Departures(self.agenda, {"/": self.vhost})
        self.dead = self.vhost.declare_queue("dead", False, False, False, 0, EMPTY_TABLE, False)

    def queue(self, name: str) -> Queue:
        arguments = encode_table({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
        return self.vhost.declare_queue(name, False, False, False, 0, arguments, False)

    def expire(self, queue: Queue, count: int) -> None:
        for number in range(count):
            body = f"{queue.name}{number}".encode()
            queue.publish(Message(self.agenda.log.next_message_id(), b"\x00\x01q", NO_PROPERTIES, body))
            entry = queue.ready.pop()
            queue.leave(entry, "expired")

    def arrived(self) -> list[bytes]:
        return [entry.message.body for entry in self.dead.ready.entries()]


def test_queues_take_turns_and_each_keeps_its_order() -> None:
    world = World()
    many, few = world.queue("many"), world.queue("few")
    world.expire(many, 3 * SENT_OFF_COUNT_MAX)
    world.expire(few, 2)
    while world.agenda.departing:
        world.departures.send_off_some()
    arrived = world.arrived()
    assert arrived.index(b"few1") == SENT_OFF_COUNT_MAX + 1
    assert [body for body in arrived if body.startswith(b"many")] == [
        f"many{number}".encode() for number in range(3 * SENT_OFF_COUNT_MAX)
    ]


def test_what_a_turn_has_no_room_for_goes_in_the_next() -> None:
    world = World()
    queue = world.queue("q")
    world.expire(queue, 10)
    world.agenda.budget = 3
    world.departures.send_off_some()
    assert 0 < len(world.arrived()) <= 3
    assert world.agenda.departing == [queue]
    world.agenda.budget = TURN_BUDGET
    world.departures.send_off_some()
    assert (len(world.arrived()), world.agenda.departing, queue.is_departing) == (10, [], False)
