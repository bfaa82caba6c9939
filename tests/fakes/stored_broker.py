"""A broker that lives on a disk of the tests: recovered from it, its batches and checkpoints written to it, a turn at a time.

Owns the shell's part (writer, upkeep) without its threads, and `contents`: what the broker holds that must survive. The
states that a restart may find are the one of the last batch that was synced, and the one of the batch that is under way.
"""

from __future__ import annotations

from amqpd.base.limits import Limits
from amqpd.base.message import Message
from amqpd.broker import Broker
from amqpd.queues.dead_letter import deaths
from amqpd.store.batch import Batch
from amqpd.store.disk import Disk
from amqpd.store.log import Log
from amqpd.store.recovery import recover
from amqpd.store.segment import SegmentWriter
from amqpd.store.sqlite_topology import SqliteTopology
from amqpd.store.topology import Topology
from amqpd.vhosts.restore import resident_queue_ids
from amqpd.wire.properties import headers
from tests.behaviour.harness import BrokerHarness, CountingEntropy
from tests.fakes.store_model import read_back

LOG_ID = 0xA3
WALL_MS = 1_700_000_000_000

# Newest first: queue, reason, count.
Deaths = tuple[tuple[str, str, int], ...]
# By queue, in the order of the log: body, its deaths, how often it was given back.
Contents = dict[str, list[tuple[bytes, Deaths, int]]]


def deaths_in(header: bytes) -> Deaths:
    return tuple(
        (str(death.get("queue")), str(death.get("reason")), int(str(death.get("count"))))
        for death in deaths(headers(header))
    )


class DiskAndBatch(Disk):
    """The disk as it will be once this batch is written: what has just moved stands in it already."""

    def __init__(self, disk: Disk, batch: Batch) -> None:
        self._disk = disk
        self._batch = batch
        self._data = batch.encode_header(0) + batch.records

    def segment_size(self, number: int) -> int:
        if number != self._batch.segment_number:
            return self._disk.segment_size(number)
        return int(self._batch.offset) + len(self._data)

    def read(self, number: int, offset: int, size: int) -> bytes:
        begin = int(self._batch.offset)
        if number != self._batch.segment_number or offset + size <= begin:
            return self._disk.read(number, offset, size)
        before = self._disk.read(number, offset, begin - offset) if offset < begin else b""
        at = max(0, offset - begin)
        return before + self._data[at : at + size - len(before)]


class StoredBroker(BrokerHarness):
    def __init__(
        self,
        disk: Disk,
        topology: Topology,
        now_ms: int,
        segment_bytes: int,
        store: SqliteTopology | None = None,
        is_watched: bool = False,
    ) -> None:
        """`store` takes what is declared from now on; without one nothing may be. `is_watched`: keeps `legal_contents`."""
        recovered = recover(disk, LOG_ID, topology.queue_ids(), resident_queue_ids=resident_queue_ids(topology))
        self.report = recovered.report
        self.log = Log(recovered.start, segment_bytes)
        self.broker = Broker(Limits(), self.log, topology, recovered, CountingEntropy(), now_ms, WALL_MS + now_ms)
        self.disk = disk
        self.store = store
        self.now_ms = now_ms
        self.hold_syncs = False
        self.hold_reads = False
        self.reads = []
        self.failing_reads = 0
        self.damaged_reads = 0
        self.read_count = 0
        # It writes what it commits at once, so that there is nothing to flush.
        self.batches = []
        self._written_count = 0
        self.clients = []
        self.writer = SegmentWriter(disk, int(recovered.start.previous_crc))
        self._deaths_in: dict[bytes, Deaths] = {}
        self._is_watched = is_watched
        self._synced_contents = self.contents()
        self._sealed_contents: Contents | None = None

    def settle(self) -> None:
        super().settle()
        self._keep_up()

    def _commit(self) -> bool:
        batch = self.broker.seal()
        if batch is None:
            return False
        if self._is_watched:
            # What the batch makes durable is what the broker holds now.
            self._sealed_contents = self.contents(batch)
        if batch.record_count > 0:
            self.writer.commit(batch)
        if len(batch.topology) > 0:
            assert self.store is not None, "this test declares everything beforehand"
            self.store.apply(batch.topology)
        if self._sealed_contents is not None:
            self._synced_contents = self._sealed_contents
            self._sealed_contents = None
        self.broker.synced(batch.mark)
        return True

    def _keep_up(self) -> None:
        """What runtime/upkeep.py and its thread do."""
        checkpoint = self.broker.durable_checkpoint()
        if checkpoint is not None:
            self.disk.write_checkpoint(checkpoint.generation, checkpoint.blocks())
            self.broker.checkpoint_written(checkpoint)
        dead = self.broker.dead_segments()
        if dead:
            self.disk.delete_segments(dead)

    def legal_contents(self) -> list[Contents]:
        """What a restart may find if the power goes now."""
        assert self._is_watched
        return [self._synced_contents] + ([self._sealed_contents] if self._sealed_contents is not None else [])

    def contents(self, sealed: Batch | None = None) -> Contents:
        """All persistent messages of all durable queues: ready, waiting for a retry, unacked, or refused elsewhere.

        `sealed` is about to be written.
        """
        disk = self.disk if sealed is None else DiskAndBatch(self.disk, sealed)
        entries = self.broker._caretaker._unsettled()
        held: list[tuple[str, Message, int]] = []
        for vhost in self.broker.vhosts.values():
            for queue in vhost.all_queues():
                if queue.is_stored:
                    entries.extend(queue.ready.entries())
                    entries.extend(queue.waiting.entries())
                    on_disk = read_back(queue.ready.pages(), disk)[0]
                    held += [(queue.name, message, delivery_count) for message, delivery_count in on_disk]
        held += [(entry.queue.name, entry.message, int(entry.delivery_count)) for entry in entries]
        found: Contents = {}
        for name, message, delivery_count in sorted(held, key=lambda each: each[1].message_id):
            if message.segment is None:
                continue
            known = self._deaths_in.get(message.header)
            if known is None:
                known = self._deaths_in[message.header] = deaths_in(message.header)
            found.setdefault(name, []).append((message.body, known, delivery_count))
        return found
