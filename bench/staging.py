"""The stage of one attack: a fresh broker, the quiet neighbour, the machine's own pulse, and the window that counts.

Owns: what an attack may use, and what of the neighbour's feelings belongs to it. The window opens when the blow is struck and
closes when the broker has come to rest: what it does afterwards for the blow counts too.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brokers import Broker
from pamqp import body, commands, header
from raw import QOS_OK, QUEUE_DECLARE_OK, AttackError, Peer, Wire, method

from amqpd.cli.load.usage import tree_usage

NEIGHBOUR = Path(__file__).resolve().parent / "neighbour.py"
CALM_S = 1.5
LOOK_S = 0.3
# At rest: this much of a core above what it used while only the neighbour was there.
REST_SHARE = 0.12
REST_TIMEOUT_S = 240.0
QUEUE_LOOK_S = 0.05
PUBLISH_CHUNK = 5000
FAR_TOO_LONG_S = 600.0


@dataclass(frozen=True)
class Felt:
    """Milliseconds in one window."""

    max_ms: float
    p99_ms: float
    # By how much a process that only sleeps overslept at most.
    machine_max_ms: float
    # How long the broker's first thread stood in line for a core, altogether; RabbitMQ does its work in others.
    queued_ms: float
    window_s: float

    @property
    def is_dead(self) -> bool:
        return math.isinf(self.max_ms)


class Watcher:
    """One neighbour process, and what it says at the end."""

    def __init__(self, what: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(NEIGHBOUR), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise AttackError("the neighbour did not start")
        self.felt: array[float] = array("d")

    def end(self) -> None:
        process = self._process
        try:
            said, _ = process.communicate(timeout=FAR_TOO_LONG_S)
        finally:
            process.kill()
        self.felt.frombytes(said[: len(said) - len(said) % 16])

    def between(self, begin_s: float, end_s: float) -> list[float]:
        """How long, of everything that was under way then, in order of length (s)."""
        felt = self.felt
        pairs = zip(felt[::2], felt[1::2])
        return sorted(took_s for when_s, took_s in pairs if when_s <= end_s and when_s + took_s >= begin_s)


class Window:
    """From when to when, and how long the broker stood in line for a core meanwhile."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._queued_before_ms = queued_ms(pid)
        self.begin_s = time.monotonic()
        self.end_s = math.inf
        self.queued_ms = 0.0

    def close(self) -> None:
        self.end_s = time.monotonic()
        self.queued_ms = max(0.0, queued_ms(self._pid) - self._queued_before_ms)


