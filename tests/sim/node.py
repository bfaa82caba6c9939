"""One life of a node: the real core, and the shell around it done by hand.

Owns the order of a turn (runtime/turn.py), the writer's and the house's jobs cut into steps (runtime/log_writer.py), and
the upkeep (runtime/upkeep.py). Does not own when a step runs: whoever has a node says so. Raises PowerLoss (disk.py) or
NodeStopped, after which this life is over.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.broker import Broker
from amqpd.caretaker import Caretaker
from amqpd.connections.connection import Connection
from amqpd.queues.chunk import Depth, PageRead
from amqpd.store.batch import Batch
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.disk import FAILED, ROOM, NotNow, lack_of
from amqpd.store.log import Log
from amqpd.store.page_reader import PageReader
from amqpd.store.recovery import recover
from amqpd.store.segment import SegmentWriter
from amqpd.vhosts.restore import resident_queue_ids
from tests.sim.disk import SimDisk
from tests.sim.ledger import Violation
from tests.sim.plan import DepthSpec
from tests.sim.story import Story
from tests.sim.topology import MemoryTopology

if TYPE_CHECKING:
    from tests.sim.clients import Client

LOG_ID = 0x51
WALL_MS = 1_700_000_000_000
# Five times a second in the real shell; it may be later or, as here, sooner.
UPKEEP_MS = 20
# A client that has left this much unread is not written to.
UNREAD_BYTES_MAX = 20_000

# What the writer does next.
IDLE = 0
TO_LOG = 1
TO_TOPOLOGY = 2
TO_REPORT = 3


class NodeStopped(Exception):
    """The node gave up on its disk (exit code 74)."""


class Counting(Entropy):
    def __init__(self, life: int) -> None:
        self._next = life << 32

    def token(self, size_bytes: int) -> bytes:
        self._next += 1
        return self._next.to_bytes(size_bytes, "big")


class Link:
    """A TCP connection: what is under way in both directions."""

    def __init__(self, client: Client, connection: Connection, number: int) -> None:
        self.client = client
        self.connection = connection
        self.number = number
        self.to_broker = bytearray()
        self.to_client = bytearray()
        self.is_writable = True
        # The broker has said its last word.
        self.is_ended = False


class Node:
    def __init__(
        self,
        disk: SimDisk,
        topology: MemoryTopology,
        story: Story,
        limits: Limits,
        depth: DepthSpec,
        life: int,
        clean_position: int = -1,
    ) -> None:
        self.disk = disk
        self.story = story
        self.links: list[Link] = []
        self.topology = topology
        rows = topology.load()
        self.recovered = recover(
            disk,
            LOG_ID,
            rows.queue_ids(),
            clean_position,
            resident_queue_ids=resident_queue_ids(rows),
            topology_version=rows.version,
        )
        start = self.recovered.start
        start.topology_version = rows.version
        self.recovered_bytes = self.recovered.report.read_bytes
        # Before the writer knows more: the log goes on from here.
        writer = SegmentWriter(disk, start.previous_crc)
        log = Log(start, limits.segment_bytes)
        now_ms = story.now_ms
        deep = Depth(depth.head_count, depth.head_bytes, depth.chunk_count, depth.chunk_bytes, depth.resident_chunks)
        self.broker = Broker(limits, log, rows, self.recovered, Counting(life), now_ms, WALL_MS + now_ms, deep)
        self._limit_caretaker(depth)
        self._segment_writer = writer
        self._batch: Batch | None = None
        self._writer_state = IDLE
        self.is_full = False
        # Room for settles is on the disk, as far as the node knows.
        self.is_reserve_kept = True
        self._is_short = False
        self._turn_budget = depth.turn_budget
        # Who hears that a queue has lost a message.
        self.on_loss: Callable[[str], None] | None = None
        self._jobs: list[Checkpoint | list[int]] = []
        self._reports: list[tuple[Checkpoint, bool]] = []
        self._page_reader = PageReader(disk)
        self._reads: list[PageRead] = []
        self._done_reads: list[PageRead] = []
        self._upkeep_ms = 0
        self.read_count = 0
        self._link_count = 0

    def _limit_caretaker(self, depth: DepthSpec) -> None:
        """Let every walk take many turns."""
        broker = self.broker
        broker._caretaker = Caretaker(
            broker._reclaim, broker.agenda, broker.vhosts, broker.connections, depth.described_count, depth.moved_bytes
        )

    # The network

    def connect(self, client: Client) -> Link:
        self._link_count += 1
        link = Link(client, self.broker.connect("127.0.0.1", 50000, False), self._link_count)
        self.links.append(link)
        return link

    def receive(self, link: Link, size: int) -> None:
        """So many of the bytes under way arrive at the broker."""
        data = bytes(link.to_broker[:size])
        del link.to_broker[:size]
        self.story.note(data)
        self.broker.receive(link.connection, data)

    def drop(self, link: Link) -> None:
        """The socket is gone."""
        self.links.remove(link)
        self.broker.lost(link.connection)

    def watch_reader(self, link: Link) -> None:
        """Does the socket take more?"""
        is_writable = len(link.to_client) < UNREAD_BYTES_MAX
        if is_writable is not link.is_writable:
            link.is_writable = is_writable
            link.connection.set_writable(is_writable)

    # A turn

    def begin(self) -> None:
        self.broker.tick(self.story.now_ms, WALL_MS + self.story.now_ms)
        agenda = self.broker.agenda
        agenda.budget = min(int(agenda.budget), self._turn_budget)

    def end(self) -> None:
        broker = self.broker
        self._seal()
        for connection in broker.woken():
            for link in self.links:
                if link.connection is connection:
                    self._flush(link)
        self._reads += broker.take_reads()
        if broker.has_work:
            broker.go_on()
        for lost in broker.take_lost():
            if self.on_loss is not None:
                self.on_loss(
                    f"queue '{lost.queue}' gives up message {lost.message_id} of segment {lost.segment_number}"
                )
        if broker.agenda.notices:
            for line in broker.agenda.lines:
                if "internal error" in line:
                    raise Violation("BUG", line)
            broker.agenda.notices.clear()

    def on_loss(self, line: str) -> None:
        """A queue gives up a message that the disk does not have any more as it was written."""
        self.story.tell("* the node says: {}", line)
        if not self.may_lose:
            raise Violation("DAMAGE", line)
        self.has_lost = True

    def _flush(self, link: Link) -> None:
        output = link.connection.take_output()
        self.story.note(output)
        link.to_client += output
        if link.connection.closing:
            link.is_ended = True
        else:
            self.watch_reader(link)

    def _seal(self) -> None:
        if self._writer_state == IDLE and self.broker.needs_seal:
            batch = self.broker.seal()
            if batch is not None:
                self._batch = batch
                self._writer_state = TO_LOG

    @property
    def is_idle(self) -> bool:
        """The disk has everything that it was told."""
        is_reading = self._reads or self._done_reads
        is_writing = self._writer_state != IDLE or self.broker.needs_seal or self._jobs or self._reports
        return not is_reading and not is_writing

    # The writer

    def write(self) -> None:
        """One step of the writer's thread: the log, the topology, the report."""
        batch = self._batch
        if batch is None:
            return
        if self._writer_state == TO_LOG:
            if len(batch.records) == 0 or self._until_room(lambda: self._commit(batch)):
                self._writer_state = TO_TOPOLOGY
        elif self._writer_state == TO_TOPOLOGY:
            if len(batch.topology) == 0 or self._until_room(lambda: self.topology.apply(batch.topology)):
                self._writer_state = TO_REPORT
        else:
            self._batch = None
            self._writer_state = IDLE
            self.story.tell("batch {} is reported as durable", int(batch.mark))
            self.begin()
            self.broker.synced(batch.mark)
            self.end()

    def _commit(self, batch: Batch) -> None:
        self._segment_writer.commit(batch)
        self.story.tell(
            "batch {} of {} records is written to segment {} at {} and synced",
            int(batch.mark),
            int(batch.record_count),
            int(batch.segment_number),
            int(batch.offset),
        )

    def _until_room(self, attempt: object) -> bool:
        try:
            attempt()  # type: ignore[operator]
        except NotNow:
            pass
        except OSError as error:
            if lack_of(error) == FAILED:
                raise NodeStopped(str(error)) from error
        else:
            if self.is_full:
                self._set_full(False)
            return True
        if not self.is_full:
            self._set_full(True)
        return self._give_up_reserve() and self._until_room(attempt)

    def _set_full(self, is_full: bool) -> None:
        self.is_full = is_full
        self.story.tell("! the disk is full" if is_full else "! the batch has found room")
        self._judge_disk()

    def _give_up_reserve(self) -> bool:
        if not self.disk.give_up_reserve():
            return False
        self.story.tell("* room for settles is given up")
        self.is_reserve_kept = False
        self._judge_disk()
        return True

    def _judge_disk(self) -> None:
        is_short = self.is_full or not self.is_reserve_kept
        if is_short is self._is_short:
            return
        self._is_short = is_short
        self.begin()
        self.broker.set_disk_short(is_short)
        if is_short:
            self.broker.block("low on disk")
        else:
            self.broker.unblock()
        self.end()

    # The house

    def keep_up(self) -> None:
        """What upkeep does now and then."""
        if self.story.now_ms - self._upkeep_ms < UPKEEP_MS:
            return
        self._upkeep_ms = self.story.now_ms
        self.is_reserve_kept = self.disk.make_reserve()
        self._judge_disk()
        broker = self.broker
        checkpoint = broker.durable_checkpoint()
        if checkpoint is not None:
            self._jobs.append(checkpoint)
        dead = broker.dead_segments()
        if dead:
            self._jobs.append(dead)

    def do_house_job(self) -> None:
        """One job of the house thread, from beginning to end."""
        if not self._jobs:
            return
        job = self._jobs.pop(0)
        if isinstance(job, Checkpoint):
            self._reports.append((job, self._write_checkpoint(job)))
        else:
            self.disk.delete_segments(job)

    def _write_checkpoint(self, checkpoint: Checkpoint) -> bool:
        try:
            self.disk.write_checkpoint(checkpoint.generation, checkpoint.blocks())
        except OSError as error:
            lack = lack_of(error)
            if lack == FAILED:
                raise NodeStopped(str(error)) from error
            return lack == ROOM and self._give_up_reserve() and self._write_checkpoint(checkpoint)
        return True

    def report_house(self) -> None:
        """What the house thread did becomes known in the loop."""
        if not self._reports:
            return
        checkpoint, is_written = self._reports.pop(0)
        if is_written:
            self.broker.checkpoint_written(checkpoint)
        else:
            self.broker.checkpoint_failed()

    # The reader

    def read(self, source: random.Random) -> None:
        """One job of the reader's thread: some of what is wanted, in any order."""
        if not self._reads:
            return
        source.shuffle(self._reads)
        count = source.randrange(1, len(self._reads) + 1)
        reads, self._reads = self._reads[:count], self._reads[count:]
        # What a page was made of is durable: nothing that the writer does to the same segment meanwhile matters.
        pages = [page for read in reads for page in read.pages]
        pieces = self._page_reader.read(pages)
        for page, found in zip(pages, pieces, strict=True):
            if found is None:
                self.story.tell("segment {} can't be read", int(page.segment.number))
        for read in reads:
            read.pieces = [pieces.pop(0) for _ in read.pages]
            read.error = self._page_reader.error
        self._done_reads += reads

    def report_read(self, source: random.Random) -> None:
        """What was read becomes known in the loop, not always in the order of the reading."""
        if not self._done_reads:
            return
        read = self._done_reads.pop(source.randrange(len(self._done_reads)))
        self.read_count += 1
        self.begin()
        self.broker.reads_done([read])
        self.end()

    # The end in order

    def stop(self) -> int:
        """Clients are gone and everything is written; where the log ends, which a clean stop notes."""
        self._segment_writer.close()
        return self.broker.log_position


def chunk(source: random.Random, size: int) -> int:
    """How many of so many bytes arrive together: mostly all, sometimes cut anywhere."""
    return size if source.random() < 0.7 else source.randrange(1, size + 1)
