"""Clients that speak AMQP, observe what a client can observe, and behave as badly as clients do.

Owns the two ends of a conversation that a client has: what it sends, and what it makes of what comes. All of it goes into
the ledger. Does not own bytes on their way (node.py), nor when a client gets its turn (world.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pamqp import commands

from tests.sim import wire
from tests.sim.ledger import ACK, DURABLE, HEARD, REJECT, UNDONE, Copy, Publish, Transaction
from tests.sim.plan import DELAY_MS_MAX, GETTER, ClientSpec, Route

if TYPE_CHECKING:
    from tests.sim.node import Link
    from tests.sim.world import World

CHANNEL = 1
# Where it asks what is durable.
PROBING = 60
UNCONFIRMED_MAX = 60


class Client:
    def __init__(self, spec: ClientSpec, world: World) -> None:
        self.spec = spec
        self.name = spec.name
        self.world = world
        self.ledger = world.ledger
        self.source = random.Random(f"{world.plan.seed} {spec.name}")
        self.link: Link | None = None
        self.is_ready = False
        self._reader = wire.Reader()
        # Replies that are due, in order: the method, and what is done about it.
        self._due: list[tuple[Any, Callable[[Any], None]]] = []
        # What this client has and has not settled, by delivery tag.
        self.held: dict[int, Copy] = {}
        # Settles that were sent since the last reply that says how far the broker has come.
        self.unsure: list[Copy] = []
        # Between channel.close and its close-ok.
        self._is_leaving = False

    # Connecting

    def connect(self) -> None:
        self.link = self.world.node.connect(self)
        self._reader = wire.Reader()
        self.send(wire.login(self.spec.heartbeat_s))
        self.open_channel()

    def open_channel(self) -> None:
        self.call(commands.Channel.Open, commands.Channel.OpenOk, lambda _: self._opened())

    def _opened(self) -> None:
        self.is_ready = True
        self.begin()

    def begin(self) -> None:
        """The channel is open."""

    def act(self) -> None:
        """This client's turn."""

    def send(self, data: bytes) -> None:
        assert self.link is not None
        self.link.to_broker += data

    def call(self, method: Any, reply: Any, then: Callable[[Any], None], channel: int = CHANNEL, **values: Any) -> None:
        self.send(wire.method(channel, method, **values))
        self._due.append((reply, then))

    @property
    def is_waiting(self) -> bool:
        return len(self._due) > 0

    def lost(self) -> None:
        """The connection is gone."""
        unsure = [*self.unsure]
        held = list(self.held.values())
        self.link = None
        self.is_ready = False
        self._is_leaving = False
        self._due.clear()
        self.held = {}
        self.unsure = []
        self.ended(held)
        self.ledger.cut(self.name, held, unsure)

    def ended(self, held: list[Copy]) -> None:
        """More of what ends with a connection."""

    def die(self) -> None:
        """Close the socket without a word."""
        assert self.link is not None
        self.world.story.tell("{} drops its connection", self.name)
        self.world.cut(self.link)

    # Receiving

    def take(self, data: bytes) -> None:
        for event in self._reader.feed(data):
            if self.link is None:
                return
            self._on(event)

    def _on(self, event: wire.Event) -> None:
        kind = event[0]
        if kind == "deliver":
            if not self._is_leaving:
                self.on_deliver(event[3], event[4], event[6], event[7])
        elif kind == "ack" or kind == "nack":
            self.on_confirm(event[2], event[3], kind == "ack")
        elif kind == "return":
            self.on_return(event[3], event[4])
        elif kind == "get-ok":
            self._replied(commands.Basic.GetOk)(event)
        else:
            self._on_method(event[1], event[2])

    def _on_method(self, channel: int, method: Any) -> None:
        if isinstance(method, commands.Basic.GetEmpty):
            self._replied(commands.Basic.GetOk)(None)
        elif isinstance(method, commands.Connection.Blocked | commands.Connection.Unblocked):
            self.world.story.tell("{} hears {}", self.name, method.name)
        elif isinstance(method, commands.Channel.Close | commands.Connection.Close):
            self.on_closed(channel, method)
        else:
            self._replied(type(method))(method)

    def _replied(self, kind: Any) -> Callable[[Any], None]:
        if not self._due or self._due[0][0] is not kind:
            self.ledger.violate("CONFIRM", f"{self.name} gets a {kind.name} that it does not wait for", self.name)
        return self._due.pop(0)[1]

    def on_closed(self, channel: int, method: Any) -> None:
        self.ledger.violate("CLOSED", f"{self.name} is told {method.name} {method.reply_text}", self.name)

    def on_deliver(self, delivery_tag: int, redelivered: bool, header: bytes, body: bytes) -> None:
        self.ledger.violate("UNEXPECTED", f"a delivery to {self.name}, who does not consume", self.name)

    def on_confirm(self, delivery_tag: int, multiple: bool, is_ack: bool) -> None:
        self.ledger.violate("CONFIRM", f"a confirm to {self.name}, who asked for none", self.name)

    def on_return(self, header: bytes, body: bytes) -> None:
        publish = self.ledger.publishes[int(body[1 : body.find(b".")]) - 1]
        self.world.story.tell("{} gets {} back", self.name, publish.name)
        self.ledger.returned(publish)

    # Settling

    def take_settle(self, copy: Copy, kind: str) -> None:
        self.ledger.settled(self.name, copy, kind)
        self.unsure.append(copy)

    def probe(self) -> None:
        """An empty transaction: its commit-ok waits for the disk, so what was said before is durable then."""
        said = list(self.unsure)

        def known(_: Any) -> None:
            # A dead letter is logged at the end of the turn that rejected it, which may be after the turn's commits.
            rejected = [copy for copy in said if copy.settle_kind == REJECT and copy.settle < HEARD]
            self.ledger.heard(rejected, HEARD)
            durable = [copy for copy in said if copy not in rejected]
            self.ledger.heard(durable, DURABLE)
            self.unsure = [copy for copy in self.unsure if copy not in durable]
            for copy in said:
                copy.settler = ""

        self.call(commands.Channel.Open, commands.Channel.OpenOk, lambda _: None, PROBING)
        self.call(commands.Tx.Select, commands.Tx.SelectOk, lambda _: None, PROBING)
        self.call(commands.Tx.Commit, commands.Tx.CommitOk, known, PROBING)
        closing = {"reply_code": 200, "reply_text": ""}
        self.call(commands.Channel.Close, commands.Channel.CloseOk, lambda _: None, PROBING, **closing)


