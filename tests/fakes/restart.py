"""A broker that starts again from what an earlier one had committed, or from any beginning of it."""

from __future__ import annotations

from pathlib import Path

from amqpd.base.limits import Limits
from amqpd.broker import Broker
from amqpd.queues.chunk import Depth
from amqpd.queues.queue import Queue
from amqpd.store.batch import BATCH_HEADER_SIZE, Batch
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.log import SEGMENT_BYTES, Log
from amqpd.store.recovery import recover
from amqpd.store.segment import SegmentWriter
from amqpd.store.sqlite_topology import SqliteTopology
from amqpd.vhosts.restore import resident_queue_ids
from tests.behaviour.harness import LOG_ID, BrokerHarness, CountingEntropy
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.store_model import read_back


def ready_bodies(harness: BrokerHarness, queue: Queue) -> list[bytes]:
    """Of everything that is ready, in memory or on disk only; nothing moves."""
    found = [(int(entry.message.message_id), entry.message.body) for entry in queue.ready.entries()]
    for message, _ in read_back(queue.ready.pages(), harness.flush())[0]:
        found.append((int(message.message_id), message.body))
    return [body for _, body in sorted(found)]


def restarted(
    batches: list[Batch],
    directory: Path,
    now_ms: int,
    checkpoint: Checkpoint | None = None,
    is_clean: bool = False,
    depth: Depth | None = None,
) -> BrokerHarness:
    """The power went when exactly these batches were durable; `now_ms` is what the harness's clock shows now.

    `is_clean`: it did not, the broker was stopped in good order.
    """
    disk = FaultyDisk()
    writer = SegmentWriter(disk, 0)
    for batch in batches:
        if batch.record_count > 0:
            writer.commit(batch)
    if checkpoint is not None:
        disk.write_checkpoint(checkpoint.generation, checkpoint.blocks())
    return restarted_on(disk, batches, directory, now_ms, is_clean, depth=depth)


def restarted_on(
    disk: FaultyDisk,
    batches: list[Batch],
    directory: Path,
    now_ms: int,
    is_clean: bool = False,
    segment_bytes: int = SEGMENT_BYTES,
    is_damaged: bool = False,
    depth: Depth | None = None,
) -> BrokerHarness:
    """The log is on `disk`, whatever happened to it there; `batches` are looked at for the topology that is in them."""
    store = SqliteTopology(directory / "topology.sqlite")
    store.load()
    end = -1
    for batch in batches:
        store.apply(batch.topology)
        if batch.record_count > 0:
            end = int(batch.position) + BATCH_HEADER_SIZE + len(batch.records)
    topology = store.load()
    clean_position = end if is_clean else -1
    resident = resident_queue_ids(topology)
    recovered = recover(disk, LOG_ID, topology.queue_ids(), clean_position, resident_queue_ids=resident)
    assert (recovered.report.damage != []) is is_damaged, recovered.report.damage
    harness = BrokerHarness()
    harness.now_ms = now_ms
    harness.disk = disk
    harness.writer = SegmentWriter(disk, recovered.start.previous_crc)
    harness.broker = Broker(
        Limits(),
        Log(recovered.start, segment_bytes),
        topology,
        recovered,
        CountingEntropy(),
        now_ms,
        1_700_000_000_000 + now_ms,
        depth,
    )
    return harness
