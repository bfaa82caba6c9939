"""The clients of a chaos run: confirming publishers, and consumers that ack, requeue, hang up and come back.

Owns: how each behaves during one life of the broker, drawn from its own random stream. Does not own what is right: they
tell the checker everything they do and hear. A worker's `run` ends with Lost or Closed when its life ends.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pamqp import commands

from tests.chaos.checker import BODY_SIZE_MIN, Checker, Place
from tests.chaos.client import Channel, Client, Content, Lost

EXCHANGE: Final = "chaos.fanout"
QUEUES: Final = ["chaos.left", "chaos.right"]
LEFT, RIGHT, BOTH = 1, 2, 3
# The left queue has one consumer, so its order is exact over all lives.
ORDERED: Final = {0}
ROUTES: Final = {LEFT: ("", QUEUES[0]), RIGHT: ("", QUEUES[1]), BOTH: (EXCHANGE, "")}
BODY_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True)
class Where:
    host: str
    port: int

    async def connect(self) -> Client:
        return await Client.connect(self.host, self.port)


async def declare_all(where: Where) -> int:
    """The durable things of the run, in every life again; returns how many messages wait in them."""
    client = await where.connect()
    channel = await client.channel()
    await channel.call(commands.Exchange.Declare(exchange=EXCHANGE, exchange_type="fanout", durable=True))
    waiting_count: int = 0
    for name in QUEUES:
        declared = await channel.call(commands.Queue.Declare(queue=name, durable=True))
        waiting_count += declared.message_count
        await channel.call(commands.Queue.Bind(queue=name, exchange=EXCHANGE, routing_key=""))
    await client.close()
    return waiting_count


def random_size(dice: random.Random) -> int:
    """16 B to 64 KiB, every order of magnitude as likely as any other."""
    return max(BODY_SIZE_MIN, int(2 ** dice.uniform(4, 16)))


class Confirming:
    """One publishing channel in confirm mode and what it waits for."""

    def __init__(self, checker: Checker, publisher: int) -> None:
        self.checker = checker
        self.publisher = publisher
        self.unconfirmed: dict[int, int] = {}
        self.room = asyncio.Event()
        self._channel: Channel | None = None
        self._tag = 0
        self._paid = 0

    async def open(self, client: Client) -> None:
        channel = await client.channel()
        channel.on_confirm = self._on_confirm
        channel.on_return = self._on_return
        await channel.call(commands.Confirm.Select())
        self._channel = channel
        self._tag = self._paid = 0
        self.unconfirmed.clear()

    def publish(self, mask: int, size: int, is_transient: bool = False, is_mandatory: bool = False) -> int:
        assert self._channel is not None
        body = self.checker.attempt(self.publisher, mask, size, is_transient)
        sequence = self.checker.publishers[self.publisher].count - 1
        self._tag += 1
        self.unconfirmed[self._tag] = sequence
        exchange, routing_key = ROUTES[mask]
        self._channel.publish(exchange, routing_key, body, is_persistent=not is_transient, is_mandatory=is_mandatory)
        return sequence

    def _on_confirm(self, tag: int, is_multiple: bool, is_ack: bool) -> None:
        tags = up_to(self.unconfirmed, tag) if is_multiple else [tag]
        for each in tags:
            sequence = self.unconfirmed.pop(each, None)
            if sequence is None:
                self.checker.violate("CONFIRM", f"tag {each} of publisher {self.publisher} was not waiting")
            elif is_ack:
                self.checker.confirm(self.publisher, sequence, sequence)
                self.on_confirmed(sequence)
            else:
                self.checker.forbid(self.publisher, sequence, sequence)
        self.room.set()

    def on_confirmed(self, sequence: int) -> None:
        """For who builds on this one."""

    def _on_return(self, content: Content) -> None:
        self.checker.violate(
            "TOPOLOGY", f"a message to {len(content.body)} bytes' worth of durable binding was returned"
        )


class PublisherWorker(Confirming):
    """Publishes as fast as its window of unconfirmed messages lets it."""

    def __init__(self, checker: Checker, name: str, dice: random.Random, backlog_max: int) -> None:
        super().__init__(checker, checker.new_publisher(name))
        self._dice = dice
        self._backlog_max = backlog_max
        self.is_stopped = False

    async def run(self, where: Where) -> None:
        dice, checker = self._dice, self.checker
        window = dice.randint(100, 1000)
        burst = dice.choice((1, 10, 50))
        client = await where.connect()
        try:
            await self.open(client)
            while not self.is_stopped:
                if checker.backlog_count > self._backlog_max:
                    await asyncio.sleep(0.02)
                    if client.lost.is_set():
                        raise Lost
                elif len(self.unconfirmed) < window:
                    for _ in range(burst):
                        mask = dice.choice((BOTH, BOTH, LEFT, RIGHT))
                        is_transient = dice.random() < 0.05
                        self.publish(mask, random_size(dice), is_transient, is_mandatory=dice.random() < 0.2)
                    await client.room.wait()
                    await asyncio.sleep(0)
                else:
                    self.room.clear()
                    await _either(self.room, client.lost)
        finally:
            client.abort()


@dataclass
class Barrier:
    """What was received and acked before a publish: durable once that publish is confirmed."""

    seen: list[Place] = field(default_factory=list)
    settled: list[Place] = field(default_factory=list)


class ConsumerWorker(Confirming):
    """Receives from one queue; acks singly and with multiple, requeues some, closes its channel or drops its socket."""

    def __init__(self, checker: Checker, name: str, dice: random.Random, queue: int) -> None:
        super().__init__(checker, checker.new_publisher(f"{name}'s barrier"))
        self.name = name
        self.is_draining = False
        self._dice = dice
        self._queue = queue
        self._held: dict[int, Place] = {}
        self._open = Barrier()
        self._barriers: dict[int, Barrier] = {}
        self._channel_in: Channel | None = None
        self._is_multiple = True
        self._ack_after = 1

    async def run(self, where: Where) -> None:
        """Connect, again after each of our own hang-ups, until the broker is gone."""
        while True:
            client = await where.connect()
            try:
                await self._consume_for_a_while(client)
            finally:
                self._hang_up(client)
            if self.is_draining:
                return

    async def _consume_for_a_while(self, client: Client) -> None:
        dice = self._dice
        await self.open(client)
        await self._subscribe(client)
        while True:
            for _ in range(dice.randint(5, 60)):
                await asyncio.sleep(0.01)
                if client.lost.is_set():
                    raise Lost
                self._settle_rest()
                self._publish_barrier()
            if self.is_draining and await self._is_drained(client):
                return
            chance = dice.random()
            if chance < 0.05 and not self.is_draining:
                return
            if chance < 0.15:
                await self._close_channel()
                await self._subscribe(client)

    async def _subscribe(self, client: Client) -> None:
        dice = self._dice
        channel = await client.channel()
        self._is_multiple = dice.random() < 0.5
        self._ack_after = dice.choice((1, 3, 20, 200))
        await channel.call(commands.Basic.Qos(prefetch_count=dice.choice((3, 30, 300, 3000, 0))))
        self._channel_in = channel
        channel.on_deliver = self._on_deliver
        await channel.call(commands.Basic.Consume(queue=QUEUES[self._queue], consumer_tag=self.name))

    def _on_deliver(self, content: Content) -> None:
        if self._channel_in is None:
            late = self.checker.delivered_late(self._queue, content.body)
            if late is not None:
                self._open.seen.append(late)
            return
        place = self.checker.delivered(self._queue, content.body, content.redelivered, self)
        if place is None:
            return
        self._open.seen.append(place)
        self._held[content.delivery_tag] = place
        if self._dice.random() < 0.01:
            self._requeue(content.delivery_tag)
        elif len(self._held) >= self._ack_after:
            self._settle(content.delivery_tag)

    def _settle(self, delivery_tag: int) -> None:
        """Ack everything up to a tag, in one of two ways."""
        assert self._channel_in is not None
        tags = up_to(self._held, delivery_tag)
        if self._is_multiple:
            self._channel_in.ack(tags[-1], is_multiple=True)
        else:
            self._dice.shuffle(tags)
            for each in tags:
                self._channel_in.ack(each)
        for each in tags:
            place = self._held.pop(each)
            self.checker.settled(place)
            self._open.settled.append(place)

    def _requeue(self, delivery_tag: int) -> None:
        assert self._channel_in is not None
        is_multiple = self._dice.random() < 0.2
        tags = up_to(self._held, delivery_tag) if is_multiple else [delivery_tag]
        for each in tags:
            self.checker.released(self._held.pop(each))
        self._channel_in.nack(delivery_tag, is_multiple)

    def _settle_rest(self) -> None:
        # A prefetch below the batch size would wait for ever.
        if self._held and self._channel_in is not None:
            self._settle(max(self._held))

    def _publish_barrier(self) -> None:
        if not (self._open.seen or self._open.settled) or len(self._barriers) > 20 or self.is_draining:
            return
        barrier, self._open = self._open, Barrier()
        sequence = self.publish(LEFT if self._dice.random() < 0.5 else RIGHT, BODY_SIZE_MIN)
        self._barriers[sequence] = barrier

    def on_confirmed(self, sequence: int) -> None:
        barrier = self._barriers.pop(sequence, None)
        if barrier is not None:
            self.checker.seen_is_durable(barrier.seen)
            self.checker.settled_is_durable(barrier.settled)

    async def _close_channel(self) -> None:
        channel, self._channel_in = self._channel_in, None
        assert channel is not None
        self._release_held()
        await channel.close()

    def _hang_up(self, client: Client) -> None:
        """Drop the socket; what was acked last may not have been heard."""
        self._channel_in = None
        client.abort()
        self._release_held()
        for barrier in [self._open, *self._barriers.values()]:
            for place in barrier.settled:
                self.checker.unsure(place)
        self._open = Barrier()
        self._barriers.clear()

    def _release_held(self) -> None:
        for place in self._held.values():
            self.checker.released(place)
        self._held.clear()

    async def _is_drained(self, client: Client) -> bool:
        """Nothing ready, and nothing held by anybody who would give it back."""
        channel = await client.channel()
        seen_count = self.checker.delivered_count
        found = await channel.call(commands.Queue.Declare(queue=QUEUES[self._queue], passive=True))
        await asyncio.sleep(0.3)
        await channel.close()
        return found.message_count == 0 and not self._held and seen_count == self.checker.delivered_count


def up_to(tags: Iterable[int], last: int) -> list[int]:
    """Those that `multiple` means; `tags` grow."""
    return list(itertools.takewhile(lambda each: each <= last, tags))


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    tasks = [asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    if second.is_set():
        raise Lost
