"""The power goes during every effect on the disk of a life full of dead letters: every message is in exactly one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from amqpd.store.sqlite_topology import SqliteTopology
from amqpd.store.topology import Topology
from tests.crash.letters_life import STEPS, Life, declare_all, finish
from tests.crash.stories import Ledger
from tests.fakes.cut_disk import CutDisk
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.stored_broker import Contents, StoredBroker

SEGMENT_BYTES = 4096
# How long the broker was down, by the cut's number: nothing is due meanwhile, some, or everything that waits.
DOWN_MS = (0, 350, 5000)


def new_world(directory: Path) -> tuple[CutDisk, Topology, int]:
    """A disk with every queue declared; declarations alone write no log."""
    disk = CutDisk(FaultyDisk())
    store = SqliteTopology(directory / "topology.sqlite")
    broker = StoredBroker(disk, store.load(), 1000, SEGMENT_BYTES, store)
    client = broker.connect()
    declare_all(client)
    client.lose()
    topology = store.load()
    store.close()
    return disk, topology, broker.now_ms


class Witness:
    """At every cut: starts again from what is left, holds it against what the batches and the clients say, and lives on."""

    def __init__(self, topology: Topology, ledger: Ledger, every: int = 1, again_every: int = 0) -> None:
        self.topology = topology
        self.ledger = ledger
        self.cut_count = 0
        # Looks at each so many cuts.
        self._every = every
        # After each so many cuts the power goes again, at every effect of the life after the first one.
        self._again_every = again_every

    def watch(self, disk: CutDisk, life: Life) -> None:
        def on_cut(where: str, found: FaultyDisk) -> None:
            life.listen()
            self.cut_count += 1
            if self.cut_count % self._every == 0:
                self._restart(life.broker, found, where)

        disk.on_cut = on_cut

    def _restart(self, crashed: StoredBroker, disk: FaultyDisk, where: str) -> None:
        now_ms = crashed.now_ms + DOWN_MS[self.cut_count % len(DOWN_MS)]
        is_cut_again = self._again_every > 0 and self.cut_count % self._again_every == 0
        cut_disk = CutDisk(disk)
        again = StoredBroker(cut_disk, self.topology, now_ms, SEGMENT_BYTES, is_watched=is_cut_again)
        contents = again.contents()
        assert again.report.damage == [], where
        if contents not in crashed.legal_contents():
            pytest.fail(f"no batch leaves this: {difference(contents, crashed.legal_contents()[-1])}; {where}")
        found = self.ledger.check(contents, where)
        known = {body: story.known for body, story in self.ledger.stories.items()}
        life = Life(again, self.ledger)
        if is_cut_again:
            Witness(self.topology, self.ledger).watch(cut_disk, life)
        finish(life)
        self.ledger.check_end(found, again.contents(), where)
        # The life before the crash goes on, and has heard nothing of the other one.
        for body, story in self.ledger.stories.items():
            story.known = known[body]


def difference(found: Contents, expected: Contents) -> str:
    """The queues that differ, as they were found and as the last batch would have left them."""
    names = sorted({*found, *expected})
    return "; ".join(
        f"{name} holds {found.get(name, [])}, not {expected.get(name, [])}"
        for name in names
        if found.get(name) != expected.get(name)
    )


def run_life(disk: CutDisk, topology: Topology, now_ms: int, every: int = 1, again_every: int = 0) -> Ledger:
    ledger = Ledger()
    life = Life(StoredBroker(disk, topology, now_ms, SEGMENT_BYTES, is_watched=True), ledger)
    Witness(topology, ledger, every, again_every).watch(disk, life)
    for step in STEPS:
        step(life)
    finish(life)
    disk.on_cut = None
    return ledger


# Every fourth: prime to the five ways in which bytes get lost, and to the three times for which the broker is down.
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_after_any_power_cut_each_message_is_in_exactly_one_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], every: int
) -> None:
    disk, topology, now_ms = new_world(tmp_path)
    ledger = run_life(disk, topology, now_ms, every)
    # Whatever was not refused is confirmed in the end, and every kind of effect was met.
    assert [body for body, story in ledger.stories.items() if story.known < 0] == [b"strict-2"]
    assert set(disk.effect_counts) == {"create_segment", "write", "sync", "write_checkpoint", "delete_segments"}
    assert disk.cut_count > 600
    with capsys.disabled():
        effects = sum(disk.effect_counts.values())
        print(
            f"\n{len(ledger.stories)} messages, {effects} effects, {disk.cut_count} different power cuts, 1 in {every} tried: ",
            end="",
        )


@pytest.mark.slow
def test_the_power_may_go_again_in_the_life_after(tmp_path: Path) -> None:
    disk, topology, now_ms = new_world(tmp_path)
    run_life(disk, topology, now_ms, again_every=200)


class LyingDisk(FaultyDisk):
    """Says now and then that something is synced when it is not."""

    def __init__(self) -> None:
        super().__init__()
        self._sync_count = 0

    def sync(self, number: int) -> None:
        self._sync_count += 1
        if self._sync_count % 5 > 0:
            super().sync(number)


def test_the_witness_sees_a_confirm_that_came_too_early(tmp_path: Path) -> None:
    """A witness that can't object proves nothing."""
    disk, topology, now_ms = new_world(tmp_path)
    disk.disk = LyingDisk()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_life(disk, topology, now_ms)
