"""Duplicates by `x-dedup-id` at any queue and by `x-deduplication-header` at an exchange; and what a restart knows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pamqp import commands

from amqpd.store.checkpoint import Checkpoint
from amqpd.vhosts.policies import checked_policy
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from amqpd.wire.properties import Properties, encode_header
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client
from tests.fakes.restart import restarted

WINDOW_MS = 10_000


def with_headers(persistent: bool = True, **values: object) -> bytes:
    table = encode_table({key.replace("_", "-"): value for key, value in values.items()})
    return encode_header(0, Properties(headers=table, delivery_mode=2 if persistent else 1))[12:]


def declare(client: Client, queue: str = "q", durable: bool = True, **more: object) -> Any:
    arguments = {"x-dedup-window-ms": WINDOW_MS} | {key.replace("_", "-"): value for key, value in more.items()}
    return client.declare(queue, durable=durable, arguments=encode_table(arguments))


def publish(
    client: Client, dedup_id: object, body: bytes = b"m", queue: str = "q", exchange: str = "", **more: Any
) -> None:
    properties = with_headers(more.pop("persistent", True), x_dedup_id=dedup_id)
    client.publish(queue, body, exchange, properties, **more)


def drain(client: Client, queue: str = "q") -> list[bytes]:
    bodies = []
    while (got := client.get(queue, no_ack=True)) is not None:
        bodies.append(got.body)
    return bodies


def confirmed(client: Client) -> int:
    """How many publishes are acked so far."""
    acks = [each.method.delivery_tag for each in client.take_all(commands.Basic.Ack)]
    return max(acks, default=0)


def declare_exchange(client: Client, durable: bool = True, name: str = "once", **more: object) -> None:
    arguments = encode_table({"x-cache-size": 100} | {key.replace("_", "-"): value for key, value in more.items()})
    kind = "x-message-deduplication"
    client.call(
        1,
        new_method(commands.Exchange.Declare, exchange=name, exchange_type=kind, durable=durable, arguments=arguments),
    )


def bind(client: Client, queue: str, exchange: str) -> None:
    client.call(1, new_method(commands.Queue.Bind, queue=queue, exchange=exchange, routing_key=""))


# The window of a queue


def test_a_duplicate_is_confirmed_and_not_enqueued(client: Client) -> None:
    declare(client)
    client.call(1, new_method(commands.Confirm.Select))
    publish(client, "a", b"first")
    publish(client, "a", b"second", mandatory=True)
    publish(client, "b", b"third")
    publish(client, 7, b"fourth")
    publish(client, 7, b"fifth")
    client.publish("q", b"without", properties=PERSISTENT)
    client.publish("q", b"without", properties=PERSISTENT)
    assert confirmed(client) == 7
    assert client.take_all(commands.Basic.Return) == []
    assert drain(client) == [b"first", b"third", b"fourth", b"without", b"without"]


def test_it_stays_a_duplicate_after_the_first_is_acked_until_the_window_ends(
    broker: BrokerHarness, client: Client
) -> None:
    declare(client)
    publish(client, "a")
    assert drain(client) == [b"m"]
    broker.advance(WINDOW_MS - 100)
    publish(client, "a")
    assert drain(client) == []
    broker.advance(100)
    publish(client, "a")
    assert drain(client) == [b"m"]


def test_of_a_fan_out_only_the_queues_that_have_seen_it_are_spared(client: Client) -> None:
    declare(client, "windowed")
    client.declare("plain", durable=True)
    for queue in ("windowed", "plain"):
        bind(client, queue, "amq.fanout")
    publish(client, "a", exchange="amq.fanout")
    publish(client, "a", exchange="amq.fanout")
    assert len(drain(client, "windowed")) == 1
    assert len(drain(client, "plain")) == 2


def test_the_confirm_of_a_duplicate_waits_for_the_disk_as_the_first_one_does(broker: BrokerHarness) -> None:
    one, other = broker.connect(), broker.connect()
    declare(one)
    for client in (one, other):
        client.call(1, new_method(commands.Confirm.Select))
    broker.hold_syncs = True
    publish(one, "a")
    publish(other, "a")
    assert (confirmed(one), confirmed(other)) == (0, 0)
    batch = broker.broker.seal()
    assert batch is not None
    # The first one is on its way to the disk, and the log is clean again.
    publish(other, "a")
    assert confirmed(other) == 0
    broker.broker.synced(batch.mark)
    broker.settle()
    assert (confirmed(one), confirmed(other)) == (1, 2)
    publish(other, "a")
    assert confirmed(other) == 3


@pytest.mark.parametrize("value", [True, 1.5, None, ["a"]])
def test_an_id_of_another_type_closes_the_channel_and_only_where_a_window_is(
    broker: BrokerHarness, client: Client, value: object
) -> None:
    client.declare("plain")
    publish(client, value, queue="plain")
    assert drain(client, "plain") == [b"m"]
    declare(client)
    publish(client, value)
    assert client.received[0].method.reply_text.startswith("PRECONDITION_FAILED - invalid x-dedup-id: a ")
    assert drain(broker.connect()) == []


def test_a_refused_publish_leaves_no_trace_and_a_duplicate_needs_no_room(broker: BrokerHarness, client: Client) -> None:
    declare(client, x_max_length=1, x_overflow="reject-publish")
    client.call(1, new_method(commands.Confirm.Select))
    publish(client, "a")
    publish(client, "b")
    publish(client, "a")
    assert [each.method.delivery_tag for each in client.take_all(commands.Basic.Nack)] == [2]
    assert confirmed(client) == 3
    assert drain(client) == [b"m"]
    publish(client, "b")
    assert confirmed(client) == 4
    assert drain(client) == [b"m"]


def test_a_transaction_notes_at_commit_and_a_rolled_back_one_not_at_all(client: Client) -> None:
    declare(client)
    client.call(1, new_method(commands.Tx.Select))
    publish(client, "a")
    client.call(1, new_method(commands.Tx.Rollback))
    publish(client, "a", b"committed")
    publish(client, "a", b"again")
    other = client.harness.connect()
    publish(other, "b", b"from another")
    publish(client, "b", b"late")
    assert isinstance(client.call(1, new_method(commands.Tx.Commit)), commands.Tx.CommitOk)
    publish(other, "a")
    assert drain(other) == [b"from another", b"committed"]


def test_a_commit_with_a_wrong_id_does_nothing_at_all(client: Client) -> None:
    declare(client)
    client.call(1, new_method(commands.Tx.Select))
    publish(client, "a")
    publish(client, True)
    assert client.call(1, new_method(commands.Tx.Commit)).reply_code == 406
    other = client.harness.connect()
    assert drain(other) == []
    publish(other, "a")
    assert drain(other) == [b"m"]


def test_a_transaction_of_duplicates_fits_into_a_full_queue(client: Client) -> None:
    declare(client, x_max_length=1, x_overflow="reject-publish")
    publish(client, "a")
    client.call(1, new_method(commands.Tx.Select))
    publish(client, "a")
    assert isinstance(client.call(1, new_method(commands.Tx.Commit)), commands.Tx.CommitOk)


def test_requeues_and_dead_letters_are_no_duplicates(client: Client) -> None:
    declare(client, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    declare(client, "dead", x_dead_letter_exchange="", x_dead_letter_routing_key="q")
    publish(client, "a")
    for tag, queue in enumerate(("q", "q", "dead", "q"), 1):
        assert client.get(queue) is not None
        client.send(1, new_method(commands.Basic.Nack, delivery_tag=tag, requeue=tag == 1))
    publish(client, "a")
    assert drain(client) == []
    assert drain(client, "dead") == [b"m"]
    # What came as a dead letter was not noted either.
    publish(client, "a", queue="dead")
    assert drain(client, "dead") == [b"m"]


def test_a_delayed_message_is_looked_at_when_it_arrives(broker: BrokerHarness, client: Client) -> None:
    client.call(
        1,
        new_method(
            commands.Exchange.Declare,
            exchange="later",
            exchange_type="x-delayed-message",
            durable=True,
            arguments=encode_table({"x-delayed-type": "fanout"}),
        ),
    )
    declare(client)
    bind(client, "q", "later")
    delayed = with_headers(x_dedup_id="a", x_delay=1000)
    client.publish("", b"one", "later", delayed)
    client.publish("", b"two", "later", delayed)
    publish(client, "b", b"now", "", "later")
    broker.advance(1000)
    assert drain(client) == [b"now", b"one"]
    delays = broker.broker.vhosts["/"].delays
    assert delays.unroutable_count == 0
    waiting = delays.of("later")
    assert waiting is not None and waiting.count == 0
    broker.advance(WINDOW_MS - 100)
    publish(client, "a")
    assert drain(client) == []
    broker.advance(100)
    publish(client, "a")
    assert drain(client) == [b"m"]


def test_at_most_so_many_ids_are_kept(client: Client) -> None:
    declare(client, x_dedup_ids_max=2)
    for dedup_id in ("a", "b", "c", "c", "a"):
        publish(client, dedup_id, dedup_id.encode())
    assert drain(client) == [b"a", b"b", b"c", b"a"]


def test_a_policy_gives_and_takes_a_window(broker: BrokerHarness, client: Client) -> None:
    def put(**definition: object) -> None:
        keys = {key.replace("_", "-"): value for key, value in definition.items()}
        broker.broker.set_policy(checked_policy("/", "p", "^q$", 0, "queues", keys, False))

    client.declare("q", durable=True)
    publish(client, "a", b"before")
    put(dedup_window_ms=5000)
    publish(client, "a", b"first")
    publish(client, "a", b"second")
    put(dedup_window_ms=1000, dedup_ids_max=10)
    broker.advance(1000)
    publish(client, "a", b"third")
    put(max_length=100)
    publish(client, "a", b"fourth")
    assert drain(client) == [b"before", b"first", b"third", b"fourth"]


def test_a_redeclare_with_another_window_is_refused(client: Client) -> None:
    declare(client)
    close = client.declare("q", durable=True, arguments=encode_table({"x-dedup-window-ms": 5}))
    assert close.reply_code == 406


@pytest.mark.parametrize("argument", ["x-dedup-window-ms", "x-dedup-ids-max"])
@pytest.mark.parametrize("value", [0, -1, "1"])
def test_a_wrong_argument_is_refused(client: Client, argument: str, value: object) -> None:
    close = client.declare("q", arguments=encode_table({argument: value}))
    assert close.reply_text.startswith(f"PRECONDITION_FAILED - invalid arg '{argument}' for queue 'q' in vhost '/'")


# The exchange


def test_an_exchange_takes_each_message_once(broker: BrokerHarness, client: Client) -> None:
    declare_exchange(client, x_cache_ttl=5000)
    for queue in ("q", "r"):
        client.declare(queue)
        bind(client, queue, "once")
    client.call(1, new_method(commands.Confirm.Select))
    header = with_headers(x_deduplication_header="a")
    client.publish("any", b"1", "once", header)
    client.publish("key", b"2", "once", header, mandatory=True)
    client.publish("", b"3", "once", PERSISTENT)
    client.publish("", b"4", "once", with_headers(x_deduplication_header="b", x_cache_ttl=100))
    broker.advance(100)
    client.publish("", b"5", "once", with_headers(x_deduplication_header="b"))
    assert confirmed(client) == 5
    assert client.take_all(commands.Basic.Return) == []
    assert drain(client, "q") == drain(client, "r") == [b"1", b"3", b"4", b"5"]
    broker.advance(4900)
    client.publish("", b"6", "once", header)
    assert drain(client, "q") == [b"6"]


def test_a_duplicate_does_not_go_to_the_alternate_exchange(client: Client) -> None:
    declare_exchange(client, alternate_exchange="amq.fanout")
    client.declare("q")
    client.declare("other")
    bind(client, "other", "amq.fanout")
    header = with_headers(x_deduplication_header="a")
    client.publish("", b"unroutable", "once", header)
    assert drain(client, "other") == [b"unroutable"]
    # Nothing was bound, so it was not the exchange that took it.
    bind(client, "q", "once")
    client.publish("", b"first", "once", header)
    client.publish("", b"second", "once", header)
    assert drain(client) == [b"first"]
    assert drain(client, "other") == []


def test_what_nobody_took_is_no_duplicate_next_time(client: Client) -> None:
    declare_exchange(client)
    header = with_headers(x_deduplication_header="a")
    client.publish("", b"1", "once", header, mandatory=True)
    assert len(client.take_all(commands.Basic.Return)) == 1
    client.call(
        1, new_method(commands.Exchange.Bind, source="once", destination="amq.fanout", routing_key="leads nowhere")
    )
    client.publish("", b"1", "once", header, mandatory=True)
    assert len(client.take_all(commands.Basic.Return)) == 1
    client.declare("q", arguments=encode_table({"x-max-length": 0, "x-overflow": "reject-publish"}))
    bind(client, "q", "once")
    client.publish("", b"2", "once", header)
    client.declare("r")
    client.call(1, new_method(commands.Queue.Unbind, queue="q", exchange="once", routing_key=""))
    bind(client, "r", "once")
    client.publish("", b"3", "once", header)
    assert drain(client, "r") == [b"3"]


def test_within_a_transaction_the_exchange_takes_it_once_too(client: Client) -> None:
    declare_exchange(client)
    client.declare("q")
    bind(client, "q", "once")
    client.call(1, new_method(commands.Tx.Select))
    header = with_headers(x_deduplication_header="a")
    client.publish("", b"1", "once", header)
    client.publish("", b"2", "once", header)
    client.call(1, new_method(commands.Tx.Commit))
    assert drain(client) == [b"1"]


def test_a_dead_letter_passes_the_exchange(client: Client) -> None:
    declare_exchange(client)
    client.declare("q", arguments=encode_table({"x-dead-letter-exchange": "once"}))
    client.declare("dead")
    bind(client, "q", "once")
    client.publish("", b"1", "once", with_headers(x_deduplication_header="a"))
    client.call(1, new_method(commands.Queue.Unbind, queue="q", exchange="once", routing_key=""))
    bind(client, "dead", "once")
    client.get("q")
    client.send(1, new_method(commands.Basic.Reject, delivery_tag=1, requeue=False))
    assert drain(client, "dead") == [b"1"]


def test_an_exchange_needs_its_size(client: Client) -> None:
    close = client.call(
        1, new_method(commands.Exchange.Declare, exchange="x", exchange_type="x-message-deduplication", durable=True)
    )
    assert close.reply_code == 406


# Restarts


def test_a_restart_knows_what_was_confirmed(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client)
    declare_exchange(client, x_cache_ttl=WINDOW_MS)
    client.declare("all", durable=True)
    bind(client, "all", "once")
    header = with_headers(x_deduplication_header="x")
    publish(client, "a")
    publish(client, "transient", persistent=False)
    client.publish("", b"x", "once", header)
    assert len(drain(client)) == 2
    again = restarted(broker.batches, tmp_path, broker.now_ms + 1000)
    later = again.connect()
    publish(later, "a")
    publish(later, "transient", b"goes with its message")
    publish(later, "b")
    later.publish("", b"y", "once", header)
    assert drain(later) == [b"goes with its message", b"m"]
    assert drain(later, "all") == [b"x"]
    again.advance(WINDOW_MS - 1000)
    publish(later, "a")
    later.publish("", b"z", "once", header)
    assert drain(later) == [b"m"]
    assert drain(later, "all") == [b"z"]


def test_a_crash_keeps_the_id_with_its_message_or_neither(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client)
    publish(client, "a")
    for count in range(len(broker.batches) + 1):
        directory = tmp_path / str(count)
        directory.mkdir()
        again = restarted(broker.batches[:count], directory, broker.now_ms)
        later = again.connect()
        declare(later)
        publish(later, "a")
        assert drain(later) == [b"m"]


def test_a_queue_or_exchange_of_the_same_name_begins_anew(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client)
    declare_exchange(client)
    bind(client, "q", "once")
    header = with_headers(x_deduplication_header="x", x_dedup_id="a")
    client.publish("", b"1", "once", header)
    client.call(1, new_method(commands.Queue.Delete, queue="q"))
    client.call(1, new_method(commands.Exchange.Delete, exchange="once"))
    declare(client)
    declare_exchange(client)
    bind(client, "q", "once")
    later = restarted(broker.batches, tmp_path, broker.now_ms).connect()
    for each in (client, later):
        each.publish("", b"2", "once", header)
        assert drain(each) == [b"2"]


@pytest.mark.parametrize("values", [{"durable": False}, {"x_cache_persistence": "memory"}])
def test_an_exchange_may_forget_at_a_restart(
    broker: BrokerHarness, client: Client, tmp_path: Path, values: dict[str, Any]
) -> None:
    declare_exchange(client, **values)
    client.declare("q", durable=True)
    bind(client, "q", "once")
    header = with_headers(x_deduplication_header="x")
    client.publish("", b"1", "once", header)
    again = restarted(broker.batches, tmp_path, broker.now_ms)
    later = again.connect()
    declare_exchange(later, **values)
    bind(later, "q", "once")
    later.publish("", b"2", "once", header)
    later.publish("", b"3", "once", header)
    assert drain(later) == [b"1", b"2"]


def test_a_checkpoint_lists_the_ids_so_that_the_log_before_it_may_go(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client)
    declare_exchange(client)
    bind(client, "q", "once")
    publish(client, "a")
    client.publish("", b"x", "once", with_headers(x_deduplication_header="x"))
    drain(client)
    broker.broker.begin_checkpoint()
    broker.settle()
    checkpoint = broker.broker.durable_checkpoint()
    assert checkpoint is not None
    publish(client, "b")
    drain(client)
    later = from_checkpoint(broker, checkpoint, tmp_path).connect()
    for dedup_id in ("a", "b", "c"):
        publish(later, dedup_id, dedup_id.encode())
    later.publish("", b"y", "once", with_headers(x_deduplication_header="x"))
    assert drain(later) == [b"c"]


def from_checkpoint(broker: BrokerHarness, checkpoint: Checkpoint, directory: Path) -> BrokerHarness:
    """A restart from this checkpoint: of the log before it only bodies are read."""
    again = restarted(broker.batches, directory, broker.now_ms, checkpoint)
    assert again.disk.checkpoint_generations() == [checkpoint.generation]
    return again
