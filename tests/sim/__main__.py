"""python -m tests.sim: many seeds, one seed with its story, or the bugs put in on purpose."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.sim.mutants import MUTANTS, hunt
from tests.sim.plan import draw
from tests.sim.shrink import failure_of, report, shrink
from tests.sim.world import World

SLICE = 25
SLICES_MAX = 4
SLICE_S_MAX = 600
# A child has the modules of its parent, wherever those came from.
FORK = multiprocessing.get_context("fork")
SHOWN_MAX = 5
# A share of the seeds is played twice, and must give the same run bit for bit.
TWICE_EVERY = 50


@dataclass
class Tally:
    seeds: int = 0
    publishes: int = 0
    confirmed: int = 0
    deliveries: int = 0
    crashes: int = 0
    twice: int = 0
    # Seed and what is wrong with it.
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.publishes += other.publishes
        self.confirmed += other.confirmed
        self.deliveries += other.deliveries
        self.crashes += other.crashes
        self.twice += other.twice
        self.failures += other.failures


def play(first: int, count: int, rot: bool) -> Tally:
    tally = Tally()
    for seed in range(first, first + count):
        world = World(draw(seed, rot))
        failure = world.violation()
        if failure is not None:
            tally.failures.append((seed, str(failure)))
        tally.seeds += 1
        tally.publishes += len(world.ledger.publishes)
        tally.confirmed += world.ledger.confirmed_count
        tally.deliveries += world.ledger.delivered_count
        tally.crashes += world.crash_count
        if seed % TWICE_EVERY == 0:
            again = World(draw(seed, rot))
            again.violation()
            tally.twice += 1
            if again.story.digest() != world.story.digest():
                tally.failures.append((seed, "SAME: the same seed gave another run"))
    return tally


def _play_slice(part: tuple[int, int, bool]) -> Tally:
    return play(*part)


def play_all(first: int, count: int, jobs: int, rot: bool) -> Tally:
    slices = [(at, min(SLICE, first + count - at)) for at in range(first, first + count, SLICE)]
    tally = Tally()
    begun_s = time.monotonic()
    # A compiled core that is dropped in the middle of its life leaves cycles behind: a child plays some slices only.
    with FORK.Pool(jobs, maxtasksperchild=SLICES_MAX) as pool:
        results = pool.imap(_play_slice, [(at, size, rot) for at, size in slices])
        for _ in slices:
            # Of a child that died nothing would ever come.
            found = results.next(SLICE_S_MAX)
            tally.add(found)
            for seed, what in found.failures:
                sys.stderr.write(f"seed {seed}: {what}\n")
            rate = tally.seeds / (time.monotonic() - begun_s)
            line = f"{tally.seeds} of {count} seeds, {rate:.0f}/s, {len(tally.failures)} violations"
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{line}")
                sys.stderr.flush()
            elif tally.seeds % 1000 == 0:
                sys.stderr.write(f"{line}\n")
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    return tally


def show_many(arguments: argparse.Namespace) -> int:
    begun_s = time.monotonic()
    tally = play_all(arguments.first, arguments.seeds, arguments.jobs, arguments.rot)
    took_s = time.monotonic() - begun_s
    print(
        f"{tally.seeds} seeds in {took_s:.0f} s: {tally.crashes} crashes and stops, {tally.publishes} publishes, "
        f"{tally.confirmed} confirmed, {tally.deliveries} deliveries; {tally.twice} seeds played twice"
    )
    for seed, what in tally.failures[:20]:
        print(f"seed {seed}: {what}")
    if len(tally.failures) > 20:
        print(f"... and {len(tally.failures) - 20} more")
    shown: list[str] = []
    for seed, what in tally.failures:
        kind = what.partition(":")[0]
        if kind not in shown and len(shown) < SHOWN_MAX:
            shown.append(kind)
            print(f"\n{'-' * 100}\n{_shrunk(seed, arguments.rot)}")
    print("no violation" if not tally.failures else f"{len(tally.failures)} VIOLATIONS")
    return 1 if tally.failures else 0


def _shrunk(seed: int, rot: bool) -> str:
    first = failure_of(draw(seed, rot))
    return report(shrink(first), first) if first is not None else f"seed {seed} is not the same run twice"


def show_one(arguments: argparse.Namespace) -> int:
    """The whole story, and a shorter one if it ends badly."""
    world = World(draw(arguments.seed, arguments.rot))
    violation = world.violation()
    if not arguments.quiet:
        for line in world.story.text():
            print(line)
    print(f"trace {world.story.digest()}")
    if violation is None:
        print("no violation")
        return 0
    print(_shrunk(arguments.seed, arguments.rot))
    return 1


def show_mutants(arguments: argparse.Namespace) -> int:
    """How many seeds each bug survives."""
    print(f"{'bug put in on purpose':<52} {'seeds':>6}  caught as")
    survivors = 0
    names = arguments.only or list(MUTANTS)
    with ProcessPoolExecutor(arguments.jobs, FORK) as pool:
        futures = {name: pool.submit(hunt, name, arguments.seeds) for name in names}
        for name, future in futures.items():
            seeds, what = future.result()
            survivors += what == ""
            print(f"{MUTANTS[name].title:<52} {seeds:>6}  {what or 'NOT CAUGHT'}"[:200], flush=True)
    print(f"{len(names) - survivors} of {len(names)} caught")
    return 1 if survivors else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one and tell its story")
    parser.add_argument("--seeds", type=int, default=1000, help="play so many")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--rot", action="store_true", help="bytes on the disk go bad: fewer promises, and no garbage")
    parser.add_argument("--mutants", action="store_true", help="put bugs in, and see how many seeds they survive")
    parser.add_argument("--only", nargs="*", help="these mutants")
    parser.add_argument("--quiet", action="store_true", help="no story of a seed without violation")
    arguments = parser.parse_args()
    if arguments.mutants:
        return show_mutants(arguments)
    if arguments.seed is not None:
        return show_one(arguments)
    return show_many(arguments)


if __name__ == "__main__":
    sys.exit(main())
