"""Who shares, shares in turn: queues that share the credit of a channel, the outbox of a connection or a turn."""

from __future__ import annotations

import pytest
from pamqp import commands

from amqpd.queues.queue import DELIVERIES_PER_UNIT_SHIFT
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client, content_frames, method_frame


@pytest.fixture
def broker() -> BrokerHarness:
    return BrokerHarness()


def fill(client: Client, queue: str, count: int, body_bytes: int = 0) -> None:
    client.declare(queue)
    publish = method_frame(1, new_method(commands.Basic.Publish, routing_key=queue))
    body = queue.encode().ljust(body_bytes, b".")
    client.send_bytes((publish + content_frames(1, body)) * count)


def consume(client: Client, queue: str, channel: int = 1, no_ack: bool = False) -> None:
    client.send(channel, new_method(commands.Basic.Consume, queue=queue, consumer_tag=queue, no_ack=no_ack))


def work_off(client: Client, count: int, ack_each: int = 1) -> list[str]:
    """Ack whatever comes, `ack_each` at once; from which queue each of the first deliveries came."""
    order: list[str] = []
    unacked = 0
    while len(order) < count:
        came = client.take_all(commands.Basic.Deliver)
        if not came:
            assert unacked, "nothing came, and there is nothing to ack"
            unacked = 0
            client.send(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
            continue
        for each in came:
            order.append(each.method.consumer_tag)
            unacked += 1
            if unacked == ack_each:
                unacked = 0
                tag = each.method.delivery_tag
                client.send(1, new_method(commands.Basic.Ack, delivery_tag=tag, multiple=ack_each > 1))
    return order[:count]


def position_of_last(order: list[str], queue: str) -> int:
    return len(order) - order[::-1].index(queue)


@pytest.mark.parametrize(("prefetch", "ack_each", "position"), [(1, 1, 101), (4, 1, 104), (40, 1, 140), (40, 40, 170)])
def test_a_short_queue_behind_a_long_one_is_not_kept_waiting(
    broker: BrokerHarness, prefetch: int, ack_each: int, position: int
) -> None:
    client = broker.connect()
    fill(client, "bulk", 400)
    fill(client, "mail", 50)
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=prefetch, global_=True))
    consume(client, "bulk")
    consume(client, "mail")
    order = work_off(client, 450, ack_each)
    assert (order.count("mail"), position_of_last(order, "mail")) == (50, position)


@pytest.mark.parametrize("prefetch", [1, 3, 7])
def test_four_queues_take_turns_whatever_their_lengths(broker: BrokerHarness, prefetch: int) -> None:
    client = broker.connect()
    lengths = {"a": 60, "b": 200, "c": 3, "d": 60}
    for queue, count in lengths.items():
        fill(client, queue, count)
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=prefetch, global_=True))
    for queue in lengths:
        consume(client, queue)
    order = work_off(client, sum(lengths.values()))
    assert position_of_last(order, "c") <= prefetch + 4 * 3
    assert position_of_last(order, "a") <= prefetch + 3 * 60 + 3
    assert position_of_last(order, "d") <= prefetch + 3 * 60 + 3


