"""The neighbour: one connection that publishes and consumes at a fixed rate, and tells how long each round trip took.

Owns a process of its own, so that whoever makes the broker suffer does not make the measurement suffer. Latency counts
from the moment a message was due, not from when it was sent: a stall shows up in every message that it delayed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

import uvloop
from pamqp import commands

from tests.chaos.client import Client, Content
from tests.chaos.process import ROOT

DUE = struct.Struct(">d")
RATE = 200
# How long a message may be under way when the probe ends.
LAST_S = 60.0


@dataclass(frozen=True)
class Pace:
    """Round trips in ms."""

    count: int
    lost_count: int
    p50: float
    p99: float
    worst: float

    def __str__(self) -> str:
        lost = f", {self.lost_count} never came" if self.lost_count else ""
        return (
            f"p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms, worst {self.worst:.1f} ms ({self.count} round trips{lost})"
        )


class Probe:
    """The process, from its caller's side. It is ready once `start` returns, and measures until `finish`."""

    def __init__(self, host: str, port: int) -> None:
        self._command = [sys.executable, "-m", "tests.chaos.probe", host, str(port)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        # `-m` finds the tests in the checkout, whichever amqpd is under test: the probe itself uses none.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 120)
        assert line == b"ready\n", "the probe could not connect"

    async def finish(self) -> Pace:
        assert self._process is not None
        told, _ = await asyncio.wait_for(self._process.communicate(b"\n"), 120)
        return Pace(**json.loads(told))


async def measured(host: str, port: int, seconds: float) -> Pace:
    """The pace of a while in which the caller does nothing."""
    probe = Probe(host, port)
    await probe.start()
    await asyncio.sleep(seconds)
    return await probe.finish()


async def run_probe(host: str, port: int) -> Pace:
    client = await Client.connect(host, port)
    channel = await client.channel()
    declared = await channel.call(commands.Queue.Declare(queue="", exclusive=True))
    took_ms: list[float] = []

    def on_deliver(content: Content) -> None:
        took_ms.append((time.monotonic() - DUE.unpack(content.body)[0]) * 1000)

    channel.on_deliver = on_deliver
    await channel.call(commands.Basic.Consume(queue=declared.queue, no_ack=True))
    print("ready", flush=True)
    told_to_stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    began = time.monotonic()
    sent_count = 0
    # An alarm stops every publisher, this one too: what it would measure then is the alarm.
    while not told_to_stop.done() and not client.blocked and not client.lost.is_set():
        due = began + sent_count / RATE
        now = time.monotonic()
        if now < due:
            await asyncio.sleep(due - now)
            continue
        channel.publish("", declared.queue, DUE.pack(due), is_persistent=False)
        sent_count += 1
    deadline = time.monotonic() + LAST_S
    while len(took_ms) < sent_count and time.monotonic() < deadline and not client.blocked:
        await asyncio.sleep(0.01)
    # The message that met the alarm waits with its connection.
    lost_count = 0 if client.blocked else sent_count - len(took_ms)
    await told_to_stop
    ordered = sorted(took_ms) or [0.0]
    return Pace(len(took_ms), lost_count, ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos.probe")
    arguments.add_argument("host")
    arguments.add_argument("port", type=int)
    given = arguments.parse_args()
    print(json.dumps(vars(uvloop.run(run_probe(given.host, given.port)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
