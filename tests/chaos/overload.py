"""Peers that ask for more than there is: `python -m tests.chaos.overload`.

A publisher without a consumer, consumers that don't read, and thousands of connections that do nothing: memory stays within
its bounds, and a neighbour's round trip keeps its pace (which the short form, a test, does not judge). Prints the figures; exit status 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from pamqp import body, commands, frame, header

from tests.chaos.client import Channel, Client, Content
from tests.chaos.probe import Pace, Probe, measured
from tests.chaos.process import BrokerProcess, core_kind

MIB: Final = 1 << 20
BODY: Final = b"x" * 4096
CHUNK_COUNT: Final = 64
QUEUE: Final = "overload.backlog"
STALLED_S: Final = 5
OPENING_AT_ONCE: Final = 16
RECEIVE_BUFFER_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Sizes:
    """How hard it is pushed, and what must hold."""

    watermark_bytes: int = 400 * MIB
    # The alarm looks 20 times per second: what may come in between two looks, and what a turn holds besides.
    overshoot_bytes: int = 150 * MIB
    blocked_s: float = 5.0
    backlog_bytes: int = 150 * MIB
    idle_reader_count: int = 8
    # The broker's outgoing buffer of 4 MiB, a turn's outbox of 1 MiB, and some MiB in the kernel. All of them together
    # could take the backlog several times over if nothing held them back.
    bytes_per_idle_reader: int = 12 * MIB
    idle_connection_count: int = 5000
    bytes_per_connection: int = 40 * 1024
    probe_s: float = 4.0
    # None: the machine is not judged.
    p99_ms: float | None = 100.0


SHORT: Final = Sizes(
    watermark_bytes=250 * MIB,
    blocked_s=2.5,
    backlog_bytes=60 * MIB,
    idle_reader_count=3,
    idle_connection_count=500,
    probe_s=1.5,
    p99_ms=None,
    # With few of them every fixed cost counts.
    bytes_per_connection=80 * 1024,
)


class Flood:
    """A publisher that never waits for anything but its socket."""

    def __init__(self, client: Client, channel: Channel) -> None:
        self.sent_count = 0
        self.is_stopped = False
        self._client = client
        # What has a time of its own stays in memory, and no other message fills it for long.
        properties = commands.Basic.Properties(delivery_mode=1, expiration="3600000")
        parts = (
            commands.Basic.Publish(routing_key=QUEUE),
            header.ContentHeader(body_size=len(BODY), properties=properties),
            body.ContentBody(BODY),
        )
        self._chunk = b"".join(frame.marshal(part, channel.number) for part in parts) * CHUNK_COUNT

    @classmethod
    async def open(cls, host: str, port: int) -> Flood:
        client = await Client.connect(host, port)
        channel = await client.channel()
        await channel.call(commands.Queue.Declare(queue=QUEUE, durable=True))
        return cls(client, channel)

    @property
    def is_blocked(self) -> bool:
        return self._client.blocked != ""

    @property
    def unblocked_count(self) -> int:
        return self._client.unblocked_count

    async def run(self, bytes_max: int | None = None) -> None:
        while not self.is_stopped and (bytes_max is None or self.sent_count * len(BODY) < bytes_max):
            self._client.write(self._chunk)
            self.sent_count += CHUNK_COUNT
            await self._client.room.wait()
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self._client.close()


class Drain:
    """A consumer that acks everything at once."""

    def __init__(self, client: Client, channel: Channel) -> None:
        self.count = 0
        self._client = client
        self._channel = channel
        channel.on_deliver = self._on_deliver

    @classmethod
    async def open(cls, host: str, port: int) -> Drain:
        client = await Client.connect(host, port)
        channel = await client.channel()
        drain = cls(client, channel)
        await channel.call(commands.Basic.Qos(prefetch_count=500))
        await channel.call(commands.Basic.Consume(queue=QUEUE))
        return drain

    def _on_deliver(self, content: Content) -> None:
        self.count += 1
        self._channel.ack(content.delivery_tag)

    async def close(self) -> None:
        await self._client.close()


class Memory:
    """The broker's resident memory, looked at often."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.peak_bytes = 0
        self._broker = broker
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._broker.resident_bytes())
            await asyncio.sleep(0.02)

    def forget(self) -> None:
        self.peak_bytes = self._broker.resident_bytes()

    def stop(self) -> None:
        self._task.cancel()


