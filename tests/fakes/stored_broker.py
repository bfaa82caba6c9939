"""A broker that lives on a disk of the tests: recovered from it, its batches and checkpoints written to it, a turn at a time.

Owns the shell's part (writer, upkeep) without its threads, and `contents`: what the broker holds that must survive. The
states that a restart may find are the one of the last batch that was synced, and the one of the batch that is under way.
"""

from __future__ import annotations

from amqpd.base.limits import Limits
from amqpd.broker import Broker
from amqpd.queues.dead_letter import deaths
from amqpd.store.disk import Disk
from amqpd.store.log import Log
from amqpd.store.recovery import recover
from amqpd.store.segment import SegmentWriter
from amqpd.store.sqlite_topology import SqliteTopology
from amqpd.store.topology import Topology
from amqpd.wire.properties import headers
from tests.behaviour.harness import BrokerHarness, CountingEntropy

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
        recovered = recover(disk, LOG_ID, topology.queue_ids())
        self.report = recovered.report
        self.log = Log(recovered.start, segment_bytes)
        self.broker = Broker(Limits(), self.log, topology, recovered, CountingEntropy(), now_ms, WALL_MS + now_ms)
        self.disk = disk
        self.store = store
        self.now_ms = now_ms
        self.hold_syncs = False
        self.batches = []
        self.clients = []
        self._writer = SegmentWriter(disk, int(recovered.start.previous_crc))
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
            self._sealed_contents = self.contents()
        if batch.record_count > 0:
            self._writer.commit(batch)
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
            self.disk.write_checkpoint(checkpoint.generation, checkpoint.data)
            self.broker.checkpoint_written(checkpoint)
        dead = self.broker.dead_segments()
        if dead:
            self.disk.delete_segments(dead)

    def legal_contents(self) -> list[Contents]:
        """What a restart may find if the power goes now."""
        assert self._is_watched
        return [self._synced_contents] + ([self._sealed_contents] if self._sealed_contents is not None else [])

    def contents(self) -> Contents:
        """All persistent messages of all durable queues: ready, waiting for a retry, unacked, or refused elsewhere."""
        entries = self.broker._unsettled()
        for vhost in self.broker.vhosts.values():
            for queue in vhost.all_queues():
                if queue.is_stored:
                    entries.extend(queue.ready.entries())
                    entries.extend(queue.waiting.entries())
        found: Contents = {}
        for entry in sorted(entries, key=lambda each: each.message.message_id):
            message = entry.message
            if message.segment is None:
                continue
            known = self._deaths_in.get(message.header)
            if known is None:
                known = self._deaths_in[message.header] = deaths_in(message.header)
            found.setdefault(entry.queue.name, []).append((message.body, known, int(entry.delivery_count)))
        return found
