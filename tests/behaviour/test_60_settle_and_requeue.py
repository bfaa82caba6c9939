"""Class 60: consume, ack, nack, reject, recover, qos."""

from __future__ import annotations

from pamqp import commands

from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client, content_frames, method_frame


def fill(client: Client, *bodies: bytes) -> None:
    client.declare("q")
    for body in bodies:
        client.publish("q", body)


def consume(client: Client, queue: str = "q", no_ack: bool = False, tag: str = "") -> None:
    client.send(1, new_method(commands.Basic.Consume, queue=queue, no_ack=no_ack, consumer_tag=tag))


def test_nack_multiple_requeues_in_original_order(client: Client) -> None:
    fill(client, b"a", b"b", b"c")
    client.get("q")
    client.get("q")
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=2, multiple=True, requeue=True))
    again = [client.get("q") for _ in range(3)]
    assert [(each.body, each.method.redelivered) for each in again if each] == [
        (b"a", True),
        (b"b", True),
        (b"c", False),
    ]


def test_an_unacked_message_returns_to_its_place_when_the_channel_closes(client: Client) -> None:
    fill(client, b"a", b"b", b"c")
    client.get("q")
    client.get("q", no_ack=True)
    client.call(1, new_method(commands.Channel.Close, reply_code=200))
    client.call(1, new_method(commands.Channel.Open))
    first = client.get("q")
    assert first is not None and (first.body, first.method.redelivered) == (b"a", True)


def test_an_unknown_delivery_tag_closes_the_channel_with_406(client: Client) -> None:
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=82))
    close = client.received[0].method
    assert (close.reply_code, close.reply_text) == (406, "PRECONDITION_FAILED - unknown delivery tag 82")


def test_tag_zero_with_multiple_acks_all_and_is_fine_without_any(client: Client) -> None:
    fill(client, b"a", b"b")
    client.get("q")
    client.get("q")
    for _ in range(2):
        client.send(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
    assert client.received == []
    assert client.declare("q").message_count == 0


def test_prefetch_limits_each_consumer_and_an_ack_lets_the_next_one_out(client: Client) -> None:
    fill(client, b"a", b"b", b"c")
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=2))
    consume(client)
    assert client.bodies() == [b"a", b"b"]
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=1))
    assert client.bodies() == [b"c"]


def test_global_prefetch_is_shared_and_both_limits_hold_at_once(client: Client) -> None:
    fill(client, *[bytes([n]) for n in range(10)])
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=3, global_=True))
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=2))
    consume(client, tag="one")
    consume(client, tag="two")
    tags = [each.method.consumer_tag for each in client.take_all(commands.Basic.Deliver)]
    assert sorted(tags) == ["one", "one", "two"]


def test_cancel_keeps_what_the_consumer_has_unacked(client: Client) -> None:
    fill(client, b"a")
    consume(client, tag="t")
    client.call(1, new_method(commands.Basic.Cancel, consumer_tag="t"))
    assert client.declare("q").message_count == 0
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1, requeue=True))
    assert client.declare("q").message_count == 1


def test_recover_redelivers_and_is_answered(client: Client) -> None:
    fill(client, b"a")
    client.get("q")
    answer = client.call(1, new_method(commands.Basic.Recover, requeue=True))
    assert isinstance(answer, commands.Basic.RecoverOk)
    got = client.get("q")
    assert got is not None and got.method.redelivered


def test_recover_without_requeue_gives_it_to_the_same_consumer_again(client: Client) -> None:
    fill(client, b"a")
    consume(client, tag="t")
    client.take_all(commands.Basic.Deliver)
    client.send(1, new_method(commands.Basic.Recover, requeue=False))
    again = client.take_all(commands.Basic.Deliver)
    assert [(each.method.delivery_tag, each.method.redelivered) for each in again] == [(2, True)]


def test_consumers_take_turns(broker: BrokerHarness, client: Client) -> None:
    fill(client)
    consume(client, tag="one", no_ack=True)
    consume(client, tag="two", no_ack=True)
    for _ in range(4):
        client.publish("q", b"x")
    tags = [each.method.consumer_tag for each in client.take_all(commands.Basic.Deliver)]
    assert tags == ["one", "two", "one", "two"]


