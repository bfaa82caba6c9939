"""kill -9 under confirmed load for as long as you like: `python -m tests.chaos.soak --minutes 60`.

Rounds of kill9.py, each with a seed, a data directory and a checker of its own, so that a soak of days needs no more
memory and disk than one of minutes, and every round ends in a verdict. Each cycle prints its counts, each round the sums
so far. It stops at the first violation, with exit status 1, the seed, and the data left behind.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.chaos.kill9 import Chaos
from tests.chaos.process import core_kind

CYCLES_PER_ROUND = 50


class Soak:
    def __init__(self, seed: int, report: bool = True) -> None:
        self._dice = random.Random(seed)
        self._report = report
        self.round_count = 0
        self.violation_count = 0
        # In the order in which they are printed.
        self.sums = dict.fromkeys(
            ("kill -9", "in recovery", "stops", "published", "confirmed", "delivered", "acked", "tx committed"), 0
        )
        self.ready_s_max = 0.0

    def run(self, minutes: float) -> None:
        until_s = time.monotonic() + minutes * 60
        while time.monotonic() < until_s and not self.violation_count:
            self._round(until_s)

    def _round(self, until_s: float) -> None:
        seed = self._dice.getrandbits(32)
        directory = Path(tempfile.mkdtemp(prefix="amqpd-soak-"))
        chaos = Chaos(seed, directory, report=self._report)
        self.round_count += 1
        self._say(f"round {self.round_count}, seed {seed}")
        began = time.monotonic()
        is_good = False
        try:
            uvloop.run(chaos.run(CYCLES_PER_ROUND, until_s))
            is_good = chaos.checker.violation_count == 0
        finally:
            self._add(chaos)
            if is_good:
                shutil.rmtree(directory)
            else:
                chaos.print_table(time.monotonic() - began)
                repeat = f"python -m tests.chaos.kill9 --seed {seed} --cycles {CYCLES_PER_ROUND}"
                print(f"\nbroker's log and data: {directory}; repeat with: {repeat}", flush=True)
        self._say(f"sums after {self.round_count} rounds: {self.summary()}\n")

    def _add(self, chaos: Chaos) -> None:
        checker = chaos.checker
        counts = (
            chaos.kill_count,
            chaos.recovery_kill_count,
            chaos.stop_count,
            checker.attempted_count,
            checker.confirmed_count,
            checker.delivered_count,
            checker.settled_count,
            chaos.transfers.committed_count,
        )
        for name, count in zip(self.sums, counts, strict=True):
            self.sums[name] += count
        self.violation_count += checker.violation_count
        self.ready_s_max = max(self.ready_s_max, *chaos.ready_s, 0.0)

    def summary(self) -> str:
        sums = "  ".join(f"{name} {count:,}" for name, count in self.sums.items())
        return f"{sums}  ready within {self.ready_s_max:.2f} s  violations {self.violation_count}"

    def _say(self, text: str) -> None:
        if self._report:
            print(text, flush=True)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__.split("\n")[0])
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--seed", type=int, default=None, help="draw the seeds of an earlier soak again")
    given = arguments.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().getrandbits(32)
    print(
        f"soak with seed {seed} for {given.minutes:g} minutes, {core_kind(Path(tempfile.gettempdir()))} core",
        flush=True,
    )
    soak = Soak(seed)
    try:
        soak.run(given.minutes)
    finally:
        print(f"after {soak.round_count} rounds: {soak.summary()}")
    print("nothing lost" if not soak.violation_count else "VIOLATIONS, see above")
    return 1 if soak.violation_count else 0


if __name__ == "__main__":
    sys.exit(main())
