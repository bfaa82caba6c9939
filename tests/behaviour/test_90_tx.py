"""Class 90: tx, and direct reply-to."""

from __future__ import annotations

from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, content_frames, method_frame


def test_publishes_and_acks_take_effect_at_commit_in_one_batch(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", durable=True)
    client.publish("q", b"old", properties=PERSISTENT)
    client.call(1, new_method(commands.Tx.Select))
    client.get("q")
    before = len(broker.batches)
    client.publish("q", b"new", properties=PERSISTENT)
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    other = broker.connect()
    assert other.declare("q", durable=True).message_count == 0
    assert isinstance(client.call(1, new_method(commands.Tx.Commit)), commands.Tx.CommitOk)
    assert other.declare("q", durable=True).message_count == 1
    assert [batch.record_count for batch in broker.batches[before:]][-1] == 2


def test_rollback_forgets_publishes_and_leaves_deliveries_unacked(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"a")
    client.call(1, new_method(commands.Tx.Select))
    client.get("q")
    client.publish("q", b"b")
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    client.call(1, new_method(commands.Tx.Rollback))
    assert client.declare("q").message_count == 0
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    client.call(1, new_method(commands.Tx.Commit))
    assert client.received == []


def test_what_a_transaction_has_settled_can_not_be_settled_twice_nor_recovered(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"a")
    client.call(1, new_method(commands.Tx.Select))
    client.get("q")
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    client.call(1, new_method(commands.Basic.Recover, requeue=True))
    assert client.declare("q").message_count == 0
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1))
    assert client.received[-1].method.reply_text == "PRECONDITION_FAILED - unknown delivery tag 1"
    assert broker_queue_count(client, "q") == 1


def broker_queue_count(client: Client, queue: str) -> int:
    return int(client.harness.broker.vhosts["/"].queues[queue].ready.count)


def test_a_rollback_of_many_acks_is_no_more_work_than_the_acks(client: Client) -> None:
    client.declare("q")
    publish = method_frame(1, new_method(commands.Basic.Publish, routing_key="q")) + content_frames(1, b"x")
    client.send_bytes(publish * 20_000)
    client.call(1, new_method(commands.Tx.Select))
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="c"))
    acks = [method_frame(1, new_method(commands.Basic.Ack, delivery_tag=tag)) for tag in range(20_000, 0, -2)]
    client.send_bytes(b"".join(acks))
    assert isinstance(client.call(1, new_method(commands.Tx.Rollback)), commands.Tx.RollbackOk)
    channel = client.connection.channels[1]
    assert [tag for tag, _ in channel.unacked.free_through(20_000)] == list(range(1, 20_001))
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=20_000, multiple=True))
    client.call(1, new_method(commands.Tx.Commit))
    assert channel.unacked.count == 0


def test_a_consumer_timeout_of_what_a_transaction_holds_ends_nothing(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=encode_table({"x-consumer-timeout": 1000}))
    client.publish("q", b"a")
    client.call(1, new_method(commands.Tx.Select))
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="c"))
    broker.advance(500)
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    broker.advance(5_000)
    client.call(1, new_method(commands.Tx.Rollback))
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    client.call(1, new_method(commands.Tx.Rollback))
    client.take_all()
    broker.advance(3_000)
    again = client.take_all(commands.Basic.Deliver)
    assert [(each.body, each.method.redelivered) for each in again[:1]] == [(b"a", True)]
    assert not client.is_closed


def test_an_unknown_tag_fails_before_the_commit(client: Client) -> None:
    client.call(1, new_method(commands.Tx.Select))
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=5))
    assert client.received[0].method.reply_text == "PRECONDITION_FAILED - unknown delivery tag 5"


def test_confirm_and_tx_exclude_each_other(client: Client) -> None:
    client.call(1, new_method(commands.Confirm.Select))
    close = client.call(1, new_method(commands.Tx.Select))
    assert close.reply_text == "PRECONDITION_FAILED - cannot switch from confirm to tx mode"


def test_a_reply_reaches_the_channel_that_asked(broker: BrokerHarness, client: Client) -> None:
    client.call(1, new_method(commands.Basic.Consume, queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r"))
    client.declare("requests")
    reply_to = b"amq.rabbitmq.reply-to"
    client.publish("requests", b"?", properties=b"\x02\x00" + bytes([len(reply_to)]) + reply_to)
    worker = broker.connect()
    request = worker.get("requests")
    assert request is not None
    address = request.header[15:].decode()
    assert address.startswith("amq.rabbitmq.reply-to.")
    worker.publish(address, b"!")
    assert client.bodies() == [b"!"]
    assert worker.declare(address, passive=True).consumer_count == 1
    client.lose()
    assert worker.declare(address, passive=True).reply_code == 404


def test_a_reply_consumer_must_not_ack(client: Client) -> None:
    close = client.call(1, new_method(commands.Basic.Consume, queue="amq.rabbitmq.reply-to"))
    assert close.reply_text == "PRECONDITION_FAILED - reply consumer cannot acknowledge"
