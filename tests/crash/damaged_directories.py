"""Data directories on which bytes have changed by themselves: any file, any place, any of a dozen ways.

Owns a directory that a broker has lived in, what it held, the damage, and the judgement: never a wrong body, never a start that
crashes, never a loss of which nobody is told, and the same again at the next start. `amqpd log verify` is asked beforehand: it must
not call whole what a start then loses something of. One that is refused must be unchanged.

    python -m tests.crash.damaged_directories --count 300 --first 0
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.base.limits import Limits
from amqpd.broker import Broker
from amqpd.cli.log_survey import CannotLook, Survey
from amqpd.queues.chunk import Depth
from amqpd.queues.queue import Queue
from amqpd.runtime.files import DataDirectory, DataDirectoryRefused
from amqpd.store.log import Log
from amqpd.store.lost import Lost
from amqpd.store.page_reader import PageReader
from amqpd.store.segment import SegmentWriter
from tests.behaviour.harness import PERSISTENT, CountingEntropy
from tests.fakes.store_model import read_back
from tests.fakes.stored_broker import StoredBroker

WALL_MS: Final = 1_700_000_000_000
SEGMENT_BYTES: Final = 16 << 10
DEPTH: Final = Depth(head_count=16, chunk_count=16, resident_chunks=2)
PAGE_BYTES: Final = (512, 4096)
LIMIT_S: Final = 60

Bodies = dict[str, list[bytes]]
REFUSALS: Final = (Corrupt, UnknownFormat, DataDirectoryRefused, OSError)


class DirectoryBroker(StoredBroker):
    """A broker on real files, opened as the process opens them, a turn at a time."""

    def __init__(self, path: Path) -> None:
        self.directory = DataDirectory(path)
        topology, recovered = self.directory.load()
        self.report = recovered.report
        self.log = Log(recovered.start, SEGMENT_BYTES)
        self.now_ms = 1000
        wall_ms = WALL_MS + self.now_ms
        self.broker = Broker(Limits(), self.log, topology, recovered, CountingEntropy(), self.now_ms, wall_ms, DEPTH)
        self.disk = self.directory.disk
        self.store = self.directory.topology_store
        self.hold_syncs = False
        self.hold_reads = False
        self.reads = []
        self.failing_reads = 0
        self.damaged_reads = 0
        self.read_count = 0
        self.batches = []
        self._written_count = 0
        self.clients = []
        self.writer = SegmentWriter(self.disk, int(recovered.start.previous_crc))
        self._deaths_in = {}
        self._is_watched = False
        self._synced_contents = {}
        self._sealed_contents = None
        # One reader for all, as the thread has: what it knows of a segment is kept.
        self._reader = PageReader(self.disk)
        self.lost: list[Lost] = []

    def serve(self, read: object) -> None:
        read.pieces = self._reader.read(read.pages)  # type: ignore[attr-defined]
        read.error = self._reader.error  # type: ignore[attr-defined]
        self.broker.reads_done([read])  # type: ignore[list-item]
        self.lost += self.broker.take_lost()

    def queues(self) -> dict[str, Queue]:
        return dict(self.broker.vhosts["/"].queues) if "/" in self.broker.vhosts else {}

    def held(self) -> Bodies:
        """By queue, in the order of the log; what is damaged is left out."""
        found: Bodies = {}
        for name, queue in self.queues().items():
            messages = [entry.message for entry in queue.ready.entries()]
            messages += [message for message, _ in read_back(queue.ready.pages(), self.disk)[0]]
            found[name] = [message.body for message in sorted(messages, key=lambda each: each.message_id)]
        return found

    def drained(self) -> Bodies:
        """Everything that a consumer gets."""
        found: Bodies = {}
        for name, queue in self.queues().items():
            found[name] = []
            idle = 0
            while idle < 200:
                entry = None if queue.is_waiting else queue.get(False)
                if entry is None:
                    if queue.ready.count == 0:
                        break
                    idle += 1
                    self.advance(100)
                    continue
                idle = 0
                found[name].append(entry.message.body)
                queue.settle(entry)
            assert queue.ready.count == 0, f"{name} still waits for {queue.ready.count} messages"
        self.settle()
        return found

    def vanish(self) -> None:
        """As if it were killed."""
        self.writer.close()
        self.store.close()
        self.directory.release()

    def stop(self) -> None:
        self.settle()
        self.broker.begin_checkpoint()
        for _ in range(20):
            self.advance(100)
        self.writer.close()
        self.directory.stop(int(self.log.position))


class Origin:
    """A directory as a broker left it, older checkpoints that it had, and what it held."""

    def __init__(self, path: Path, is_clean: bool, checkpoint_count: int) -> None:
        self.path = path
        self.stale = path.with_name(path.name + "-stale")
        self.stale.mkdir()
        self.bodies: set[bytes] = set()
        broker = DirectoryBroker(path)
        client = broker.connect()
        for name, arguments in (("deep", None), ("rank", {"x-max-priority": 3}), ("wide", None), ("", None)):
            if name:
                client.declare(name, durable=True, arguments=arguments)
        for step in range(24):
            for number in range(30):
                body = b"%d/%d " % (step, number) + b"x" * (number * 7)
                queue = ("deep", "deep", "rank", "wide")[number % 4]
                self.bodies.add(body)
                client.publish(queue, body, properties=PERSISTENT)
            for name in ("rank", "wide", "deep"):
                for _ in range(4):
                    client.get(name, no_ack=True)
            broker.advance(100)
            if checkpoint_count and step % (24 // checkpoint_count) == 3:
                broker.broker.begin_checkpoint()
                for _ in range(5):
                    broker.advance(100)
                for file in (path / "checkpoints").glob("*.checkpoint"):
                    shutil.copyfile(file, self.stale / file.name)
        broker.settle()
        self.held = {name: sorted(bodies) for name, bodies in broker.held().items()}
        broker.stop() if is_clean else self._kill(broker)

    def _kill(self, broker: DirectoryBroker) -> None:
        """SQLite closes in order only here: what a kill leaves has its journal beside it."""
        aside = self.path.with_name(self.path.name + "-killed")
        shutil.copytree(self.path, aside)
        broker.vanish()
        shutil.rmtree(self.path)
        aside.rename(self.path)


def damage(path: Path, stale: Path, source: random.Random) -> list[str]:
    """One to three changes; what they were."""
    done = []
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        segments = sorted((path / "log").glob("*.segment"))
        checkpoints = sorted((path / "checkpoints").glob("*.checkpoint"))
        rare = [each for each in path.iterdir() if each.is_file() and each.name != "lock"]
        kind = source.choice(("bytes",) * 8 + ("swap", "stale", "gone"))
        if kind == "swap" and len(segments) > 1:
            one, other = source.sample(segments, 2)
            held = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(held)
            done.append(f"{one.name} and {other.name} swapped")
        elif kind == "stale" and checkpoints and any(stale.iterdir()):
            old = source.choice(sorted(stale.iterdir()))
            at = source.choice((checkpoints[-1], checkpoints[-1].with_name("0000000000000099.checkpoint")))
            at.write_bytes(old.read_bytes())
            done.append(f"{old.name} stands as {at.name}")
        elif kind == "gone":
            file = source.choice([*segments, *checkpoints, *rare])
            file.unlink()
            done.append(f"{file.name} is gone")
        else:
            file = source.choice(segments * 3 + checkpoints * 4 + rare)
            if file.exists() and file.stat().st_size:
                done.append(f"{file.name}: {_change(file, source)}")
    return done


def _change(file: Path, source: random.Random) -> str:
    data = bytearray(file.read_bytes())
    at = source.randrange(len(data))
    size = source.choice(PAGE_BYTES)
    begin = at // size * size
    end = min(len(data), begin + size)
    kind = source.choice(("flip", "flip", "flip", "zeros", "cut", "repeat", "noise", "longer"))
    if kind == "flip":
        data[at] ^= 1 << source.randrange(8)
    elif kind == "zeros":
        data[begin:end] = bytes(end - begin)
    elif kind == "cut":
        del data[at:]
    elif kind == "repeat":
        data[begin:begin] = data[begin:end]
    elif kind == "noise":
        data[at : at + 64] = source.randbytes(min(64, len(data) - at))
    else:
        data += source.randbytes(size)
    file.write_bytes(bytes(data))
    return f"{kind} at {at}"


def digests(path: Path) -> dict[str, str]:
    """Of everything but the lock, and SQLite's index of its journal, which is made anew each time."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in ("lock", "topology.sqlite-shm")
    }


