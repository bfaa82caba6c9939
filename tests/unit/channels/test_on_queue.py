from __future__ import annotations

import dataclasses

import pytest
from pamqp import commands

from amqpd.base.limits import DEFAULTS
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client

Q = commands.Queue


def refusal(client: Client, method: object) -> str:
    return str(client.call(1, method).reply_text)  # type: ignore[arg-type]


def test_the_empty_name_is_the_queue_declared_last_on_the_channel(client: Client) -> None:
    name = client.declare("").queue
    assert name.startswith("amq.gen-")
    client.publish(name, b"x")
    assert client.get("") is not None
    assert client.call(1, new_method(Q.Purge)).message_count == 0
    assert isinstance(client.call(1, new_method(Q.Delete)), Q.DeleteOk)


def test_the_empty_name_is_no_queue_to_a_passive_declare(client: Client) -> None:
    client.declare("q")
    assert refusal(client, new_method(Q.Declare, passive=True)) == "NOT_FOUND - no queue '' in vhost '/'"


def test_what_the_server_named_is_declared_again_passively_only(client: Client) -> None:
    name = client.declare("", exclusive=True).queue
    assert client.declare(name, passive=True).queue == name
    assert refusal(client, new_method(Q.Declare, queue=name, exclusive=True)) == (
        f"ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'"
    )


def test_an_exclusive_queue_is_transient_whatever_it_was_declared_as(client: Client) -> None:
    client.declare("q", exclusive=True, durable=True)
    assert client.declare("q", exclusive=True, durable=False).queue == "q"
    assert client.declare("q", exclusive=True, durable=True).queue == "q"


@pytest.mark.parametrize(("queue", "exchange"), [("none", "amq.direct"), ("q", "none"), ("none", "none")])
def test_a_binding_needs_both_ends_and_an_unbinding_none(client: Client, queue: str, exchange: str) -> None:
    client.declare("q")
    assert isinstance(client.call(1, new_method(Q.Unbind, queue=queue, exchange=exchange)), Q.UnbindOk)
    missing = "queue 'none'" if exchange != "none" else "exchange 'none'"
    bind = new_method(Q.Bind, queue=queue, exchange=exchange)
    assert refusal(client, bind) == f"NOT_FOUND - no {missing} in vhost '/'"


def test_bindings_of_anothers_exclusive_queue_are_locked_like_itself(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", exclusive=True)
    client.call(1, new_method(Q.Bind, queue="q", exchange="amq.direct", routing_key="k"))
    other = broker.connect()
    never = new_method(Q.Unbind, queue="q", exchange="amq.direct", routing_key="never bound")
    assert isinstance(other.call(1, never), Q.UnbindOk)
    unbind = new_method(Q.Unbind, queue="q", exchange="amq.direct", routing_key="k")
    assert refusal(other, unbind).startswith("RESOURCE_LOCKED - cannot obtain")
    third = broker.connect()
    bind = new_method(Q.Bind, queue="q", exchange="amq.direct", routing_key="z")
    assert refusal(third, bind).startswith("RESOURCE_LOCKED - cannot obtain")


def test_generated_names_differ(client: Client) -> None:
    assert len({client.declare("").queue for _ in range(5)}) == 5


@pytest.mark.parametrize("method", [Q.Purge, Q.Delete, commands.Basic.Get, commands.Basic.Consume])
def test_the_empty_name_without_a_declare_is_404(client: Client, method: type) -> None:
    assert refusal(client, new_method(method)) == "NOT_FOUND - no previously declared queue"


def test_an_empty_bind_binds_the_last_queue_by_its_own_name(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(Q.Bind, exchange="amq.direct"))
    client.publish("q", b"x", "amq.direct")
    assert client.declare("q").message_count == 1


def test_counts_in_declare_ok_are_ready_messages_and_consumers(client: Client) -> None:
    client.declare("q")
    for _ in range(3):
        client.publish("q", b"x")
    client.get("q")
    assert client.declare("q").message_count == 2
    client.send(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="a", no_ack=True))
    client.received.clear()
    answer = client.declare("q")
    assert (answer.message_count, answer.consumer_count) == (0, 1)


def test_a_passive_declare_compares_nothing_and_needs_no_permission(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    broker.broker.access.set_permissions("guest", "/", "", "", "")
    assert client.declare("q", passive=True, durable=True, exclusive=True).queue == "q"


def test_an_exclusive_queue_is_locked_to_others_and_ends_with_its_connection(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", exclusive=True)
    other = broker.connect()
    assert refusal(other, new_method(Q.Declare, queue="q", passive=True)).startswith("RESOURCE_LOCKED - cannot obtain")
    client.lose()
    other.send(1, new_method(commands.Channel.CloseOk))
    other.call(1, new_method(commands.Channel.Open))
    assert refusal(other, new_method(Q.Declare, queue="q", passive=True)) == "NOT_FOUND - no queue 'q' in vhost '/'"


def test_delete_is_idempotent_and_counts(client: Client) -> None:
    assert client.call(1, new_method(Q.Delete, queue="none")).message_count == 0
    client.declare("q")
    client.publish("q", b"x")
    assert client.call(1, new_method(Q.Delete, queue="q")).message_count == 1


@pytest.mark.parametrize(("bit", "why"), [("if_empty", "not empty"), ("if_unused", "in use")])
def test_delete_on_condition(client: Client, bit: str, why: str) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=1))
    client.send(1, new_method(commands.Basic.Consume, queue="q"))
    for _ in range(2):
        client.publish("q", b"x")
    client.received.clear()
    assert refusal(client, new_method(Q.Delete, queue="q", **{bit: True})) == (
        f"PRECONDITION_FAILED - queue 'q' in vhost '/' {why}"
    )


