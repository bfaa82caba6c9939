"""Data directories of every format that was ever released open for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from amqpd.base.message import Message
from amqpd.runtime.files import DataDirectory
from amqpd.runtime.snapshot import Snapshot
from amqpd.store.checkpoint import DEDUP, DELIVERED, ENTRY, PAGE, WAITING, CheckpointReader
from amqpd.store.disk import Disk
from amqpd.store.inspect import KIND_NAMES
from amqpd.store.recovered import Recovered
from amqpd.store.verify import Verifier
from tests.fakes.store_model import found_state, read_back, redelivered_flags

# Every kind of record that today's format has: a new one needs a new golden directory.
KINDS = set(KIND_NAMES)
# And every kind of item of a checkpoint.
ITEMS = {ENTRY, DELIVERED, WAITING, DEDUP, PAGE}
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def oldest(recovered: Recovered, queue_id: int, disk: Disk) -> tuple[Message, int]:
    """With its delivery count, wherever it is."""
    held = [(entry.message, int(entry.delivery_count)) for entry in recovered.queues[queue_id]]
    return min(held + read_back(recovered.pages.get(queue_id, []), disk)[0], key=lambda each: each[0].message_id)


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
    state = found_state(recovered, directory.disk)
    found = {str(queue_id): [[each[0], each[1].decode()] for each in held] for queue_id, held in state.items()}
    assert found == expected
    assert recovered.report.damage == []
    message, delivery_count = oldest(recovered, 2, directory.disk)
    assert delivery_count == 3
    assert message.route_key == b"\x06orders\x05eu.de"
    assert message.enqueued_ms == 1_700_000_000_000
    if without != "clean-stop":
        assert redelivered_flags(recovered, 1)[:8] == [True] * 6 + [False] * 2
    assert [row.name for row in topology.queues] == ["all", "eu"]
    assert topology.bindings[1].routing_key == "eu.\udcff"
    directory.topology_store.close()
    directory.release()


@pytest.mark.parametrize("without", ["", "checkpoints/0000000000000001.checkpoint"])
def test_what_format_2_knows_besides_the_messages_is_found(without: str, tmp_path: Path) -> None:
    path = tmp_path / "data"
    shutil.copytree(GOLDEN / "data-2", path)
    if without:
        (path / without).unlink()
    directory = DataDirectory(path)
    _, recovered = directory.load()
    waiting = [entry for entry in recovered.queues[1] if entry.ready_at_ms > 0]
    assert [(int(each.delivery_count), int(each.ready_at_ms)) for each in waiting] == [
        (2, 4_000_000_000_001),
        (1, 4_000_000_000_000),
    ]
    ids = {
        queue_id: [(each.dedup_id, each.noted_ms, each.ttl_ms) for each in held]
        for queue_id, held in recovered.dedup_ids.items()
    }
    assert ids == {
        1: [(b"order 12", 1_700_000_000_000, 60_000)],
        2: [(b"order 12", 1_700_000_000_000, -1), (b"order 20", 1_700_000_000_001, -1)],
    }
    # A deep queue comes back as addresses, with how often each message came back.
    assert recovered.queues[2] == []
    counts = [count for _, _, count in found_state(recovered, directory.disk)[2]]
    assert counts == [3, 2] + [0] * (len(counts) - 2)
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
    assert items == ITEMS
