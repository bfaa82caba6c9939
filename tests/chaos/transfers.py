"""Transactions that are told from their effects: tokens that must always be there exactly once.

Owns: N numbered tokens in one durable queue, each with a generation. A transaction takes some of them, acks them, publishes
their next generation, and a few messages to the common queues besides. After every crash all tokens are looked at:
each must be there once, the tokens of the transaction that was being committed must all be of the same generation, old or
new, and that verdict holds for its other messages too: they are confirmed from now on, or must never be seen again.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from pamqp import commands

from tests.chaos.checker import Checker
from tests.chaos.client import Channel, Client, Lost
from tests.chaos.workload import BOTH, ROUTES, Where, random_size

TOKENS: Final = "chaos.tokens"
TOKEN_COUNT: Final = 16


@dataclass
class Commit:
    """A transaction whose commit-ok has not come."""

    tokens: list[int]
    first: int
    last: int


class TransferWorker:
    def __init__(self, checker: Checker, dice: random.Random) -> None:
        self.checker = checker
        self.publisher = checker.new_publisher("tx")
        self.committed_count = 0
        self.rolled_back_count = 0
        self.found_done_count = 0
        self.found_undone_count = 0
        self._dice = dice
        self._generations: list[int] = []
        self._in_doubt: Commit | None = None

    async def look(self, where: Where) -> None:
        """At the start of a life, before anybody else is there."""
        client = await where.connect()
        if self._generations:
            await self._take_stock(client)
        else:
            await self._make_tokens(client)
        await client.close()

    async def _make_tokens(self, client: Client) -> None:
        channel = await client.channel()
        await channel.call(commands.Queue.Declare(queue=TOKENS, durable=True))
        await channel.call(commands.Tx.Select())
        for token in range(TOKEN_COUNT):
            channel.publish("", TOKENS, _body(token, 0))
        await channel.call(commands.Tx.Commit())
        self._generations = [0] * TOKEN_COUNT

    async def run(self, where: Where) -> None:
        client = await where.connect()
        try:
            channel = await client.channel()
            await channel.call(commands.Tx.Select())
            while True:
                await self._transfer(channel)
                await asyncio.sleep(self._dice.choice((0.0, 0.002, 0.02)))
        finally:
            client.abort()

    async def _transfer(self, channel: Channel) -> None:
        dice, checker = self._dice, self.checker
        tokens = await self._take_some(channel)
        first = checker.publishers[self.publisher].count
        for token in tokens:
            channel.publish("", TOKENS, _body(token, self._generations[token] + 1))
        for _ in range(dice.randint(0, 3)):
            exchange, routing_key = ROUTES[BOTH]
            channel.publish(exchange, routing_key, checker.attempt(self.publisher, BOTH, random_size(dice)))
        last = checker.publishers[self.publisher].count - 1
        if dice.random() < 0.2:
            checker.forbid(self.publisher, first, last)
            # The acks are undone as well: the tokens are unacked again, and go back by themselves.
            await channel.call(commands.Tx.Rollback())
            channel.nack(0, is_multiple=True)
            await channel.call(commands.Tx.Commit())
            self.rolled_back_count += 1
            return
        self._in_doubt = Commit(tokens, first, last)
        await channel.call(commands.Tx.Commit())
        self._decide(is_done=True)
        self.committed_count += 1

    async def _take_some(self, channel: Channel) -> list[int]:
        dice = self._dice
        tokens: list[int] = []
        tags: list[int] = []
        for _ in range(dice.randint(1, 4)):
            content = await channel.get(TOKENS)
            if content is None:
                self.checker.violate("TX", f"no token to take, with {len(tokens)} taken of {TOKEN_COUNT}")
                raise Lost
            token, generation = _read(content.body)
            if generation != self._generations[token]:
                known = self._generations[token]
                self.checker.violate("TX", f"token {token} is of generation {generation}, not {known}")
            tokens.append(token)
            tags.append(content.delivery_tag)
        if dice.random() < 0.5:
            channel.ack(tags[-1], is_multiple=True)
        else:
            for tag in tags:
                channel.ack(tag)
        return tokens

    async def _take_stock(self, client: Client) -> None:
        """Every token, once, and what became of the commit in doubt."""
        channel = await client.channel()
        found: dict[int, list[int]] = {}
        # What the last client had taken comes back when the broker sees that it is gone.
        for _ in range(100):
            while (content := await channel.get(TOKENS)) is not None:
                token, generation = _read(content.body)
                found.setdefault(token, []).append(generation)
            if len(found) >= TOKEN_COUNT:
                break
            await asyncio.sleep(0.02)
        doubtful = self._in_doubt.tokens if self._in_doubt is not None else []
        sides = []
        for token, known in enumerate(self._generations):
            generations = found.pop(token, [])
            allowed = (known, known + 1) if token in doubtful else (known,)
            if len(generations) != 1 or generations[0] not in allowed:
                self.checker.violate("TX", f"token {token} of generation {known}: found {generations or 'nothing'}")
            elif token in doubtful:
                sides.append(generations[0] == known + 1)
        for token, generations in found.items():
            self.checker.violate("TX", f"token {token}, {generations} was never made")
        if len(set(sides)) > 1:
            self.checker.violate("TX", f"half a commit: tokens {doubtful} moved {sides}")
        if doubtful:
            is_done = bool(sides) and all(sides)
            self.found_done_count += is_done
            self.found_undone_count += not is_done
            self._decide(is_done)
        await channel.close()

    def _decide(self, is_done: bool) -> None:
        commit, self._in_doubt = self._in_doubt, None
        assert commit is not None
        if is_done:
            for token in commit.tokens:
                self._generations[token] += 1
            self.checker.confirm(self.publisher, commit.first, commit.last)
        else:
            self.checker.forbid(self.publisher, commit.first, commit.last)


def _body(token: int, generation: int) -> bytes:
    return f"{token} {generation}".encode()


def _read(body: bytes) -> tuple[int, int]:
    token, _, generation = body.decode().partition(" ")
    return int(token), int(generation)