def test_delete_on_both_conditions_looks_at_messages_first(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=1))
    client.send(1, new_method(commands.Basic.Consume, queue="q"))
    for _ in range(2):
        client.publish("q", b"x")
    client.received.clear()
    assert refusal(client, new_method(Q.Delete, queue="q", if_empty=True, if_unused=True)).endswith("not empty")


def test_nowait_is_not_answered(client: Client) -> None:
    client.send(1, new_method(Q.Declare, queue="q", nowait=True))
    client.send(1, new_method(Q.Bind, queue="q", exchange="amq.direct", nowait=True))
    client.send(1, new_method(Q.Purge, queue="q", nowait=True))
    client.send(1, new_method(Q.Delete, queue="q", nowait=True))
    assert client.received == []


@pytest.mark.parametrize(
    ("configure", "write", "read", "method", "text"),
    [
        ("", ".*", ".*", new_method(Q.Declare, queue="n"), "configure access to queue 'n'"),
        ("", ".*", ".*", new_method(Q.Delete, queue="q"), "configure access to queue 'q'"),
        (".*", "", ".*", new_method(Q.Bind, queue="q", exchange="amq.topic"), "write access to queue 'q'"),
        (".*", ".*", "", new_method(Q.Bind, queue="q", exchange="amq.topic"), "read access to exchange 'amq.topic'"),
        (".*", ".*", "", new_method(Q.Purge, queue="q"), "read access to queue 'q'"),
        (
            ".*",
            "",
            ".*",
            new_method(Q.Declare, queue="n", arguments=encode_table({"x-dead-letter-exchange": "dlx"})),
            "write access to exchange 'dlx'",
        ),
    ],
)
def test_permissions_are_asked_first(
    broker: BrokerHarness, client: Client, configure: str, write: str, read: str, method: object, text: str
) -> None:
    client.declare("q")
    broker.broker.access.set_permissions("guest", "/", configure, write, read)
    assert refusal(client, method) == f"ACCESS_REFUSED - {text} in vhost '/' refused for user 'guest'"


def test_bindings_of_one_queue_are_limited() -> None:
    client = BrokerHarness(dataclasses.replace(DEFAULTS, bindings_per_queue_max=2)).connect()
    client.declare("q")
    for key in ("a", "b"):
        client.call(1, new_method(Q.Bind, queue="q", exchange="amq.direct", routing_key=key))
    assert refusal(client, new_method(Q.Bind, queue="q", exchange="amq.direct", routing_key="c")).startswith(
        "PRECONDITION_FAILED"
    )


@pytest.mark.parametrize("passive", [False, True])
@pytest.mark.parametrize("name", ["amq.rabbitmq.reply-to.x", "amq.rabbitmq.reply-toX"])
def test_declaring_the_name_of_a_reply_that_nobody_waits_for_is_404(client: Client, name: str, passive: bool) -> None:
    assert refusal(client, new_method(Q.Declare, queue=name, passive=passive)).startswith("NOT_FOUND")


@pytest.mark.parametrize("passive", [False, True])
def test_the_name_that_replies_are_asked_for_by_is_always_there(client: Client, passive: bool) -> None:
    name = "amq.rabbitmq.reply-to"
    client.send(1, new_method(Q.Declare, queue=name, passive=passive, nowait=True))
    assert client.received == []
    answer = client.declare(name, passive=passive)
    assert (answer.queue, answer.message_count, answer.consumer_count) == (name, 0, 1)


@pytest.mark.parametrize("kind", ["queue", "exchange"])
def test_a_passive_declare_needs_no_permission_unless_it_is_set_to(kind: str) -> None:
    passive = (
        new_method(Q.Declare, queue="q", passive=True)
        if kind == "queue"
        else new_method(commands.Exchange.Declare, exchange="q", passive=True)
    )
    for needed, patterns, is_allowed in (
        ("none", ("", "", ""), True),
        ("any", ("", "", ""), False),
        ("any", ("^q", "", ""), True),
        ("any", ("", "^q", ""), True),
        ("any", ("", "", "^q"), True),
    ):
        broker = BrokerHarness(dataclasses.replace(DEFAULTS, passive_declare_permissions=needed))
        client = broker.connect()
        client.declare("q")
        client.call(1, new_method(commands.Exchange.Declare, exchange="q", exchange_type="direct"))
        broker.broker.access.set_permissions("guest", "/", *patterns)
        answer = client.call(1, passive)
        if is_allowed:
            assert answer.name.endswith("DeclareOk")
        else:
            assert answer.reply_text == f"ACCESS_REFUSED - access to {kind} 'q' in vhost '/' refused for user 'guest'"
