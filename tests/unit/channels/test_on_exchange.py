from __future__ import annotations

import pytest
from pamqp import commands

from amqpd.channels.on_exchange import one_line
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client

E = commands.Exchange


def refusal(client: Client, method: object) -> str:
    return str(client.call(1, method).reply_text)  # type: ignore[arg-type]


def test_names_lose_their_line_breaks(client: Client) -> None:
    assert one_line("a\r\nb") == "ab"
    client.call(1, new_method(E.Declare, exchange="a\nb", exchange_type="direct"))
    assert isinstance(client.call(1, new_method(E.Declare, exchange="ab", passive=True)), E.DeclareOk)


@pytest.mark.parametrize(
    "method",
    [
        new_method(E.Declare, exchange="", exchange_type="direct"),
        new_method(E.Declare, exchange="", passive=True),
        new_method(E.Delete, exchange=""),
        new_method(E.Bind, source="", destination="amq.direct"),
        new_method(E.Bind, source="amq.direct", destination=""),
        new_method(E.Unbind, source="", destination="amq.direct"),
        new_method(commands.Queue.Bind, queue="q", exchange=""),
        new_method(commands.Queue.Unbind, queue="q", exchange=""),
    ],
)
def test_the_default_exchange_is_nobodys_to_touch(client: Client, method: object) -> None:
    client.declare("q")
    assert refusal(client, method) == "ACCESS_REFUSED - operation not permitted on the default exchange"


def test_a_passive_declare_of_nothing_is_404(client: Client) -> None:
    assert refusal(client, new_method(E.Declare, exchange="x", passive=True)) == (
        "NOT_FOUND - no exchange 'x' in vhost '/'"
    )


def test_a_delete_is_idempotent_and_if_unused_looks_at_bindings(client: Client) -> None:
    assert isinstance(client.call(1, new_method(E.Delete, exchange="x")), E.DeleteOk)
    client.call(1, new_method(E.Declare, exchange="x", exchange_type="direct"))
    client.call(1, new_method(E.Bind, source="x", destination="amq.direct"))
    assert "in use" in refusal(client, new_method(E.Delete, exchange="x", if_unused=True))


@pytest.mark.parametrize(("source", "destination"), [("none", "amq.direct"), ("amq.direct", "none")])
def test_a_binding_needs_both_ends(client: Client, source: str, destination: str) -> None:
    assert isinstance(client.call(1, new_method(E.Unbind, source=source, destination=destination)), E.UnbindOk)
    assert refusal(client, new_method(E.Bind, source=source, destination=destination)) == (
        "NOT_FOUND - no exchange 'none' in vhost '/'"
    )


@pytest.mark.parametrize("name", ["amq.direct", "amq.none", "amq.\rnone"])
def test_what_begins_with_amq_cannot_be_deleted_even_if_it_is_not_there(client: Client, name: str) -> None:
    assert refusal(client, new_method(E.Delete, exchange=name)) == (
        f"ACCESS_REFUSED - deletion of system exchange '{one_line(name)}' in vhost '/' not allowed"
    )


def test_the_type_is_looked_at_before_the_name(client: Client) -> None:
    client.send(1, new_method(E.Declare, exchange="", exchange_type="none"))
    assert client.received[0].method.reply_text == "COMMAND_INVALID - unknown exchange type 'none'"


def test_exchanges_lead_to_exchanges_until_they_are_unbound(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="amq.fanout"))
    way = {"source": "amq.direct", "destination": "amq.fanout", "routing_key": "k"}
    client.call(1, new_method(E.Bind, **way))
    client.publish("k", b"1", "amq.direct")
    client.call(1, new_method(E.Unbind, **way))
    client.publish("k", b"2", "amq.direct")
    assert client.declare("q").message_count == 1


def test_nowait_is_not_answered(client: Client) -> None:
    client.send(1, new_method(E.Declare, exchange="x", exchange_type="direct", nowait=True))
    client.send(1, new_method(E.Bind, source="x", destination="amq.direct", nowait=True))
    client.send(1, new_method(E.Unbind, source="x", destination="amq.direct", nowait=True))
    client.send(1, new_method(E.Delete, exchange="x", nowait=True))
    assert client.received == []


@pytest.mark.parametrize(
    ("configure", "write", "read", "method", "access", "name"),
    [
        ("^$", ".*", ".*", new_method(E.Declare, exchange="x", exchange_type="direct"), "configure", "x"),
        ("^$", ".*", ".*", new_method(E.Delete, exchange="x"), "configure", "x"),
        (".*", "^$", ".*", new_method(E.Bind, source="amq.direct", destination="amq.topic"), "write", "amq.topic"),
        (".*", ".*", "^$", new_method(E.Bind, source="amq.direct", destination="amq.topic"), "read", "amq.direct"),
        (
            ".*",
            "^$",
            ".*",
            new_method(
                E.Declare, exchange="x", exchange_type="direct", arguments=encode_table({"alternate-exchange": "y"})
            ),
            "write",
            "y",
        ),
    ],
)
def test_permissions_are_asked_first(
    broker: BrokerHarness, client: Client, configure: str, write: str, read: str, method: object, access: str, name: str
) -> None:
    broker.broker.access.set_permissions("guest", "/", configure, write, read)
    assert refusal(client, method) == (
        f"ACCESS_REFUSED - {access} access to exchange '{name}' in vhost '/' refused for user 'guest'"
    )


def test_a_declare_of_a_durable_exchange_is_answered_when_it_is_stored(broker: BrokerHarness, client: Client) -> None:
    broker.hold_syncs = True
    client.send(1, new_method(E.Declare, exchange="x", exchange_type="direct", durable=True))
    assert client.received == []
    broker.hold_syncs = False
    broker.settle()
    assert isinstance(client.received[0].method, E.DeclareOk)
