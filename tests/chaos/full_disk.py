"""A disk that fills up: `python -m tests.chaos.full_disk`, as root, since it mounts a small tmpfs.

Publishers are stopped by connection.blocked, consumers go on, nothing confirmed is lost, and everything goes on by itself when
there is room again. On a tmpfs and on an ext4: stopped by `disk_reserve_bytes` before the disk is full, or by a write that
really found no room; then the same with kill -9 or SIGTERM while it is full. Room comes from outside, or from consumers
alone: what they drain gives its space back. Exit status 1 if anything was wrong.
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
import time
from collections.abc import Callable, Iterator
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
# How long an orderly stop may take on a full disk.
STOP_S: Final = 10.0
RESERVE_IN_USE: Final = "disk_settle_reserve_bytes"
# What must be confirmed once there is room again.
MORE_COUNT: Final = 200


class CannotMount(Exception):
    """Why there is no small disk to fill, as one sentence."""


@dataclass(frozen=True)
class Variant:
    name: str
    reserve_bytes: int
    is_killed: bool = False
    is_terminated: bool = False
    # Nobody makes room from outside.
    is_drained: bool = False
    file_system: str = "tmpfs"
    segment_bytes: int = 4 * MIB


VARIANTS: Final = (
    Variant("reserve", 8 * MIB),
    Variant("no room", 0),
    Variant("no room, killed while full", 0, is_killed=True),
    Variant("no room, drained", 0, is_drained=True),
    Variant("no room, drained, one segment", 0, is_drained=True, segment_bytes=64 * MIB),
    Variant("no room on ext4, killed while full, drained", 0, is_killed=True, is_drained=True, file_system="ext4"),
    Variant("no room, SIGTERM while full, drained", 0, is_terminated=True, is_drained=True),
    Variant("no room on ext4, SIGTERM while full", 0, is_terminated=True, file_system="ext4"),
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


@contextlib.contextmanager
def small_ext4(directory: Path, mount_point: Path, size_bytes: int = DISK_BYTES) -> Iterator[Path]:
    image = directory / "image"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    except FileNotFoundError:
        raise CannotMount("there is no mkfs.ext4") from None
    try:
        with mounted(str(image), mount_point, "-o", "loop"):
            yield mount_point
    finally:
        image.unlink()


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
    """Takes some messages of a queue while the disk is full, and acks them."""

    def __init__(self, checker: Checker, queue: int) -> None:
        self.settled: list[Place] = []
        self._queue = queue
        self._checker = checker

    async def take(self, where: Where, count: int, is_over: Callable[[], bool] = lambda: False) -> bool:
        """True once there are so many in all."""
        client = await where.connect()
        channel = await client.channel()

        def on_deliver(content: Content) -> None:
            place = self._checker.delivered(self._queue, content.body, content.redelivered, self)
            if place is None:
                return
            if len(self.settled) < count:
                channel.ack(content.delivery_tag)
                self._checker.settled(place)
                self.settled.append(place)
            else:
                self._checker.released(place)

        channel.on_deliver = on_deliver
        # What clients say before they consume. None of it needs the disk.
        declared = [commands.Queue.Declare(queue=QUEUES[self._queue], passive=True)]
        declared.append(commands.Queue.Declare(queue=QUEUES[self._queue], durable=True))
        for method in [*declared, commands.Basic.Qos(prefetch_count=20)]:
            await asyncio.wait_for(channel.call(method), 60)
        await channel.call(commands.Basic.Consume(queue=QUEUES[self._queue]))
        await until(lambda: len(self.settled) >= count or is_over(), 120)
        await client.close()
        return len(self.settled) >= count


class FullDisk:
    def __init__(self, directory: Path, disk: Path, variant: Variant) -> None:
        settings = {"disk_reserve_bytes": variant.reserve_bytes, "limits.segment_bytes": variant.segment_bytes}
        self.broken: list[str] = []
        self.checker = Checker(QUEUES, ORDERED, random.Random(1).randbytes(BODY_BYTES + 256))
        self.broker = BrokerProcess(directory, disk / "data", settings)
        self._variant = variant
        self._ballast = disk / "ballast"
        self._filler = Filler(self.checker)
        self._consumers = [SlowConsumer(self.checker, queue) for queue in range(len(QUEUES))]

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
        checker, filler, variant = self.checker, self._filler, self._variant
        await asyncio.sleep(0.2)
        is_blocked = await self._is_blocked()
        self.require(is_blocked, "a publisher is stopped by connection.blocked")
        await asyncio.sleep(0.5)
        confirmed_count = checker.confirmed_count
        self.require(confirmed_count > 0, "something was confirmed before the disk was full")
        print(f"  blocked ({filler.client.blocked}) with {confirmed_count:,} of {checker.attempted_count:,} confirmed")
        self.require(await self._consumers[RIGHT - 1].take(self.where, 50), "consumers go on while the disk is full")
        if variant.is_killed or variant.is_terminated:
            await self._end(filling)
            await self.broker.start()
            checker.new_life(0)
            filling = asyncio.ensure_future(filler.run(self.where))
            await asyncio.sleep(1.0)
        self.require(self.broker.exit_code is None, "the broker stays while the disk is full")
        is_in_use = RESERVE_IN_USE in self.broker.log()
        self.require(is_in_use or variant.reserve_bytes > 0, "room for settles is used when there is no other")
        return filling

    async def _end(self, filling: asyncio.Future[None]) -> None:
        """Of a life, on the full disk."""
        if self._variant.is_killed:
            self.broker.kill()
            await filling
            print("  killed while the disk is full")
            return
        began_s = time.monotonic()
        await self.broker.stop()
        took_s = time.monotonic() - began_s
        await filling
        self.require(took_s < STOP_S, f"SIGTERM ends in seconds, not in {took_s:.1f}")
        print(f"  stopped in {took_s:.1f} s while the disk is full")

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
        if self._variant.is_drained:
            await self._make_room()
        else:
            self._ballast.unlink()
        goes_on = await until(lambda: checker.confirmed_count >= before + MORE_COUNT, 120)
        self.require(goes_on, "publishers go on by themselves when there is room")
        print(f"  went on, {checker.confirmed_count - before:,} more confirmed")
        self._filler.is_stopped = True
        # It may fill what there is before it hears that it should stop; consumers make room then.
        consumer = self._consumers[-1]
        emptied = asyncio.ensure_future(consumer.take(self.where, len(consumer.settled) + 300, filling.done))
        await filling
        await emptied
        self.require(not self._filler.unconfirmed, "everything is confirmed in the end")

    async def _make_room(self) -> None:
        """As consumers do: everything that waits is taken and acked."""
        client = await self.where.connect()
        channel = await client.channel()
        counts = []
        for name in QUEUES:
            declared = await asyncio.wait_for(channel.call(commands.Queue.Declare(queue=name, passive=True)), 10)
            counts.append(declared.message_count)
        await client.close()
        taking = zip(self._consumers, counts, strict=True)
        takes = [each.take(self.where, len(each.settled) + count) for each, count in taking]
        self.require(all(await asyncio.gather(*takes)), "a full disk is drained")
        print(f"  drained {sum(counts):,}")

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
    mount_point = directory / "disk"
    is_ext4 = variant.file_system == "ext4"
    with small_ext4(directory, mount_point) if is_ext4 else small_disk(mount_point) as disk:
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