def test_deleting_a_queue_cancels_its_consumers_aloud(broker: BrokerHarness, client: Client) -> None:
    fill(client)
    consume(client, tag="t")
    client.received.clear()
    other = broker.connect()
    other.call(1, new_method(commands.Queue.Delete, queue="q"))
    assert client.take_all(commands.Basic.Cancel)[0].method.consumer_tag == "t"


def test_the_delete_is_answered_before_the_consumers_of_the_queue_are_cancelled(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", durable=True)
    consume(client, tag="t")
    client.received.clear()
    client.send(1, new_method(commands.Queue.Delete, queue="q"))
    assert [each.method.name for each in client.received] == ["Queue.DeleteOk", "Basic.Cancel"]


def test_a_reader_that_does_not_read_gets_no_more_than_its_buffer(broker: BrokerHarness, client: Client) -> None:
    fill(client, *[b"x" * 10_000] * 300)
    client.connection.set_writable(False)
    consume(client, no_ack=True)
    assert client.bodies() == []
    assert broker.connect().declare("q").message_count == 300
    client.connection.set_writable(True)
    broker.settle()
    assert len(client.bodies()) == 300


def test_a_peer_that_does_not_read_is_not_heard(broker: BrokerHarness, client: Client) -> None:
    """Else a few bytes, basic.get and nack of one big message again and again, would bring gigabytes."""
    client.declare("q")
    publish = method_frame(1, new_method(commands.Basic.Publish, routing_key="q"))
    client.send_bytes(publish + content_frames(1, b"x" * 2_000_000))
    get = method_frame(1, new_method(commands.Basic.Get, queue="q"))
    nacks = [method_frame(1, new_method(commands.Basic.Nack, delivery_tag=tag, requeue=True)) for tag in range(1, 101)]
    client.connection.set_writable(False)
    broker.broker.receive(client.connection, b"".join(get + nack for nack in nacks))
    assert len(client.connection.outbox.writer) < 3_000_000
    client.connection.set_writable(True)
    broker.settle()
    assert len(client.take_all(commands.Basic.GetOk)) == 100


def test_replies_to_a_peer_that_reads_nothing_do_not_pile_up(broker: BrokerHarness, client: Client) -> None:
    declare = method_frame(1, new_method(commands.Queue.Declare, queue="q"))
    client.connection.set_writable(False)
    client.connection.unsent(1 << 30)
    broker.broker.receive(client.connection, declare * 10)
    assert "q" not in broker.broker.vhosts["/"].queues
    client.connection.set_writable(True)
    broker.settle()
    assert len(client.take_all(commands.Queue.DeclareOk)) == 10


def test_a_recover_tells_a_peer_no_more_than_it_reads(broker: BrokerHarness, client: Client) -> None:
    fill(client, *[b"x" * 200_000] * 20)
    consume(client)
    client.take_all()
    broker.broker.receive(client.connection, method_frame(1, new_method(commands.Basic.Recover, requeue=False)) * 50)
    assert len(client.connection.outbox.writer) < 3_000_000
    broker.settle()
    assert {each.body for each in client.take_all(commands.Basic.Deliver)} == {b"x" * 200_000}


def test_returned_messages_wait_for_who_does_not_read_them(broker: BrokerHarness, client: Client) -> None:
    publish = method_frame(1, new_method(commands.Basic.Publish, routing_key="nowhere", mandatory=True))
    client.connection.set_writable(False)
    broker.broker.receive(client.connection, (publish + content_frames(1, b"x" * 100_000)) * 40)
    assert len(client.connection.outbox.writer) < 2_000_000
    client.connection.set_writable(True)
    broker.settle()
    assert len(client.take_all(commands.Basic.Return)) == 40


def test_what_a_lost_connection_had_goes_to_the_next_consumer(broker: BrokerHarness, client: Client) -> None:
    fill(client, b"a", b"b")
    consume(client)
    other = broker.connect()
    consume(other)
    client.lose()
    assert [(each.body, each.method.redelivered) for each in other.take_all(commands.Basic.Deliver)] == [
        (b"a", True),
        (b"b", True),
    ]
