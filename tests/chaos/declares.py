"""Queues that come and go: what was answered with -ok is there after a crash, what was deleted is not.

Owns: a pool of names, and for each what is certain and what is not. A call whose answer never came leaves both outcomes
open; the look after the crash settles it. Messages in these queues are counted: never fewer than confirmed, never more
than attempted, and none in a queue that was deleted and declared again.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from pamqp import commands

from tests.chaos.checker import Checker
from tests.chaos.client import Channel, Client, Closed
from tests.chaos.workload import Where

EXCHANGE: Final = "chaos.scratch"
NAMES: Final = [f"chaos.scratch.{number}" for number in range(12)]
NOT_FOUND: Final = 404


@dataclass
class Known:
    """Of one name. `is_there` is None while a call about it has not been answered."""

    is_there: bool | None = False
    is_durable: bool = True
    # Messages in this life, and the least and most that a crash may leave.
    count: int = 0
    least: int = 0
    most: int = 0


class DeclareWorker:
    def __init__(self, checker: Checker, dice: random.Random) -> None:
        self.checker = checker
        self.declared_count = 0
        self.deleted_count = 0
        self.looked_count = 0
        self._dice = dice
        self._known = {name: Known() for name in NAMES}
        self._confirmed = asyncio.Event()
        self._unconfirmed_count = 0
        self._last = 0

    async def run(self, where: Where) -> None:
        client = await where.connect()
        try:
            channel = await client.channel()
            self._last = 0
            channel.on_confirm = self._on_confirm
            channel.on_return = self._on_return
            await channel.call(commands.Confirm.Select())
            while True:
                await self._act(channel, self._dice.choice(NAMES))
                await asyncio.sleep(self._dice.choice((0.0, 0.005, 0.05)))
        finally:
            client.abort()

    async def look(self, where: Where) -> None:
        """At the start of a life: what of all this it knows."""
        client = await where.connect()
        channel = await client.channel()
        await channel.call(commands.Exchange.Declare(exchange=EXCHANGE, exchange_type="direct", durable=True))
        await self._look_at_all(client)
        await client.close()

    async def _act(self, channel: Channel, name: str) -> None:
        known = self._known[name]
        if not known.is_there:
            await self._declare(channel, name)
            return
        action = self._dice.choice(("publish", "publish", "publish", "purge", "delete"))
        if action == "publish":
            await self._publish(channel, name, known)
        elif action == "purge":
            known.least = 0
            purged = await channel.call(commands.Queue.Purge(queue=name))
            self._check_count("purge", name, purged.message_count, known.count)
            known.count = 0
        else:
            known.is_there = None
            deleted = await channel.call(commands.Queue.Delete(queue=name))
            self._check_count("delete", name, deleted.message_count, known.count)
            self._known[name] = Known()
            self.deleted_count += 1

    async def _declare(self, channel: Channel, name: str) -> None:
        is_durable = self._dice.random() < 0.8
        known = self._known[name] = Known(None, is_durable)
        declared = await channel.call(commands.Queue.Declare(queue=name, durable=is_durable))
        self._check_count("declare", name, declared.message_count, 0)
        await channel.call(commands.Queue.Bind(queue=name, exchange=EXCHANGE, routing_key=name))
        known.is_there = True
        self.declared_count += 1

    async def _publish(self, channel: Channel, name: str, known: Known) -> None:
        count = self._dice.randint(1, 5)
        known.most = max(known.most, known.count + count)
        self._unconfirmed_count = count
        self._confirmed.clear()
        for number in range(count):
            channel.publish(EXCHANGE, name, b"%d" % number, is_mandatory=True)
        await asyncio.wait(
            [asyncio.ensure_future(self._confirmed.wait()), asyncio.ensure_future(channel.client.lost.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self._unconfirmed_count > 0:
            raise ConnectionError
        known.count += count
        # A purge before it, on the same connection, is durable by now as well.
        known.least = known.most = known.count

    def _on_confirm(self, tag: int, is_multiple: bool, is_ack: bool) -> None:
        if not is_ack:
            self.checker.violate("CONFIRM", "a scratch queue refused a message")
        # Publishes come in runs that wait for their confirms, so tags are only counted.
        self._unconfirmed_count -= tag - self._last if is_multiple else 1
        self._last = tag
        if self._unconfirmed_count <= 0:
            self._confirmed.set()

    def _on_return(self, content: object) -> None:
        self.checker.violate("TOPOLOGY", "a message to a bound scratch queue was returned")

    def _check_count(self, what: str, name: str, found: int, wanted: int) -> None:
        if found != wanted:
            self.checker.violate("TOPOLOGY", f"{what} of {name} told of {found} messages, not {wanted}")

    async def _look_at_all(self, client: Client) -> None:
        for name in NAMES:
            known = self._known[name]
            count = await self._look_at(client, name)
            self.looked_count += 1
            # What is not durable is gone with its life.
            is_wanted = known.is_there if known.is_durable else False
            if is_wanted is None:
                pass
            elif is_wanted != (count is not None):
                state = "gone" if is_wanted else "there"
                self.checker.violate("TOPOLOGY", f"{name} should be {'there' if is_wanted else 'gone'}, and is {state}")
            if count is None:
                self._known[name] = Known()
                continue
            if not known.least <= count <= known.most:
                wanted = f"{known.least} to {known.most}"
                self.checker.violate("TOPOLOGY", f"{name} has {count} messages, and should have {wanted}")
            if known.is_there is None:
                # It may lack its binding, or stand before its end: begin anew.
                await self._remove(client, name)
            else:
                self._known[name] = Known(True, known.is_durable, count, count, count)

    async def _look_at(self, client: Client, name: str) -> int | None:
        channel = await client.channel()
        try:
            found = await channel.call(commands.Queue.Declare(queue=name, passive=True))
        except Closed as closed:
            if closed.code != NOT_FOUND:
                raise
            return None
        await channel.close()
        count: int = found.message_count
        return count

    async def _remove(self, client: Client, name: str) -> None:
        channel = await client.channel()
        await channel.call(commands.Queue.Delete(queue=name))
        await channel.close()
        self._known[name] = Known()