class Confirming(Client):
    """Publishes with confirms."""

    def __init__(self, spec: ClientSpec, world: World) -> None:
        super().__init__(spec, world)
        self.unconfirmed: dict[int, Publish] = {}
        self._tag = 0

    def begin(self) -> None:
        self._tag = 0
        self.unconfirmed = {}
        self.call(commands.Confirm.Select, commands.Confirm.SelectOk, lambda _: None)

    def publish(self, route: Route, is_persistent: bool, is_plain: bool = False, dedup_id: str = "") -> None:
        self._tag += 1
        self.unconfirmed[self._tag] = send_publish(self, route, is_persistent, is_plain, dedup_id)

    def on_confirm(self, delivery_tag: int, multiple: bool, is_ack: bool) -> None:
        tags = [delivery_tag]
        if multiple:
            tags = [tag for tag in self.unconfirmed if tag <= delivery_tag]
        for tag in tags:
            publish = self.unconfirmed.pop(tag, None)
            if publish is None:
                self.ledger.violate(
                    "CONFIRM", f"{self.name} gets a confirm for {tag} that it does not wait for", self.name
                )
                return
            self.world.story.tell("{} is told that m{} is {}", self.name, publish.uid, "safe" if is_ack else "refused")
            if is_ack:
                self.ledger.confirmed(publish)
            else:
                self.ledger.refused(publish)

    def ended(self, held: list[Copy]) -> None:
        self.unconfirmed = {}


def send_publish(client: Client, route: Route, is_persistent: bool, is_plain: bool, dedup_id: str = "") -> Publish:
    source = client.source
    plan = client.world.plan
    size = source.randrange(0, plan.body_bytes_max)
    publish = client.ledger.attempt(client.name, route, is_persistent, size)
    if dedup_id:
        client.ledger.has_id(publish, dedup_id)
    if route.is_delayed:
        is_plain = True
        publish.delay_ms = source.choice((0, 20, 200, DELAY_MS_MAX))
    if not is_plain and source.random() < 0.2:
        publish.is_mandatory = True
    if "p1" in route.queues:
        publish.priority = source.randrange(0, 4)
    if not is_plain and source.random() < 0.05:
        publish.expiration_ms = source.choice((0, 30, 400, 5000))
    expiration = str(publish.expiration_ms) if publish.expiration_ms >= 0 else ""
    client.world.story.tell(
        "{} publishes m{}{} to {}{}",
        client.name,
        publish.uid,
        "" if is_persistent else " (transient)",
        route.queues,
        f", expiring after {expiration} ms"
        if expiration
        else f" in {publish.delay_ms} ms"
        if route.is_delayed
        else f" with id {dedup_id}"
        if dedup_id
        else "",
    )
    client.send(
        wire.publish(
            CHANNEL,
            route.exchange,
            route.routing_key,
            publish.body,
            is_persistent,
            publish.priority,
            expiration,
            publish.is_mandatory,
            publish.delay_ms,
            publish.dedup_id,
        )
    )
    return publish