def queued_ms(pid: int) -> float:
    """Since the first thread of this process began; 0 where the kernel does not say."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e6
    except (OSError, IndexError):
        return 0.0


class Stage:
    def __init__(self, broker: Broker, scale: float) -> None:
        self.broker = broker
        self._scale = scale
        self.wire = Wire(broker.port)
        self.control, self._probe = self.wire.connect(2)
        self._neighbour = Watcher(str(broker.port))
        self._machine = Watcher("machine")
        before_s = self._wanted_s()
        self._calm = Window(broker.pid)
        time.sleep(CALM_S)
        self._calm.close()
        self._calm_share = (self._wanted_s() - before_s) / CALM_S
        self._blow: Window | None = None
        self._is_over = False

    # What an attack is made of

    def count(self, full: int, least: int = 4) -> int:
        """As many as the table says, or fewer in a small run."""
        return max(least, int(full * self._scale))

    def connect(self) -> Peer:
        return self.wire.connect()[0]

    def queue(self, name: str, **arguments: object) -> None:
        """A durable one, with x- arguments: dead_letter_exchange="" is x-dead-letter-exchange."""
        self.wire.call(self.control, declare(name, **arguments), QUEUE_DECLARE_OK)

    def ready_count(self, queue: str) -> int:
        self.wire.call(self.control, commands.Queue.Declare(queue=queue, passive=True), QUEUE_DECLARE_OK)
        return self.control.message_count()

    def await_ready(self, queue: str, count: int, timeout_s: float = REST_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while (ready := self.ready_count(queue)) != count:
            if time.monotonic() > deadline:
                raise AttackError(f"{queue} holds {ready} of {count} messages after {timeout_s:g} s")
            self.wire.run_until(lambda: False, QUEUE_LOOK_S)

    def fill(self, queue: str, count: int, message: bytes = b"") -> None:
        """Messages into a queue that nobody consumes, until all are there."""
        self.flood(self.control, message or publish(queue), count)
        self.await_ready(queue, count)

    def flood(self, peer: Peer, message: bytes, count: int) -> None:
        for at in range(0, count, PUBLISH_CHUNK):
            self.wire.send(peer, message * min(PUBLISH_CHUNK, count - at))

    def in_one_go(self, parts: Sequence[bytes], peer: Peer, answer: bytes) -> None:
        """One write of many methods, each of which is answered."""
        self.wire.send(peer, b"".join(parts))
        self.wire.wait(peer, answer, len(parts))

    # What counts

    @contextmanager
    def watched(self, at_least_s: float = 0.5) -> Iterator[None]:
        """The blow; it is over when the broker rests."""
        self.rest()
        self._blow = Window(self.broker.pid)
        yield
        self.wire.run_until(lambda: False, self._blow.begin_s + at_least_s - time.monotonic())
        self.rest()
        self._blow.close()

    def rest(self) -> None:
        """Until it answers and wants no more of a core than when all was calm; standing in line for one is wanting, too."""
        deadline = time.monotonic() + REST_TIMEOUT_S
        share = 1.0
        while share > self._calm_share + REST_SHARE and time.monotonic() < deadline:
            before_s, began_s = self._wanted_s(), time.monotonic()
            self.wire.run_until(lambda: False, LOOK_S)
            self.wire.call(self._probe, commands.Basic.Qos(), QOS_OK)
            share = (self._wanted_s() - before_s) / (time.monotonic() - began_s)

    def _wanted_s(self) -> float:
        return tree_usage(self.broker.pid).cpu_s + queued_ms(self.broker.pid) / 1e3

    def end(self) -> None:
        """Once the broker is dead or well: a neighbour that waits for an answer ends only with it. Again does nothing."""
        if self._is_over:
            return
        self._is_over = True
        for watcher in (self._neighbour, self._machine):
            watcher.end()
        self.wire.close()

    def felt(self) -> Felt:
        if self._blow is None:
            raise AttackError("nothing was done")
        return self._felt(self._blow)

    def felt_when_calm(self) -> Felt:
        return self._felt(self._calm)

    def _felt(self, window: Window) -> Felt:
        neighbour = self._neighbour.between(window.begin_s, window.end_s)
        machine = self._machine.between(window.begin_s, window.end_s)
        if not neighbour or not machine:
            raise AttackError("nothing was measured")
        p99 = neighbour[min(len(neighbour) - 1, int(len(neighbour) * 0.99))]
        took_s = window.end_s - window.begin_s
        return Felt(neighbour[-1] * 1e3, p99 * 1e3, machine[-1] * 1e3, window.queued_ms, took_s)


def declare(name: str, is_exclusive: bool = False, **arguments: object) -> commands.Queue.Declare:
    named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return commands.Queue.Declare(
        queue=name,
        durable=not is_exclusive,
        exclusive=is_exclusive,
        arguments=named,  # type: ignore[arg-type]
    )


def publish(
    routing_key: str,
    exchange: str = "",
    content: bytes = b"x",
    channel: int = 1,
    is_persistent: bool = False,
    is_mandatory: bool = False,
    **properties: object,
) -> bytes:
    """The whole message as frames; its content fits into one."""
    named = commands.Basic.Properties(delivery_mode=2 if is_persistent else 1, **properties)  # type: ignore[arg-type]
    start = commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=is_mandatory)
    head = method(header.ContentHeader(0, len(content), named), channel)  # type: ignore[arg-type]
    return method(start, channel) + head + method(body.ContentBody(content), channel)  # type: ignore[arg-type]
