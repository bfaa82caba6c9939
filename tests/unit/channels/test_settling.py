from __future__ import annotations

from pamqp import commands

from amqpd.channels.settling import BROUGHT_COUNT_MAX
from amqpd.queues.agenda import TURN_BUDGET
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client, content_frames, method_frame

COUNT = 300


def holding(broker: BrokerHarness, count: int = COUNT, **arguments: object) -> Client:
    """A client that has so many messages of `q` unacked, and what came after it is ready."""
    client = broker.connect()
    table = encode_table({name.replace("_", "-"): value for name, value in arguments.items()})
    client.declare("q", arguments=table)
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=count))
    publish = method_frame(1, new_method(commands.Basic.Publish, routing_key="q"))
    client.send_bytes(b"".join(publish + content_frames(1, b"%d" % number) for number in range(count + 2)))
    broker.broker.receive(
        client.connection, method_frame(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="c"))
    )
    while broker.broker.has_work:
        broker.broker.go_on()
        broker.broker.woken()
    client.connection.take_output()
    broker.settle()
    # Others have used up the turn: a slice is as short as it can be.
    broker.broker.agenda.budget = 0
    return client


def turns_until_quiet(broker: BrokerHarness) -> int:
    count = 0
    while broker.broker.has_work:
        broker.broker.go_on()
        broker.broker.woken()
        count += 1
    return count


def test_many_come_back_in_slices_and_nobody_gets_a_younger_one_before_them(broker: BrokerHarness) -> None:
    client = holding(broker)
    other = broker.connect()
    other.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="d"))
    assert other.bodies() == [b"%d" % COUNT, b"%d" % (COUNT + 1)]
    client.call(1, new_method(commands.Basic.Cancel, consumer_tag="c"))
    broker.broker.agenda.budget = 0
    broker.broker.receive(
        client.connection, method_frame(1, new_method(commands.Basic.Nack, delivery_tag=0, multiple=True, requeue=True))
    )
    assert broker.broker.agenda.works.count == 1
    assert broker.broker.vhosts["/"].queues["q"].is_paused
    broker.settle()
    assert other.bodies() == [b"%d" % number for number in range(COUNT)]


def test_a_connection_is_not_heard_before_its_own_work_is_done(broker: BrokerHarness) -> None:
    client = holding(broker)
    nack = method_frame(1, new_method(commands.Basic.Nack, delivery_tag=0, multiple=True, requeue=True))
    delete = method_frame(1, new_method(commands.Queue.Delete, queue="q"))
    cancel = method_frame(1, new_method(commands.Basic.Cancel, consumer_tag="c"))
    broker.broker.receive(client.connection, cancel + nack + delete)
    assert "q" in broker.broker.vhosts["/"].queues
    broker.settle()
    assert [each.method.message_count for each in client.take_all(commands.Queue.DeleteOk)] == [COUNT + 2]


def test_others_are_heard_meanwhile(broker: BrokerHarness) -> None:
    client = holding(broker)
    other = broker.connect()
    broker.broker.agenda.budget = 0
    broker.broker.receive(
        client.connection, method_frame(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
    )
    assert broker.broker.agenda.works.count == 1
    broker.broker.receive(other.connection, method_frame(1, new_method(commands.Queue.Declare, queue="new")))
    assert "new" in broker.broker.vhosts["/"].queues
    assert turns_until_quiet(broker) >= 1
    assert broker.broker.vhosts["/"].queues["q"].unacked_count == 2


def test_rejected_messages_do_not_pile_up_on_their_way_out(broker: BrokerHarness) -> None:
    count = 3 * BROUGHT_COUNT_MAX
    client = holding(broker, count, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    client.declare("dead")
    broker.broker.agenda.budget = 0
    queues = broker.broker.vhosts["/"].queues
    nack = new_method(commands.Basic.Nack, delivery_tag=0, multiple=True, requeue=False)
    broker.broker.receive(client.connection, method_frame(1, nack))
    most = 0
    while broker.broker.has_work:
        most = max(most, int(queues["q"].departing.count))
        broker.broker.go_on()
        broker.broker.woken()
    assert most <= BROUGHT_COUNT_MAX + TURN_BUDGET
    bodies = [entry.message.body for entry in queues["dead"].ready.entries()]
    assert bodies[:count] == [b"%d" % number for number in range(count)]


def test_what_a_lost_connection_had_is_known_to_a_checkpoint_before_it_is_back(broker: BrokerHarness) -> None:
    client = holding(broker)
    broker.broker.lost(client.connection)
    works = broker.broker.agenda.works
    assert works.count == 1
    queue = broker.broker.vhosts["/"].queues["q"]
    assert len(works.entries()) == queue.unacked_count
    broker.settle()
    assert (queue.ready.count, queue.unacked_count) == (COUNT + 2, 0)
