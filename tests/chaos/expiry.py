"""Messages with random expirations in random order in one queue without a consumer: `python -m tests.chaos.expiry`.

Each must come out at the dead-letter exchange once, in its turn and on time, wherever it stood in the queue, and the counts
must be exact all along. Prints the figures; exit status 1 if one of that does not hold. The short form, which is a test, judges
no time: a machine that is busy makes everything late, and a turn that waits for its processor takes what came meanwhile for
older than it is.

In its turn: who was published earlier with a shorter expiration is due earlier by every clock, and comes earlier.

Lateness counts from when the publisher wrote a message to its socket, plus its expiration, until its dead letter was read:
the way to the broker and back is in it, and what the broker and this client need to handle what stands before it.
Everything goes over one channel, because then its order says what is where: when a passive declare is answered, the
deliveries that came before it are exactly those that had left the queue, and what was published before it is in.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import shutil
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from pamqp import commands, frame

from amqpd.base.timers import TICK_MS
from tests.chaos.client import BODY, END, FRAME_HEAD, HEADER, Channel, Client, Content
from tests.chaos.overload import say
from tests.chaos.process import BrokerProcess, core_kind

SOURCE: Final = "expiry.source"
DEAD: Final = "expiry.dead"
# Sequence, when it was published (monotonic ns), expiration in ms; the rest is padding.
STAMP: Final = struct.Struct(">IQI")
BODY_BYTES: Final = 128
# Class 60, weight, size; delivery mode and expiration are present, and the mode is persistent.
CONTENT: Final = struct.Struct(">HHQHB")
FLAGS: Final = 0x1100
CHUNK_COUNT: Final = 100
WINDOW_COUNT: Final = 1000
ACK_EVERY: Final = 100
PROBE_EVERY_S: Final = 0.1
# The clock of a turn stands still while the turn lasts, and shows whole milliseconds: this much is not early.
EARLY_MS: Final = 3.0
# How long after the last expiration the last message may come.
PATIENCE_S: Final = 150.0


@dataclass(frozen=True)
class Sizes:
    count: int = 300_000
    expiration_ms_min: int = 1_000
    expiration_ms_max: int = 30_000
    p99_ms: float = 50.0
    is_timed: bool = True


SHORT: Final = Sizes(count=20_000, expiration_ms_max=4_000, is_timed=False)


class Watched(Channel):
    """Knows how many deliveries came before each answer."""

    def __init__(self, client: Client, number: int) -> None:
        super().__init__(client, number)
        self.delivered_count = 0
        # Ready messages that a declare found, and the deliveries before it.
        self.found: list[tuple[int, int]] = []

    def answer(self, value: Any) -> None:
        if isinstance(value, commands.Queue.DeclareOk):
            self.found.append((value.message_count or 0, self.delivered_count))
        super().answer(value)


class Expiry:
    def __init__(self, directory: Path, sizes: Sizes, seed: int) -> None:
        self.broker = BrokerProcess(directory)
        self.sizes = sizes
        self.broken: list[str] = []
        self.lateness_ns: list[int] = []
        self.confirm_ns: list[int] = []
        self.exact_count = 0
        self.torn_count = 0
        self._expirations = self._draw(seed)
        self._seen = bytearray(sizes.count)
        # Sequences as they came.
        self._came: list[int] = []
        self._sent_ns: list[int] = []
        self._confirmed_count = 0
        self._room = asyncio.Event()
        self._all_came = asyncio.Event()

    def _draw(self, seed: int) -> list[int]:
        source = random.Random(seed)
        sizes = self.sizes
        return [source.randint(sizes.expiration_ms_min, sizes.expiration_ms_max) for _ in range(sizes.count)]

    async def run(self) -> None:
        await self.broker.start()
        try:
            await self._run()
        finally:
            self.broker.kill()

    async def _run(self) -> None:
        client = await Client.connect(self.broker.host, self.broker.port)
        channel = self.channel = Watched(client, 1)
        client.channels[1] = channel
        await channel.call(commands.Channel.Open())
        await self._set_up(channel)
        gc.collect()
        gc.freeze()
        began = time.monotonic()
        probing = asyncio.create_task(self._probe(channel))
        await self._publish(client, channel)
        published_s = time.monotonic() - began
        try:
            await asyncio.wait_for(self._all_came.wait(), self.sizes.expiration_ms_max / 1e3 + PATIENCE_S)
        except TimeoutError:
            self.require(False, "every message comes")
        probing.cancel()
        # Whatever came twice would come now.
        await asyncio.sleep(1.0)
        await self._look(channel)
        resident = self.broker.resident_bytes()
        await client.close()
        await self.broker.stop()
        self._report(published_s, resident)

    async def _set_up(self, channel: Watched) -> None:
        await channel.call(commands.Queue.Declare(queue=DEAD, durable=True))
        arguments: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD}
        await channel.call(commands.Queue.Declare(queue=SOURCE, durable=True, arguments=arguments))
        await channel.call(commands.Confirm.Select())
        channel.on_deliver = self._on_deliver
        channel.on_confirm = self._on_confirm
        await channel.call(commands.Basic.Consume(queue=DEAD))

    # Out

    async def _publish(self, client: Client, channel: Watched) -> None:
        method = frame.marshal(commands.Basic.Publish(exchange="", routing_key=SOURCE), channel.number)
        body_head = FRAME_HEAD.pack(BODY, channel.number, BODY_BYTES)
        padding = bytes(BODY_BYTES - STAMP.size)
        sent_ns = self._sent_ns
        for first in range(0, self.sizes.count, CHUNK_COUNT):
            parts: list[bytes] = []
            now_ns = time.monotonic_ns()
            for sequence in range(first, min(first + CHUNK_COUNT, self.sizes.count)):
                expiration_ms = self._expirations[sequence]
                text = b"%d" % expiration_ms
                header = CONTENT.pack(60, 0, BODY_BYTES, FLAGS, 2) + bytes([len(text)]) + text
                head = FRAME_HEAD.pack(HEADER, channel.number, len(header))
                stamp = STAMP.pack(sequence, now_ns, expiration_ms)
                parts += (method, head, header, END, body_head, stamp, padding, END)
                sent_ns.append(now_ns)
            client.write(b"".join(parts))
            await client.room.wait()
            await asyncio.sleep(0)
            while len(sent_ns) - self._confirmed_count >= WINDOW_COUNT:
                self._room.clear()
                await self._room.wait()

    # In

    def _on_confirm(self, delivery_tag: int, is_multiple: bool, is_ack: bool) -> None:
        self.require(is_ack, "nothing is refused")
        now_ns = time.monotonic_ns()
        first = self._confirmed_count if is_multiple else delivery_tag - 1
        self.confirm_ns += [now_ns - sent_ns for sent_ns in self._sent_ns[first:delivery_tag]]
        self._confirmed_count = delivery_tag
        self._room.set()

    def _on_deliver(self, content: Content) -> None:
        channel = self.channel
        channel.delivered_count += 1
        sequence, sent_ns, expiration_ms = STAMP.unpack_from(content.body)
        self.lateness_ns.append(time.monotonic_ns() - sent_ns - expiration_ms * 1_000_000)
        if self._seen[sequence]:
            self.require(False, f"message {sequence} comes once")
        self._seen[sequence] = 1
        self._came.append(sequence)
        is_last = channel.delivered_count == self.sizes.count
        if is_last or content.delivery_tag % ACK_EVERY == 0:
            channel.ack(content.delivery_tag, is_multiple=True)
        if is_last:
            self._all_came.set()

    # Counts

    async def _probe(self, channel: Watched) -> None:
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            await self._look(channel)

    async def _look(self, channel: Watched) -> None:
        channel.found.clear()
        # Written at once, hence read at once: time stands still between them, or else the two counts of the source differ.
        looks = (channel.call(_passive(queue)) for queue in (SOURCE, DEAD, SOURCE))
        published_count, *_ = await asyncio.gather(self._published(), *looks)
        (source, came), (dead, _), (source_after, came_after) = channel.found
        if source != source_after or came != came_after:
            self.torn_count += 1
            return
        self.exact_count += 1
        if source + dead + came != published_count:
            self.require(
                False,
                f"counts are exact: {source:,} in the source, {dead:,} dead letters and {came:,} delivered "
                f"of {published_count:,} published",
            )

    async def _published(self) -> int:
        """When the loop comes to it, which is just before what is gathered behind it."""
        return len(self._sent_ns)

    # Verdicts

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)
            if len(self.broken) < 20:
                print(f"BROKEN: {what}", flush=True)

    def _report(self, published_s: float, resident_bytes: int) -> None:
        sizes = self.sizes
        late_ms = [each / 1e6 for each in sorted(self.lateness_ns)]
        say("messages", f"{sizes.count:,}, published in {published_s:.1f} s, persistent, in one queue")
        say(
            "expirations",
            f"{sizes.expiration_ms_min / 1e3:g} to {sizes.expiration_ms_max / 1e3:g} s at random, no consumer",
        )
        if not late_ms:
            return
        p99 = percentile(late_ms, 0.99)
        say(
            "late by",
            f"p50 {percentile(late_ms, 0.5):.1f} ms, p99 {p99:.1f} ms, p99.9 {percentile(late_ms, 0.999):.1f} ms, "
            f"max {late_ms[-1]:.1f} ms, min {late_ms[0]:.1f} ms",
        )
        confirm_ms = [each / 1e6 for each in sorted(self.confirm_ns)]
        say(
            "of which at most for publishing",
            f"p50 {percentile(confirm_ms, 0.5):.1f} ms, p99 {percentile(confirm_ms, 0.99):.1f} ms (until the confirm)",
        )
        say("came", f"{sum(self._seen):,} of {sizes.count:,}, deliveries {len(late_ms):,}")
        say("counts looked at", f"{self.exact_count:,} times, and {self.torn_count:,} times between two reads")
        say("resident memory at the end", f"{resident_bytes / (1 << 20):.0f} MiB")
        self.require(sum(self._seen) == sizes.count == len(late_ms), "each is dead-lettered exactly once")
        overtaken_count = overtaken(self._came, self._expirations)
        self.require(
            overtaken_count == 0, f"each comes in its turn, and not {overtaken_count:,} of them after a later one"
        )
        self.require(self.exact_count > 0, "a look at the counts falls into one turn")
        if not sizes.is_timed:
            return
        self.require(late_ms[0] > -EARLY_MS, f"none is early, not by {-late_ms[0]:.1f} ms")
        self.require(p99 <= sizes.p99_ms, f"p99 within {sizes.p99_ms:g} ms, not {p99:.1f}")
        self.require(self.exact_count > self.torn_count, "most looks at the counts fall into one turn")


def overtaken(came: list[int], expirations_ms: list[int]) -> int:
    """How many came before one that was published earlier and whose expiration was shorter by a tick or more."""
    # least[k]: the shortest expiration among the sequences that the k-th node of a Fenwick tree stands for, which came later.
    size = len(expirations_ms)
    never = 1 << 62
    least = [never] * (size + 1)
    count = 0
    for sequence in reversed(came):
        expiration_ms = expirations_ms[sequence]
        shortest, at = never, sequence
        while at > 0:
            shortest = min(shortest, least[at])
            at -= at & -at
        count += shortest + TICK_MS <= expiration_ms
        at = sequence + 1
        while at <= size:
            least[at] = min(least[at], expiration_ms)
            at += at & -at
    return count


def _passive(queue: str) -> commands.Queue.Declare:
    return commands.Queue.Declare(queue=queue, passive=True)


def percentile(ascending: list[float], fraction: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * fraction))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.expiry", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="as in the live tests")
    parser.add_argument("--count", type=int, default=0, help=f"messages ({Sizes.count:,})")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32), help="of the expirations")
    given = parser.parse_args()
    sizes = SHORT if given.short else Sizes(count=given.count or Sizes.count)
    directory = Path(tempfile.mkdtemp(prefix="amqpd-expiry-", dir="/var/tmp"))
    print(f"{core_kind(directory)} core, {os.cpu_count()} cores, seed {given.seed}, in {directory}", flush=True)
    expiry = Expiry(directory, sizes, given.seed)
    uvloop.run(expiry.run())
    if expiry.broken:
        print(f"\nBROKEN {len(expiry.broken)} times; the broker's log is in {directory}")
        return 1
    shutil.rmtree(directory)
    print("\nall of it held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
