"""While memory is short: transient messages leave it too, and clients see nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pamqp import commands

from amqpd.base.message import Message
from amqpd.caretaker import MOVE_INTERVAL_MS
from amqpd.queues.chunk import Depth
from amqpd.queues.queue import Queue
from amqpd.store.log import SPILLED_PENDING_BYTES_MAX
from amqpd.store.record import queue_id_bytes
from amqpd.vhosts.policies import checked_policy
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, content_frames, method_frame
from tests.fakes.restart import ready_bodies, restarted

CHUNK_COUNT = 10
TRANSIENT = b"\x10\x00\x01"
SHORT_TTL_MS = 60_000


@pytest.fixture
def broker() -> BrokerHarness:
    return BrokerHarness(segment_bytes=20_000, depth=Depth(head_count=CHUNK_COUNT, chunk_count=CHUNK_COUNT))


def queue_of(broker: BrokerHarness) -> Queue:
    return broker.broker.vhosts["/"].queues["q"]


def declare(client: Client, durable: bool = True, **arguments: object) -> None:
    table = encode_table({f"x-{name.replace('_', '-')}": value for name, value in arguments.items()})
    client.declare("q", durable=durable, arguments=table)


def body_of(number: int) -> bytes:
    return b"%06d " % number + b"x" * 60


def fill(client: Client, first: int, count: int, properties: bytes = TRANSIENT) -> list[bytes]:
    publish = method_frame(1, new_method(commands.Basic.Publish, routing_key="q"))
    bodies = [body_of(number) for number in range(first, first + count)]
    for body in bodies:
        client.send_bytes(publish + content_frames(1, body, properties))
    return bodies


def take_all(client: Client) -> list[bytes]:
    found = []
    while (answer := client.get("q", no_ack=True)) is not None:
        found.append(answer.body)
    return found


def resident_count(broker: BrokerHarness) -> int:
    return len(queue_of(broker).ready.entries())


def live_count(broker: BrokerHarness) -> int:
    return sum(int(each.live_count) for each in broker.broker.agenda.log.segments)


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_in_memory_leaves_it_and_comes_back_in_order(
    broker: BrokerHarness, client: Client, durable: bool
) -> None:
    declare(client, durable)
    published = fill(client, 0, 500)
    assert resident_count(broker) == 500
    broker.broker.set_memory_short(True)
    broker.advance(2 * MOVE_INTERVAL_MS)
    assert resident_count(broker) <= CHUNK_COUNT + 18 * CHUNK_COUNT
    assert live_count(broker) == 500 - resident_count(broker)
    assert client.declare("q", passive=True).message_count == 500
    assert take_all(client) == published
    assert live_count(broker) == 0


@pytest.mark.parametrize("durable", [True, False])
def test_what_comes_then_does_not_even_stay(broker: BrokerHarness, client: Client, durable: bool) -> None:
    declare(client, durable)
    broker.broker.set_memory_short(True)
    published = fill(client, 0, 300)
    assert resident_count(broker) == CHUNK_COUNT + 1
    broker.broker.set_memory_short(False)
    published += fill(client, 300, 100)
    assert take_all(client) == published
    assert live_count(broker) == 0


def test_transient_and_persistent_messages_keep_their_order_and_only_one_kind_survives(
    broker: BrokerHarness, client: Client, tmp_path: Path
) -> None:
    declare(client)
    broker.broker.set_memory_short(True)
    published = [fill(client, number, 1, (TRANSIENT, PERSISTENT)[number % 2])[0] for number in range(400)]
    assert resident_count(broker) == CHUNK_COUNT + 1
    again = restarted(broker.batches, tmp_path, broker.now_ms)
    assert ready_bodies(again, queue_of(again)) == published[1::2]
    assert take_all(client) == published
    assert live_count(broker) == 0


def test_a_checkpoint_says_nothing_of_it(broker: BrokerHarness, client: Client, tmp_path: Path) -> None:
    declare(client)
    broker.broker.set_memory_short(True)
    published = fill(client, 0, 100)
    kept = fill(client, 100, 100, PERSISTENT)
    broker.broker.begin_checkpoint()
    broker.settle()
    checkpoint = broker.broker.durable_checkpoint()
    assert checkpoint is not None
    again = restarted(broker.batches, tmp_path, broker.now_ms, checkpoint)
    assert ready_bodies(again, queue_of(again)) == kept
    assert again.broker.agenda.lines == []
    assert take_all(client) == published + kept


def test_the_time_of_the_queue_goes_on_on_disk(broker: BrokerHarness, client: Client) -> None:
    declare(client, message_ttl=SHORT_TTL_MS)
    fill(client, 0, 100)
    broker.advance(SHORT_TTL_MS // 2)
    broker.broker.set_memory_short(True)
    broker.advance(2 * MOVE_INTERVAL_MS)
    published = fill(client, 100, 100)
    broker.advance(SHORT_TTL_MS // 2)
    assert client.declare("q", passive=True).message_count == 100
    assert take_all(client) == published


def test_a_time_to_live_that_comes_later_counts_from_when_it_left_memory_at_the_latest(
    broker: BrokerHarness, client: Client
) -> None:
    declare(client, durable=False)
    broker.broker.set_memory_short(True)
    published = fill(client, 0, 100)
    set_ttl(broker, SHORT_TTL_MS)
    broker.advance(SHORT_TTL_MS // 2)
    assert client.get("q", no_ack=True).body == published[0]
    broker.advance(SHORT_TTL_MS)
    assert client.declare("q", passive=True).message_count == 0
    assert live_count(broker) == 0


def set_ttl(broker: BrokerHarness, ttl_ms: int) -> None:
    broker.broker.set_policy(checked_policy("/", "p", ".*", 0, "queues", {"message-ttl": ttl_ms}, False))


def test_it_moves_out_of_a_segment_that_should_go(broker: BrokerHarness, client: Client) -> None:
    declare(client, durable=False)
    client.declare("other", durable=True)
    broker.broker.set_memory_short(True)
    published = fill(client, 0, 40)
    for _ in range(400):
        client.publish("other", bytes(200), properties=PERSISTENT)
    client.call(1, new_method(commands.Queue.Purge, queue="other"))
    first = broker.broker.agenda.log.segments[0]
    for _ in range(10):
        broker.advance(MOVE_INTERVAL_MS)
    assert first.live_count == 0
    assert take_all(client) == published


@pytest.mark.parametrize("method", [commands.Queue.Purge, commands.Queue.Delete])
@pytest.mark.parametrize("durable", [True, False])
def test_emptying_the_queue_gives_its_space_back_without_a_record(
    broker: BrokerHarness, client: Client, method: type, durable: bool
) -> None:
    declare(client, durable)
    broker.broker.set_memory_short(True)
    fill(client, 0, 100)
    assert live_count(broker) == 100 - CHUNK_COUNT - 1
    assert client.call(1, new_method(method, queue="q")).message_count == 100
    assert live_count(broker) == 0
    assert not broker.broker.agenda.log.dirty


def test_what_has_a_time_of_its_own_stays_in_memory(broker: BrokerHarness, client: Client) -> None:
    declare(client, durable=False)
    broker.broker.set_memory_short(True)
    fill(client, 0, 100, b"\x11\x00\x01\x0560000")
    broker.advance(2 * MOVE_INTERVAL_MS)
    assert resident_count(broker) == 100
    broker.advance(60_000)
    assert client.declare("q", passive=True).message_count == 0


def test_spilled_messages_that_are_damaged_are_given_up(broker: BrokerHarness, client: Client) -> None:
    declare(client, durable=False)
    broker.broker.set_memory_short(True)
    published = fill(client, 0, 60)
    # One chunk is read at a time.
    broker.broker.agenda.deep_count += 10_000
    broker.damaged_reads = 1
    found = take_all(client)
    assert found == [*published[: CHUNK_COUNT + 1], *published[2 * CHUNK_COUNT + 1 :]]
    assert len(broker.broker.take_lost()) == CHUNK_COUNT
    assert len(broker.broker.agenda.lines) == 1
    assert live_count(broker) == 0


def test_what_was_never_logged_is_as_old_as_its_time_on_disk_when_a_ttl_comes(
    broker: BrokerHarness, client: Client
) -> None:
    declare(client, durable=False)
    broker.broker.set_memory_short(True)
    published = fill(client, 0, 300)
    broker.advance(SHORT_TTL_MS - 10_000)
    broker.broker.set_policy(checked_policy("/", "p", "^q$", 0, "queues", {"message-ttl": SHORT_TTL_MS}, False))
    # Those that never left memory began to age with the policy, and stand before the others.
    taken = [client.get("q", no_ack=True) for _ in range(2 * CHUNK_COUNT)]
    broker.advance(9_000)
    taken.append(client.get("q", no_ack=True))
    assert [each.body for each in taken if each is not None] == published[: 2 * CHUNK_COUNT + 1]
    broker.advance(2_000)
    assert client.get("q") is None


def test_a_slow_disk_is_not_asked_for_more_than_it_can_take(broker: BrokerHarness, client: Client) -> None:
    log = broker.broker.agenda.log
    declare(client, durable=False)
    broker.broker.set_memory_short(True)
    fill(client, 0, 50)
    assert resident_count(broker) == CHUNK_COUNT + 1
    while log.pending_bytes <= SPILLED_PENDING_BYTES_MAX:
        log.append_message(Message(log.next_message_id(), b"", b"", bytes(1 << 20)), queue_id_bytes(1), 0)
    queue = queue_of(broker)
    for number in range(50):
        queue.publish(Message(log.next_message_id(), b"", b"", b"%d" % number))
    assert resident_count(broker) == CHUNK_COUNT + 1 + 50
