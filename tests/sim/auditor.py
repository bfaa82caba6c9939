"""A client that looks at everything: gets every message of every queue, and holds it until it has seen all.

Owns the looking and the comparison of counts; what it means is judge.py's. Works while nobody else does, so that the order
in which messages come is the order in which the queue has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pamqp import commands

from tests.sim import wire
from tests.sim.clients import CHANNEL, Client
from tests.sim.judge import Found, Judge
from tests.sim.ledger import ACK, DURABLE, Copy
from tests.sim.plan import RETRY_MS_MAX, ClientSpec

if TYPE_CHECKING:
    from tests.sim.world import World

RETRY_MS = 1100


class Setup(Client):
    """Declares what the plan wants; after a restart only what is not durable."""

    def __init__(self, world: World, is_first: bool) -> None:
        super().__init__(ClientSpec("setup", "setup"), world)
        self._is_first = is_first

    def begin(self) -> None:
        plan = self.world.plan
        queues = [each for each in plan.queues if self._is_first or not each.durable]
        if self._is_first:
            for name, kind in plan.exchanges:
                arguments = (("x-delayed-type", "fanout"),) if kind == "x-delayed-message" else ()
                values = {"exchange": name, "exchange_type": kind, "durable": True, "arguments": arguments}
                self.call(commands.Exchange.Declare, commands.Exchange.DeclareOk, lambda _: None, **values)
        for spec in queues:
            values = {"queue": spec.name, "durable": spec.durable, "arguments": spec.arguments()}
            self.call(commands.Queue.Declare, commands.Queue.DeclareOk, lambda _: None, **values)
        names = [each.name for each in queues]
        for exchange, queue, key in plan.bindings:
            if queue in names:
                values = {"queue": queue, "exchange": exchange, "routing_key": key}
                self.call(commands.Queue.Bind, commands.Queue.BindOk, lambda _: None, **values)


class Auditor(Client):
    def __init__(self, world: World, is_fresh: bool) -> None:
        super().__init__(ClientSpec("auditor", "auditor"), world)
        self.found: Found = {}
        self._tags: dict[tuple[int, str], int] = {}
        self._is_fresh = is_fresh
        # Queue and its place in the ledger; those of dead letters last, for what leaves meanwhile goes there.
        self._queues = [(each.name, each.name) for each in world.plan.queues if not each.is_target]
        self._queues += world.owned_queues()
        self._targets = [(each.name, each.name) for each in world.plan.queues if each.is_target]
        self._got_count = 0

    def look(self) -> None:
        """Everything, then the verdict."""
        world = self.world
        if any(route.is_delayed for route in world.plan.routes):
            # What was due while the node was down comes first.
            world.pass_time(100)
        if any(each.retry_ms >= 0 for each in world.plan.queues):
            world.pass_time(RETRY_MS_MAX + 100)
        world.story.tell("* everything is looked at")
        begun_ms = world.story.now_ms
        self.connect()
        world.calm(lambda: self.is_ready and not self.is_waiting)
        for queue, place in self._queues:
            self._count(queue, place)
        world.calm(lambda: not self.is_waiting)
        for queue, place in self._targets:
            self._drain(queue, place)
        while any(world.specs[queue].refuses for queue, _ in self._targets):
            # A target that was full is tried again every second.
            before = self._got_count
            world.pass_time(RETRY_MS)
            for queue, place in self._targets:
                self._drain(queue, place)
            if self._got_count == before:
                break
        Judge(self.ledger, self.found, self._is_fresh, begun_ms).judge()

    def _drain(self, queue: str, place: str) -> None:
        self._get_all(queue, place, [])
        self.world.calm(lambda: not self.is_waiting)

    def _count(self, queue: str, place: str) -> None:
        def counted(reply: Any) -> None:
            got: list[Copy] = []
            self._get_all(queue, place, got, reply.message_count)

        declared = commands.Queue.DeclareOk
        self.call(commands.Queue.Declare, declared, counted, queue=queue, passive=True)

    def _get_all(self, queue: str, place: str, got: list[Copy], count: int = -1) -> None:
        def on_reply(event: wire.Event | None) -> None:
            if event is None:
                self._judge_queue(place, got, count)
                return
            copy = self.ledger.delivered(self.name, place, place, event[6], event[5], event[3])
            self._take(copy, event[2], got)
            self._get_all(queue, place, got, count)

        self.call(commands.Basic.Get, commands.Basic.GetOk, on_reply, queue=queue)

    def _take(self, copy: Copy, delivery_tag: int, got: list[Copy]) -> None:
        key = (copy.publish.uid, copy.place)
        self._got_count += 1
        if key in self.found:
            self.ledger.violate("TWICE", f"{copy.name} is there twice", copy.publish.name)
        self.found[key] = copy
        self.held[delivery_tag] = copy
        self._tags[key] = delivery_tag
        got.append(copy)

    def _judge_queue(self, place: str, got: list[Copy], count: int) -> None:
        spec = self.world.specs[place]
        if spec.is_target:
            return
        if self._is_fresh:
            newest: dict[tuple[str, int], Copy] = {}
            for copy in got:
                publish = copy.publish
                if publish.delay_ms >= 0:
                    continue
                key = (publish.publisher, publish.priority if spec.max_priority else 0)
                before = newest.get(key)
                if before is not None and before.publish.uid > publish.uid:
                    self.ledger.violate(
                        "ORDER", f"{copy.name} stands behind {before.name}", publish.name, before.publish.name
                    )
                newest[key] = copy
        may_change = spec.ttl_ms >= 0 or any(
            publish.expiration_ms >= 0 or publish.delay_ms >= 0 for publish in self.ledger.publishes
        )
        # What is too much leaves when it is in memory.
        if count >= 0 and count != len(got) and not may_change and not spec.is_cut():
            self.ledger.violate("COUNT", f"{place} says {count} messages and gives {len(got)}", place)

    def leave(self) -> None:
        """Give everything back by dropping the connection."""
        assert self.link is not None
        self.world.cut(self.link)

    def finish(self, keep_every: int) -> int:
        """Ack everything but one of so many, and leave; returns what is left in bytes."""
        left_bytes = 0
        acked = []
        # Nobody else is there any more.
        self.ledger.leased.clear()
        for number, (key, copy) in enumerate(self.found.items()):
            if keep_every and number % keep_every == 0:
                # The tables of a dead letter say a lot.
                left_bytes += (900 if copy.spec.is_target else 150) + len(copy.publish.body)
                continue
            self.take_settle(copy, ACK)
            acked.append(copy)
            self.send(wire.settle(CHANNEL, wire.ACK, self._tags[key], 0))
        self.held = {tag: copy for tag, copy in self.held.items() if copy not in acked}
        self.probe()
        self.world.calm(lambda: not self.is_waiting)
        for copy in acked:
            if copy.settle != DURABLE:
                self.ledger.violate("STUCK", f"the ack of {copy.name} is not durable", copy.publish.name)
        self.leave()
        return left_bytes
