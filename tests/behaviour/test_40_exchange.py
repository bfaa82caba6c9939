"""Class 40: declare, delete, bind exchanges; alternate, internal and auto-delete ones."""

from __future__ import annotations

from typing import Any

from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import Client


def exchange(client: Client, name: str, exchange_type: str = "direct", **values: Any) -> Any:
    return client.call(1, new_method(commands.Exchange.Declare, exchange=name, exchange_type=exchange_type, **values))


def bind(client: Client, source: str, destination: str, key: str = "") -> None:
    client.call(1, new_method(commands.Exchange.Bind, source=source, destination=destination, routing_key=key))


def test_a_cycle_of_exchanges_delivers_one_copy(client: Client) -> None:
    exchange(client, "a", "fanout")
    exchange(client, "b", "fanout")
    bind(client, "a", "b")
    bind(client, "b", "a")
    client.declare("q")
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="b"))
    client.publish("", b"x", exchange="a")
    assert client.declare("q").message_count == 1


def test_the_alternate_exchange_takes_what_no_binding_matches(client: Client) -> None:
    exchange(client, "backup", "fanout")
    exchange(client, "main", "direct", arguments=encode_table({"alternate-exchange": "backup"}))
    client.declare("q")
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="backup"))
    client.publish("no.such.key", b"x", exchange="main", mandatory=True)
    assert client.received == []
    assert client.declare("q").message_count == 1


def test_an_internal_exchange_takes_no_publish(client: Client) -> None:
    exchange(client, "x", internal=True)
    client.publish("k", b"x", exchange="x")
    close = client.received[0].method
    assert close.reply_text == "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'"


def test_an_auto_delete_exchange_goes_with_its_last_binding_and_takes_others_along(client: Client) -> None:
    exchange(client, "outer", "fanout", auto_delete=True)
    exchange(client, "inner", "fanout", auto_delete=True)
    bind(client, "outer", "inner")
    client.declare("q")
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="inner"))
    client.call(1, new_method(commands.Queue.Delete, queue="q"))
    close = exchange(client, "outer", passive=True)
    assert close.reply_text == "NOT_FOUND - no exchange 'outer' in vhost '/'"


def test_another_type_is_406_with_both_types(client: Client) -> None:
    exchange(client, "x")
    close = exchange(client, "x", "fanout")
    assert close.reply_text == (
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': "
        "received 'fanout' but current is 'direct'"
    )


def test_the_default_exchange_is_out_of_reach(client: Client) -> None:
    client.declare("q")
    close = client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="", routing_key="k"))
    assert close.reply_text == "ACCESS_REFUSED - operation not permitted on the default exchange"


def test_an_unknown_type_closes_the_connection(client: Client) -> None:
    client.send(1, new_method(commands.Exchange.Declare, exchange="x", exchange_type="nonsense"))
    close = client.received[0].method
    assert (close.name, close.reply_code) == ("Connection.Close", 503)


def test_cc_and_bcc_reach_their_queues_once_and_bcc_is_hidden(client: Client) -> None:
    for name in ("a", "b", "c"):
        client.declare(name)
    table = encode_table({"CC": ["b", "a"], "BCC": ["c"]})
    properties = b"\x20\x00" + len(table.raw).to_bytes(4, "big") + table.raw
    client.publish("a", b"x", properties=properties)
    for name in ("a", "b", "c"):
        got = client.get(name)
        assert got is not None and b"BCC" not in got.header and b"CC" in got.header
        assert client.get(name) is None
