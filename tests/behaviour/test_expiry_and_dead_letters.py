"""TTL, dead letters, length limits, priorities, single active consumers and consumer priorities (RabbitMQ's extensions)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pamqp import commands

from amqpd.base.limits import Limits
from amqpd.base.message import Message
from amqpd.broker import Broker
from amqpd.queues.agenda import TURN_BUDGET
from amqpd.store.log import Log, fresh_start
from amqpd.store.recovered import Recovered, RecoveredEntry
from amqpd.store.topology import QueueRow, Topology, VhostRow
from amqpd.wire.field_table import FieldTable, encode_table
from amqpd.wire.methods import new_method
from amqpd.wire.properties import headers, priority
from tests.behaviour.harness import (
    PERSISTENT,
    BrokerHarness,
    Client,
    CountingEntropy,
    content_frames,
    method_frame,
)
from tests.fakes.restart import restarted


def declare(client: Client, queue: str, durable: bool = False, **arguments: object) -> Any:
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in arguments.items()})
    return client.declare(queue, durable=durable, arguments=table)


def expiring(ms: int) -> bytes:
    text = str(ms).encode()
    return b"\x01\x00" + bytes([len(text)]) + text


def with_priority(level: int) -> bytes:
    return b"\x08\x00" + bytes([level])


def count(client: Client, queue: str) -> int:
    ready: int = client.declare(queue, passive=True).message_count
    return ready


def drain(client: Client, queue: str) -> list[bytes]:
    bodies = []
    while (got := client.get(queue, no_ack=True)) is not None:
        bodies.append(got.body)
    return bodies


def death(header: bytes) -> FieldTable:
    table = headers(header)
    assert table is not None
    newest = table.get("x-death")
    assert isinstance(newest, list)
    assert isinstance(newest[0], FieldTable)
    return newest[0]


def test_a_short_message_expires_behind_a_long_one(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"hour", properties=expiring(3_600_000))
    client.publish("q", b"soon", properties=expiring(1_000))
    client.publish("q", b"never")
    broker.advance(1_100)
    assert count(client, "q") == 2
    assert drain(client, "q") == [b"hour", b"never"]


def test_the_lower_of_two_times_counts_and_a_requeue_does_not_reset_it(broker: BrokerHarness, client: Client) -> None:
    declare(client, "q", message_ttl=1_000)
    client.publish("q", b"x", properties=expiring(5_000))
    client.get("q")
    broker.advance(900)
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1, requeue=True))
    assert count(client, "q") == 1
    broker.advance(200)
    assert count(client, "q") == 0


def test_an_unacked_message_does_not_expire_before_it_comes_back(broker: BrokerHarness, client: Client) -> None:
    declare(client, "q", message_ttl=100)
    client.publish("q", b"x")
    client.get("q")
    broker.advance(1_000)
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1, requeue=True))
    assert count(client, "q") == 0


@pytest.mark.parametrize("ttl_ms", [0, 100])
@pytest.mark.parametrize("by", ["queue", "message"])
def test_a_message_that_went_straight_to_a_consumer_is_as_old_as_it_is_when_it_comes_back(
    broker: BrokerHarness, client: Client, by: str, ttl_ms: int
) -> None:
    client.declare("dead")
    options: dict[str, object] = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
    declare(client, "q", **(options | {"message_ttl": ttl_ms} if by == "queue" else options))
    client.send(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="t"))
    client.publish("q", b"x", properties=b"\x00\x00" if by == "queue" else expiring(ttl_ms))
    assert [each.body for each in client.received if isinstance(each.method, commands.Basic.Deliver)] == [b"x"]
    client.call(1, new_method(commands.Basic.Cancel, consumer_tag="t"))
    broker.advance(1_000)
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1, requeue=True))
    broker.advance(0)
    assert (count(client, "q"), count(client, "dead")) == (0, 1)


def test_very_many_that_expire_at_once_leave_in_several_turns_whatever_the_number_of_queues(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("dead")
    names = ("a", "b", "c")
    for name in names:
        declare(client, name, message_ttl=1_000, dead_letter_exchange="", dead_letter_routing_key="dead")
        publish = method_frame(1, new_method(commands.Basic.Publish, routing_key=name))
        client.send_bytes((publish + content_frames(1, b"x")) * 2 * TURN_BUDGET)
    queues = broker.broker.vhosts["/"].queues
    broker.now_ms += 5_000
    left = [6 * TURN_BUDGET]
    while left[-1] > 0:
        broker.broker.tick(broker.now_ms, 1_700_000_000_000 + broker.now_ms)
        left.append(sum(queues[name].ready.count for name in names))
        # Some leave, and of all queues together no more than a turn has room for.
        assert 0 < left[-2] - left[-1] <= TURN_BUDGET + len(names)
        assert broker.broker.has_work or left[-1] == 0
        # None waits until the others are done.
        assert len(left) != 5 or all(queues[name].ready.count < 2 * TURN_BUDGET for name in names)
    assert len(left) > 5
    broker.settle()
    assert count(client, "dead") == 6 * TURN_BUDGET


def test_deaths_of_the_same_second_keep_their_own_headers(broker: BrokerHarness, client: Client) -> None:
    client.declare("dead")
    for queue in ("a", "b"):
        declare(client, queue, dead_letter_exchange="", dead_letter_routing_key="dead", message_ttl=100)
    for queue, properties in (
        ("a", b"\0\0"),
        ("a", b"\0\0"),
        ("b", b"\0\0"),
        ("a", with_priority(3)),
        ("b", expiring(50)),
    ):
        client.publish(queue, b"x", properties=properties)
    broker.advance(200)
    found = []
    while (got := client.get("dead", no_ack=True)) is not None:
        newest = death(got.header)
        found.append((newest.get("queue"), newest.get("original-expiration"), priority(got.header)))
    assert sorted(found, key=str) == sorted(
        [("a", None, -1), ("a", None, -1), ("b", None, -1), ("a", None, 3), ("b", "50", -1)], key=str
    )


def test_ttl_zero_means_now_or_never(client: Client) -> None:
    declare(client, "q", message_ttl=0)
    client.publish("q", b"lost")
    assert count(client, "q") == 0
    client.send(1, new_method(commands.Basic.Consume, queue="q", no_ack=True))
    client.publish("q", b"kept")
    assert client.bodies() == [b"kept"]


def test_an_expired_message_goes_to_the_dead_letter_exchange_with_its_history(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("dead")
    declare(client, "q", dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("q", b"x", properties=expiring(500))
    broker.advance(600)
    got = client.get("dead")
    assert got is not None
    assert (got.body, got.method.exchange, got.method.routing_key) == (b"x", "", "dead")
    newest = death(got.header)
    assert newest.keys() == ["count", "reason", "queue", "time", "exchange", "routing-keys", "original-expiration"]
    assert (newest.get("count"), newest.tag("count")) == (1, "l")
    assert newest.get("reason") == "expired"
    assert newest.get("queue") == "q"
    assert newest.get("routing-keys") == ["q"]
    assert newest.get("original-expiration") == "500"
    table = headers(got.header)
    assert table is not None
    assert table.get("x-first-death-reason") == "expired"
    broker.advance(10_000)
    assert count(client, "dead") == 0  # it is unacked, and without an expiration it stays so
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=got.method.delivery_tag, requeue=True))
    broker.advance(10_000)
    assert count(client, "dead") == 1


def test_a_rejected_message_counts_its_deaths_on_every_round(broker: BrokerHarness, client: Client) -> None:
    declare(client, "wait", dead_letter_exchange="", dead_letter_routing_key="work", message_ttl=100)
    declare(client, "work", dead_letter_exchange="", dead_letter_routing_key="wait")
    client.publish("work", b"x")
    for round_number in (1, 2, 3):
        got = client.get("work")
        assert got is not None
        client.send(1, new_method(commands.Basic.Reject, delivery_tag=got.method.delivery_tag, requeue=False))
        broker.advance(200)
        again = client.get("work")
        assert again is not None
        table = headers(again.header)
        assert table is not None
        tables = table.get("x-death")
        assert isinstance(tables, list)
        assert [each.get("count") for each in tables] == [round_number, round_number]
        assert [each.get("reason") for each in tables] == ["expired", "rejected"]
        client.send(1, new_method(commands.Basic.Nack, delivery_tag=again.method.delivery_tag, requeue=True))


def test_a_cycle_without_a_rejection_is_dropped(broker: BrokerHarness, client: Client) -> None:
    declare(client, "a", dead_letter_exchange="", dead_letter_routing_key="b", message_ttl=100)
    declare(client, "b", dead_letter_exchange="", dead_letter_routing_key="a", message_ttl=100)
    client.publish("a", b"x")
    broker.advance(1_000)
    assert (count(client, "a"), count(client, "b")) == (0, 0)


def test_dead_lettering_is_one_batch(broker: BrokerHarness, client: Client) -> None:
    client.declare("dead", durable=True)
    declare(client, "q", durable=True, dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("q", b"x", properties=PERSISTENT)
    client.get("q")
    before = len(broker.batches)
    client.send(1, new_method(commands.Basic.Reject, delivery_tag=1, requeue=False))
    assert [batch.record_count for batch in broker.batches[before:]] == [2]


def test_a_full_queue_drops_its_head_as_a_dead_letter(client: Client) -> None:
    client.declare("dead")
    declare(client, "q", max_length=2, dead_letter_exchange="", dead_letter_routing_key="dead")
    for body in (b"1", b"2", b"3"):
        client.publish("q", body)
    assert drain(client, "q") == [b"2", b"3"]
    got = client.get("dead")
    assert got is not None
    assert (got.body, death(got.header).get("reason")) == (b"1", "maxlen")


def test_a_queue_full_of_bytes_drops_until_it_fits(client: Client) -> None:
    declare(client, "q", max_length_bytes=10)
    for body in (b"1234", b"5678", b"9"):
        client.publish("q", body)
    assert drain(client, "q") == [b"1234", b"5678", b"9"]
    for body in (b"1234", b"5678", b"90123"):
        client.publish("q", body)
    assert drain(client, "q") == [b"5678", b"90123"]


def test_a_refused_publish_is_nacked_and_kept_by_no_queue(client: Client) -> None:
    declare(client, "full", max_length=1, overflow="reject-publish")
    client.declare("free")
    for queue in ("full", "free"):
        client.call(1, new_method(commands.Queue.Bind, queue=queue, exchange="amq.fanout"))
    client.call(1, new_method(commands.Confirm.Select))
    client.publish("", b"1", exchange="amq.fanout")
    client.publish("", b"2", exchange="amq.fanout")
    names = [(each.method.name, each.method.delivery_tag) for each in client.received]
    assert names == [("Basic.Ack", 1), ("Basic.Nack", 2)]
    assert (count(client, "full"), count(client, "free")) == (1, 1)


def test_a_refused_publish_may_be_dead_lettered(client: Client) -> None:
    client.declare("dead")
    declare(
        client,
        "q",
        max_length=1,
        overflow="reject-publish-dlx",
        dead_letter_exchange="",
        dead_letter_routing_key="dead",
    )
    client.publish("q", b"1")
    client.publish("q", b"2")
    assert (drain(client, "q"), drain(client, "dead")) == ([b"1"], [b"2"])


def test_a_target_that_refuses_leaves_the_dead_letter_where_it_was_until_it_has_room(
    broker: BrokerHarness, client: Client
) -> None:
    declare(client, "dead", max_length=1, overflow="reject-publish")
    client.publish("dead", b"in the way")
    declare(client, "q", dead_letter_exchange="", dead_letter_routing_key="dead", message_ttl=100)
    client.publish("q", b"x")
    broker.advance(500)
    assert drain(client, "dead") == [b"in the way"]
    broker.advance(1_500)
    assert drain(client, "dead") == [b"x"]


def test_the_highest_priority_leaves_first_and_equals_in_order(client: Client) -> None:
    declare(client, "q", max_priority=5)
    for level, body in ((1, b"a"), (5, b"b"), (0, b"c"), (9, b"d"), (1, b"e")):
        client.publish("q", body, properties=with_priority(level))
    client.publish("q", b"f")
    assert drain(client, "q") == [b"b", b"d", b"a", b"e", b"c", b"f"]


def test_a_full_priority_queue_drops_from_its_lowest_level(client: Client) -> None:
    declare(client, "q", max_priority=5, max_length=2)
    for level, body in ((1, b"low"), (5, b"high"), (3, b"middle")):
        client.publish("q", body, properties=with_priority(level))
    assert drain(client, "q") == [b"high", b"middle"]


def test_a_priority_message_that_comes_back_keeps_its_level_and_place(client: Client) -> None:
    declare(client, "q", max_priority=5)
    client.publish("q", b"1", properties=with_priority(2))
    client.publish("q", b"2", properties=with_priority(2))
    client.get("q")
    client.publish("q", b"3", properties=with_priority(1))
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1, requeue=True))
    assert drain(client, "q") == [b"1", b"2", b"3"]


def test_a_message_over_its_delivery_limit_is_a_dead_letter(client: Client) -> None:
    client.declare("dead")
    declare(client, "q", delivery_limit=1, dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("q", b"x")
    client.get("q")
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1, requeue=True))
    again = client.get("q")
    assert again is not None
    table = headers(again.header)
    assert table is not None
    assert table.get("x-delivery-count") == 1
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=2, requeue=True))
    got = client.get("dead")
    assert got is not None
    assert death(got.header).get("reason") == "delivery_limit"


def test_only_the_first_consumer_of_a_single_active_queue_gets_anything(client: Client) -> None:
    declare(client, "q", single_active_consumer=True)
    for tag in ("one", "two"):
        client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag=tag, no_ack=True))
    client.publish("q", b"1")
    client.publish("q", b"2")
    client.call(1, new_method(commands.Basic.Cancel, consumer_tag="one"))
    client.publish("q", b"3")
    tags = [each.method.consumer_tag for each in client.take_all(commands.Basic.Deliver)]
    assert tags == ["one", "one", "two"]
    client.send(1, new_method(commands.Basic.Get, queue="q"))
    assert client.take_all(commands.Channel.Close)[0].method.reply_code == 405


def test_the_consumer_with_the_higher_priority_comes_first_while_it_has_credit(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=2))
    for tag, level in (("low", -1), ("high", 5), ("also high", 5)):
        arguments = encode_table({"x-priority": level})
        client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag=tag, arguments=arguments))
    for _ in range(6):
        client.publish("q", b"x")
    tags = [each.method.consumer_tag for each in client.take_all(commands.Basic.Deliver)]
    assert tags == ["high", "also high", "high", "also high", "low", "low"]


def test_a_restart_does_not_stop_the_clock_of_a_message() -> None:
    start = fresh_start(1)
    topology = Topology()
    topology.vhosts.append(VhostRow("/"))
    topology.queues.append(QueueRow(1, "/", "q", False, b""))
    recovered = Recovered(start)
    entries = []
    for message_id, header_tail in ((1, b"\x11\x00\x02\x045000"), (2, PERSISTENT)):
        header = b"\x00\x3c\x00\x00" + (1).to_bytes(8, "big") + header_tail
        message = Message(message_id, b"\x00\x01q", header, b"x")
        message.enqueued_ms = 1_700_000_000_000
        entries.append(RecoveredEntry(message))
    recovered.queues[1] = entries
    log = Log(start)
    broker = Broker(Limits(), log, topology, recovered, CountingEntropy(), 50_000, 1_700_000_004_000)
    queue = broker.vhosts["/"].queues["q"]
    broker.tick(50_900, 1_700_000_004_900)
    assert queue.ready.count == 2
    broker.tick(51_100, 1_700_000_005_100)
    assert queue.ready.count == 1


def test_a_restart_lets_what_is_overdue_die_by_order_of_its_due_times(broker: BrokerHarness, client: Client) -> None:
    def publish_all(broker: BrokerHarness) -> Client:
        client = broker.connect()
        client.declare("dead", durable=True)
        for name in ("a", "b"):
            declare(client, name, durable=True, dead_letter_exchange="", dead_letter_routing_key="dead")
        for number, ttl_ms in enumerate((3000, 1000, 2003, 1000, 2001)):
            properties = b"\x11\x00\x02\x04%d" % ttl_ms
            client.publish("ab"[number % 2], b"m%d" % number, properties=properties)
        return client

    by_due_time = [b"m1", b"m3", b"m4", b"m2", b"m0"]
    client = publish_all(broker)
    broker.advance(5_000)
    assert drain(client, "dead") == by_due_time
    down = BrokerHarness()
    publish_all(down)
    with TemporaryDirectory() as directory:
        again = restarted(down.batches, Path(directory), down.now_ms + 60_000)
    again.advance(100)
    assert drain(again.connect(), "dead") == by_due_time
