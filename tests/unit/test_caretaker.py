"""Whatever happens while queues are described or moved, a little in every turn: a restart finds what the broker holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pamqp import commands

from amqpd.caretaker import Caretaker
from amqpd.store.reclaim import Reclaim
from amqpd.store.sqlite_topology import SqliteTopology
from amqpd.store.topology import Topology
from amqpd.wire.methods import new_method
from tests.behaviour.harness import Received
from tests.crash.letters_life import PLAIN, declare, properties
from tests.fakes.faulty_disk import KEPT, FaultyDisk
from tests.fakes.stored_broker import StoredBroker

QUEUES = ("plain", "work", "short", "backoff", "levels", "other")
SEGMENT_BYTES = 1 << 20
SMALL_SEGMENT_BYTES = 2048
PREFILL_COUNT = 6

# What a client does, or time; the number says to which queue, or with which delivery.
Steps = list[tuple[str, int]]
DEEDS = (
    "publish",
    "publish",
    "get",
    "get",
    "get",
    "ack",
    "requeue",
    "reject",
    "lose",
    "wait",
    "purge",
    "make room",
    "tx",
)
# "turn" is the caretaker's.
STEPS = st.lists(st.tuples(st.sampled_from((*DEEDS, "turn", "turn", "turn")), st.integers(0, 5)), max_size=30)


class World:
    """Declared once: disks on which each queue holds a few messages, and what else is known of them."""

    def __init__(self, directory: Path) -> None:
        store = SqliteTopology(directory / "topology.sqlite")
        broker = StoredBroker(FaultyDisk(), store.load(), 1000, SEGMENT_BYTES, store)
        client = broker.connect()
        for queue in ("plain", "other"):
            declare(client, queue)
        # One place for dead letters: whatever else dies is refused, and stays where it was.
        declare(client, "strict", max_length=1, overflow="reject-publish")
        declare(client, "work", dlx_to="strict")
        declare(client, "short", message_ttl=3000, dlx_to="strict")
        declare(client, "backoff", retry_initial_ms=1500)
        declare(client, "levels", max_priority=2)
        self.topology: Topology = store.load()
        self.now_ms = broker.now_ms
        self._disks: dict[int, FaultyDisk] = {}
        store.close()

    def disk(self, segment_bytes: int) -> FaultyDisk:
        if segment_bytes not in self._disks:
            disk = FaultyDisk()
            actor = Actor(StoredBroker(disk, self.topology, self.now_ms, segment_bytes))
            for queue in QUEUES * PREFILL_COUNT:
                actor.publish(queue)
            self._disks[segment_bytes] = disk
        return self._disks[segment_bytes].survivor(KEPT)

    def start(self, disk: FaultyDisk, segment_bytes: int) -> StoredBroker:
        return StoredBroker(disk, self.topology, self.now_ms, segment_bytes)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


class Actor:
    def __init__(self, broker: StoredBroker) -> None:
        self.broker = broker
        self.client = broker.connect()
        self.taken: list[Received] = []
        self._published_count = 0

    def do(self, what: str, number: int) -> None:
        queue = QUEUES[number]
        if what == "publish":
            self.publish(queue)
        elif what == "get":
            got = self.client.get(queue)
            if got is not None:
                self.taken.append(got)
        elif what == "lose":
            self.client.lose()
            self.client = self.broker.connect()
            self.taken.clear()
        elif what == "wait":
            self.broker.advance(400 * (number + 1))
        elif what == "purge":
            self.client.call(1, new_method(commands.Queue.Purge, queue=queue))
        elif what == "make room":
            self.client.get("strict", no_ack=True)
        elif what == "tx":
            self.transact(queue)
        elif self.taken:
            self.settle(what, self.taken.pop(number % len(self.taken)))

    def publish(self, queue: str) -> None:
        self._published_count += 1
        tail = properties(level=self._published_count % 3) if queue == "levels" else PLAIN
        self.client.publish(queue, b"%s %d" % (queue.encode(), self._published_count), properties=tail)

    def settle(self, what: str, got: Received) -> None:
        tag = got.method.delivery_tag
        if what == "ack":
            self.client.send(1, new_method(commands.Basic.Ack, delivery_tag=tag))
        else:
            self.client.send(1, new_method(commands.Basic.Nack, delivery_tag=tag, requeue=what == "requeue"))

    def transact(self, queue: str) -> None:
        """Takes and acks on a channel of its own, and commits with the next transaction."""
        client = self.client
        if 2 not in client.connection.channels:
            client.call(2, new_method(commands.Channel.Open))
            client.call(2, new_method(commands.Tx.Select))
        else:
            client.call(2, new_method(commands.Tx.Commit))
        answer = client.call(2, new_method(commands.Basic.Get, queue=queue))
        if isinstance(answer, commands.Basic.GetOk):
            client.send(2, new_method(commands.Basic.Ack, delivery_tag=answer.delivery_tag))


State = tuple[dict[str, list[tuple[object, ...]]], dict[str, list[bytes]]]


def state_of(broker: StoredBroker) -> State:
    queues = broker.broker.vhosts["/"].queues
    contents: dict[str, list[tuple[object, ...]]] = dict(broker.contents())
    # What came back too late has died, and how often it came back is nobody's concern any more.
    contents["short"] = [each[:2] for each in contents.get("short", [])]
    return contents, {name: [each.message.body for each in queues[name].waiting.entries()] for name in QUEUES}


def state_after_restart(world: World, broker: StoredBroker) -> State:
    assert isinstance(broker.disk, FaultyDisk)
    again = StoredBroker(broker.disk.survivor(KEPT), world.topology, broker.now_ms, SEGMENT_BYTES)
    assert again.report.damage == []
    return state_of(again)


@settings(
    max_examples=settings().max_examples // 4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(before=STEPS, during=STEPS, after=STEPS)
def test_checkpoint_and_the_log_behind_it_are_the_state_whatever_went_on_meanwhile(
    world: World, before: Steps, during: Steps, after: Steps
) -> None:
    broker = world.start(world.disk(SEGMENT_BYTES), SEGMENT_BYTES)
    core = broker.broker
    caretaker = Caretaker(
        Reclaim(broker.log, 0, 1, False), core.agenda, core.vhosts, core.connections, described_count=1
    )
    actor = Actor(broker)
    for what, number in before:
        actor.do(what, number)
    caretaker.begin()
    for what, number in during:
        if what != "turn":
            actor.do(what, number)
        elif caretaker.finished is None:
            caretaker.step()
    while caretaker.finished is None:
        caretaker.step()
    assert core.agenda.checkpoint is None
    broker.settle()
    checkpoint = caretaker.finished
    assert checkpoint.mark <= broker.log.synced_mark
    broker.disk.write_checkpoint(checkpoint.generation, checkpoint.blocks())
    assert state_after_restart(world, broker) == state_of(broker)
    for what, number in after:
        actor.do(what, number)
    assert state_after_restart(world, broker) == state_of(broker)


@settings(
    max_examples=settings().max_examples // 5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(during=STEPS)
def test_everything_leaves_the_segments_that_should_go_whatever_goes_on_meanwhile(world: World, during: Steps) -> None:
    broker = world.start(world.disk(SMALL_SEGMENT_BYTES), SMALL_SEGMENT_BYTES)
    core = broker.broker
    caretaker = Caretaker(Reclaim(broker.log, 0, 1, False), core.agenda, core.vhosts, core.connections, moved_bytes=500)
    leaving = broker.log.segments[:-1]
    assert len(leaving) > 2
    for segment in leaving:
        segment.is_leaving = True
    actor = Actor(broker)
    for what, number in during:
        if what != "turn":
            actor.do(what, number)
        else:
            caretaker.step()
            broker.settle()
    for _ in range(100):
        core.agenda.monotonic_ms += 100
        caretaker.step()
        broker.settle()
    assert [int(each.live_count) for each in leaving] == [0] * len(leaving)
    assert [int(each.live_bytes) for each in leaving] == [0] * len(leaving)
    broker.log.segments = [each for each in broker.log.segments if each not in leaving]
    assert state_after_restart(world, broker) == state_of(broker)


def test_a_turn_describes_a_share_and_moves_a_share(world: World) -> None:
    broker = world.start(world.disk(SMALL_SEGMENT_BYTES), SMALL_SEGMENT_BYTES)
    core = broker.broker
    caretaker = Caretaker(
        Reclaim(broker.log, 0, 1, False), core.agenda, core.vhosts, core.connections, described_count=1, moved_bytes=1
    )
    for segment in broker.log.segments:
        segment.is_leaving = True
    core.agenda.monotonic_ms += 1000
    caretaker.begin()
    turns = 0
    while caretaker.finished is None:
        caretaker.step()
        turns += 1
    # What is in memory costs a turn for each message, what is on disk only one for a page.
    resident = sum(len(queue.ready.entries()) for queue in core.vhosts["/"].queues.values())
    assert resident > 0
    assert turns >= max(resident, len(QUEUES))
    grown = []
    for _ in range(60):
        before = broker.log.position_gathered
        caretaker.step()
        broker.settle()
        grown.append(broker.log.position_gathered - before)
    assert max(grown) > 0
    # One record moves in a turn, or one page that was read.
    assert max(grown) < 1000


def test_a_whole_checkpoint_goes_on_with_one_that_was_begun(world: World) -> None:
    broker = world.start(world.disk(SEGMENT_BYTES), SEGMENT_BYTES)
    core = broker.broker
    caretaker = Caretaker(
        Reclaim(broker.log, 0, 1, False), core.agenda, core.vhosts, core.connections, described_count=1
    )
    caretaker.begin()
    caretaker.step()
    assert caretaker.finished is None
    caretaker.take_whole()
    assert caretaker.finished is not None
    assert caretaker.finished.generation == 1
