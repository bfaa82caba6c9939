"""What a checkpoint must not miss, whatever else happens in its turn."""

from __future__ import annotations

from pamqp import commands

from amqpd.base.limits import Limits
from amqpd.broker import Broker
from amqpd.store.checkpoint import ENTRY, Checkpoint, CheckpointReader
from amqpd.store.log import Log, fresh_start
from amqpd.store.recovered import Recovered
from amqpd.store.topology import Topology
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, CountingEntropy

LOG_ID = 1


def with_small_segments() -> BrokerHarness:
    harness = BrokerHarness()
    start = fresh_start(LOG_ID)
    log = Log(start, 1024)
    harness.broker = Broker(Limits(), log, Topology(), Recovered(start), CountingEntropy(), harness.now_ms, 0)
    harness.advance(0)
    return harness


def connect_with_heartbeat(broker: BrokerHarness) -> Client:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    values = {
        "client_properties": encode_table({}),
        "mechanism": "PLAIN",
        "response": "\0guest\0guest",
        "locale": "en_US",
    }
    client.send(0, new_method(commands.Connection.StartOk, **values))
    client.send(0, new_method(commands.Connection.TuneOk, channel_max=0, frame_max=131072, heartbeat=1))
    client.send(0, new_method(commands.Connection.Open, virtual_host="/"))
    client.send(1, new_method(commands.Channel.Open))
    client.received.clear()
    return client


def message_count_of(checkpoint: Checkpoint) -> int:
    reader = CheckpointReader(b"".join(checkpoint.blocks()), LOG_ID, "checkpoint")
    # Who has a message may change while the queues are looked at: it is listed twice then.
    found: set[int] = set()
    while reader.next():
        if reader.kind == ENTRY:
            found.add(int(reader.message_id))
    return len(found)


def test_a_dead_letter_that_is_refused_in_the_turn_of_a_checkpoint_is_in_it() -> None:
    """Its consumer dies of a missed heartbeat in the very tick in which the checkpoint is due."""
    broker = with_small_segments()
    client = broker.connect()
    dead = encode_table({"x-max-length": 0, "x-overflow": "reject-publish"})
    client.declare("dead", durable=True, arguments=dead)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-delivery-limit": 0}
    client.declare("q", durable=True, arguments=encode_table(arguments))
    client.publish("q", b"once", properties=PERSISTENT)
    consumer = connect_with_heartbeat(broker)
    consumer.send(1, new_method(commands.Basic.Consume, queue="q"))
    assert consumer.bodies() == [b"once"]
    # The consumer's time is over; enough was written meanwhile for a checkpoint; no tick has come between.
    broker.now_ms += 2500
    for _ in range(10):
        client.publish("elsewhere", b"")
        client.publish("q", b"x" * 600, properties=PERSISTENT)
    for _ in range(3):
        broker.broker.tick(broker.now_ms, broker.now_ms)
        broker.settle()
        broker.now_ms += 10
    checkpoint = broker.broker.durable_checkpoint()
    assert checkpoint is not None
    assert consumer.is_closed
    assert message_count_of(checkpoint) == 11


def test_a_checkpoint_without_a_deleted_queue_waits_until_its_deletion_is_durable() -> None:
    """Or the power could bring the queue back, and not what was in it."""
    broker = with_small_segments()
    client = broker.connect()
    client.declare("q", durable=True)
    client.publish("q", b"once", properties=PERSISTENT)
    broker.hold_syncs = True
    client.send(1, new_method(commands.Queue.Delete, queue="q"))
    broker.broker.begin_checkpoint()
    assert broker.broker.durable_checkpoint() is None
    broker.hold_syncs = False
    broker.settle()
    checkpoint = broker.broker.durable_checkpoint()
    assert checkpoint is not None
    assert message_count_of(checkpoint) == 0
