"""Class 50: declare, bind, purge, delete, and the lives of exclusive, auto-delete and expiring queues."""

from __future__ import annotations

from typing import Any

import pytest
from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client


def refused(client: Client, **values: Any) -> tuple[int, str]:
    close = client.declare("q", **values)
    assert isinstance(close, commands.Channel.Close)
    return close.reply_code, close.reply_text


def test_a_server_named_queue_is_what_the_empty_name_stands_for(client: Client) -> None:
    name = client.declare("").queue
    assert name.startswith("amq.gen-")
    client.publish(name, b"x")
    assert client.call(1, new_method(commands.Queue.Purge, queue="")).message_count == 1


def test_without_a_declare_the_empty_name_is_404(client: Client) -> None:
    close = client.call(1, new_method(commands.Queue.Purge, queue=""))
    assert close.reply_text == "NOT_FOUND - no previously declared queue"


def test_a_redeclare_with_another_durable_is_406_with_both_values(client: Client) -> None:
    client.declare("q", durable=True)
    assert refused(client) == (
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': "
        "received 'false' but current is 'true'",
    )


def test_an_argument_is_the_same_whatever_its_integer_width(client: Client) -> None:
    client.declare("q", arguments=encode_table({"x-expires": 60_000}))
    wide = b"\x09x-expiresl" + (60_000).to_bytes(8, "big")
    from amqpd.wire.field_table import FieldTable

    assert isinstance(client.declare("q", arguments=FieldTable(wide)), commands.Queue.DeclareOk)


def test_an_exclusive_queue_is_locked_for_others_and_ends_with_its_connection(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", exclusive=True)
    other = broker.connect()
    code, text = refused(other, exclusive=True)
    assert code == 405
    assert text.startswith("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'")
    client.lose()
    third = broker.connect()
    assert isinstance(third.declare("q", exclusive=True), commands.Queue.DeclareOk)


def test_an_auto_delete_queue_goes_with_its_last_consumer_but_not_before_a_first(client: Client) -> None:
    client.declare("q", auto_delete=True)
    assert client.declare("q", passive=True).queue == "q"
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="t"))
    client.call(1, new_method(commands.Basic.Cancel, consumer_tag="t"))
    assert refused(client, passive=True)[0] == 404


def test_an_unused_queue_expires_and_a_used_one_does_not(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=encode_table({"x-expires": 1000}))
    broker.advance(900)
    client.declare("q", passive=True)
    broker.advance(900)
    assert client.declare("q", passive=True).queue == "q"
    broker.advance(1_200)
    assert refused(client, passive=True)[0] == 404


@pytest.mark.parametrize(("flag", "why"), [("if_unused", "in use"), ("if_empty", "not empty")])
def test_a_conditional_delete_says_what_is_in_the_way(client: Client, flag: str, why: str) -> None:
    client.declare("q")
    client.publish("q", b"1")
    client.publish("q", b"2")
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=1))
    client.send(1, new_method(commands.Basic.Consume, queue="q"))
    client.received.clear()
    values: dict[str, Any] = {flag: True}
    close = client.call(1, new_method(commands.Queue.Delete, queue="q", **values))
    assert close.reply_text == f"PRECONDITION_FAILED - queue 'q' in vhost '/' {why}"


def test_deleting_what_is_not_there_is_fine(client: Client) -> None:
    assert client.call(1, new_method(commands.Queue.Delete, queue="none")).message_count == 0


def test_purge_leaves_unacked_messages_alone(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"1")
    client.publish("q", b"2")
    client.get("q")
    assert client.call(1, new_method(commands.Queue.Purge, queue="q")).message_count == 1
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=1, requeue=True))
    assert client.declare("q").message_count == 1


def test_a_durable_declare_is_answered_after_the_sync_and_what_follows_waits(
    broker: BrokerHarness, client: Client
) -> None:
    broker.hold_syncs = True
    client.send(1, new_method(commands.Queue.Declare, queue="q", durable=True))
    client.publish("q", b"x")
    client.send(1, new_method(commands.Basic.Get, queue="q"))
    assert client.received == []
    broker.hold_syncs = False
    broker.settle()
    assert [each.method.name for each in client.received] == ["Queue.DeclareOk", "Basic.GetOk"]


def test_one_copy_per_queue_however_many_bindings_lead_there(client: Client) -> None:
    client.declare("q")
    for key in ("a.*", "a.#", "a.b"):
        client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="amq.topic", routing_key=key))
    client.publish("a.b", b"x", exchange="amq.topic")
    assert client.declare("q").message_count == 1
    for key in ("a.*", "a.#"):
        client.call(1, new_method(commands.Queue.Unbind, queue="q", exchange="amq.topic", routing_key=key))
    client.publish("a.b", b"x", exchange="amq.topic")
    client.publish("a.c", b"x", exchange="amq.topic")
    assert client.declare("q").message_count == 2


def test_a_cached_route_follows_bind_unbind_and_delete(client: Client) -> None:
    client.declare("q")
    client.publish("k", b"1", exchange="amq.direct")
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="amq.direct", routing_key="k"))
    client.publish("k", b"2", exchange="amq.direct")
    client.call(1, new_method(commands.Queue.Delete, queue="q"))
    client.publish("k", b"3", exchange="amq.direct")
    client.declare("q")
    client.publish("k", b"4", exchange="amq.direct")
    assert client.declare("q").message_count == 0


def test_a_redeclare_waits_for_the_declare_of_another_that_is_not_durable_yet(
    broker: BrokerHarness, client: Client
) -> None:
    other = broker.connect()
    broker.hold_syncs = True
    client.send(1, new_method(commands.Queue.Declare, queue="q", durable=True))
    batch = broker.broker.seal()
    assert batch is not None
    other.send(1, new_method(commands.Queue.Declare, queue="q", durable=True))
    assert (client.received, other.received) == ([], [])
    broker.broker.synced(batch.mark)
    broker.settle()
    assert [each.method.name for each in client.received + other.received] == ["Queue.DeclareOk", "Queue.DeclareOk"]


def test_a_transient_declare_waits_for_no_disk(broker: BrokerHarness, client: Client) -> None:
    client.declare("durable", durable=True)
    broker.hold_syncs = True
    client.publish("durable", b"x", properties=b"\x10\x00\x02")
    assert client.declare("transient").queue == "transient"