class Publisher(Confirming):
    def __init__(self, spec: ClientSpec, world: World) -> None:
        super().__init__(spec, world)
        self._id_count = 0

    def act(self) -> None:
        source = self.source
        if source.random() < 0.02:
            self.die()
            return
        if len(self.unconfirmed) > UNCONFIRMED_MAX:
            return
        for _ in range(source.choice((1, 1, 2, 4, 8))):
            route = source.choice(self.world.plan.routes)
            if route.exchange == "" and route.queues and self.world.specs[route.queues[0]].dedups:
                self.publish(route, True, True, self._dedup_id())
            else:
                self.publish(route, source.random() < 0.85)

    def _dedup_id(self) -> str:
        """A new one, or one of the last few again."""
        source = self.source
        if self._id_count == 0 or source.random() < 0.6:
            self._id_count += 1
            return f"{self.name}-{self._id_count}"
        return f"{self.name}-{max(1, self._id_count - source.randrange(4))}"


class Consumer(Client):
    """basic.consume, or basic.get, of one queue; does everything that one can do with a delivery."""

    def __init__(self, spec: ClientSpec, world: World) -> None:
        super().__init__(spec, world)
        self._queue = world.specs[spec.queue]
        self._is_getting = False

    def begin(self) -> None:
        if self.spec.no_ack:
            self.ledger.lossy[self.spec.queue] = None
        if self.spec.timeout_ms:
            self.ledger.leased[self.spec.queue] = None
        if self.spec.kind == GETTER:
            return
        if self.spec.prefetch:
            self.call(commands.Basic.Qos, commands.Basic.QosOk, lambda _: None, prefetch_count=self.spec.prefetch)
        self._consume()

    def _consume(self) -> None:
        self.call(
            commands.Basic.Consume,
            commands.Basic.ConsumeOk,
            lambda _: None,
            queue=self.spec.queue,
            consumer_tag="c",
            no_ack=self.spec.no_ack,
            arguments=(("x-consumer-timeout", self.spec.timeout_ms),),
        )

    def ended(self, held: list[Copy]) -> None:
        self._is_getting = False

    def on_deliver(self, delivery_tag: int, redelivered: bool, header: bytes, body: bytes) -> None:
        copy = self.ledger.delivered(self.name, self.spec.queue, self.spec.queue, body, header, redelivered)
        if self.spec.no_ack:
            self.take_settle(copy, ACK)
            self.ledger.heard([copy], HEARD)
        else:
            self.held[delivery_tag] = copy

    def act(self) -> None:
        source = self.source
        draw = source.random()
        if self.spec.kind == GETTER and not self._is_getting and draw < 0.6:
            self._get()
        elif draw < 0.62:
            self._ack()
        elif draw < 0.75:
            self._give_back()
        elif draw < 0.85:
            self._reject()
        elif draw < 0.94:
            if self._queue.durable:
                self.probe()
        elif draw < 0.97:
            self._leave_channel()
        elif draw < 0.98:
            self.die()

    def _get(self) -> None:
        self._is_getting = True
        values = {"queue": self.spec.queue, "no_ack": self.spec.no_ack}
        self.call(commands.Basic.Get, commands.Basic.GetOk, self._got, **values)

    def _got(self, event: wire.Event | None) -> None:
        self._is_getting = False
        if event is not None and not self._is_leaving:
            self.on_deliver(event[2], event[3], event[5], event[6])

    def _choose(self) -> tuple[int, bool, list[Copy]]:
        """A delivery tag, whether it means all up to it, and what it stands for."""
        tags = list(self.held)
        tag = self.source.choice(tags)
        if self.source.random() < 0.35:
            chosen = [each for each in tags if each <= tag]
            return tag, True, [self.held.pop(each) for each in chosen]
        return tag, False, [self.held.pop(tag)]

    def _ack(self) -> None:
        if self.held:
            tag, multiple, copies = self._choose()
            self._tell("acks", copies)
            for copy in copies:
                self.take_settle(copy, ACK)
            self.send(wire.settle(CHANNEL, wire.ACK, tag, int(multiple)))

    def _give_back(self) -> None:
        if self.held:
            tag, multiple, copies = self._choose()
            self._tell("requeues", copies)
            for copy in copies:
                self.ledger.given_back(self.name, copy)
            self.send(wire.settle(CHANNEL, wire.NACK, tag, int(multiple) | 2))

    def _reject(self) -> None:
        if self.held:
            tag, multiple, copies = self._choose()
            self._tell("rejects", copies)
            for copy in copies:
                self.take_settle(copy, REJECT)
            if multiple:
                self.send(wire.settle(CHANNEL, wire.NACK, tag, 1))
            else:
                self.send(wire.settle(CHANNEL, wire.REJECT, tag, 0))

    def _tell(self, verb: str, copies: list[Copy]) -> None:
        self.world.story.tell("{} {} {}", self.name, verb, [copy.publish.name for copy in copies])

    def _leave_channel(self) -> None:
        """Close the channel in order, and open it again."""
        if self.spec.kind == GETTER and self._is_getting:
            return
        self._is_leaving = True
        self.is_ready = False
        said = self.unsure
        for copy in self.held.values():
            self.ledger.released(self.name, copy)
        self.held = {}
        self.world.story.tell("{} closes its channel", self.name)

        def left(_: Any) -> None:
            self._is_leaving = False
            self.ledger.heard(said, HEARD)

        self.call(commands.Channel.Close, commands.Channel.CloseOk, left, reply_code=200, reply_text="bye")
        self.open_channel()