def test_the_order_within_each_queue_stays(broker: BrokerHarness) -> None:
    client = broker.connect()
    for queue in ("a", "b"):
        client.declare(queue)
        for number in range(30):
            client.publish(queue, b"%s %d" % (queue.encode(), number))
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=2, global_=True))
    consume(client, "a")
    consume(client, "b")
    bodies: list[bytes] = []
    while len(bodies) < 60:
        bodies += client.bodies()
        client.send(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
    for queue in (b"a", b"b"):
        assert [each for each in bodies if each[:1] == queue] == [b"%s %d" % (queue, number) for number in range(30)]


def first_deliveries(client: Client, count: int) -> list[str]:
    """From where the first messages came, as the socket took them, a full outbox at a time."""
    return [f"{each.channel} {each.method.consumer_tag}" for each in client.take_all(commands.Basic.Deliver)][:count]


@pytest.mark.parametrize("no_ack", [False, True])
def test_queues_that_share_a_full_outbox_take_turns(broker: BrokerHarness, no_ack: bool) -> None:
    publisher = broker.connect()
    for queue in ("a", "b", "c"):
        fill(publisher, queue, 40, 100_000)
    client = broker.connect()
    client.connection.set_writable(False)
    for queue in ("a", "b", "c"):
        consume(client, queue, 1, no_ack)
    client.connection.set_writable(True)
    broker.settle()
    # An outbox takes eleven of them.
    order = first_deliveries(client, 120)
    assert order.index("1 b") < 23
    assert order.index("1 c") < 34
    for queue in ("a", "b", "c"):
        assert 33 <= order[:110].count(f"1 {queue}") <= 40


def test_channels_that_share_a_full_outbox_take_turns(broker: BrokerHarness) -> None:
    publisher = broker.connect()
    for queue in ("a", "b", "c"):
        fill(publisher, queue, 40, 100_000)
    client = broker.connect()
    client.call(2, new_method(commands.Channel.Open))
    client.connection.set_writable(False)
    consume(client, "a", 1)
    consume(client, "b", 1)
    consume(client, "c", 2)
    client.connection.set_writable(True)
    broker.settle()
    order = first_deliveries(client, 80)
    assert order.index("2 c") < 23
    # The second channel has its half, and the queues of the first share the other.
    assert 33 <= order.count("2 c") <= 40
    assert order.count("1 a") >= 11
    assert order.count("1 b") >= 11


def test_a_socket_that_takes_little_is_shared_too(broker: BrokerHarness) -> None:
    """The outbox never gets full: each time the socket stops it before."""
    publisher = broker.connect()
    for queue in ("a", "b"):
        fill(publisher, queue, 100, 1000)
    client = broker.connect()
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=10))
    client.connection.set_writable(False)
    consume(client, "a", 1, no_ack=True)
    consume(client, "b", 1, no_ack=True)
    first: list[str] = []
    for _ in range(4):
        broker.broker.agenda.budget = 0
        client.connection.set_writable(True)
        broker.broker.agenda.drain_active()
        client.connection.set_writable(False)
        broker.settle()
        first.append(first_deliveries(client, 1)[0])
    assert sorted(first) == ["1 a", "1 a", "1 b", "1 b"]


def test_what_a_turn_has_no_room_for_is_delivered_in_the_next_ones_and_others_come_first_then(
    broker: BrokerHarness,
) -> None:
    publisher = broker.connect()
    fill(publisher, "long", 5000)
    fill(publisher, "short", 10)
    hungry = broker.connect()
    quiet = broker.connect()
    agenda = broker.broker.agenda
    long, short = (broker.broker.vhosts["/"].queues[name] for name in ("long", "short"))
    for client in (hungry, quiet):
        client.connection.set_writable(False)
    consume(hungry, "long", no_ack=True)
    consume(quiet, "short", no_ack=True)
    for client in (hungry, quiet):
        client.connection.outbox.is_socket_full = False
        client.connection.outbox.is_open = True
    long.wake()
    short.wake()
    agenda.budget = 1000 >> DELIVERIES_PER_UNIT_SHIFT
    agenda.drain_active()
    assert (long.ready.count, short.ready.count) == (4000, 10)
    assert agenda.active == [short, long]
    agenda.budget = 1000 >> DELIVERIES_PER_UNIT_SHIFT
    agenda.drain_active()
    assert (long.ready.count, short.ready.count) == (3008, 0)
    # However little is left, some are delivered: a turn that is over its budget keeps nobody waiting for ever.
    agenda.budget = -5
    agenda.drain_active()
    assert 2900 < long.ready.count < 3010
    broker.settle()
    assert long.ready.count == 0
