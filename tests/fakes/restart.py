"""A broker that starts again from what an earlier one had committed, or from any beginning of it."""

from __future__ import annotations

from pathlib import Path

from amqpd.base.limits import Limits
from amqpd.broker import Broker
from amqpd.store.batch import Batch
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.log import Log
from amqpd.store.recovery import recover
from amqpd.store.segment import SegmentWriter
from amqpd.store.sqlite_topology import SqliteTopology
from tests.behaviour.harness import BrokerHarness, CountingEntropy
from tests.fakes.faulty_disk import FaultyDisk

LOG_ID = 1


def restarted(
    batches: list[Batch], directory: Path, now_ms: int, checkpoint: Checkpoint | None = None
) -> BrokerHarness:
    """The power went when exactly these batches were durable; `now_ms` is what the harness's clock shows now."""
    disk = FaultyDisk()
    writer = SegmentWriter(disk, 0)
    store = SqliteTopology(directory / "topology.sqlite")
    store.load()
    for batch in batches:
        if batch.record_count > 0:
            writer.commit(batch)
        store.apply(batch.topology)
    if checkpoint is not None:
        disk.write_checkpoint(checkpoint.generation, checkpoint.data)
    topology = store.load()
    recovered = recover(disk, LOG_ID, topology.queue_ids())
    assert recovered.report.damage == []
    harness = BrokerHarness()
    harness.now_ms = now_ms
    harness.broker = Broker(
        Limits(),
        Log(recovered.start),
        topology,
        recovered,
        CountingEntropy(),
        now_ms,
        1_700_000_000_000 + now_ms,
    )
    return harness
