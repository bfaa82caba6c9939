from __future__ import annotations

from pamqp import commands

from amqpd.base.limits import Limits
from amqpd.broker import Broker
from amqpd.store.log import Log, fresh_start
from amqpd.store.recovered import Recovered
from amqpd.store.topology import Topology
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, CountingEntropy


def new_broker() -> Broker:
    return Broker(Limits(), Log(fresh_start(1)), Topology(), Recovered(fresh_start(1)), CountingEntropy())


def test_a_first_start_stores_the_default_vhost_and_user() -> None:
    broker = new_broker()
    assert list(broker.vhosts) == ["/"]
    assert broker.needs_seal
    batch = broker.seal()
    assert batch is not None
    assert [change.table for change in batch.topology] == ["users", "permissions", "vhosts"]
    assert not broker.needs_seal
    assert broker.seal() is None


def test_connections_are_numbered_and_forgotten_when_lost(broker: BrokerHarness) -> None:
    one, two = broker.raw(), broker.raw()
    assert one.connection.number != two.connection.number
    one.lose()
    assert list(broker.broker.connections) == [two.connection.number]


def test_only_logged_in_connections_count_as_open(broker: BrokerHarness, client: Client) -> None:
    broker.raw()
    assert broker.broker.open_connection_count == 1
    client.lose()
    assert broker.broker.open_connection_count == 0


def test_a_connection_with_output_is_named_once() -> None:
    broker = new_broker()
    connection = broker.connect("127.0.0.1", 1, False)
    assert broker.woken() == []
    broker.receive(connection, b"AMQP\x00\x00\x09\x01")
    assert broker.has_work
    assert broker.woken() == [connection]
    assert broker.woken() == []
    assert connection.take_output() != b""


def test_a_lost_connection_is_not_named() -> None:
    broker = new_broker()
    connection = broker.connect("127.0.0.1", 1, False)
    broker.receive(connection, b"AMQP\x00\x00\x09\x01")
    broker.lost(connection)
    assert broker.woken() == []


def test_reading_output_makes_room_for_more_deliveries(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    for _ in range(40):
        client.publish("q", bytes(100_000))
    client.send(1, new_method(commands.Basic.Consume, queue="q", no_ack=True))
    # The harness goes on as long as the broker has work.
    assert len(client.bodies()) == 40
    assert not broker.broker.has_work


def test_a_tick_within_the_grain_does_nothing(broker: BrokerHarness) -> None:
    client = broker.raw()
    broker.broker.tick(broker.now_ms, 5)
    assert broker.broker.agenda.wall_ms == 5
    assert client.connection in broker.broker.connections.values()


def test_a_queue_expires_on_a_tick(broker: BrokerHarness, client: Client) -> None:
    from amqpd.wire.field_table import encode_table

    client.declare("q", arguments=encode_table({"x-expires": 1000}))
    broker.advance(900)
    assert "q" in broker.broker.vhosts["/"].queues
    broker.advance(300)
    assert "q" not in broker.broker.vhosts["/"].queues


def test_watermarks_are_in_the_batch_of_the_delivery(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", durable=True)
    client.publish("q", b"x", properties=PERSISTENT)
    before = len(broker.batches)
    client.get("q")
    assert [batch.record_count for batch in broker.batches[before:]] == [1]


def test_an_alarm_has_the_last_reason_that_was_given_until_it_ends(broker: BrokerHarness) -> None:
    core = broker.broker
    core.unblock()
    core.block("low on disk")
    core.block("low on disk and memory")
    assert core.agenda.alarm_reason == "low on disk and memory"
    core.unblock()
    assert core.agenda.alarm_reason == ""


def test_a_consumer_goes_on_while_publishers_are_stopped(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    broker.broker.block("low on memory")
    other = broker.connect()
    other.send(1, new_method(commands.Basic.Consume, queue="q", no_ack=True))
    assert other.bodies() == [b"x"]


def test_shutdown_ends_a_handshake_without_a_word(broker: BrokerHarness) -> None:
    client = broker.raw()
    broker.broker.shut_down()
    broker.settle()
    assert client.is_closed
    assert client.received == []
