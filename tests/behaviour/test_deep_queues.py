"""Queues whose middle is on disk only: clients see nothing of it, but for memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pamqp import commands

from amqpd.base.notice import WARNING
from amqpd.queues.chunk import Depth
from amqpd.queues.queue import Queue
from amqpd.vhosts.policies import checked_policy
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, Received, content_frames, method_frame
from tests.fakes.faulty_disk import FakeFile, FaultyDisk
from tests.fakes.restart import restarted, restarted_on

# A fifth of the real one, so that a fifth of the messages makes a queue as deep.
CHUNK_COUNT = 50
DEPTH = Depth(head_count=CHUNK_COUNT, chunk_count=CHUNK_COUNT)
BURST_COUNT = 20
# So many queues are deep besides: then a queue keeps as little in memory as it can.
OTHERS = 10_000


def resident_max(chunk_count: int) -> int:
    """What a queue may keep then: its head, and a few chunks."""
    return 6 * chunk_count


@pytest.fixture
def broker() -> BrokerHarness:
    return new_broker(80_000, DEPTH)


def new_broker(segment_bytes: int, depth: Depth) -> BrokerHarness:
    harness = BrokerHarness(segment_bytes=segment_bytes, depth=depth)
    harness.broker.agenda.deep_count = OTHERS
    return harness


def queue_of(broker: BrokerHarness, name: str = "q") -> Queue:
    return broker.broker.vhosts["/"].queues[name]


def body_of(number: int) -> bytes:
    return b"message %06d " % number + b"x" * 50


def publish_frames(number: int, queue: str, properties: bytes, channel: int = 1) -> bytes:
    publish = new_method(commands.Basic.Publish, routing_key=queue)
    return method_frame(channel, publish) + content_frames(channel, body_of(number), properties)


def fill(client: Client, count: int, queue: str = "q", first: int = 0, properties: bytes = PERSISTENT) -> list[bytes]:
    """In bursts, each of which is durable before the next."""
    for at in range(first, first + count, BURST_COUNT):
        end = min(at + BURST_COUNT, first + count)
        client.send_bytes(b"".join(publish_frames(number, queue, properties) for number in range(at, end)))
    return [body_of(number) for number in range(first, first + count)]


def declare(client: Client, queue: str = "q", durable: bool = True, **arguments: object) -> Any:
    table = encode_table({f"x-{name.replace('_', '-')}": value for name, value in arguments.items()})
    return client.declare(queue, durable=durable, arguments=table)


def message_count(client: Client, queue: str = "q") -> int:
    return int(client.declare(queue, passive=True).message_count)


def consume(client: Client, queue: str = "q", no_ack: bool = False, prefetch: int = 60) -> None:
    client.call(1, new_method(commands.Basic.Qos, prefetch_count=prefetch))
    client.call(1, new_method(commands.Basic.Consume, queue=queue, consumer_tag="c", no_ack=no_ack))


def deliveries(client: Client) -> list[Received]:
    taken, client.received = client.received, []
    return [each for each in taken if isinstance(each.method, commands.Basic.Deliver)]


def drain(client: Client, queue: str = "q") -> list[Received]:
    """Consume everything with acks, and leave."""
    consume(client, queue)
    found: list[Received] = []
    while batch := deliveries(client):
        found += batch
        client.send(1, new_method(commands.Basic.Ack, delivery_tag=batch[-1].method.delivery_tag, multiple=True))
    client.call(1, new_method(commands.Basic.Cancel, consumer_tag="c"))
    return found


def bodies(found: list[Received]) -> list[bytes]:
    return [each.body for each in found]


def get_cold(client: Client, queue: str = "q") -> None:
    """Take messages until the next one is on disk only."""
    while not queue_of(client.harness, queue).is_waiting:
        assert client.get(queue, no_ack=True) is not None


def live_counts(broker: BrokerHarness) -> tuple[int, int]:
    segments = broker.broker.agenda.log.segments
    return sum(int(each.live_count) for each in segments), sum(int(each.live_bytes) for each in segments)


@pytest.mark.parametrize(
    "count, segment_bytes, depth",
    [(4000, 80_000, DEPTH), pytest.param(20_000, 400_000, Depth(), marks=pytest.mark.slow)],
)
def test_thousands_of_messages_are_few_in_memory_and_come_in_order(
    count: int, segment_bytes: int, depth: Depth
) -> None:
    broker = new_broker(segment_bytes, depth)
    client = broker.connect()
    declare(client)
    published = fill(client, count)
    queue = queue_of(broker)
    assert len(queue.ready.entries()) <= resident_max(int(depth.chunk_count))
    assert message_count(client) == count
    assert bodies(drain(client)) == published
    assert broker.read_count > 50
    assert message_count(client) == 0
    assert live_counts(broker) == (0, 0)
    assert broker.broker.agenda.deep_count == OTHERS


def test_what_is_consumed_while_it_is_published_comes_in_order(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    published = fill(client, 800)
    other = broker.connect()
    consume(other, prefetch=100)
    found: list[Received] = []
    for at in range(800, 1800, 100):
        published += fill(client, 100, first=at)
        batch = deliveries(other)
        found += batch
        other.send(1, new_method(commands.Basic.Ack, delivery_tag=batch[-1].method.delivery_tag, multiple=True))
    found += deliveries(other)
    other.send(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
    other.call(1, new_method(commands.Basic.Cancel, consumer_tag="c"))
    found += deliveries(other)
    other.send(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
    found += drain(other)
    assert bodies(found) == published
    assert live_counts(broker) == (0, 0)


def test_a_consumer_without_acks_gets_everything_too(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    published = fill(client, 1200)
    consume(client, no_ack=True)
    assert bodies(deliveries(client)) == published
    assert live_counts(broker) == (0, 0)


def test_a_get_waits_for_a_message_on_disk_and_is_answered(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    published = fill(client, 800)
    broker.hold_reads = True
    get_cold(client)
    next_body = published[800 - message_count(client)]
    client.send(1, new_method(commands.Basic.Get, queue="q"))
    broker.advance(1000)
    assert client.received == []
    broker.release_reads()
    (answer,) = client.received
    assert isinstance(answer.method, commands.Basic.GetOk)
    assert answer.body == next_body


def test_replies_keep_their_order_around_a_get_that_waits(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    fill(client, 800)
    broker.hold_reads = True
    get_cold(client)
    get = method_frame(1, new_method(commands.Basic.Get, queue="q", no_ack=True))
    passive = method_frame(1, new_method(commands.Queue.Declare, queue="q", passive=True))
    elsewhere = method_frame(2, new_method(commands.Channel.Open))
    # Cut in the middle of a frame, and the rest comes while it waits.
    stream = passive + get + elsewhere + publish_frames(7, "empty", PERSISTENT) + passive + get + get + passive
    client.send_bytes(stream[: len(passive) + len(get) + 5])
    client.send_bytes(stream[len(passive) + len(get) + 5 :])
    assert [each.method.name for each in client.received] == ["Queue.DeclareOk"]
    broker.release_reads()
    assert [each.method.name for each in client.received] == [
        "Queue.DeclareOk",
        "Basic.GetOk",
        "Channel.OpenOk",
        "Queue.DeclareOk",
        "Basic.GetOk",
        "Basic.GetOk",
        "Queue.DeclareOk",
    ]
    counts = [each.method.message_count for each in client.received if hasattr(each.method, "message_count")]
    assert counts == [counts[0] - taken for taken in (0, 1, 1, 2, 3, 3)]


def test_two_clients_may_wait_for_the_same_message(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    published = fill(client, 800)
    broker.hold_reads = True
    get_cold(client)
    rest = published[800 - message_count(client) :]
    clients = [client, broker.connect(), broker.connect()]
    for each in clients:
        each.send(1, new_method(commands.Basic.Get, queue="q", no_ack=True))
    clients[1].lose()
    broker.release_reads()
    assert [each.received[0].body for each in (clients[0], clients[2])] == rest[:2]
    clients[0].received.clear()
    assert bodies(drain(client)) == rest[2:]


def test_a_get_that_waits_is_answered_when_there_is_nothing_to_be_read(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    fill(client, 800)
    broker.hold_reads = True
    get_cold(client)
    client.send(1, new_method(commands.Basic.Get, queue="q"))
    broker.damaged_reads = 1_000_000
    broker.release_reads()
    # Behind the head all of it was on disk only.
    assert [each.method.name for each in client.received] == ["Basic.GetEmpty"]
    assert message_count(client) == 0


@pytest.mark.parametrize("end", ["purge", "delete"])
def test_a_get_that_waits_is_answered_when_the_queue_is_emptied(
    broker: BrokerHarness, client: Client, end: str
) -> None:
    declare(client)
    fill(client, 800)
    other = broker.connect()
    broker.hold_reads = True
    get_cold(client)
    left = message_count(client)
    client.send(1, new_method(commands.Basic.Get, queue="q"))
    assert client.received == []
    if end == "purge":
        assert other.call(1, new_method(commands.Queue.Purge, queue="q")).message_count == left
        assert [each.method.name for each in client.received] == ["Basic.GetEmpty"]
    else:
        assert other.call(1, new_method(commands.Queue.Delete, queue="q")).message_count == left
        assert client.received[0].method.reply_code == 404
    broker.release_reads()
    assert len(client.received) == 1
    assert live_counts(broker) == (0, 0)
    assert broker.broker.agenda.deep_count == OTHERS


@pytest.mark.parametrize("method", [commands.Queue.Purge, commands.Queue.Delete])
def test_a_deep_queue_is_emptied_at_once(broker: BrokerHarness, client: Client, method: type) -> None:
    declare(client)
    fill(client, 1200)
    assert client.call(1, new_method(method, queue="q")).message_count == 1200
    assert live_counts(broker) == (0, 0)
    assert broker.read_count == 0
    declare(client)
    published = fill(client, 600)
    assert bodies(drain(client)) == published


def test_a_purge_spares_what_is_unacked_and_a_restart_knows(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client)
    published = fill(client, 1200)
    for _ in range(5):
        client.get("q")
    assert client.call(1, new_method(commands.Queue.Purge, queue="q")).message_count == 1195
    assert live_counts(broker)[0] == 5
    client.publish("q", b"later", properties=PERSISTENT)
    again = restarted(broker.batches, tmp_path, broker.now_ms, depth=DEPTH)
    assert bodies(drain(again.connect())) == [*published[:5], b"later"]


def test_a_consumer_that_leaves_while_it_waits_takes_nothing_with_it(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    published = fill(client, 800)
    broker.hold_reads = True
    get_cold(client)
    rest = published[800 - message_count(client) :]
    other = broker.connect()
    consume(other)
    assert deliveries(other) == []
    other.call(1, new_method(commands.Basic.Cancel, consumer_tag="c"))
    broker.release_reads()
    assert deliveries(other) == []
    assert bodies(drain(client)) == rest


def test_a_queue_that_is_deleted_while_it_is_read_leaves_nothing(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    fill(client, 800)
    broker.hold_reads = True
    consume(client, no_ack=True)
    assert 0 < len(deliveries(client)) < 800
    other = broker.connect()
    other.call(1, new_method(commands.Queue.Delete, queue="q"))
    broker.release_reads()
    assert deliveries(client) == []
    assert live_counts(broker) == (0, 0)
    assert declare(other).message_count == 0


@pytest.mark.parametrize("failures", [1, 2])
def test_a_read_that_fails_is_repeated(broker: BrokerHarness, client: Client, failures: int) -> None:
    declare(client)
    published = fill(client, 800)
    broker.failing_reads = failures
    consume(client, no_ack=True, prefetch=0)
    found = deliveries(client)
    assert len(found) < len(published)
    broker.advance(60_000)
    assert bodies(found + deliveries(client)) == published
    assert [notice.level for notice in broker.broker.agenda.notices] == [WARNING, WARNING]
    assert broker.broker.take_lost() == []


def test_what_can_not_be_read_for_an_hour_is_all_there_afterwards_and_in_the_log(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client)
    declare(client, "other")
    published = fill(client, 800)
    broker.failing_reads = 1_000_000
    consume(client, prefetch=0)
    broker.advance(3_600_000)
    found = deliveries(client)
    assert 0 < len(found) < 800
    assert live_counts(broker)[0] == 800
    other = broker.connect()
    fill(other, 1, "other")
    assert other.get("other").body == body_of(0)
    again = restarted(broker.batches, tmp_path, broker.now_ms, depth=DEPTH)
    assert bodies(drain(again.connect())) == published
    broker.failing_reads = 0
    broker.advance(10_000)
    assert bodies(found + deliveries(client)) == published


def test_what_is_damaged_is_given_up_and_everything_else_is_served(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    published = fill(client, 800)
    disk = broker.flush()
    assert isinstance(disk, FaultyDisk)
    at = disk.segments[1].content.index(body_of(400))
    data = disk.segments[1].content
    disk.segments[1] = FakeFile(data[:at] + b"\xff" + data[at + 1 :])
    found = bodies(drain(client))
    # Its batch is what was damaged.
    assert found == published[:400] + published[420:]
    notices = broker.broker.agenda.lines
    assert len(broker.broker.take_lost()) == 20
    assert len(notices) == 1
    assert notices[0].startswith("queue 'q' in vhost '/' has lost a message: segment 1 is damaged at byte ")
    assert (message_count(client), live_counts(broker)) == (0, (0, 0))


def test_a_message_that_was_given_up_does_not_come_back(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client)
    published = fill(client, 800)
    broker.damaged_reads = 1
    get_cold(client)
    client.get("q", no_ack=True)
    left = message_count(client)
    assert len(broker.broker.take_lost()) == CHUNK_COUNT
    again = restarted(broker.batches, tmp_path, broker.now_ms, depth=DEPTH)
    assert bodies(drain(again.connect())) == published[800 - left :]


# Age


@pytest.mark.parametrize("by", ["argument", "policy"])
def test_a_deep_queue_with_a_ttl_empties_when_it_is_time(broker: BrokerHarness, client: Client, by: str) -> None:
    declare(client, "dead")
    options: dict[str, object] = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
    declare(client, **(options | {"message_ttl": 60_000} if by == "argument" else options))
    published = fill(client, 600)
    broker.advance(10_000)
    published += fill(client, 400, first=600)
    if by == "policy":
        set_policy(broker, {"message-ttl": 60_000})
    assert message_count(client) == 1000
    broker.advance(49_000)
    assert message_count(client) == 1000
    broker.advance(1500)
    assert (message_count(client), message_count(client, "dead")) == (400, 600)
    broker.advance(10_000)
    assert (message_count(client), message_count(client, "dead")) == (0, 1000)
    assert bodies(drain(client, "dead")) == published
    assert live_counts(broker) == (0, 0)


def test_a_ttl_that_is_taken_away_keeps_what_is_on_disk(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    set_policy(broker, {"message-ttl": 60_000})
    published = fill(client, 800)
    broker.advance(50_000)
    set_policy(broker, {"max-length": 1_000_000})
    broker.advance(50_000)
    assert bodies(drain(client)) == published


def test_overdue_messages_on_disk_leave_after_a_restart(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client, message_ttl=60_000)
    fill(client, 600)
    broker.advance(30_000)
    published = fill(client, 200, first=600)
    again = restarted(broker.batches, tmp_path, broker.now_ms + 40_000, depth=DEPTH)
    again.advance(100)
    assert message_count(again.connect()) == 200
    assert bodies(drain(again.connect())) == published


def set_policy(broker: BrokerHarness, keys: dict[str, object]) -> None:
    broker.broker.set_policy(checked_policy("/", "p", "^q$", 0, "queues", keys, False))
    broker.settle()


# Length


def test_drop_head_on_a_deep_queue_drops_the_oldest(broker: BrokerHarness, client: Client) -> None:
    declare(client, "dead")
    declare(client, max_length=800, dead_letter_exchange="", dead_letter_routing_key="dead")
    published = fill(client, 1800)
    assert (message_count(client), message_count(client, "dead")) == (800, 1000)
    assert bodies(drain(client)) == published[1000:]
    assert bodies(drain(client, "dead")) == published[:1000]
    assert live_counts(broker) == (0, 0)


def test_drop_head_waits_for_what_is_on_disk(broker: BrokerHarness, client: Client) -> None:
    declare(client, max_length=800)
    published = fill(client, 800)
    broker.hold_reads = True
    published += fill(client, 600, first=800)
    assert message_count(client) > 800
    broker.release_reads()
    assert bodies(drain(client)) == published[600:]


def test_reject_publish_counts_what_is_on_disk(broker: BrokerHarness, client: Client) -> None:
    declare(client, max_length=800, overflow="reject-publish")
    published = fill(client, 1000)
    assert message_count(client) == 800
    assert bodies(drain(client)) == published[:800]


@pytest.mark.parametrize("by", ["argument", "policy"])
def test_bytes_on_disk_count_for_the_limit(broker: BrokerHarness, client: Client, by: str) -> None:
    size = len(body_of(0))
    if by == "argument":
        declare(client, max_length_bytes=800 * size)
    else:
        declare(client)
    published = fill(client, 1200)
    if by == "policy":
        assert message_count(client) == 1200
        set_policy(broker, {"max-length-bytes": 800 * size})
    assert message_count(client) == 800
    published += fill(client, 10, first=1200)
    assert message_count(client) == 800
    assert bodies(drain(client)) == published[410:]
    fill(client, 820)
    assert message_count(client) == 800


# Order


def test_a_deep_priority_queue_keeps_its_order(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client, max_priority=3)
    published: dict[int, list[bytes]] = {level: [] for level in range(4)}
    for number in range(0, 2400, 20):
        level = number // 20 % 4
        published[level] += fill(client, 20, first=number, properties=b"\x18\x00\x02" + bytes([level]))
    queue = queue_of(broker)
    assert len(queue.ready.entries()) <= 4 * resident_max(CHUNK_COUNT)
    assert len(queue.ready.pages()) > 0
    expected = [body for level in (3, 2, 1, 0) for body in published[level]]
    again = restarted(broker.batches, tmp_path, broker.now_ms, depth=DEPTH)
    assert bodies(drain(again.connect())) == expected
    assert bodies(drain(client)) == expected
    assert live_counts(broker) == live_counts(again) == (0, 0)


def test_what_comes_back_goes_first(broker: BrokerHarness, client: Client) -> None:
    declare(client)
    published = fill(client, 1000)
    consume(client, prefetch=400)
    assert bodies(deliveries(client)) == published[:400]
    client.send(1, new_method(commands.Basic.Cancel, consumer_tag="c"))
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=300, multiple=True, requeue=True))
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=0, multiple=True))
    client.received.clear()
    found = drain(client)
    assert bodies(found) == published[:300] + published[400:]
    assert [each.method.redelivered for each in found] == [True] * 300 + [False] * 600


def test_a_transaction_with_a_deep_queue(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client)
    published = fill(client, 800)
    other = broker.connect()
    other.call(1, new_method(commands.Tx.Select))
    for _ in range(500):
        got = other.get("q")
    assert got is not None
    other.send(1, new_method(commands.Basic.Ack, delivery_tag=400, multiple=True))
    fill(other, 300, first=800)
    assert message_count(client) == 300
    other.call(1, new_method(commands.Tx.Commit))
    assert message_count(client) == 600
    expected = published[400:] + [body_of(number) for number in range(800, 1100)]
    again = restarted(broker.batches, tmp_path, broker.now_ms, depth=DEPTH)
    assert bodies(drain(again.connect())) == expected
    other.lose()
    assert bodies(drain(client)) == expected


# Restarts


def checkpoint_of(broker: BrokerHarness) -> Any:
    broker.broker.begin_checkpoint()
    broker.settle()
    checkpoint = broker.broker.durable_checkpoint()
    assert checkpoint is not None
    return checkpoint


@pytest.mark.parametrize("is_clean", [False, True])
@pytest.mark.parametrize("checkpoint_at", ["never", "middle", "end"])
def test_a_restart_of_a_deep_queue_keeps_everything(
    broker: BrokerHarness, client: Client, tmp_path: Path, is_clean: bool, checkpoint_at: str
) -> None:
    declare(client)
    published = fill(client, 800)
    for _ in range(10):
        client.get("q")
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=3, multiple=True, requeue=True))
    checkpoint = checkpoint_of(broker) if checkpoint_at == "middle" else None
    published += fill(client, 400, first=800)
    client.send(1, new_method(commands.Basic.Ack, delivery_tag=8))
    client.lose()
    broker.settle()
    if checkpoint_at == "end":
        checkpoint = checkpoint_of(broker)
    again = restarted(broker.batches, tmp_path, broker.now_ms, checkpoint, is_clean, DEPTH)
    again.broker.agenda.deep_count += OTHERS
    queue = queue_of(again)
    assert len(queue.ready.entries()) == 0
    assert queue.ready.count == 1199
    found = drain(again.connect())
    assert bodies(found) == published[:7] + published[8:]
    # Ten were delivered, and of an unclean stop nobody knows.
    assert [each.method.redelivered for each in found] == [True] * 9 + [not is_clean] * 1190
    assert live_counts(again) == (0, 0)


def test_delivery_counts_outlive_restarts_in_pages(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client, delivery_limit=2)
    fill(client, 600)
    for _ in range(2):
        got = client.get("q")
        assert got is not None
        client.send(1, new_method(commands.Basic.Reject, delivery_tag=got.method.delivery_tag, requeue=True))
    batches = broker.batches
    again = restarted(batches, tmp_path, broker.now_ms, depth=DEPTH)
    checkpoint = checkpoint_of(again)
    disk = again.flush()
    disk.write_checkpoint(checkpoint.generation, checkpoint.blocks())
    third = restarted_on(disk, again.batches, tmp_path, broker.now_ms, depth=DEPTH)
    reader = third.connect()
    got = reader.get("q")
    assert got is not None and got.body == body_of(0)
    # It was given back twice already.
    reader.send(1, new_method(commands.Basic.Reject, delivery_tag=1, requeue=True))
    assert message_count(reader) == 599
    got = reader.get("q")
    assert got is not None and got.body == body_of(1)


def test_restart_after_restart_with_work_in_between(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client)
    expected = fill(client, 600)
    current, reader = broker, client
    for life in range(4):
        for _ in range(60):
            got = reader.get("q", no_ack=True)
            assert got is not None and got.body == expected.pop(0)
        expected += fill(reader, 200, first=600 + 200 * life)
        if life % 2:
            checkpoint = checkpoint_of(current)
            current.flush().write_checkpoint(checkpoint.generation, checkpoint.blocks())
        current = restarted_on(
            current.flush(), current.batches, tmp_path, current.now_ms, segment_bytes=10_000, depth=DEPTH
        )
        current.broker.agenda.deep_count += OTHERS
        reader = current.connect()
        assert message_count(reader) == len(expected)
    assert bodies(drain(reader)) == expected
    assert live_counts(current) == (0, 0)


def test_space_of_a_deep_queue_is_won_back_while_one_message_in_many_stays(
    broker: BrokerHarness, client: Client
) -> None:
    declare(client)
    declare(client, "slow")
    expected = []
    for at in range(0, 6000, 20):
        fill(client, 19, first=at)
        expected += fill(client, 1, "slow", first=at + 19)
    assert bodies(drain(client)) != []
    before = len(broker.broker.agenda.log.segments)
    for _ in range(100):
        broker.advance(1100)
        checkpoint = broker.broker.durable_checkpoint()
        if checkpoint is not None:
            broker.flush().write_checkpoint(checkpoint.generation, checkpoint.blocks())
            broker.broker.checkpoint_written(checkpoint)
        dead = broker.broker.dead_segments()
        if dead:
            broker.flush().delete_segments(dead)
    assert len(broker.broker.agenda.log.segments) <= 3 < before
    assert bodies(drain(client, "slow")) == expected


def test_a_purge_takes_a_dead_letter_that_nobody_took_with_it(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    """It left the middle of the queue, and its record is all that there is of it."""
    declare(client, "full", max_length=0, overflow="reject-publish")
    declare(client, dead_letter_exchange="", dead_letter_routing_key="full")
    fill(client, 240)
    client.publish("q", b"refused", properties=b"\x11\x00\x02\x0210")
    broker.advance(1000)
    assert message_count(client) == 240
    fill(client, 400, first=240)
    assert queue_of(broker).ready.pages()[0].first_id < 240
    assert live_counts(broker)[0] == 641
    assert client.call(1, new_method(commands.Queue.Purge, queue="q")).message_count == 641
    assert live_counts(broker)[0] == 0
    again = restarted(broker.batches, tmp_path, broker.now_ms, depth=DEPTH)
    assert queue_of(again).is_empty