class TxClient(Client):
    """Publishes and acks in transactions."""

    def __init__(self, spec: ClientSpec, world: World) -> None:
        super().__init__(spec, world)
        self._count = 0
        self._transaction = self._new()
        # Its commit was sent, and is not answered.
        self._is_committing = False
        self._routes = [
            route for route in world.plan.routes if not any(world.specs[queue].refuses for queue in route.queues)
        ]

    def _new(self) -> Transaction:
        self._count += 1
        return Transaction(f"transaction {self._count} of {self.name}")

    def begin(self) -> None:
        self.call(commands.Tx.Select, commands.Tx.SelectOk, lambda _: None)
        if self.spec.queue:
            self.call(commands.Basic.Qos, commands.Basic.QosOk, lambda _: None, prefetch_count=4)
            values = {"queue": self.spec.queue, "consumer_tag": "c"}
            self.call(commands.Basic.Consume, commands.Basic.ConsumeOk, lambda _: None, **values)

    def on_deliver(self, delivery_tag: int, redelivered: bool, header: bytes, body: bytes) -> None:
        self.held[delivery_tag] = self.ledger.delivered(
            self.name, self.spec.queue, self.spec.queue, body, header, redelivered
        )

    def act(self) -> None:
        source = self.source
        if self._is_committing:
            return
        for _ in range(source.randrange(0, 4)):
            route = source.choice(self._routes)
            self._transaction.publishes.append(send_publish(self, route, source.random() < 0.9, False))
        for tag in [tag for tag in self.held if source.random() < 0.6]:
            copy = self.held[tag]
            if copy not in self._transaction.acks:
                self._transaction.acks.append(copy)
                self.send(wire.settle(CHANNEL, wire.ACK, tag, 0))
        draw = source.random()
        if draw < 0.6:
            self._commit()
        elif draw < 0.7:
            self._roll_back()
        elif draw < 0.73:
            self.die()

    def _commit(self) -> None:
        transaction = self._transaction
        transaction.sent_life = self.ledger.life
        self._is_committing = True
        self.held = {tag: copy for tag, copy in self.held.items() if copy not in transaction.acks}
        for copy in transaction.acks:
            self.take_settle(copy, ACK)
        self.world.story.tell(
            "{} commits: publishes {} and acks {}",
            self.name,
            [publish.name for publish in transaction.publishes],
            [copy.publish.name for copy in transaction.acks],
        )

        def done(_: Any) -> None:
            self._is_committing = False
            self.world.story.tell("{} is told that its commit of {} is done", self.name, _names(transaction))
            self.ledger.committed(transaction)
            for copy in transaction.acks:
                copy.settler = ""
            self.unsure = [copy for copy in self.unsure if copy not in transaction.acks]
            self._transaction = self._new()

        self.call(commands.Tx.Commit, commands.Tx.CommitOk, done)

    def _roll_back(self) -> None:
        """Its publishes will never be; its acks are taken back, and what they were for is still held."""
        transaction = self._transaction
        self._transaction = self._new()
        self.world.story.tell("{} rolls {} back", self.name, _names(transaction))
        self.ledger.undone(transaction)
        self.call(commands.Tx.Rollback, commands.Tx.RollbackOk, lambda _: None)

    def ended(self, held: list[Copy]) -> None:
        transaction = self._transaction
        if self._is_committing:
            self.ledger.doubt(transaction)
        else:
            for publish in transaction.publishes:
                publish.state = UNDONE
        self._is_committing = False
        self._transaction = self._new()


def _names(transaction: Transaction) -> list[str]:
    return [each.name for each in transaction.publishes] + [copy.publish.name for copy in transaction.acks]
