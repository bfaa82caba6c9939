"""The whole core in one object: it is given bytes, time and "the disk is synced up to here", and gives back bytes.

Owns every connection and vhost, and the order of a turn:

    tick(now)            once per turn, before anything else: heartbeats, expiry, deadlines
    receive(...)         for every readable socket; deliveries and confirms that wait for nothing are written at its end
    seal() -> Batch      what the log has gathered, for the writer; only while the writer is idle
    woken                connections with output: the shell writes each once, then calls `go_on` if `has_work`
    synced(mark)         from the writer: pays what waited for the disk
    take_reads()         what deep queues want back from the log; filled, they are given to `reads_done`

It never waits, never reads a clock, never touches a socket, a file or a thread.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.caretaker import Caretaker
from amqpd.channels.commits import Commits
from amqpd.channels.session import Session
from amqpd.connections.connection import Connection
from amqpd.connections.handshake import OPEN
from amqpd.connections.throttle import Throttle
from amqpd.queues.agenda import TURN_BUDGET, Agenda
from amqpd.queues.chunk import Depth, PageRead
from amqpd.store.batch import Batch
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.log import Log
from amqpd.store.lost import Lost
from amqpd.store.reclaim import Reclaim
from amqpd.store.recovered import Recovered
from amqpd.store.topology import Topology
from amqpd.vhosts.access import printable
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.definitions_loader import DefinitionsLoader
from amqpd.vhosts.departures import Departures
from amqpd.vhosts.policies import Policy
from amqpd.vhosts.restore import restore_access, restore_vhosts
from amqpd.vhosts.vhost import VHost
from amqpd.wire.outbox import Outbox

SHUTDOWN_TEXT = "broker forced connection closure with reason 'shutdown'"
# Connections are looked at for heartbeats and deadlines this often.
TICK_MS = 100


@final
class Broker:
    def __init__(
        self,
        limits: Limits,
        log: Log,
        topology: Topology,
        recovered: Recovered,
        entropy: Entropy,
        monotonic_ms: i64 = 0,
        wall_ms: i64 = 0,
        depth: Depth | None = None,
    ) -> None:
        """`topology` is what the store knows; the messages of `recovered` move into the queues."""
        self.limits = limits
        self.agenda = Agenda(log, monotonic_ms, wall_ms, depth)
        self.changes = Changes(max(topology.next_queue_id, recovered.next_queue_id))
        self.access = restore_access(topology, limits, self.changes, entropy)
        self.vhosts = restore_vhosts(topology, recovered, limits, self.agenda, self.changes)
        self._departures = Departures(self.agenda, self.vhosts)
        self.access.watch(self.vhosts)
        self.connections: dict[int, Connection] = {}
        self.throttle = Throttle(limits)
        is_first_start = len(topology.users) == 0
        self._loader = DefinitionsLoader(
            self.vhosts, self.access, self.changes, limits, self.agenda, entropy, is_first_start
        )
        self._log = log
        self._entropy = entropy
        self._commits = Commits(log.mark - 1, self.agenda)
        self._woken: list[Outbox] = []
        self._released: list[Session] = []
        self._resting: list[Session] = []
        self._connection_count: i64 = 0
        self._ticked_ms: i64 = 0
        is_damaged = len(recovered.report.damage) > 0
        self._reclaim = Reclaim(log, recovered.checkpoint_segment, recovered.next_generation, is_damaged)
        self._caretaker = Caretaker(self._reclaim, self.agenda, self.vhosts, self.connections)

    # Connections

    def connect(self, peer_host: str, peer_port: int, tls: bool) -> Connection:
        """A peer has connected; nothing is said before it sends its protocol header."""
        self._connection_count += 1
        number = self._connection_count
        outbox = Outbox(number, self._woken)
        connection = Connection(number, outbox, self, peer_host, peer_port, tls)
        self.connections[int(number)] = connection
        return connection

    def new_session(self, number: i64, outbox: Outbox, vhost: VHost, user: str) -> Session:
        return Session(
            number,
            outbox,
            vhost,
            user,
            self.access,
            self.limits,
            self._entropy,
            self.agenda,
            self._commits,
            self._released,
            self._resting,
        )

    def receive(self, connection: Connection, data: bytes) -> None:
        """Bytes from a peer. Never raises: what is wrong with them is answered."""
        connection.receive(data)
        self._finish()

    def lost(self, connection: Connection) -> None:
        """The socket is gone; everything the peer had unacked goes back to its queues."""
        try:
            connection.lost()
        except Exception as error:
            self.agenda.failed(f"the end of {connection.describe()}", error)
        self.connections.pop(int(connection.number), None)
        self._finish()

    def woken(self) -> list[Connection]:
        """Connections with output or wanting to be closed; each is named once, and forgotten here."""
        woken = self._woken
        if len(woken) == 0:
            return []
        found: list[Connection] = []
        for outbox in woken:
            connection = self.connections.get(int(outbox.number))
            if connection is not None:
                found.append(connection)
        woken.clear()
        return found

    @property
    def has_work(self) -> bool:
        """Taking output made room for more deliveries, or the last turn had no room for all: call `go_on`."""
        agenda = self.agenda
        return (
            len(agenda.active) > 0
            or len(self._woken) > 0
            or len(agenda.departing) > 0
            or len(self._resting) > 0
            or len(self._released) > 0
            or agenda.works.count > 0
            or agenda.wheel.is_behind
        )

    def go_on(self) -> None:
        """Another turn without new input: half of it for what is left to do, half for what is left to hear."""
        agenda = self.agenda
        agenda.budget = TURN_BUDGET // 2
        if agenda.wheel.is_behind:
            self._fire_timers()
        agenda.works.go_on()
        self._deliver_all()
        agenda.budget = TURN_BUDGET // 2
        if len(self._resting) > 0:
            self._end_rests()
        self._finish()

    def _fire_timers(self) -> None:
        agenda = self.agenda
        touched = agenda.wheel.advance(agenda.monotonic_ms, agenda.budget)
        # Whoever fired has spent something too.
        agenda.budget -= touched

    def _end_rests(self) -> None:
        """Whoever rests longest goes on first, for as long as there is anything left of the turn."""
        resting = self._resting[:]
        self._resting.clear()
        at: i64 = 0
        while at < len(resting) and self.agenda.budget > 0:
            resting[at].end_rest()
            at += 1
            self._resume_released()
        # Before those that began to rest meanwhile.
        self._resting[:0] = resting[at:]

    def _finish(self) -> None:
        """End of every entry: deliver what can be delivered, confirm what waits for nothing."""
        self._deliver_all()
        self._commits.pay_fresh()
        self._resume_released()

    def _deliver_all(self) -> None:
        """Consumers first, then departures; each may bring work for the other, so until there is none. No recursion.

        Or until the turn's budget is used up: the rest comes in the next one.
        """
        agenda = self.agenda
        agenda.drain_active()
        while len(agenda.departing) > 0 and agenda.budget > 0:
            self._departures.send_off_some()
            agenda.drain_active()

    def _resume_released(self) -> None:
        """Connections that were held or blocked go on with what they had sent meanwhile."""
        while len(self._released) > 0:
            released = list(self._released)
            self._released.clear()
            for session in released:
                connection = self.connections.get(int(session.number))
                if connection is not None:
                    connection.resume()
                    session.outbox.wake()
            self._deliver_all()
            self._commits.pay_fresh()

    # Time

    def tick(self, monotonic_ms: i64, wall_ms: i64) -> None:
        """Now is `monotonic_ms`; `wall_ms` is for time stamps only."""
        agenda = self.agenda
        agenda.monotonic_ms = monotonic_ms
        agenda.wall_ms = wall_ms
        agenda.budget = TURN_BUDGET
        if agenda.wheel.count > 0:
            self._fire_timers()
            self._finish()
        self._note_changes()
        try:
            self._caretaker.step()
        except Exception as error:
            agenda.failed("upkeep", error)
        if monotonic_ms - self._ticked_ms < TICK_MS:
            return
        self._ticked_ms = monotonic_ms
        if agenda.has_new_timeouts:
            agenda.has_new_timeouts = False
            for connection in self.connections.values():
                connection.timeouts_changed()
        for connection in list(self.connections.values()):
            self._tick_connection(connection)
        for vhost in list(self.vhosts.values()):
            try:
                vhost.expire_queues()
            except Exception as error:
                agenda.failed(f"the end of unused queues in vhost '{vhost.name}'", error)
        self._finish()

    def _tick_connection(self, connection: Connection) -> None:
        """What goes wrong with one connection's time ends that connection."""
        try:
            connection.tick(self.agenda.monotonic_ms)
        except Exception as error:
            connection.fail(error)

    @property
    def has_timers(self) -> bool:
        """Some message or queue waits for its time: tick more often than for connections alone."""
        return self.agenda.wheel.count > 0

    # The disk

    @property
    def needs_seal(self) -> bool:
        return self._log.dirty or self.changes.pending or len(self.agenda.moved) > 0

    def seal(self) -> Batch | None:
        """Everything that was logged since the last batch, or None. Only while no batch is being written."""
        self.agenda.log_watermarks()
        return self._log.seal(self.changes.take(self._log.mark))

    def synced(self, mark: i64) -> None:
        """Everything up to `mark` is on disk: confirm, and answer what waited for it."""
        self._log.synced_mark = mark
        self.agenda.synced()
        self._commits.committed(mark)
        self._finish()

    def take_reads(self) -> list[PageRead]:
        """What deep queues want back from the log: fill the `pieces` of each and call `reads_done`."""
        reads = self.agenda.reads
        if len(reads) > 0:
            self.agenda.reads = []
        return reads

    def take_lost(self) -> list[Lost]:
        """What was given up since: to be listed before the batch that is sealed next."""
        lost = self.agenda.lost
        if len(lost) > 0:
            self.agenda.lost = []
        return lost

    def reads_done(self, reads: list[PageRead]) -> None:
        for read in reads:
            try:
                read.backlog.arrived(read)
            except Exception as error:
                self.agenda.failed("what was read back", error)
        self._finish()

    def begin_checkpoint(self) -> None:
        """A checkpoint at once: it is `durable_checkpoint` when the disk has what it speaks of."""
        self._note_changes()
        self._caretaker.take_whole()

    def _note_changes(self) -> None:
        """A checkpoint does without a queue that was deleted, so it counts only once the deletion is durable."""
        if self.changes.pending:
            self._log.dirty = True

    def durable_checkpoint(self) -> Checkpoint | None:
        """A checkpoint that may be written now; the caller writes it and reports `checkpoint_written` or `_failed`."""
        checkpoint = self._caretaker.finished
        if checkpoint is None or checkpoint.mark > self._commits.mark:
            return None
        self._caretaker.finished = None
        return checkpoint

    def checkpoint_written(self, checkpoint: Checkpoint) -> None:
        self._reclaim.checkpoint_written(checkpoint)

    def checkpoint_failed(self) -> None:
        self._reclaim.checkpoint_failed()

    def dead_segments(self) -> list[int]:
        """Numbers of log segments that nobody needs any more, for the caller to delete; each is named once."""
        return self._reclaim.take_dead(self._commits.mark, self.needs_seal)

    @property
    def log_position(self) -> int:
        """Where the log ends; a clean stop notes it."""
        return int(self._log.position)

    # The operator's side

    def set_memory_short(self, is_short: bool) -> None:
        """From now on what can leave memory does, respectively need not; long before publishers are stopped."""
        self.agenda.is_memory_short = is_short

    def set_disk_short(self, is_short: bool) -> None:
        """While it is, every bit of space is given back as soon as it can be, and little is spent on it."""
        self._reclaim.set_disk_short(is_short)

    def block(self, reason: str) -> None:
        """Memory or disk is short: whoever publishes from now on is stopped. Consumers go on."""
        self.agenda.alarm_reason = reason

    def unblock(self) -> None:
        if self.agenda.alarm_reason == "":
            return
        self.agenda.alarm_reason = ""
        for connection in list(self.connections.values()):
            if connection.session is not None:
                connection.session.unblock()
        self._finish()

    def load_definitions(
        self, document: object, is_whole: bool = False, is_complete: bool = False, skip_unsupported: bool = False
    ) -> list[str]:
        """Make what the document, decoded JSON in RabbitMQ's form, defines; returns what the operator should know.

        Raises DefinitionsError, and then nothing has changed. `is_whole`: the document is all there is to policies, so
        others go; and users in it stand in the place of the one that a first start makes. `is_complete`: other users and
        permissions go too. `skip_unsupported`: what this broker does not have is left out, else the document is refused.
        """
        loaded = self._loader.load(document, is_whole, is_complete, skip_unsupported)
        if len(loaded.removed_users) > 0:
            for connection in list(self.connections.values()):
                if connection.user in loaded.removed_users:
                    connection.force_close(f"user '{printable(connection.user)}' is deleted")
        self._finish()
        return loaded.notices

    def set_policy(self, policy: Policy) -> None:
        """Live at once, also for what is in the queues. `checked_policy` makes one from somebody's input."""
        self.vhosts[policy.vhost].set_policy(policy)
        self._finish()

    def delete_policy(self, vhost: str, name: str, is_operator: bool) -> bool:
        deleted = self.vhosts[vhost].delete_policy(name, is_operator)
        self._finish()
        return deleted

    def shut_down(self) -> None:
        """Tell every client why its connection ends."""
        for connection in list(self.connections.values()):
            connection.force_close(SHUTDOWN_TEXT)
        self._finish()

    @property
    def open_connection_count(self) -> int:
        return len([each for each in self.connections.values() if each.state == OPEN])
