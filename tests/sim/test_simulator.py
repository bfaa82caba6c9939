"""Seeds of the simulator, and that it can be believed: the same seed is the same run, and a bug put in is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import amqpd.store.log
from tests.sim import mutants
from tests.sim.__main__ import play_all
from tests.sim.plan import draw
from tests.sim.shrink import failure_of, report, shrink
from tests.sim.world import World

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 500
SLICE = 50
IS_COMPILED = not amqpd.store.log.__file__.endswith(".py")


def digest_of(seed: int) -> str:
    world = World(draw(seed))
    world.violation()
    return world.story.digest()


@pytest.mark.parametrize("first", [0, *(pytest.param(at, marks=pytest.mark.slow) for at in range(SLICE, SEEDS, SLICE))])
def test_seeds_keep_every_promise(first: int) -> None:
    tally = play_all(first, SLICE, 1, False)
    if tally.failures:
        seed, what = tally.failures[0]
        failure = failure_of(draw(seed))
        story = report(shrink(failure), failure) if failure is not None else what
        pytest.fail(f"{len(tally.failures)} of {SLICE} seeds: {tally.failures}\n{story}", pytrace=False)
    assert tally.crashes > SLICE
    assert tally.confirmed > 50 * SLICE


def digest_elsewhere(seed: int, **environment: str) -> str:
    """The same in another process."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--seed", str(seed), "--quiet"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("trace ")]
    assert lines, result.stderr
    return lines[0].split()[1]


def test_the_same_seed_is_the_same_run_bit_for_bit() -> None:
    for seed in (1, 2, 3):
        assert digest_of(seed) == digest_of(seed)


def test_another_hash_seed_and_the_other_core_change_nothing() -> None:
    """Of a compiled core the other one is the source tree."""
    interpreted = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "", "AMQPD_EXPECT_COMPILED": "0"}
    for seed in (4, 5):
        assert digest_elsewhere(seed, PYTHONHASHSEED=str(seed), **interpreted) == digest_of(seed)


def test_two_seeds_are_two_runs() -> None:
    assert digest_of(1) != digest_of(2)


@pytest.mark.skipif(IS_COMPILED, reason="a compiled core can't be patched")
def test_a_missing_fsync_is_found_and_told_as_a_short_story() -> None:
    patches = mutants.Patches()
    mutants.MUTANTS["skip_fsync"].put_in(patches)
    try:
        failure = next(found for seed in range(20) if (found := failure_of(draw(seed))) is not None)
        shrunk = shrink(failure, budget_s=5)
    finally:
        patches.undo()
    assert failure.violation.kind in ("LOST", "DAMAGE", "TOPOLOGY")
    assert shrunk.violation.kind == failure.violation.kind
    assert shrunk.plan.steps <= failure.plan.steps
    text = report(shrunk, failure)
    assert "CRASH" in text and f"make sim SEED={failure.plan.seed}" in text


@pytest.mark.skipif(IS_COMPILED, reason="a compiled core can't be patched")
def test_a_confirm_before_its_sync_is_found() -> None:
    seeds, what = mutants.hunt("confirm_early", 100)
    assert seeds < 100
    assert what.startswith(("LOST", "DAMAGE"))


@pytest.mark.skipif(IS_COMPILED, reason="a compiled core can't be patched")
def test_every_bug_that_is_put_in_finds_what_it_changes() -> None:
    for name, mutant in mutants.MUTANTS.items():
        patches = mutants.Patches()
        try:
            mutant.put_in(patches)
            assert patches.count > 0, name
        finally:
            patches.undo()
