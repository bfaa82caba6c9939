"""Data directories of every format that was ever released open for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from amqpd.runtime.files import DataDirectory
from amqpd.runtime.snapshot import Snapshot
from amqpd.store.checkpoint import DELIVERED, ENTRY, CheckpointReader
from amqpd.store.inspect import KIND_NAMES
from amqpd.store.verify import Verifier

# Every kind of record that today's format has: a new one needs a new golden directory.
KINDS = set(KIND_NAMES)
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("data-*")))
@pytest.mark.parametrize("without", ["", "clean-stop", "checkpoints/0000000000000001.checkpoint"])
def test_old_data_directory_opens(name: str, without: str, tmp_path: Path) -> None:
    path = tmp_path / "data"
    shutil.copytree(GOLDEN / name, path)
    if without:
        (path / without).unlink()
    expected = json.loads((path / "expected.json").read_text())
    directory = DataDirectory(path)
    topology, recovered = directory.load()
    found = {
        str(queue_id): [[int(entry.message.message_id), entry.message.body.decode()] for entry in entries]
        for queue_id, entries in recovered.queues.items()
    }
    assert found == expected
    assert recovered.report.damage == []
    entries = recovered.queues[2]
    assert entries[0].delivery_count == 3
    assert entries[0].message.route_key == b"\x06orders\x05eu.de"
    assert entries[0].message.enqueued_ms == 1_700_000_000_000
    if without != "clean-stop":
        assert [entry.redelivered for entry in recovered.queues[1]][:8] == [True] * 6 + [False] * 2
    assert [row.name for row in topology.queues] == ["all", "eu"]
    assert topology.bindings[1].routing_key == "eu.\udcff"
    directory.topology_store.close()
    directory.release()


def test_golden_directories_have_every_kind_of_record_and_no_damage() -> None:
    kinds: set[int] = set()
    items: set[int] = set()
    for path in sorted(GOLDEN.glob("data-*")):
        snapshot = Snapshot(path)
        verifier = Verifier(snapshot, snapshot.log_id(), snapshot.clean_position, {})
        verifier.checkpoints()
        for number in snapshot.segment_numbers():
            kinds |= set(verifier.segment(number).record_counts)
        verifier.end()
        assert verifier.problems == []
        for generation in snapshot.checkpoint_generations():
            checkpoint = CheckpointReader(snapshot.read_checkpoint(generation), snapshot.log_id(), "")
            while checkpoint.next():
                items.add(int(checkpoint.kind))
        snapshot.close()
    assert kinds == KINDS
    assert items == {ENTRY, DELIVERED}
