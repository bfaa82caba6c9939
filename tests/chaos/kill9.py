"""kill -9 at random moments under confirmed load: `python -m tests.chaos.kill9 --cycles 50`.

Starts the real broker on a data directory of its own, lets publishers, consumers, transactions and declares loose on it,
kills it, and starts it again on the same data, over and over; sometimes it is killed while it recovers, sometimes it
is stopped as an operator would. At the end everything is drained and the checker's verdict printed. Exit status 1 if a
single message was lost or anything else of checker.py happened. A seed repeats the same choices (not the same timing).

kill -9 does not test fsync, since the page cache survives the process: tests/crash does that.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import uvloop

from tests.chaos.checker import VIOLATIONS, Checker
from tests.chaos.client import Closed, Lost
from tests.chaos.declares import DeclareWorker
from tests.chaos.process import BrokerProcess, core_kind
from tests.chaos.transfers import TransferWorker
from tests.chaos.workload import (
    BODY_BYTES_MAX,
    ORDERED,
    QUEUES,
    ConsumerWorker,
    PublisherWorker,
    Where,
    declare_all,
)

# What a client is told when an operator stops the broker.
CONNECTION_FORCED: Final = 320
LIFE_S: Final = (0.05, 1.5)
KILLED_IN_RECOVERY_SHARE: Final = 0.15
STOPPED_SHARE: Final = 0.1
DRAIN_S: Final = 180.0
# The smallest segment makes the log roll, be checkpointed and reclaimed in a short run.
SEGMENT_BYTES: Final = (1 << 20, 4 << 20, 64 << 20)


class Chaos:
    def __init__(
        self, seed: int, directory: Path, backlog_max: int = 10_000, report: bool = True, is_sabotaged: bool = False
    ) -> None:
        self.seed = seed
        dice = self._dice = random.Random(seed)
        self.checker = Checker(QUEUES, ORDERED, dice.randbytes(BODY_BYTES_MAX + 256))
        self.broker = BrokerProcess(directory, settings={"limits.segment_bytes": dice.choice(SEGMENT_BYTES)})
        self.ready_s: list[float] = []
        self.kill_count = 0
        self.stop_count = 0
        self.recovery_kill_count = 0
        self._publishers = [PublisherWorker(self.checker, f"p{n}", self._stream(), backlog_max) for n in range(4)]
        self._consumers = [
            ConsumerWorker(self.checker, "left", self._stream(), 0),
            ConsumerWorker(self.checker, "right-1", self._stream(), 1),
            ConsumerWorker(self.checker, "right-2", self._stream(), 1),
        ]
        self.transfers = TransferWorker(self.checker, self._stream())
        self.declares = DeclareWorker(self.checker, self._stream())
        self._report = report
        # The test of the test: after each kill the end of the log is wiped, and the checker must see it.
        self._is_sabotaged = is_sabotaged

    def _stream(self) -> random.Random:
        """One for each worker, so that one worker's draws don't move another's."""
        return random.Random(self._dice.getrandbits(64))

    @property
    def where(self) -> Where:
        return Where(self.broker.host, self.broker.port)

    async def run(self, cycles: int, until_s: float = math.inf) -> None:
        """So many cycles, or as many as begin before the monotonic second `until_s`."""
        try:
            await self._start()
            for cycle in range(1, cycles + 1):
                if time.monotonic() >= until_s:
                    break
                await self._cycle(cycle)
            await self._drain()
            await self.broker.stop()
            self.checker.judge_losses()
        finally:
            self.broker.kill()

    async def _start(self) -> None:
        while self.checker.life > 0 and self._dice.random() < KILLED_IN_RECOVERY_SHARE:
            self.broker.spawn()
            await asyncio.sleep(self._dice.uniform(0.02, 0.6))
            self.broker.kill()
            self.recovery_kill_count += 1
        self.ready_s.append(await self.broker.start())
        self.checker.new_life(await declare_all(self.where))
        # Before anybody changes anything: what became of what was under way.
        await self.transfers.look(self.where)
        await self.declares.look(self.where)

    async def _cycle(self, cycle: int) -> None:
        checker = self.checker
        before = (checker.attempted_count, checker.confirmed_count, checker.delivered_count, checker.settled_count)
        where = self.where
        running = [asyncio.ensure_future(_until_the_end(worker.run(where), checker)) for worker in self._workers()]
        life_s = self._dice.uniform(*LIFE_S)
        await asyncio.sleep(life_s)
        if self.broker.exit_code is not None:
            log = self.broker.log_of_this_life()[-3000:]
            raise AssertionError(f"the broker ended by itself with {self.broker.exit_code}:\n{log}")
        if self._dice.random() < STOPPED_SHARE:
            how = "stopped"
            self.stop_count += 1
            await self.broker.stop()
        else:
            how = "killed"
            self.kill_count += 1
            self.broker.kill()
            if self._is_sabotaged:
                wipe_end_of_log(self.broker.data_dir)
        # Workers hear what the broker had still sent, and end with their sockets.
        await asyncio.wait_for(asyncio.gather(*running), 30)
        await self._start()
        after = (checker.attempted_count, checker.confirmed_count, checker.delivered_count, checker.settled_count)
        if self._report:
            attempted, confirmed, delivered, settled = (new - old for old, new in zip(before, after, strict=True))
            print(
                f"cycle {cycle:3}  {how} after {life_s:4.2f} s, ready in {self.ready_s[-1]:4.2f} s"
                f"  published {attempted:6,}  confirmed {confirmed:6,}  delivered {delivered:6,}  acked {settled:6,}"
                f"  violations {checker.violation_count}",
                flush=True,
            )

    def _workers(self) -> list[Any]:
        return [*self._publishers, *self._consumers, self.transfers, self.declares]

    async def _drain(self) -> None:
        where = self.where
        for consumer in self._consumers:
            consumer.is_draining = True
        await asyncio.wait_for(asyncio.gather(*(consumer.run(where) for consumer in self._consumers)), DRAIN_S)

    def print_table(self, took_s: float) -> None:
        checker, transfers, declares = self.checker, self.transfers, self.declares
        rows: list[tuple[str, object]] = [
            ("seed", self.seed),
            ("kill -9 under load", self.kill_count),
            ("kill -9 during recovery", self.recovery_kill_count),
            ("clean stops", self.stop_count),
            ("publishes attempted", checker.attempted_count),
            ("publishes confirmed", checker.confirmed_count),
            ("deliveries", checker.delivered_count),
            ("  of these redelivered", checker.redelivered_count),
            ("acks sent", checker.settled_count),
            ("  of these known to be durable", checker.durable_settle_count),
            ("transactions committed", transfers.committed_count),
            ("  rolled back", transfers.rolled_back_count),
            (
                "  in doubt at a crash: found done / undone",
                f"{transfers.found_done_count} / {transfers.found_undone_count}",
            ),
            (
                "queues declared / deleted / looked at",
                f"{declares.declared_count} / {declares.deleted_count} / {declares.looked_count}",
            ),
            ("redelivered flag missing inside the window", checker.unflagged_in_window_count),
            ("redelivered flag on what was never seen", checker.flagged_unseen_count),
            (
                "ready after, median / worst",
                f"{sorted(self.ready_s)[len(self.ready_s) // 2]:.2f} / {max(self.ready_s):.2f} s",
            ),
            ("took", f"{took_s:.0f} s"),
        ]
        print()
        for name, value in rows:
            print(f"{name:45} {value:>14,}" if isinstance(value, int) and name != "seed" else f"{name:45} {value:>14}")
        print()
        for kind in VIOLATIONS:
            print(f"{kind:45} {checker.violations[kind]:>14,}")
        for kind, examples in checker.examples.items():
            for example in examples:
                print(f"  {kind}: {example}")