class Overload:
    def __init__(self, directory: Path, sizes: Sizes) -> None:
        from amqpd.runtime.memory import memory_limit_bytes

        self.sizes = sizes
        self.broken: list[str] = []
        settings = {
            "memory_high_watermark": sizes.watermark_bytes / memory_limit_bytes(),
            "disk_reserve_bytes": 0,
            "limits.outgoing_stalled_timeout_ms": STALLED_S * 1000,
        }
        self.broker = BrokerProcess(directory, settings=settings)

    async def run(self) -> None:
        try:
            await self.broker.start()
            say("idle", f"{self.broker.resident_bytes() / MIB:.0f} MiB resident")
            before = await self._pace()
            say("pace of a neighbour, alone", str(before))
            # First, and each after a restart: freed memory of one part must not hide what the next one costs.
            await self.idle_connections()
            await self._restart()
            await self.publisher_without_consumer()
            await self._restart()
            await self.consumers_that_do_not_read()
            await self.broker.stop()
        finally:
            self.broker.kill()

    async def _restart(self) -> None:
        await self.broker.stop()
        await self.broker.start()

    async def publisher_without_consumer(self) -> None:
        sizes, broker = self.sizes, self.broker
        memory, probe = Memory(broker), Probe(broker.host, broker.port)
        flood = await Flood.open(broker.host, broker.port)
        await probe.start()
        flooding = asyncio.ensure_future(flood.run())
        began = time.monotonic()
        is_blocked = await until(lambda: flood.is_blocked, 120)
        took_s = time.monotonic() - began
        pace = await probe.finish()
        self.require(is_blocked, "a publisher without a consumer is stopped by connection.blocked")
        # What its socket still took may take a while to come to rest.
        sent = await self._at_rest(flood)
        peak = memory.peak_bytes
        await asyncio.sleep(sizes.blocked_s)
        say("publisher without consumer", f"blocked after {took_s:.1f} s and {sent * len(BODY) / MIB:.0f} MiB")
        say("  memory", f"{peak / MIB:.0f} MiB at the most, alarm at {sizes.watermark_bytes / MIB:.0f} MiB")
        say("  pace of a neighbour until then", str(pace))
        self.require(flood.sent_count == sent, "a blocked publisher's socket is not read")
        self.require(memory.peak_bytes <= peak + 8 * MIB, "memory does not grow while publishers are blocked")
        bound = sizes.watermark_bytes + sizes.overshoot_bytes
        self.require(memory.peak_bytes <= bound, f"memory stays below {bound / MIB:.0f} MiB")
        self.require_pace(pace, "beside a publisher without a consumer")

        flood.is_stopped = True
        began = time.monotonic()
        drain = await Drain.open(broker.host, broker.port)
        first = await until(lambda: drain.count > 0, 60)
        self.require(first, "consumers go on while publishers are blocked")
        is_over = await until(lambda: flood.unblocked_count > 0, 120)
        self.require(is_over, "publishers go on by themselves when memory is back")
        say(
            "  consumed under the alarm",
            f"{drain.count:,} messages until connection.unblocked, {time.monotonic() - began:.1f} s",
        )
        await flooding
        everything = await until(lambda: drain.count >= flood.sent_count, 120)
        self.require(everything and drain.count == flood.sent_count, "every message comes, once")
        await drain.close()
        await flood.close()
        memory.stop()

    async def _at_rest(self, flood: Flood) -> int:
        """How many it has sent once it sends no more; whatever it has sent if it never stops."""
        sent_count = -1
        deadline = time.monotonic() + 60
        while flood.sent_count != sent_count and time.monotonic() < deadline:
            sent_count = flood.sent_count
            await asyncio.sleep(self.sizes.blocked_s)
        return sent_count

    async def consumers_that_do_not_read(self) -> None:
        sizes, broker = self.sizes, self.broker
        flood = await Flood.open(broker.host, broker.port)
        await flood.run(sizes.backlog_bytes)
        await flood.close()
        await asyncio.sleep(1.0)
        backlog_count = await self._ready_count()
        base = broker.resident_bytes()
        memory, probe = Memory(broker), Probe(broker.host, broker.port)
        await probe.start()
        readers = [await self._reader_that_stops() for _ in range(sizes.idle_reader_count)]
        await asyncio.sleep(min(sizes.probe_s, STALLED_S - 1))
        pace = await probe.finish()
        # What they were given has left the queue: memory alone would not tell if it were too much.
        taken_bytes = (backlog_count - await self._ready_count()) * len(BODY)
        each = taken_bytes / len(readers)
        what = f"{len(readers)} of them before {backlog_count * len(BODY) / MIB:.0f} MiB"
        say("consumers that don't read", f"{what} took {each / MIB:.1f} MiB each")
        say("  memory", f"{(memory.peak_bytes - base) / MIB:+.1f} MiB besides the messages")
        say("  pace of a neighbour", str(pace))
        self.require(0 < each <= sizes.bytes_per_idle_reader, "what waits for a reader is bounded")
        self.require(memory.peak_bytes - base <= len(readers) * sizes.bytes_per_idle_reader, "and so is memory")
        self.require_pace(pace, "beside consumers that don't read")
        gone = await until(lambda: broker.log_of_this_life().count("has not read for too long") >= len(readers), 120)
        self.require(gone, f"who has not read for {STALLED_S} s is dropped, and the log says so")
        memory.stop()
        for reader in readers:
            reader.abort()
        purger = await Client.connect(broker.host, broker.port)
        channel = await purger.channel()
        await channel.call(commands.Queue.Purge(queue=QUEUE))
        await purger.close()

    async def _ready_count(self) -> int:
        client = await Client.connect(self.broker.host, self.broker.port)
        channel = await client.channel()
        declared = await channel.call(commands.Queue.Declare(queue=QUEUE, passive=True))
        await client.close()
        count: int = declared.message_count
        return count

    async def _reader_that_stops(self) -> Client:
        client = await Client.connect(self.broker.host, self.broker.port, RECEIVE_BUFFER_BYTES)
        channel = await client.channel()
        await channel.call(commands.Basic.Consume(queue=QUEUE, no_ack=True))
        client.pause_reading()
        return client

    async def idle_connections(self) -> None:
        sizes, broker = self.sizes, self.broker
        await asyncio.sleep(1.0)
        base = broker.resident_bytes()
        probe = Probe(broker.host, broker.port)
        await probe.start()
        began = time.monotonic()
        idle: list[Client] = []
        opening = [self._open_some(idle) for _ in range(OPENING_AT_ONCE)]
        await asyncio.gather(*opening)
        took_s = time.monotonic() - began
        connecting = await probe.finish()
        each = (broker.resident_bytes() - base) / len(idle)
        pace = await self._pace()
        say("idle connections", f"{len(idle):,} opened in {took_s:.1f} s, {each / 1024:.1f} KiB each")
        say("  pace of a neighbour while they come", str(connecting))
        say("  and when they are there", str(pace))
        self.require(
            each <= sizes.bytes_per_connection, f"a connection costs {sizes.bytes_per_connection >> 10} KiB at most"
        )
        self.require(all(not client.lost.is_set() for client in idle), "idle connections stay")
        self.require_pace(pace, "beside idle connections")
        for client in idle:
            client.abort()

    async def _open_some(self, idle: list[Client]) -> None:
        while len(idle) + OPENING_AT_ONCE <= self.sizes.idle_connection_count:
            client = await Client.connect(self.broker.host, self.broker.port)
            await client.channel()
            idle.append(client)

    async def _pace(self) -> Pace:
        return await measured(self.broker.host, self.broker.port, self.sizes.probe_s)

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)
            print(f"BROKEN: {what}", flush=True)

    def require_pace(self, pace: Pace, where: str) -> None:
        self.require(pace.lost_count == 0, f"{where}: every round trip comes to its end")
        bound_ms = self.sizes.p99_ms
        if bound_ms is not None:
            self.require(pace.p99 <= bound_ms, f"{where}: p99 within {bound_ms:g} ms, not {pace.p99:.1f}")


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def say(what: str, figures: str) -> None:
    print(f"{what:40} {figures}", flush=True)


def raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos.overload", description=__doc__.split("\n")[0])
    arguments.add_argument("--short", action="store_true", help="as in the live tests")
    given = arguments.parse_args()
    raise_file_limit()
    directory = Path(tempfile.mkdtemp(prefix="amqpd-overload-"))
    print(f"{core_kind(directory)} core, {os.cpu_count()} cores, in {directory}", flush=True)
    overload = Overload(directory, SHORT if given.short else Sizes())
    uvloop.run(overload.run())
    if overload.broken:
        print(f"\nBROKEN: {len(overload.broken)} bounds; the broker's log is in {directory}")
        return 1
    shutil.rmtree(directory)
    print("\nevery bound held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
