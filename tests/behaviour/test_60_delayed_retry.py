"""Native delayed retry: a message that comes back waits a while (x-delayed-retry-*, x-retry-*), also over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pamqp import commands

from amqpd.vhosts.policies import checked_policy
from amqpd.wire.field_table import FieldTable, encode_table
from amqpd.wire.methods import new_method
from amqpd.wire.properties import headers
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, Received
from tests.fakes.restart import ready_bodies, restarted


def declare(client: Client, queue: str = "q", durable: bool = False, **arguments: object) -> Any:
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in arguments.items()})
    return client.declare(queue, durable=durable, arguments=table)


def count(client: Client, queue: str = "q") -> int:
    ready: int = client.declare(queue, passive=True).message_count
    return ready


def took(client: Client, queue: str = "q") -> Received:
    got = client.get(queue)
    assert got is not None
    return got


def drain(client: Client, queue: str = "q") -> list[bytes]:
    bodies = []
    while (got := client.get(queue, no_ack=True)) is not None:
        bodies.append(got.body)
    return bodies


def nack(client: Client, got: Received, requeue: bool = True) -> None:
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=got.method.delivery_tag, requeue=requeue))


def tries(header: bytes) -> object:
    table = headers(header)
    return table.get("x-delivery-count") if table is not None else None


def set_policy(broker: BrokerHarness, **definition: object) -> None:
    keys: dict[str, object] = {key.replace("_", "-"): value for key, value in definition.items()}
    broker.broker.set_policy(checked_policy("/", "p", "", 0, "all", keys, False))
    broker.settle()


def test_a_failed_message_comes_back_by_itself_each_time_later(broker: BrokerHarness, client: Client) -> None:
    declare(client, delayed_retry_type="failed", delayed_retry_min=1000, delayed_retry_max=2500)
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="t"))
    client.publish("q", b"x")
    waited = []
    for _ in range(4):
        delivery = client.take_all(commands.Basic.Deliver)[0]
        assert (tries(delivery.header), delivery.method.redelivered) == (len(waited) or None, len(waited) > 0)
        before = broker.now_ms
        nack(client, delivery)
        while not client.received:
            broker.advance(100)
        waited.append(broker.now_ms - before)
    assert waited == [1000, 2000, 2500, 2500]


def test_who_waits_lets_others_pass_and_gives_credit_back(broker: BrokerHarness, client: Client) -> None:
    declare(client, delayed_retry_type="all", delayed_retry_min=1000)
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=1))
    client.send(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="t"))
    for body in (b"a", b"b", b"c"):
        client.publish("q", body)
    nack(client, client.take_all(commands.Basic.Deliver)[0])
    assert client.bodies() == [b"b"]
    broker.advance(1000)
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=2))
    assert client.bodies() == [b"a"]


def test_after_the_last_try_it_is_a_dead_letter_with_its_history(broker: BrokerHarness, client: Client) -> None:
    client.declare("dead")
    declare(
        client,
        retry_initial_ms=100,
        delivery_limit=2,
        dead_letter_exchange="",
        dead_letter_routing_key="dead",
    )
    client.publish("q", b"x")
    for wait_ms in (100, 200):
        nack(client, took(client))
        assert client.get("q") is None
        broker.advance(wait_ms)
    nack(client, took(client))
    dead = took(client, "dead")
    table = headers(dead.header)
    assert table is not None
    deaths = table.get("x-death")
    assert isinstance(deaths, list) and isinstance(deaths[0], FieldTable)
    assert [deaths[0].get(key) for key in ("reason", "queue", "count")] == ["delivery_limit", "q", 1]


@pytest.mark.parametrize(
    ("name", "after_nack", "after_loss"), [("failed", 0, 1), ("returned", 1, 0), ("all", 0, 0), ("disabled", 1, 1)]
)
def test_the_type_tells_a_refusal_from_a_loss(
    broker: BrokerHarness, client: Client, name: str, after_nack: int, after_loss: int
) -> None:
    declare(client, delayed_retry_type=name)
    client.publish("q", b"x")
    nack(client, took(client))
    assert count(client) == after_nack
    broker.advance(1000)
    other = broker.connect()
    took(other)
    other.lose()
    assert count(client) == after_loss
    broker.advance(2000)
    assert count(client) == 1


@pytest.mark.parametrize("how", ["channel", "recover"])
def test_a_closed_channel_and_a_recover_are_returns(broker: BrokerHarness, client: Client, how: str) -> None:
    declare(client, delayed_retry_type="returned", delayed_retry_min=500)
    client.publish("q", b"x")
    took(client)
    if how == "channel":
        client.call(1, new_method(commands.Channel.Close, reply_code=200, class_id=0, method_id=0))
        client.call(1, new_method(commands.Channel.Open))
    else:
        client.call(1, new_method(commands.Basic.Recover, requeue=True))
    assert count(client) == 0
    broker.advance(500)
    assert count(client) == 1


def test_a_refusal_in_a_transaction_waits_from_the_commit_on(broker: BrokerHarness, client: Client) -> None:
    declare(client, delayed_retry_type="failed")
    client.publish("q", b"x")
    client.call(1, new_method(commands.Tx.Select))
    nack(client, took(client))
    broker.advance(5000)
    client.call(1, new_method(commands.Tx.Commit))
    broker.advance(900)
    assert count(client) == 0
    broker.advance(100)
    assert count(client) == 1


def test_it_stands_where_it_stood_and_counts_are_of_what_is_ready(broker: BrokerHarness, client: Client) -> None:
    declare(client, delayed_retry_type="failed")
    for body in (b"a", b"b", b"c"):
        client.publish("q", body)
    nack(client, took(client))
    assert count(client) == 2
    broker.advance(1000)
    assert drain(client) == [b"a", b"b", b"c"]


def test_its_expiration_counts_while_it_waits(broker: BrokerHarness, client: Client) -> None:
    client.declare("dead")
    declare(client, delayed_retry_type="failed", dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("q", b"x", properties=b"\x01\x00\x03500")
    nack(client, took(client))
    broker.advance(600)
    assert count(client, "dead") == 1
    broker.advance(1000)
    assert count(client) == 0


def test_purge_and_delete_count_and_drop_who_waits(broker: BrokerHarness, client: Client) -> None:
    for end in (commands.Queue.Purge, commands.Queue.Delete):
        declare(client, delayed_retry_type="failed")
        client.publish("q", b"a")
        client.publish("q", b"b")
        nack(client, took(client))
        assert client.call(1, new_method(end, queue="q")).message_count == 2
        broker.advance(2000)
        assert declare(client, delayed_retry_type="failed").message_count == 0


def test_a_queue_in_which_somebody_waits_is_not_empty(client: Client) -> None:
    declare(client, delayed_retry_type="failed")
    client.publish("q", b"a")
    nack(client, took(client))
    close = client.call(1, new_method(commands.Queue.Delete, queue="q", if_empty=True))
    assert (close.reply_code, close.reply_text) == (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty")


def test_a_policy_gives_a_back_off_and_takes_it_away(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    set_policy(broker, retry_initial_ms=1000, retry_multiplier=1.5)
    for wait_ms in (1000, 1500):
        nack(client, took(client))
        broker.advance(wait_ms - 100)
        assert count(client) == 0
        broker.advance(100)
        assert count(client) == 1
    got = took(client)
    broker.broker.delete_policy("/", "p", False)
    nack(client, got)
    assert count(client) == 1


def test_wrong_arguments_are_refused(client: Client) -> None:
    close = declare(client, delayed_retry_type="sometimes")
    assert close.reply_code == 406
    assert close.reply_text == (
        "PRECONDITION_FAILED - invalid arg 'x-delayed-retry-type' for queue 'q' in vhost '/': invalid_delayed_retry_type"
    )


def test_a_redeclare_with_another_back_off_is_refused(client: Client) -> None:
    declare(client, retry_initial_ms=1000, retry_multiplier=1.5)
    assert declare(client, retry_initial_ms=1000, retry_multiplier=1.5).queue == "q"
    assert declare(client, retry_initial_ms=2000, retry_multiplier=1.5).reply_code == 406


# After a restart


def live(broker: BrokerHarness, client: Client) -> None:
    """Four messages, of which the second waits for 10 s from now on and the third has waited and is unacked."""
    declare(client, durable=True, retry_initial_ms=10_000, delivery_limit=3)
    for number in range(4):
        client.publish("q", b"m%d" % number, properties=PERSISTENT)
    deliveries = [took(client) for _ in range(3)]
    nack(client, deliveries[2])
    broker.advance(10_000)
    took(client)
    nack(client, deliveries[1])


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_a_restart_keeps_the_wait_the_place_and_the_count(
    tmp_path: Path, broker: BrokerHarness, client: Client, with_checkpoint: bool
) -> None:
    live(broker, client)
    checkpoint = None
    if with_checkpoint:
        # The log before it counts no more.
        broker.broker.begin_checkpoint()
        broker.settle()
        checkpoint = broker.broker.durable_checkpoint()
        assert checkpoint is not None
    again = restarted(broker.batches, tmp_path, broker.now_ms + 4000, checkpoint)
    client = again.connect()
    assert count(client) == 3
    again.advance(5900)
    assert count(client) == 3
    again.advance(100)
    found = [took(client) for _ in range(4)]
    assert [each.body for each in found] == [b"m0", b"m1", b"m2", b"m3"]
    assert [tries(each.header) for each in found] == [None, 1, 1, None]
    nack(client, found[1])
    again.advance(19_900)
    assert count(client) == 0
    again.advance(100)
    assert drain(client) == [b"m1"]


def test_a_wait_that_ended_while_the_broker_was_down_is_over(
    tmp_path: Path, broker: BrokerHarness, client: Client
) -> None:
    live(broker, client)
    client = restarted(broker.batches, tmp_path, broker.now_ms + 10_000).connect()
    assert drain(client) == [b"m0", b"m1", b"m2", b"m3"]


def test_the_ttl_counts_on_over_a_restart(tmp_path: Path, broker: BrokerHarness, client: Client) -> None:
    declare(client, durable=True, delayed_retry_type="failed", delayed_retry_min=60_000, message_ttl=5000)
    client.publish("q", b"x", properties=PERSISTENT)
    nack(client, took(client))
    again = restarted(broker.batches, tmp_path, broker.now_ms + 3000)
    queue = again.broker.vhosts["/"].queues["q"]
    again.advance(1900)
    assert (queue.ready.count, queue.waiting.count) == (0, 1)
    again.advance(200)
    assert (queue.ready.count, queue.waiting.count) == (0, 0)


def test_power_loss_after_any_batch_leaves_each_message_in_one_place(tmp_path: Path) -> None:
    broker = BrokerHarness()
    client = broker.connect()
    client.declare("dead", durable=True)
    declare(
        client,
        durable=True,
        retry_initial_ms=500,
        retry_jitter_percent=50,
        delivery_limit=2,
        dead_letter_exchange="",
        dead_letter_routing_key="dead",
    )
    for number in range(4):
        client.publish("q", b"m%d" % number, properties=PERSISTENT)
    published = len(broker.batches)
    for _ in range(3):
        while (got := client.get("q")) is not None:
            nack(client, got)
        broker.advance(1000)
    assert count(client, "dead") == 4
    for size in range(published, len(broker.batches) + 1):
        directory = tmp_path / str(size)
        directory.mkdir()
        again = restarted(broker.batches[:size], directory, broker.now_ms - 900)
        queues = again.broker.vhosts["/"].queues
        found = [body for name in ("q", "dead") for body in ready_bodies(again, queues[name])]
        found += [each.message.body for each in queues["q"].waiting.entries()]
        assert sorted(found) == [b"m0", b"m1", b"m2", b"m3"]
        again.advance(2000)
        assert queues["q"].waiting.count == 0
        assert queues["q"].ready.count + queues["dead"].ready.count == 4


def test_what_waits_is_moved_out_of_a_sparse_segment(broker: BrokerHarness, client: Client) -> None:
    declare(client, durable=True, delayed_retry_type="failed", delayed_retry_min=60_000)
    client.publish("q", b"x", properties=PERSISTENT)
    nack(client, took(client))
    queue = broker.broker.vhosts["/"].queues["q"]
    message = queue.waiting.entries()[0].message
    assert message.segment is not None
    message.segment.is_leaving = True
    before = message.offset
    broker.advance(2000)
    assert message.offset > before
