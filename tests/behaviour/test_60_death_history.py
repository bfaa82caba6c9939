"""x-death over republishing and restarts: counts go on, cycles are looked for since the publish only."""

from __future__ import annotations

from pathlib import Path

from pamqp import commands

from amqpd.wire.field_table import FieldTable, encode_table
from amqpd.wire.methods import new_method
from amqpd.wire.properties import headers
from tests.behaviour.harness import BrokerHarness, Client, Received
from tests.fakes.restart import restarted


def declare(client: Client, queue: str, **arguments: object) -> None:
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in arguments.items()})
    client.declare(queue, durable=True, arguments=table)


def persistent(table: FieldTable) -> bytes:
    """Property flags and properties of a persistent message with these headers."""
    return b"\x30\x00" + len(table.raw).to_bytes(4, "big") + table.raw + b"\x02"


def taken(client: Client, queue: str) -> Received:
    got = client.get(queue, no_ack=True)
    assert got is not None
    return got


def headers_of(got: Received) -> FieldTable:
    table = headers(got.header)
    assert table is not None
    return table


def counts(table: FieldTable) -> list[tuple[object, object]]:
    return [(each.get("queue"), each.get("count")) for each in table.tables("x-death", 9)]


def test_a_dead_letter_that_is_published_again_goes_the_same_way_as_often_as_it_likes(
    broker: BrokerHarness, client: Client
) -> None:
    """As Celery's native delayed delivery does to retry: through wait queues that expire, and back."""
    declare(client, "wait", dead_letter_exchange="", dead_letter_routing_key="later", message_ttl=100)
    declare(client, "later", dead_letter_exchange="", dead_letter_routing_key="work", message_ttl=100)
    declare(client, "work")
    table = encode_table({"task": "t"})
    for round_number in range(1, 5):
        client.publish("wait", b"x", properties=persistent(table))
        broker.advance(300)
        table = headers_of(taken(client, "work"))
        assert counts(table) == [("later", round_number), ("wait", round_number)]


def test_a_cycle_ends_whatever_deaths_the_client_had_published(broker: BrokerHarness, client: Client) -> None:
    declare(client, "a", dead_letter_exchange="", dead_letter_routing_key="b", message_ttl=100)
    declare(client, "b", dead_letter_exchange="", dead_letter_routing_key="a", message_ttl=100)
    deaths = [{"queue": queue, "reason": "expired", "count": 1} for queue in "ba"]
    client.publish("a", b"x", properties=persistent(encode_table({"x-death": deaths})))
    broker.advance(150)
    assert client.declare("b", passive=True).message_count == 1
    broker.advance(850)
    assert [client.declare(queue, passive=True).message_count for queue in "ab"] == [0, 0]


def test_a_restart_knows_which_deaths_were_since_the_publish(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client, "a", dead_letter_exchange="", dead_letter_routing_key="b", message_ttl=100)
    declare(client, "b", dead_letter_exchange="amq.fanout", message_ttl=300)
    declare(client, "c")
    for queue in "ac":
        client.call(1, new_method(commands.Queue.Bind, queue=queue, exchange="amq.fanout"))
    deaths = [{"queue": queue, "reason": "expired", "count": 7} for queue in "cb"]
    client.publish("a", b"x", properties=persistent(encode_table({"x-death": deaths})))
    broker.advance(200)
    again = restarted(broker.batches, tmp_path, broker.now_ms)
    client = again.connect()
    assert client.declare("b", passive=True).message_count == 1
    again.advance(400)
    # Not to `a`, where it died before the restart; but to `c`, where it died before it was published.
    assert client.declare("a", passive=True).message_count == 0
    assert counts(headers_of(taken(client, "c"))) == [("b", 8), ("a", 1), ("c", 7)]


def test_a_death_without_a_count_has_one_when_the_message_dies_again(broker: BrokerHarness, client: Client) -> None:
    declare(client, "q", dead_letter_exchange="", dead_letter_routing_key="dead", message_ttl=100)
    declare(client, "dead")
    old = {"queue": "old", "reason": "rejected"}
    client.publish("q", b"x", properties=persistent(encode_table({"x-death": [old, old]})))
    broker.advance(200)
    assert counts(headers_of(taken(client, "dead"))) == [("q", 1), ("old", 2)]


def test_the_highest_count_stays_what_it_is(broker: BrokerHarness, client: Client) -> None:
    declare(client, "q", dead_letter_exchange="", dead_letter_routing_key="dead", message_ttl=100)
    declare(client, "dead")
    highest = {"queue": "q", "reason": "expired", "count": 2**63 - 1}
    client.publish("q", b"x", properties=persistent(encode_table({"x-death": [highest]})))
    broker.advance(200)
    assert counts(headers_of(taken(client, "dead"))) == [("q", 2**63 - 1)]
