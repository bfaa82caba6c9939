"""kill -9 under confirmed load, in short; `python -m tests.chaos.kill9 --cycles 50` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import uvloop

from tests.chaos.kill9 import Chaos
from tests.chaos.soak import Soak

CYCLES = 3


def test_nothing_confirmed_is_lost_when_the_broker_is_killed(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    chaos = Chaos(seed, tmp_path, report=False)
    uvloop.run(chaos.run(CYCLES))
    assert chaos.checker.confirmed_count > 0
    assert chaos.checker.durable_settle_count > 0
    repeat = f"repeat with: python -m tests.chaos.kill9 --seed {seed} --cycles {CYCLES}"
    assert chaos.checker.violation_count == 0, f"{chaos.checker.examples}; {repeat}"


@pytest.mark.parametrize("seed", [7])
def test_the_checker_sees_a_log_that_lost_its_end(seed: int, tmp_path: Path) -> None:
    """A checker that can't fail proves nothing."""
    chaos = Chaos(seed, tmp_path, report=False, is_sabotaged=True)
    uvloop.run(chaos.run(CYCLES))
    assert chaos.checker.violations["LOST"] > 0


def test_a_soak_sums_up_what_its_rounds_counted() -> None:
    soak = Soak(seed=3, report=False)
    soak.run(minutes=0.05)
    assert soak.round_count >= 1
    assert soak.sums["confirmed"] > 0
    assert soak.violation_count == 0, soak.summary()
