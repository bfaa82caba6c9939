"""A client that declares queues of its own, fills them, purges and deletes them, and declares them again by the same name.

Owns what it knows of each: there, gone, or in doubt after a cut. A queue of the same name is another place in the ledger
(`o0#2` is the second o0): nothing of the first may come from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pamqp import commands

from amqpd.wire.methods import encode_method, new_method
from tests.sim import wire
from tests.sim.clients import CHANNEL, Confirming
from tests.sim.ledger import ACK, CONFIRMED, HEARD, OPEN, Copy
from tests.sim.plan import ClientSpec, QueueSpec, Route

if TYPE_CHECKING:
    from tests.sim.world import World

# Questions that may close their channel are asked on one of their own: this number, and those after it.
ASKING = 2


class Slot:
    def __init__(self, name: str) -> None:
        self.name = name
        self.incarnation = 0
        # None: in doubt.
        self.exists: bool | None = False
        # A declare or delete was answered: no crash undoes it.
        self.is_sure = True

    @property
    def place(self) -> str:
        return f"{self.name}#{self.incarnation}"


class Owner(Confirming):
    def __init__(self, spec: ClientSpec, world: World) -> None:
        super().__init__(spec, world)
        self.slots = [Slot(f"{spec.name[:1]}{number}") for number in range(2)]

    def begin(self) -> None:
        super().begin()
        # The replies of the second question are expected before the closing of the first one's channel is sent.
        for slot in self.slots:
            if slot.incarnation > 0:
                self._ask(slot)

    def act(self) -> None:
        if self.is_waiting:
            return
        source = self.source
        slot = source.choice(self.slots)
        draw = source.random()
        if not slot.is_sure:
            self._delete(slot)
        elif slot.exists is False:
            self._declare(slot)
        elif draw < 0.45:
            for _ in range(source.choice((1, 3, 5, 25))):
                self.publish(Route("", slot.name, (slot.place,)), source.random() < 0.9, True)
        elif draw < 0.65:
            self._get(slot)
        elif draw < 0.71:
            self.probe()
        elif draw < 0.84:
            self._purge(slot)
        elif draw < 0.97:
            self._delete(slot)
        else:
            self.die()

    def forget_unsure(self) -> None:
        """The node has crashed: what it merely believed to be there, or not, may have been undone."""
        for slot in self.slots:
            if not slot.is_sure:
                slot.exists = None
                self.ledger.gone[slot.place] = None

    # Asking whether a queue is there

    def _ask(self, slot: Slot) -> None:
        believed = slot.exists if slot.is_sure else None

        def answered(exists: bool) -> None:
            if believed is not None and believed is not exists:
                what = "there though its delete was answered" if exists else "gone though its declare was answered"
                self.ledger.violate("TOPOLOGY", f"queue {slot.place} is {what}", slot.place, slot.name)
            slot.exists = exists
            # Both are what the node believes now, and need not be durable unless that was known before.
            slot.is_sure = believed is exists
            self.world.story.tell("{} finds that {} {}", self.name, slot.place, "is there" if exists else "is gone")
            if exists:
                self.ledger.gone.pop(slot.place, None)
            else:
                self.ledger.gone[slot.place] = None

        channel = ASKING + self.slots.index(slot)
        self.call(commands.Channel.Open, commands.Channel.OpenOk, lambda _: None, channel)
        self.send(wire.method(channel, commands.Queue.Declare, queue=slot.name, passive=True))
        self._due.append((commands.Queue.Declare, lambda reply: answered(reply is not None)))

    def _on_method(self, channel: int, method: Any) -> None:
        if channel >= ASKING and isinstance(method, commands.Queue.DeclareOk):
            self._replied(commands.Queue.Declare)(method)
            self.call(
                commands.Channel.Close, commands.Channel.CloseOk, lambda _: None, channel, reply_code=200, reply_text=""
            )
        elif channel >= ASKING and isinstance(method, commands.Channel.Close) and method.reply_code == 404:
            self._replied(commands.Queue.Declare)(None)
            self.send(wire.frame(1, channel, encode_method(new_method(commands.Channel.CloseOk))))
        else:
            super()._on_method(channel, method)

    # Doing

    def _declare(self, slot: Slot) -> None:
        slot.incarnation += 1
        slot.exists = None
        self.world.specs[slot.place] = QueueSpec(slot.place)
        # Until the answer: a queue of this name may be there or not.
        self.ledger.gone[slot.place] = None
        self.world.story.tell("{} declares {}", self.name, slot.place)

        def declared(reply: Any) -> None:
            slot.exists = True
            slot.is_sure = True
            del self.ledger.gone[slot.place]
            if reply.message_count:
                what = f"the new queue {slot.place} holds {reply.message_count} messages"
                self.ledger.violate("UNEXPECTED", what, slot.place, slot.name)

        self.call(commands.Queue.Declare, commands.Queue.DeclareOk, declared, queue=slot.name, durable=True)

    def _delete(self, slot: Slot) -> None:
        slot.exists = None
        self.ledger.gone[slot.place] = None
        self.world.story.tell("{} deletes {}", self.name, slot.place)
        for tag in [tag for tag, copy in self.held.items() if copy.place == slot.place]:
            self.ledger.released(self.name, self.held.pop(tag))

        def deleted(_: Any) -> None:
            slot.exists = False
            slot.is_sure = True
            self.world.story.tell("{} is told that {} is deleted", self.name, slot.place)

        self.call(commands.Queue.Delete, commands.Queue.DeleteOk, deleted, queue=slot.name)

    def _copies(self, slot: Slot) -> list[Copy]:
        copies = self.ledger.copies.values()
        return [each for each in copies if each.place == slot.place and each.publish.state in (OPEN, CONFIRMED)]

    def _purge(self, slot: Slot) -> None:
        held = list(self.held.values())
        copies = [copy for copy in self._copies(slot) if copy not in held and copy.settle < HEARD]
        self.world.story.tell("{} purges {}", self.name, slot.place)
        for copy in copies:
            self.ledger.settled("", copy, ACK)

        def purged(_: Any) -> None:
            self.ledger.heard(copies, HEARD)
            self.unsure += copies

        self.call(commands.Queue.Purge, commands.Queue.PurgeOk, purged, queue=slot.name)

    def _get(self, slot: Slot) -> None:
        def got(event: wire.Event | None) -> None:
            if event is None:
                return
            copy = self.ledger.delivered(self.name, slot.place, slot.place, event[6], event[5], event[3])
            self.held[event[2]] = copy
            if self.source.random() < 0.7:
                del self.held[event[2]]
                self.world.story.tell("{} acks {}", self.name, copy.publish.name)
                self.take_settle(copy, ACK)
                self.send(wire.settle(CHANNEL, wire.ACK, event[2], 0))

        self.call(commands.Basic.Get, commands.Basic.GetOk, got, queue=slot.name)
