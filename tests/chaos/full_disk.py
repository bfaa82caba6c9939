"""A disk that fills up: `python -m tests.chaos.full_disk`, as root, since it mounts a small tmpfs.

Publishers are stopped by connection.blocked, consumers go on, nothing confirmed is lost, and everything goes on by itself when
there is room again. Three times: stopped by the reserve (`disk_reserve_bytes`) before the disk is full, stopped by a
write that really found no room, and the latter with kill -9 while it is full. Exit status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from pamqp import commands

from tests.chaos.checker import VIOLATIONS, Checker, Place
from tests.chaos.client import Client, Content, Lost
from tests.chaos.overload import until
from tests.chaos.process import BrokerProcess, core_kind
from tests.chaos.workload import LEFT, ORDERED, QUEUES, RIGHT, Confirming, ConsumerWorker, Where, declare_all

MIB: Final = 1 << 20
DISK_BYTES: Final = 64 * MIB
BALLAST_BYTES: Final = 32 * MIB
BODY_BYTES: Final = 16 * 1024
WINDOW: Final = 200
# What must be confirmed once there is room again.
MORE_COUNT: Final = 200


class CannotMount(Exception):
    """Why there is no small disk to fill, as one sentence."""


@dataclass(frozen=True)
class Variant:
    name: str
    reserve_bytes: int
    is_killed: bool = False


VARIANTS: Final = (
    Variant("reserve", 8 * MIB),
    Variant("no room", 0),
    Variant("no room, killed while full", 0, is_killed=True),
)


@contextlib.contextmanager
def mounted(what: str, mount_point: Path, *flags: str) -> Iterator[Path]:
    mount_point.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", *flags, what, str(mount_point)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotMount("there is no mount command") from None
    if done.returncode != 0:
        raise CannotMount(f"{what} can't be mounted here: {done.stderr.strip()}")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", str(mount_point)], check=True)


def small_disk(mount_point: Path, size_bytes: int = DISK_BYTES) -> contextlib.AbstractContextManager[Path]:
    return mounted("tmpfs", mount_point, "-t", "tmpfs", "-o", f"size={size_bytes}")


class Filler(Confirming):
    """A confirming publisher of one size, as fast as its window lets it."""

    client: Client

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker, checker.new_publisher("filler"))
        self.is_stopped = False

    async def run(self, where: Where) -> None:
        self.client = client = await where.connect()
        try:
            await self.open(client)
            while not self.is_stopped and not client.lost.is_set():
                if len(self.unconfirmed) < WINDOW:
                    self.publish(LEFT if len(self.unconfirmed) % 2 else RIGHT, BODY_BYTES)
                    await client.room.wait()
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(0.002)
            await until(lambda: not self.unconfirmed or client.lost.is_set(), 120)
        except Lost:
            return
        finally:
            client.abort()


class SlowConsumer:
    """Takes some messages of the right queue while the disk is full, and acks them."""

    def __init__(self, checker: Checker) -> None:
        self.settled: list[Place] = []
        self._checker = checker

    async def take(self, where: Where, count: int) -> bool:
        client = await where.connect()
        channel = await client.channel()

        def on_deliver(content: Content) -> None:
            place = self._checker.delivered(1, content.body, content.redelivered, self)
            if place is None:
                return
            if len(self.settled) < count:
                channel.ack(content.delivery_tag)
                self._checker.settled(place)
                self.settled.append(place)
            else:
                self._checker.released(place)

        channel.on_deliver = on_deliver
        await channel.call(commands.Basic.Qos(prefetch_count=20))
        await channel.call(commands.Basic.Consume(queue=QUEUES[1]))
        is_done = await until(lambda: len(self.settled) >= count, 120)
        await client.close()
        return is_done


class FullDisk:
    def __init__(self, directory: Path, disk: Path, variant: Variant) -> None:
        settings = {"disk_reserve_bytes": variant.reserve_bytes, "limits.segment_bytes": 4 * MIB}
        self.broken: list[str] = []
        self.checker = Checker(QUEUES, ORDERED, random.Random(1).randbytes(BODY_BYTES + 256))
        self.broker = BrokerProcess(directory, disk / "data", settings)
        self._variant = variant
        self._ballast = disk / "ballast"
        self._filler = Filler(self.checker)
        self._consumer = SlowConsumer(self.checker)

    @property
    def where(self) -> Where:
        return Where(self.broker.host, self.broker.port)

    async def run(self) -> None:
        try:
            self._ballast.write_bytes(b"\1" * BALLAST_BYTES)
            await self.broker.start()
            self.checker.new_life(await declare_all(self.where))
            filling = await self._while_full(asyncio.ensure_future(self._filler.run(self.where)))
            await self._with_room(filling)
            await self._drain()
        finally:
            self.broker.kill()

    async def _while_full(self, filling: asyncio.Future[None]) -> asyncio.Future[None]:
        checker, filler = self.checker, self._filler
        await asyncio.sleep(0.2)
        is_blocked = await self._is_blocked()
        self.require(is_blocked, "a publisher is stopped by connection.blocked")
        await asyncio.sleep(0.5)
        confirmed_count = checker.confirmed_count
        self.require(confirmed_count > 0, "something was confirmed before the disk was full")
        print(f"  blocked ({filler.client.blocked}) with {confirmed_count:,} of {checker.attempted_count:,} confirmed")
        self.require(await self._consumer.take(self.where, 50), "consumers go on while the disk is full")
        if self._variant.is_killed:
            self.broker.kill()
            await filling
            await self.broker.start()
            checker.new_life(0)
            print("  killed, and started on the full disk")
            filling = asyncio.ensure_future(filler.run(self.where))
            await asyncio.sleep(1.0)
        self.require(self.broker.exit_code is None, "the broker stays while the disk is full")
        return filling

    async def _is_blocked(self) -> bool:
        """Who publishes is told; who waits for confirms and does not publish is not, as in RabbitMQ."""
        for _ in range(60):
            if await until(lambda: self._filler.client.blocked != "", 0.5):
                return True
            if len(self._filler.unconfirmed) >= WINDOW:
                self._filler.publish(LEFT, BODY_BYTES)
        return False

    async def _with_room(self, filling: asyncio.Future[None]) -> None:
        checker = self.checker
        before = checker.confirmed_count
        self._ballast.unlink()
        goes_on = await until(lambda: checker.confirmed_count >= before + MORE_COUNT, 120)
        self.require(goes_on, "publishers go on by themselves when there is room")
        print(f"  went on, {checker.confirmed_count - before:,} more confirmed")
        self._filler.is_stopped = True
        # It may fill what the ballast has left before it hears that it should stop; consumers make room then.
        emptied = asyncio.ensure_future(self._consumer.take(self.where, len(self._consumer.settled) + 300))
        await filling
        await emptied
        self.require(not self._filler.unconfirmed, "everything is confirmed in the end")

    async def _drain(self) -> None:
        """After one more kill: what was confirmed is on the disk, and not only in memory."""
        self.broker.kill()
        await self.broker.start()
        self.checker.new_life(0)
        drains = [ConsumerWorker(self.checker, name, random.Random(2), queue) for queue, name in enumerate(QUEUES)]
        for drain in drains:
            drain.is_draining = True
        await asyncio.wait_for(asyncio.gather(*(drain.run(self.where) for drain in drains)), 60)
        self.checker.judge_losses()
        await self.broker.stop()
        for kind in VIOLATIONS:
            self.require(self.checker.violations[kind] == 0, f"{kind}: {self.checker.examples.get(kind)}")

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)
            print(f"  BROKEN: {what}", flush=True)


def run_variant(variant: Variant, directory: Path) -> FullDisk:
    """Raises CannotMount where that is not allowed."""
    with small_disk(directory / "disk") as disk:
        full_disk = FullDisk(directory, disk, variant)
        uvloop.run(full_disk.run())
        return full_disk


def main() -> int:
    argparse.ArgumentParser(prog="python -m tests.chaos.full_disk", description=__doc__.split("\n")[0]).parse_args()
    top = Path(tempfile.mkdtemp(prefix="amqpd-full-disk-"))
    print(f"{core_kind(top)} core, {os.cpu_count()} cores, in {top}", flush=True)
    broken_count = 0
    for number, variant in enumerate(VARIANTS):
        print(f"{variant.name}:", flush=True)
        directory = top / str(number)
        directory.mkdir()
        try:
            broken_count += len(run_variant(variant, directory).broken)
        except CannotMount as why:
            print(f"skipped: {why}")
            return 0
    print("\nnothing lost" if broken_count == 0 else f"\nBROKEN: see the logs in {top}")
    if broken_count == 0:
        shutil.rmtree(top)
    return 0 if broken_count == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
