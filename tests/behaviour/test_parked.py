"""What goes wrong with one message is that message's: it is parked, and the node, its queue and its neighbours go on.

A message goes wrong here because its header is not what any client could have sent: as a mistake of ours would make it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pamqp import commands

from amqpd.queues.queue import Queue
from amqpd.store.record import PARKED_MS
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client
from tests.fakes.restart import restarted

GARBAGE = b"\x00\x3c\x00\x00" + bytes(8) + b"\x30\x00\xff\xff\xff\xff\x02"


def declare(client: Client, queue: str = "q", **arguments: object) -> Any:
    table = encode_table({f"x-{name.replace('_', '-')}": value for name, value in arguments.items()})
    return client.declare(queue, durable=True, arguments=table)


def queue_of(broker: BrokerHarness, name: str = "q") -> Queue:
    return broker.broker.vhosts["/"].queues[name]


def spoil(broker: BrokerHarness, body: bytes) -> None:
    for entry in queue_of(broker).ready.entries():
        if entry.message.body == body:
            entry.message.header = GARBAGE


def drained(client: Client, queue: str = "q") -> list[bytes]:
    found = []
    while (answer := client.get(queue, no_ack=True)) is not None:
        found.append(answer.body)
    return found


def parked(broker: BrokerHarness, name: str = "q") -> list[bytes]:
    return [entry.message.body for entry in queue_of(broker, name).parked]


def errors(broker: BrokerHarness) -> list[str]:
    return [notice.text for notice in broker.broker.agenda.notices if notice.level == 2]


def with_dead_letters(broker: BrokerHarness, client: Client, **arguments: object) -> None:
    """Three messages in `q`, the second of which no dead letter can be made of."""
    declare(client, "dead")
    declare(client, dead_letter_exchange="", dead_letter_routing_key="dead", **arguments)
    for body in (b"1", b"2", b"3"):
        client.publish("q", body, properties=PERSISTENT)
    spoil(broker, b"2")


def test_a_dead_letter_that_can_not_be_made_is_parked_and_the_others_arrive(
    broker: BrokerHarness, client: Client
) -> None:
    with_dead_letters(broker, client, message_ttl=1000)
    broker.advance(2_000)
    assert drained(client, "dead") == [b"1", b"3"]
    assert parked(broker) == [b"2"]
    assert len(errors(broker)) == 1
    assert "queue 'q' in vhost '/', which is parked" in errors(broker)[0]


def test_what_is_parked_is_given_to_nobody_even_after_a_restart(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    with_dead_letters(broker, client, message_ttl=1000)
    broker.advance(2_000)
    again = restarted(broker.batches, tmp_path, broker.now_ms)
    assert parked(again) == [b"2"]
    assert queue_of(again).ready.count == 0
    again.advance(60_000)
    assert parked(again) == [b"2"]
    assert any("1 parked message" in line for line in again.broker.agenda.lines)
    assert len(drained(again.connect(), "dead")) == 2


def test_a_checkpoint_knows_what_is_parked(broker: BrokerHarness, client: Client) -> None:
    with_dead_letters(broker, client, message_ttl=1000)
    broker.advance(2_000)
    broker.broker.begin_checkpoint()
    broker.settle()
    checkpoint = broker.broker.durable_checkpoint()
    assert checkpoint is not None
    assert PARKED_MS.to_bytes(8, "little") in b"".join(checkpoint.blocks())


def test_a_purge_takes_what_is_parked_and_a_delete_if_empty_does_not(broker: BrokerHarness, client: Client) -> None:
    with_dead_letters(broker, client, message_ttl=1000)
    broker.advance(2_000)
    close = client.call(1, new_method(commands.Queue.Delete, queue="q", if_empty=True))
    assert close.reply_code == 406
    other = broker.connect()
    assert other.call(1, new_method(commands.Queue.Purge, queue="q")).message_count == 1
    assert queue_of(broker).is_empty


def test_a_message_that_can_not_be_delivered_is_parked_and_its_consumer_goes_on(
    broker: BrokerHarness, client: Client
) -> None:
    declare(client, delivery_limit=10)
    for body in (b"1", b"2", b"3"):
        client.publish("q", body, properties=PERSISTENT)
    for _ in range(3):
        client.get("q")
    client.send(1, new_method(commands.Basic.Nack, multiple=True, requeue=True))
    spoil(broker, b"2")
    client.call(1, new_method(commands.Basic.Consume, queue="q", consumer_tag="c"))
    assert client.bodies() == [b"1", b"3"]
    assert (parked(broker), queue_of(broker).unacked_count) == ([b"2"], 2)
    client.send(1, new_method(commands.Basic.Ack, multiple=True))
    assert not client.is_closed


def test_a_delayed_message_that_can_not_be_routed_is_parked(broker: BrokerHarness, client: Client) -> None:
    arguments = encode_table({"x-delayed-type": "fanout"})
    client.call(
        1,
        new_method(commands.Exchange.Declare, exchange="later", exchange_type="x-delayed-message", arguments=arguments),
    )
    declare(client)
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="later"))
    table = encode_table({"x-delay": 500})
    properties = b"\x30\x00" + len(table.raw).to_bytes(4, "big") + table.raw + b"\x02"
    for body in (b"1", b"2"):
        client.publish("k", body, exchange="later", properties=properties)
    delayed = broker.broker.vhosts["/"].delays.of("later")
    assert delayed is not None
    delayed.queue.ready.entries()[0].message.header = GARBAGE
    broker.advance(1_000)
    assert drained(client) == [b"2"]
    assert [entry.message.body for entry in delayed.queue.parked] == [b"1"]


def test_what_goes_wrong_with_one_expiry_stops_no_other(broker: BrokerHarness, client: Client) -> None:
    declare(client, "dead")
    declare(client, dead_letter_exchange="", dead_letter_routing_key="dead")
    for body in (b"1", b"2", b"3"):
        client.publish("q", body, properties=b"\x11\x00\x02\x0210")
    spoil(broker, b"1")
    broker.advance(100)
    assert drained(client, "dead") == [b"2", b"3"]
    assert parked(broker) == [b"1"]


def test_a_message_that_can_not_be_restored_is_parked_and_the_node_starts(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client)
    for body in (b"1", b"2", b"3"):
        client.publish("q", body, properties=PERSISTENT)
    queue = queue_of(broker)
    entry = queue.ready.entries()[1]
    # An expiration that is no number, in the log.
    entry.message.header = b"\x00\x3c\x00\x00" + bytes(8) + b"\x11\x00\x02\x02no"
    entry.message = broker.broker.agenda.log.append_move(queue.queue_id, entry.message)
    broker.settle()
    again = restarted(broker.batches, tmp_path, broker.now_ms)
    assert parked(again) == [b"2"]
    assert drained(again.connect()) == [b"1", b"3"]