async def _until_the_end(work: Coroutine[Any, Any, None], checker: Checker) -> None:
    try:
        await work
    except Closed as closed:
        if closed.code != CONNECTION_FORCED:
            checker.violate("REFUSED", str(closed))
    except (Lost, ConnectionError):
        pass


def wipe_end_of_log(data_dir: Path) -> None:
    """What a disk would do that had only said that it was synced."""
    newest = max((data_dir / "log").iterdir())
    data = newest.read_bytes().rstrip(b"\0")
    kept = data[: -(len(data) // 2)]
    newest.write_bytes(kept)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos.kill9", description=__doc__.split("\n")[0])
    arguments.add_argument("--cycles", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=None, help="repeat the choices of an earlier run")
    arguments.add_argument("--backlog-max", type=int, default=10_000, help="publishers pause beyond so many messages")
    arguments.add_argument("--keep", action="store_true", help="leave the data directory and the log behind")
    given = arguments.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().getrandbits(32)
    directory = Path(tempfile.mkdtemp(prefix="amqpd-kill9-"))
    print(f"seed {seed}, {given.cycles} cycles, {core_kind(directory)} core, in {directory}", flush=True)
    began = time.monotonic()
    is_good = False
    run = Chaos(seed, directory, given.backlog_max)
    try:
        uvloop.run(run.run(given.cycles))
        is_good = run.checker.violation_count == 0
    finally:
        run.print_table(time.monotonic() - began)
        if is_good and not given.keep:
            shutil.rmtree(directory)
        else:
            print(f"\nbroker's log and data: {directory}")
    print("\nnothing lost" if is_good else f"\nVIOLATIONS: repeat with --seed {seed} --cycles {given.cycles}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
