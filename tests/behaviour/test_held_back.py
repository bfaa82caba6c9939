"""A dead letter whose target is full: where it is counted, limited, purged, deleted, and what a restart knows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pamqp import commands

from amqpd.queues.queue import Queue
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, content_frames, method_frame
from tests.fakes.restart import restarted


def declare(client: Client, queue: str, **arguments: object) -> Any:
    table = encode_table({f"x-{name.replace('_', '-')}": value for name, value in arguments.items()})
    return client.declare(queue, durable=True, arguments=table)


def queue_of(broker: BrokerHarness, name: str = "q") -> Queue:
    return broker.broker.vhosts["/"].queues[name]


def full_target(client: Client, **arguments: object) -> None:
    """`q`, whose dead letters go to a queue that takes none."""
    declare(client, "full", max_length=0, overflow="reject-publish")
    declare(client, "q", dead_letter_exchange="", dead_letter_routing_key="full", **arguments)


def reject(client: Client, *bodies: bytes) -> None:
    for body in bodies:
        client.publish("q", body, properties=PERSISTENT)
    for _ in bodies:
        answer = client.get("q")
        assert answer is not None
        client.send(1, new_method(commands.Basic.Nack, delivery_tag=answer.method.delivery_tag, requeue=False))


def drained(client: Client, queue: str = "q") -> list[bytes]:
    found = []
    while (answer := client.get(queue, no_ack=True)) is not None:
        found.append(answer.body)
    return found


def test_a_queue_that_holds_back_a_dead_letter_is_not_empty(broker: BrokerHarness, client: Client) -> None:
    full_target(client)
    reject(client, b"x")
    assert queue_of(broker).refused.count == 1
    close = client.call(1, new_method(commands.Queue.Delete, queue="q", if_empty=True))
    assert isinstance(close, commands.Channel.Close)
    assert "not empty" in close.reply_text
    assert queue_of(broker).refused.count == 1


def test_deleting_and_purging_count_what_is_held_back(broker: BrokerHarness, client: Client) -> None:
    full_target(client)
    reject(client, b"1", b"2")
    client.publish("q", b"3")
    assert client.call(1, new_method(commands.Queue.Purge, queue="q")).message_count == 3
    assert queue_of(broker).is_empty
    reject(client, b"4")
    assert client.call(1, new_method(commands.Queue.Delete, queue="q")).message_count == 1
    broker.advance(3_000)
    assert broker.broker.agenda.log.live_bytes == 0


def test_a_length_limit_bounds_what_is_held_back(broker: BrokerHarness, client: Client) -> None:
    full_target(client, max_length=10)
    publish = new_method(commands.Basic.Publish, routing_key="q")
    client.send_bytes((method_frame(1, publish) + content_frames(1, b"x", PERSISTENT)) * 3_000)
    queue = queue_of(broker)
    assert queue.ready.count + queue.refused.count == 10
    assert queue.dropped_letter_count == 2_990
    assert broker.broker.agenda.log.live_bytes < 2_000
    assert any("2990" in line or "is full" in line for line in broker.broker.agenda.lines)


def test_a_queue_that_refuses_counts_what_it_holds_back(client: Client) -> None:
    full_target(client, max_length=2, overflow="reject-publish")
    client.call(1, new_method(commands.Confirm.Select))
    reject(client, b"1", b"2")
    client.take_all()
    client.publish("q", b"3")
    assert [type(each.method) for each in client.take_all()] == [commands.Basic.Nack]


def test_what_is_held_back_goes_in_order_once_there_is_room(broker: BrokerHarness, client: Client) -> None:
    declare(client, "full", max_length=2, overflow="reject-publish")
    declare(client, "q", dead_letter_exchange="", dead_letter_routing_key="full")
    reject(client, *[b"%d" % number for number in range(7)])
    found: list[bytes] = []
    for _ in range(6):
        found += drained(client, "full")
        broker.advance(1_100)
    assert found == [b"%d" % number for number in range(7)]


def test_a_full_target_holds_up_only_what_goes_to_it(broker: BrokerHarness, client: Client) -> None:
    declare(client, "full", max_length=0, overflow="reject-publish")
    declare(client, "free", max_length=1, overflow="reject-publish")
    client.publish("free", b"in the way")
    for key in ("full", "free"):
        client.call(1, new_method(commands.Queue.Bind, queue=key, exchange="amq.direct", routing_key=key))
    declare(client, "q", dead_letter_exchange="amq.direct")
    for key in ("full", "free"):
        client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="amq.fanout", routing_key=key))
        client.publish(key, key.encode(), exchange="amq.fanout", properties=PERSISTENT)
    for _ in range(2):
        answer = client.get("q")
        assert answer is not None
        client.send(1, new_method(commands.Basic.Nack, delivery_tag=answer.method.delivery_tag, requeue=False))
    assert drained(client, "free") == [b"in the way"]
    broker.advance(1_100)
    assert drained(client, "free") == [b"free"]
    assert queue_of(broker).refused.count == 1


def test_what_is_held_back_goes_when_its_target_is_deleted(broker: BrokerHarness, client: Client) -> None:
    full_target(client)
    reject(client, b"x")
    client.call(1, new_method(commands.Queue.Delete, queue="full"))
    broker.advance(1_100)
    assert queue_of(broker).is_empty
    assert broker.broker.agenda.log.live_bytes == 0


def test_what_is_held_back_is_ready_again_after_a_restart(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    full_target(client)
    reject(client, b"x")
    again = restarted(broker.batches, tmp_path, broker.now_ms)
    assert drained(again.connect()) == [b"x"]


def test_a_letter_for_a_missing_exchange_is_dropped_and_the_publisher_only_nacked(
    broker: BrokerHarness, client: Client
) -> None:
    declare(client, "q", max_length=0, overflow="reject-publish-dlx", dead_letter_exchange="missing")
    client.call(1, new_method(commands.Confirm.Select))
    client.publish("q", b"x")
    assert [type(each.method) for each in client.take_all()] == [commands.Basic.Nack]
    assert broker.broker.vhosts["/"].dead_letters.unroutable_count == 1


def departing(broker: BrokerHarness, client: Client, **values: bool) -> None:
    """Durable `q`, from which three messages are about to leave for `dead`, while others use up the turns."""
    declare(client, "dead")
    table = encode_table({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    client.declare("q", durable=True, arguments=table, **values)
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="c"))
    for number in range(3):
        client.publish("q", b"%d" % number, properties=PERSISTENT)
    broker.broker.agenda.budget = 0
    nack = new_method(commands.Basic.Nack, multiple=True, requeue=False)
    broker.broker.receive(client.connection, method_frame(1, nack))
    assert queue_of(broker).departing.count == 3


def test_a_queue_is_deleted_when_its_dead_letters_have_gone(broker: BrokerHarness, client: Client) -> None:
    departing(broker, client)
    delete = new_method(commands.Queue.Delete, queue="q", if_empty=False)
    broker.broker.receive(client.connection, method_frame(1, delete))
    assert "q" in broker.broker.vhosts["/"].queues
    broker.settle()
    assert "q" not in broker.broker.vhosts["/"].queues
    assert len(client.take_all(commands.Queue.DeleteOk)) == 1
    assert drained(client, "dead") == [b"0", b"1", b"2"]


def test_an_auto_delete_queue_goes_when_its_dead_letters_have_gone(broker: BrokerHarness, client: Client) -> None:
    departing(broker, client, auto_delete=True)
    broker.broker.receive(
        client.connection, method_frame(1, new_method(commands.Basic.Cancel, consumer_tag="c", nowait=True))
    )
    assert "q" in broker.broker.vhosts["/"].queues
    broker.advance(200)
    assert "q" not in broker.broker.vhosts["/"].queues
    assert drained(client, "dead") == [b"0", b"1", b"2"]


def test_a_transaction_that_a_queue_has_no_bytes_for_is_refused_whole(broker: BrokerHarness, client: Client) -> None:
    declare(client, "limited", max_length_bytes=100, overflow="reject-publish")
    client.declare("source")
    client.publish("source", b"mine")
    client.call(1, new_method(commands.Tx.Select))
    assert client.get("source") is not None
    for _ in range(3):
        client.publish("limited", b"x" * 60)
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    close = client.call(1, new_method(commands.Tx.Commit))
    assert (close.reply_code, close.reply_text) == (406, "PRECONDITION_FAILED - partial tx completion")
    assert queue_of(broker, "limited").ready.count == 0
    assert drained(broker.connect(), "source") == [b"mine"]


def test_a_delay_that_is_too_long_is_refused_in_a_transaction_too(broker: BrokerHarness, client: Client) -> None:
    arguments = encode_table({"x-delayed-type": "direct"})
    declare_exchange = new_method(
        commands.Exchange.Declare, exchange="later", exchange_type="x-delayed-message", arguments=arguments
    )
    client.call(1, declare_exchange)
    table = encode_table({"x-delay": 1 << 32})
    properties = b"\x20\x00" + len(table.raw).to_bytes(4, "big") + table.raw
    client.call(1, new_method(commands.Tx.Select))
    client.publish("k", b"x", exchange="later", properties=properties)
    close = client.call(1, new_method(commands.Tx.Commit))
    assert close.reply_code == 406
    assert "x-delay" in close.reply_text


def test_a_limit_counts_what_waits_for_its_next_try(broker: BrokerHarness, client: Client) -> None:
    declare(client, "q", max_length=3, retry_initial_ms=60_000)
    for number in range(10):
        client.publish("q", b"%d" % number)
        answer = client.get("q")
        if answer is not None:
            client.send(1, new_method(commands.Basic.Nack, delivery_tag=answer.method.delivery_tag, requeue=True))
    queue = queue_of(broker)
    assert queue.ready.count + queue.waiting.count == 3
    assert [each.message.body for each in queue.waiting.entries()] == [b"7", b"8", b"9"]
