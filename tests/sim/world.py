"""One seed played out: steps of time, turns of clients, pieces of bytes, jobs of threads, and trouble.

Owns simulated time and every choice of what happens next. Does not own what a client does (clients.py), what a disk does
(disk.py) or whether that was right (ledger.py, judge.py). One thread, and no randomness but the plan's seed.

A step is one iteration of the node's event loop with everything around it: time passes, clients act, some bytes arrive, the
turn ends, the writer's and the house's threads get somewhere, some bytes reach their clients.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.base.limits import Limits
from amqpd.vhosts.policies import checked_policy
from tests.sim import plan as plans
from tests.sim.accounts import miscounted
from tests.sim.auditor import Auditor, Setup
from tests.sim.clients import Client, Confirming, Consumer, Publisher, TxClient
from tests.sim.disk import PowerLoss, SimDisk
from tests.sim.ledger import Ledger, Violation
from tests.sim.node import Link, Node, NodeStopped, chunk
from tests.sim.owner import Owner
from tests.sim.plan import Plan, QueueSpec, Trouble
from tests.sim.rot import rot, whole_counts
from tests.sim.story import Story
from tests.sim.topology import MemoryTopology

KINDS: dict[str, type[Client]] = {
    plans.PUBLISHER: Publisher,
    plans.CONSUMER: Consumer,
    plans.GETTER: Consumer,
    plans.TX: TxClient,
    plans.OWNER: Owner,
}


# Which effect of the disk the power goes in.
POWER_IN = {plans.POWER_IN_EFFECT: "", plans.POWER_IN_DELETE: "delete", plans.POWER_IN_CHECKPOINT: "checkpoint"}


# Which effect of the disk fails.
FAILS = {
    plans.SYNC_FAILS: "sync",
    plans.WRITE_FAILS: "write",
    plans.CHECKPOINT_FAILS: "checkpoint",
    plans.READ_FAILS: "read",
}


# Whatever they are, nobody notices, but the core has other work.
POLICIES: tuple[dict[str, int], ...] = (
    {},
    {"max-length-bytes": 1 << 30},
    {"message-ttl": 3_600_000},
    {"message-ttl": 3_000_000, "max-length": 1 << 20},
)


class Refused(Exception):
    """The bytes on the disk are too bad to start with, and the node says so."""


# Longer than the longest pause before a read that failed is tried again, in milliseconds.
ROUNDS_MAX = 8000
# Steps from one count of what segments hold to the next.
COUNT_EVERY = 8
QUIET_MS = 30_000


class World:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.story = Story()
        self.specs: dict[str, QueueSpec] = {each.name: each for each in plan.queues}
        self.ledger = Ledger(self.story, self.specs)
        self._source = random.Random(f"{plan.seed} world")
        self._network = random.Random(f"{plan.seed} network")
        self._threads = random.Random(f"{plan.seed} threads")
        self.disk = SimDisk(self.story, random.Random(f"{plan.seed} disk"))
        self.topology = MemoryTopology(self.story)
        self._limits = Limits(segment_bytes=plan.segment_bytes)
        self.clients = [KINDS[spec.kind](spec, self) for spec in plan.clients]
        self._slow_until = 0
        self._full_until = -1
        self._reads_fail_until = -1
        self._no_descriptors_until = -1
        self._short_until = 0
        self._is_rotting = False
        self._rotted: list[int] = []
        self._has_checkpoint_rotted = False
        self._hit: dict[int, None] = {}
        self._house_runs = False
        self._step = 0
        self.crash_count = 0
        self.node = Node(self.disk, self.topology, self.story, self._limits, plan.depth, 0)
        self.node.disk.between = self._between

    # The whole run

    def run(self) -> None:
        """Raises Violation."""
        try:
            self._run()
        except Refused as refused:
            self.story.tell("* the node refuses to start: {}", refused)
        except (AssertionError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise Violation("BUG", f"{type(error).__name__}: {error}") from error

    def violation(self) -> Violation | None:
        """Run, and say what went wrong."""
        try:
            self.run()
        except Violation as violation:
            self.story.tell("! {}", violation)
            return violation
        return None

    def _run(self) -> None:
        self.story.tell("* seed {}", self.plan.seed)
        self._set_up(True)
        troubles = list(self.plan.troubles)
        for step in range(self.plan.steps):
            self._step = step
            while troubles and troubles[0].step <= step:
                self._guarded(self._begin_trouble, troubles.pop(0))
            self._guarded(self._one_step)
        self._conclude()

    def _set_up(self, is_first: bool) -> None:
        if is_first or any(not each.durable for each in self.plan.queues):
            setup = Setup(self, is_first)
            setup.connect()
            self.calm(lambda: setup.is_ready and not setup.is_waiting)
            assert setup.link is not None
            self.cut(setup.link)

    def _conclude(self) -> None:
        """Heal everything; whatever is owed must come; look; be quiet; look at the disk; cut the power and look again."""
        self._heal()
        self.calm(self._is_settled)
        self._cut_all()
        self.pass_time(2 * plans.DELAY_MS_MAX)
        auditor = Auditor(self, False)
        auditor.look()
        left_bytes = auditor.finish(self._source.choice((0, 0, 3, 10)))
        self.pass_time(QUIET_MS)
        self.judge_accounts()
        if self._is_all_known():
            self._judge_space(left_bytes)
        self.crash(plans.POWER)
        last = Auditor(self, True)
        last.look()

    def _heal(self) -> None:
        self.disk.heal()
        self._end_full()
        self._slow_until = 0
        self._short_until = 0
        self.node.broker.set_memory_short(False)
        self._is_rotting = False
        self.story.tell("* everything is healthy from here on")

    def _is_settled(self) -> bool:
        owed = any(isinstance(each, Confirming) and each.link is not None and each.unconfirmed for each in self.clients)
        waiting = any(each.link is not None and each.is_waiting for each in self.clients)
        return self.node.is_idle and not owed and not waiting

    def _is_all_known(self) -> bool:
        """Nothing is left but what the auditor left: no dead letters that wait, no queue in doubt."""
        owners = [each for each in self.clients if isinstance(each, Owner)]
        in_doubt = any(slot.exists is None for owner in owners for slot in owner.slots)
        refusing = any(each.is_target and each.refuses for each in self.plan.queues)
        return not self.ledger.is_damaged and not in_doubt and not refusing

    def _judge_space(self, left_bytes: int) -> None:
        used = sum(len(each.cache) for each in self.disk.segments.values())
        # A segment ends behind the batch that fills it.
        segment = max([self.plan.segment_bytes, *(len(each.cache) for each in self.disk.segments.values())])
        if used > 2 * left_bytes + 2 * segment:
            what = f"{used} bytes in {len(self.disk.segments)} segments for {left_bytes} live ones"
            raise Violation("SPACE", what)

    # Steps

    def _guarded(self, action: Callable[..., None], *arguments: object) -> None:
        """Do it; if the node does not survive, let it start again."""
        try:
            action(*arguments)
        except PowerLoss:
            self.crash(plans.POWER)
        except NodeStopped as stopped:
            self.story.tell("! the node stops: {}", stopped)
            self.crash(plans.KILL)

    def _one_step(self) -> None:
        source = self._source
        self.story.now_ms += (
            source.randrange(300, 3000) if source.randrange(100) < self.plan.leap_percent else source.randrange(13)
        )
        if self._full_until == self._step:
            self._end_full()
        if self._reads_fail_until == self._step:
            self.disk.reads_fail = 0
        if self._no_descriptors_until == self._step:
            self.disk.has_descriptors = True
        self.node.begin()
        self.node.broker.set_memory_short(self._step < self._short_until)
        for client in self.clients:
            if source.random() < 0.35:
                if client.link is None:
                    client.connect()
                elif client.is_ready:
                    client.act()
        self._arrive()
        self.node.end()
        self._run_threads()
        self._reach_clients()
        if self._step % COUNT_EVERY == 0:
            self.judge_accounts()

    def judge_accounts(self) -> None:
        what = miscounted(self.node.broker)
        if what:
            raise Violation("ACCOUNTS", what)

    def _arrive(self) -> None:
        network = self._network
        for link in list(self.node.links):
            if link.to_broker and link.connection.reading and network.random() < 0.75:
                self.node.receive(link, chunk(network, len(link.to_broker)))

    def _reach_clients(self) -> None:
        network = self._network
        self._end_links()
        for link in list(self.node.links):
            if link.to_client and network.random() < 0.75:
                self._deliver(link, chunk(network, len(link.to_client)))

    def _end_links(self) -> None:
        """Whom the broker has left learns it before anybody gets what was taken from them."""
        for link in list(self.node.links):
            if link.is_ended:
                self._deliver(link, len(link.to_client))
                self.story.tell("{} finds its connection closed", link.client.name)
                self.cut(link)

    def _deliver(self, link: Link, size: int) -> None:
        data = bytes(link.to_client[:size])
        del link.to_client[:size]
        link.client.take(data)
        if link.client.link is link and not link.is_ended:
            self.node.watch_reader(link)

    def _run_threads(self) -> None:
        threads = self._threads
        node = self.node
        if self._step >= self._slow_until:
            for _ in range(threads.choice((0, 1, 1, 2, 3))):
                node.write()
            for _ in range(threads.choice((0, 0, 1, 1, 4))):
                node.read(threads)
        for _ in range(threads.choice((0, 1, 1, 4))):
            node.report_read(threads)
        if threads.random() < 0.5:
            node.keep_up()
        if threads.random() < 0.4:
            node.do_house_job()
        if threads.random() < 0.6:
            node.report_house()

    def _between(self) -> None:
        """The writer's thread is between two effects: the others may run."""
        if self._threads.random() < 0.1:
            self.node.read(self._threads)
        if not self._house_runs and self._threads.random() < 0.15:
            self._house_runs = True
            try:
                self.node.do_house_job()
            finally:
                self._house_runs = False

    # Calm: nobody acts, nothing goes wrong, everything arrives

    def calm(self, is_done: Callable[[], bool]) -> None:
        for _ in range(ROUNDS_MAX):
            if is_done():
                return
            self._calm_round(1)
        raise Violation("STUCK", "the node is healthy, and still something that is owed does not come")

    def pass_time(self, ms: int) -> None:
        until_ms = self.story.now_ms + ms
        while self.story.now_ms < until_ms:
            self._calm_round(50)

    def _calm_round(self, ms: int) -> None:
        node = self.node
        self.story.now_ms += ms
        node.begin()
        for link in list(node.links):
            if link.to_broker and link.connection.reading:
                node.receive(link, len(link.to_broker))
        node.end()
        for _ in range(3):
            node.write()
        for _ in range(4):
            node.read(self._threads)
            node.report_read(self._threads)
        node.keep_up()
        node.do_house_job()
        node.report_house()
        self._end_links()
        for link in list(node.links):
            if link.to_client:
                self._deliver(link, len(link.to_client))

    # Trouble

    def cut(self, link: Link) -> None:
        """The connection is gone, on both sides; what was under way to the broker arrives up to some byte."""
        if link.to_broker and not link.is_ended and link.connection.reading and self._network.random() < 0.6:
            self.node.receive(link, self._network.randrange(len(link.to_broker) + 1))
        # First the client: the broker gives what it held to others at once.
        link.client.lost()
        self.node.drop(link)
        self.node.end()

    def _cut_all(self) -> None:
        for link in list(self.node.links):
            self.cut(link)

    def _begin_trouble(self, trouble: Trouble) -> None:
        kind = trouble.kind
        if kind == plans.CUT:
            if self.node.links:
                link = self.node.links[trouble.number % len(self.node.links)]
                self.story.tell("! the connection of {} is cut", link.client.name)
                self.cut(link)
        elif kind == plans.SLOW:
            self.story.tell("! the disk is slow for {} steps", trouble.number)
            self._slow_until = self._step + trouble.number
        elif kind == plans.FULL:
            self.story.tell("! the disk fills up for {} steps", trouble.number)
            self.disk.capacity_bytes = self.disk.taken_bytes() + self._source.randrange(2000)
            self.topology.is_full = self._source.random() < 0.5
            self._full_until = self._step + trouble.number
        elif kind == plans.READS_FAIL:
            self.disk.reads_fail = self._source.choice((errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOMEM))
            self.story.tell("! nothing can be read for {} steps", trouble.number)
            self._reads_fail_until = self._step + trouble.number
        elif kind == plans.NO_DESCRIPTORS:
            self.story.tell("! nothing can be opened for {} steps", trouble.number)
            self.disk.has_descriptors = False
            self._no_descriptors_until = self._step + trouble.number
        elif kind == plans.MEMORY_SHORT:
            self.story.tell("! memory is short for {} steps", trouble.number)
            self._short_until = self._step + trouble.number
        elif kind == plans.POLICY:
            self._set_policy(POLICIES[trouble.number])
        elif kind == plans.ROT_CHECKPOINT:
            self._is_rotting = True
        elif kind in POWER_IN:
            self.disk.power_in = POWER_IN[kind]
            self.disk.power_after = trouble.number if kind == plans.POWER_IN_EFFECT else trouble.number % 3
        elif kind in FAILS:
            self.disk.fail_next[FAILS[kind]] = errno.EIO
        else:
            self.crash(kind)

    def _set_policy(self, definition: dict[str, int]) -> None:
        self.story.tell("! the policy is {}", definition or "gone")
        self.node.begin()
        if definition:
            self.node.broker.set_policy(checked_policy("/", "all", ".*", 0, "queues", definition, False))
        else:
            self.node.broker.delete_policy("/", "all", False)
        self.node.end()

    def _end_full(self) -> None:
        self._full_until = -1
        self.disk.capacity_bytes = 1 << 40
        self.topology.is_full = False

    # Crash and recovery

    def crash(self, kind: str) -> None:
        self.crash_count += 1
        clean_position = -1
        if kind == plans.CLEAN_STOP:
            clean_position = self._stop()
        else:
            self.story.tell("! CRASH ({})", kind)
            self._last_words()
        self.disk.between = None
        for link in self.node.links:
            if link.client.link is link:
                link.client.lost()
        self.node.links = []
        if kind == plans.POWER:
            self.disk.lose_power()
        self.disk.heal()
        self._end_full()
        self._rot_checkpoint()
        if self.plan.rot:
            self._rot()
        self.ledger.new_life(kind == plans.CLEAN_STOP)
        for client in self.clients:
            if isinstance(client, Owner):
                client.forget_unsure()
        self.story.now_ms += self._source.randrange(3000)
        self._recover(clean_position)

    def _rot(self) -> None:
        """What stands somewhere and was hit nowhere has to be served; a copy that was hit may be the one that counts."""
        before = whole_counts(self.disk, self.ledger.publishes)
        if rot(self.disk, self._source, self.story):
            self._has_checkpoint_rotted = True
        after = whole_counts(self.disk, self.ledger.publishes)
        for uid, count in before.items():
            if after.get(uid, 0) < count:
                self._hit[uid] = None
        # Where a moved message is, only a checkpoint knows.
        is_whole = not self._has_checkpoint_rotted
        self.ledger.intact = {uid: None for uid in after if is_whole and uid not in self._hit}

    def _last_words(self) -> None:
        """What the node had given to the network still arrives, or some of it."""
        network = self._network
        for link in sorted(self.node.links, key=lambda each: not each.is_ended):
            size = len(link.to_client)
            if size and network.random() < 0.8:
                data = bytes(link.to_client[: size if network.random() < 0.6 else network.randrange(size)])
                link.client.take(data)
            if link.is_ended:
                link.client.lost()

    def _stop(self) -> int:
        """SIGTERM: where the log ended."""
        self.story.tell("* the node is stopped in order")
        self._cut_all()
        self._heal()
        self.calm(lambda: self.node.is_idle)
        self.node.begin()
        self.node.broker.begin_checkpoint()
        self.node.end()
        self.calm(lambda: self.node.is_idle)
        self.story.now_ms += 200
        self._calm_round(1)
        self.calm(lambda: self.node.is_idle)
        return self.node.stop()

    def _rot_checkpoint(self) -> None:
        """The newest one goes bad; the one before it must do. Not both, or nothing could help."""
        generations = sorted(self.disk.checkpoints)
        if not self._is_rotting or len(generations) < 2 or any(each in self._rotted for each in generations[-2:]):
            return
        self._is_rotting = False
        newest = generations[-1]
        self._rotted.append(newest)
        data = bytearray(self.disk.checkpoints[newest])
        data[self._source.randrange(len(data))] ^= 1 << self._source.randrange(8)
        self.disk.checkpoints[newest] = bytes(data)
        self.story.tell("! checkpoint {} has gone bad on the disk", newest)

    def _recover(self, clean_position: int) -> None:
        for again in range(4):
            if again < 3 and self._source.randrange(100) < self.plan.crash_again_percent:
                self.disk.power_after = self._source.randrange(6)
            try:
                self._start(clean_position)
                break
            except PowerLoss:
                self.story.tell("! the power goes while the node recovers")
                self.disk.lose_power()
                clean_position = -1
        self.disk.power_after = -1
        self.disk.between = self._between
        self.judge_accounts()
        self._set_up(False)
        if self._source.randrange(100) < self.plan.audit_percent:
            auditor = Auditor(self, True)
            auditor.look()
            auditor.leave()

    def _start(self, clean_position: int) -> None:
        life = self.ledger.life
        # Without them there is no start, and nothing to look at.
        self.disk.reads_fail = 0
        self.disk.has_descriptors = True
        try:
            depth = self.plan.depth
            self.node = Node(self.disk, self.topology, self.story, self._limits, depth, life, clean_position)
        except Corrupt as damage:
            if self.plan.rot:
                raise Refused(str(damage)) from damage
            raise Violation("DAMAGE", f"the node can't start: {damage}") from damage
        except UnknownFormat as damage:
            raise Violation("DAMAGE", f"the node can't start: {damage}") from damage
        self.node.on_loss = self._on_loss
        report = self.node.recovered.report
        self.story.tell(
            "* recovered: {} messages in queues from checkpoint {} and {} batches",
            report.entry_count,
            report.checkpoint_generation,
            report.batch_count,
        )
        for notice in report.notices:
            self.story.tell("* recovery says: {}", notice)
        if self.plan.rot and (report.damage or report.torn_bytes):
            self.ledger.is_damaged = True
        elif report.damage:
            raise Violation("DAMAGE", "; ".join(report.damage))

    def _on_loss(self, notice: str) -> None:
        """A queue gives up a message that the disk does not have any more as it was written."""
        self.story.tell("* the node says: {}", notice)
        if not self.plan.rot:
            raise Violation("DAMAGE", notice)
        self.ledger.is_damaged = True

    def owned_queues(self) -> list[tuple[str, str]]:
        return [
            (slot.name, slot.place)
            for client in self.clients
            if isinstance(client, Owner)
            for slot in client.slots
            if slot.exists
        ]