class Judge:
    def __init__(self, origin: Origin, path: Path, seed: int) -> None:
        self.origin = origin
        self.path = path
        self.source = random.Random(seed)
        self.done: list[str] = []

    def run(self) -> str:
        """How it went; AssertionError if it must not go like that."""
        shutil.copytree(self.origin.path, self.path)
        self.done = damage(self.path, self.origin.stale, self.source)
        is_called_whole = self._verify()
        before = digests(self.path)
        try:
            broker = DirectoryBroker(self.path)
        except REFUSALS as error:
            refusal: Exception | None = error
        else:
            refusal = None
        if refusal is not None:
            assert str(refusal), "a refusal without a reason"
            assert digests(self.path) == before, "a start was refused, and something has changed"
            assert not is_called_whole, "verify calls it whole, and it is refused"
            self._refused_again(type(refusal))
            return "refused"
        first = broker.held()
        self._no_wrong_body(first)
        said = bool(broker.report.damage or broker.report.torn_bytes)
        lines = broker.broker.agenda.lines
        broker.vanish()
        again = DirectoryBroker(self.path)
        assert again.held() == first, "the next start finds something else"
        found = again.drained()
        self._no_wrong_body(found)
        lost = [*again.lost]
        said = said or bool(lost or lines or again.report.damage)
        again.vanish()
        missing = sum((Counter(self._all(self.origin.held)) - Counter(self._all(found))).values())
        risen = sum((Counter(self._all(found)) - Counter(self._all(self.origin.held))).values())
        topology = any("topology" in each for each in self.done)
        assert not (missing or risen) or said or topology, f"{missing} lost, {risen} came back, and nobody is told"
        if missing and is_called_whole and not topology:
            raise AssertionError(f"verify calls it whole, and {missing} are lost")
        if missing:
            return "some are lost"
        return "some came back" if risen else "all is there"

    def _verify(self) -> bool:
        """Does it say that there is no damage? An unfinished write at the end is none, and may be some all the same."""
        try:
            survey = Survey(self.path)
            survey.walk()
        except CannotLook:
            return False
        survey.snapshot.close()
        return survey.exit_code == 0 and not any("unfinished write" in notice for notice in survey.notices)

    def _refused_again(self, kind: type[Exception]) -> None:
        try:
            DirectoryBroker(self.path).vanish()
        except kind:
            return
        raise AssertionError("refused, and then not")

    def _no_wrong_body(self, found: Bodies) -> None:
        for body in self._all(found):
            assert body in self.origin.bodies, f"nobody published {body!r}"

    def _all(self, bodies: Bodies) -> list[bytes]:
        return [body for each in bodies.values() for body in each]


