"""A sync that fails: `python -m tests.chaos.failed_sync`, as root, since it mounts small file systems.

The broker must end at once with exit status 74 and one clear sentence, confirm nothing that the failed sync was to make durable, and
find everything that it did confirm when it is started again. Twice with one fdatasync that fails and later ones that
succeed (EIO, and ENOSPC, which is no reason to try again either), and once with a kernel that really loses the pages: an ext4
on a loop device whose own storage has run out. Exit status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from tests.chaos.checker import VIOLATIONS, Checker
from tests.chaos.full_disk import BODY_BYTES, MIB, CannotMount, Filler, mounted, small_disk
from tests.chaos.overload import until
from tests.chaos.process import BrokerProcess, core_kind
from tests.chaos.workload import ORDERED, QUEUES, ConsumerWorker, Where, declare_all

EXIT_DISK_FAILED: Final = 74
SOURCE: Final = Path(__file__).with_name("failing_fdatasync.c")
# The loop device promises more than what is behind it has.
DEVICE_BYTES: Final = 96 * MIB
STORAGE_BYTES: Final = 32 * MIB


@dataclass(frozen=True)
class Variant:
    name: str
    # Which fdatasync fails, with which errno; 0: the device does it.
    fails_at: int = 0
    error: int = 0


VARIANTS: Final = (
    Variant("one fdatasync fails with EIO", 40, errno.EIO),
    Variant("one fdatasync fails with ENOSPC", 40, errno.ENOSPC),
    Variant("the device loses what it was given"),
)


class FailingDevice:
    """An ext4 that can't keep what it was given, until `heal`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._storage = directory / "storage"
        self._image = self._storage / "image"
        self.disk = directory / "disk"
        self._mounts = contextlib.ExitStack()
        self._mount = contextlib.ExitStack()

    def __enter__(self) -> FailingDevice:
        with contextlib.ExitStack() as undo:
            undo.enter_context(small_disk(self._storage, STORAGE_BYTES))
            with self._image.open("wb") as image:
                image.truncate(DEVICE_BYTES)
            _run("mkfs.ext4", "-q", "-F", str(self._image))
            self._mounts = undo.pop_all()
        try:
            self._mount.enter_context(mounted(str(self._image), self.disk, "-o", "loop"))
        except CannotMount:
            self._mounts.close()
            raise
        return self

    def heal(self) -> None:
        """More storage, and the file system mounted anew: what only the page cache had is gone for good."""
        _run("mount", "-o", f"remount,size={2 * DEVICE_BYTES}", str(self._storage))
        self._mount.close()
        self._mount.enter_context(mounted(str(self._image), self.disk, "-o", "loop"))

    def __exit__(self, *_: object) -> None:
        self._mount.close()
        self._mounts.close()


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMount(f"{command[0]} does not work here: {error}") from error


def failing_fdatasync(directory: Path) -> Path:
    library = directory / "failing_fdatasync.so"
    _run("cc", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl")
    return library


@contextlib.contextmanager
def place_of(variant: Variant, directory: Path) -> Iterator[tuple[Path, dict[str, str], Callable[[], None]]]:
    """A disk, what makes a broker's syncs fail there, and how that ends."""
    if variant.fails_at == 0:
        with FailingDevice(directory) as device:
            yield device.disk, {}, device.heal
        return
    library = failing_fdatasync(directory)
    environ = {
        "LD_PRELOAD": str(library),
        "FAIL_FDATASYNC_AT": str(variant.fails_at),
        "FAIL_FDATASYNC_ERRNO": str(variant.error),
    }
    with small_disk(directory / "disk", 256 * MIB) as disk:
        yield disk, environ, lambda: None


class FailedSync:
    def __init__(self, directory: Path, disk: Path, environ: dict[str, str], heal: Callable[[], None]) -> None:
        settings = {"disk_reserve_bytes": 0, "limits.segment_bytes": 4 * MIB}
        self.broken: list[str] = []
        self.checker = Checker(QUEUES, ORDERED, random.Random(1).randbytes(BODY_BYTES + 256))
        self.broker = BrokerProcess(directory, disk / "data", settings)
        self.broker.environ = environ
        self._heal = heal

    @property
    def where(self) -> Where:
        return Where(self.broker.host, self.broker.port)

    async def run(self) -> None:
        broker, checker = self.broker, self.checker
        try:
            await broker.start()
            checker.new_life(await declare_all(self.where))
            filling = asyncio.ensure_future(Filler(checker).run(self.where))
            if not await until(lambda: broker.exit_code is not None, 60):
                self.require(False, "the broker stops")
                return
            code, log = broker.exit_code, broker.log_of_this_life()
            self.require(code == EXIT_DISK_FAILED, f"it stops with {EXIT_DISK_FAILED}, not {code}")
            last = log.strip().splitlines()[-1]
            self.require("amqpd stopped: the log in " in last and "can't be written: " in last, f"it says why: {last}")
            await filling
            self.require(checker.confirmed_count > 0, "something was confirmed before")
            print(f"  {last}\n  {checker.confirmed_count:,} of {checker.attempted_count:,} confirmed")
            broker.kill()
            self._heal()
            broker.environ = {}
            await self._drain()
        finally:
            broker.kill()

    async def _drain(self) -> None:
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


def run_variant(variant: Variant, directory: Path) -> FailedSync:
    """Raises CannotMount where that is not allowed."""
    with place_of(variant, directory) as (disk, environ, heal):
        failed_sync = FailedSync(directory, disk, environ, heal)
        uvloop.run(failed_sync.run())
        return failed_sync


def main() -> int:
    argparse.ArgumentParser(prog="python -m tests.chaos.failed_sync", description=__doc__.split("\n")[0]).parse_args()
    top = Path(tempfile.mkdtemp(prefix="amqpd-failed-sync-"))
    print(f"{core_kind(top)} core, {os.cpu_count()} cores, in {top}", flush=True)
    broken_count = 0
    for number, variant in enumerate(VARIANTS):
        print(f"{variant.name}:", flush=True)
        directory = top / str(number)
        directory.mkdir()
        try:
            broken_count += len(run_variant(variant, directory).broken)
        except CannotMount as why:
            print(f"  skipped: {why}")
    print("\nnothing confirmed is lost" if broken_count == 0 else f"\nBROKEN: see the logs in {top}")
    if broken_count == 0:
        shutil.rmtree(top)
    return 0 if broken_count == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