def origins(folder: Path) -> list[Origin]:
    return [
        Origin(folder / f"origin-{number}", is_clean, checkpoint_count)
        for number, (is_clean, checkpoint_count) in enumerate(((True, 3), (False, 3), (False, 0)))
    ]


def judge(origin: Origin, folder: Path, seed: int) -> str:
    """With a limit of time: a loop is a fault like any other."""
    path = folder / f"seed-{seed}"
    case = Judge(origin, path, seed)
    signal.alarm(LIMIT_S)
    try:
        return case.run()
    except BaseException as error:
        error.add_note(f"seed {seed}: {'; '.join(case.done)}")
        raise
    finally:
        signal.alarm(0)
        shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    flags = argparse.ArgumentParser()
    flags.add_argument("--count", type=int, default=300)
    flags.add_argument("--first", type=int, default=0)
    options = flags.parse_args()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="amqpd-damage-") as name:
        folder = Path(name)
        made = origins(folder)
        for seed in range(options.first, options.first + options.count):
            try:
                outcomes[judge(made[seed % len(made)], folder, seed)] += 1
            except Exception as error:
                outcomes["WRONG"] += 1
                print(f"seed {seed}: {type(error).__name__}: {error}: {getattr(error, '__notes__', '')}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    return 1 if outcomes["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
