"""A life full of dead letters, delays, returns and transactions, told step by step, each message with its story.

`declare_all` makes the queues, STEPS is the life, ACTORS are the consumers that bring everything to its end after a restart.
To tell of another feature: declare its queues, add a step that publishes with stories, and an actor if its messages do not
find to their end alone.
"""

from __future__ import annotations

from collections.abc import Callable

from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from amqpd.wire.properties import Properties, encode_header, priority
from tests.behaviour.harness import Client, Received, content_frames, method_frame
from tests.crash.stories import GONE, Ledger, Story, Transaction, at
from tests.fakes.stored_broker import StoredBroker, deaths_in

RETRIES = 3
DELIVERY_LIMIT = 2
# Longer than every TTL, delay and chain of them, and than a dead letter that was refused waits.
QUIET_MS = 2500


def properties(ttl_ms: int = -1, level: int = -1, **table: object) -> bytes:
    """Of a persistent message, as they stand behind the size in its header."""
    found = Properties(
        delivery_mode=2,
        expiration=str(ttl_ms) if ttl_ms >= 0 else None,
        priority=level if level >= 0 else None,
        headers=encode_table({key.replace("_", "-"): value for key, value in table.items()}) if table else None,
    )
    return encode_header(0, found)[12:]


PLAIN = properties()


def declare(client: Client, queue: str, **arguments: object) -> None:
    """A durable queue; `dlx_to` is short for dead letters that go to one queue."""
    target = arguments.pop("dlx_to", None)
    if target is not None:
        arguments |= {"dead_letter_exchange": "", "dead_letter_routing_key": target}
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in arguments.items()})
    answer = client.declare(queue, durable=True, arguments=table)
    assert isinstance(answer, commands.Queue.DeclareOk), answer


def declare_exchange(client: Client, name: str, kind: str, **arguments: object) -> None:
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in arguments.items()})
    method = new_method(commands.Exchange.Declare, exchange=name, exchange_type=kind, durable=True, arguments=table)
    assert isinstance(client.call(1, method), commands.Exchange.DeclareOk)


def bind(client: Client, queue: str, exchange: str, key: str = "") -> None:
    method = new_method(commands.Queue.Bind, queue=queue, exchange=exchange, routing_key=key)
    assert isinstance(client.call(1, method), commands.Queue.BindOk)


def declare_all(client: Client) -> None:
    for queue in ("sink", "fan.a", "fan.b", "fan.c", "later.a", "inbox", "tx.out", "tx.dead", "counted", "filler"):
        declare(client, queue)
    declare(client, "expiring", dlx_to="sink")
    for number in (1, 2, 3):
        target = f"chain.{number + 1}" if number < 3 else "sink"
        declare(client, f"chain.{number}", message_ttl=300, dlx_to=target)
    declare_exchange(client, "fan", "fanout")
    for queue in ("fan.a", "fan.b", "fan.c"):
        bind(client, queue, "fan")
    declare(client, "fan", message_ttl=400, dead_letter_exchange="fan")
    declare(client, "jobs", dlx_to="sink")
    declare(client, "work", dlx_to="wait")
    declare(client, "wait", message_ttl=200, dlx_to="work")
    declare(client, "short", max_length=2, dlx_to="sink")
    declare(client, "limited", delivery_limit=DELIVERY_LIMIT, dlx_to="sink")
    declare(client, "backoff", retry_initial_ms=150, delivery_limit=DELIVERY_LIMIT, dlx_to="sink")
    declare(client, "once", dedup_window_ms=3_600_000)
    declare(client, "levels", max_priority=5, dlx_to="sink")
    declare_exchange(client, "later", "x-delayed-message", delayed_type="direct")
    declare(client, "later.b", message_ttl=500, dlx_to="sink")
    bind(client, "later.a", "later", "k")
    bind(client, "later.b", "later", "k")
    declare(client, "tx.in", dlx_to="tx.dead")
    declare(client, "full", max_length=1, overflow="reject-publish")
    declare(client, "source", message_ttl=200, dlx_to="full")
    declare(client, "void", message_ttl=200, dead_letter_exchange="nobody")
    declare_exchange(client, "nobody", "direct")
    declare(client, "strict", max_length=1, overflow="reject-publish-dlx", dlx_to="sink")


class Life:
    """One client with confirms, and what it was told."""

    def __init__(self, broker: StoredBroker, ledger: Ledger) -> None:
        self.broker = broker
        self.ledger = ledger
        self.client = broker.connect()
        self.client.call(1, new_method(commands.Confirm.Select))
        self._published: list[Story] = []
        # How many of them have their confirm, or their nack.
        self._answered = 0
        # What a client's settle says of a story, and how many publishes went before it on this connection.
        self._said: list[tuple[int, Story, int]] = []
        self._names: dict[str, int] = {}

    def name(self, what: str) -> bytes:
        number = self._names[what] = self._names.get(what, 0) + 1
        return f"{what}-{number}".encode()

    def publish(self, key: str, *messages: tuple[Story, bytes], exchange: str = "") -> None:
        """All in one read of the socket, hence in one batch."""
        data = b""
        for story, tail in messages:
            self.ledger.add(story)
            self._published.append(story)
            method = new_method(commands.Basic.Publish, exchange=exchange, routing_key=key)
            data += method_frame(1, method) + content_frames(1, story.body, tail)
        self.client.send_bytes(data)
        self.listen()

    def skip_confirm(self) -> None:
        """For a publish without a story."""
        self._published.append(Story(b"", [GONE]))
        self.listen()

    def listen(self) -> None:
        """Take in what the broker says of publishes: a confirm also makes durable whatever was said before it."""
        received = self.client.received
        told = [each.method for each in received if isinstance(each.method, commands.Basic.Ack | commands.Basic.Nack)]
        self.client.received = [each for each in received if each.method not in told]
        for method in told:
            first = self._answered if method.multiple else method.delivery_tag - 1
            self._answered = max(self._answered, method.delivery_tag)
            if isinstance(method, commands.Basic.Nack):
                continue
            for story in self._published[first : method.delivery_tag]:
                story.known = max(story.known, 0)
            for count, story, stage in self._said:
                if count < method.delivery_tag:
                    story.known = max(story.known, stage)
            self._said = [each for each in self._said if each[0] >= method.delivery_tag]

    def wait(self, ms: int) -> None:
        self.broker.advance(ms)
        self.listen()

    def get(self, queue: str) -> tuple[Received, Story] | None:
        got = self.client.get(queue)
        return None if got is None else (got, self.ledger.stories[got.body])

    def ack(self, taken: tuple[Received, Story]) -> None:
        got, story = taken
        self._said.append((len(self._published), story, len(story.stages) - 1))
        self.client.send(1, new_method(commands.Basic.Ack, delivery_tag=got.method.delivery_tag))

    def reject(self, taken: tuple[Received, Story], target: str) -> None:
        """A dead letter from now on; the stage that it comes to is the next one in `target`."""
        got, story = taken
        now = (str(got.method.routing_key), deaths_in(got.header))
        stage = [each[:1] for each in story.stages].index([now]) + 1
        assert story.stages[stage][0][0] == target
        self._said.append((len(self._published), story, stage))
        self.client.send(1, new_method(commands.Basic.Reject, delivery_tag=got.method.delivery_tag, requeue=False))

    def give_back(self, taken: tuple[Received, Story]) -> None:
        self.client.send(1, new_method(commands.Basic.Nack, delivery_tag=taken[0].method.delivery_tag, requeue=True))


# The life


def expiring(life: Life) -> None:
    """On time wherever they stand, in one batch with their death or in several."""
    messages = []
    for ttl_ms in (700, 250, 450, 250, 90):
        story = Story(life.name("expiring"), [[at("expiring")], [at("sink", ("expiring", "expired", 1))]])
        messages.append((story, properties(ttl_ms)))
    life.publish("expiring", *messages)


def chain(life: Life) -> None:
    deaths = [(f"chain.{number}", "expired", 1) for number in (3, 2, 1)]
    stages = [[at("chain.1")], [at("chain.2", *deaths[2:])], [at("chain.3", *deaths[1:])], [at("sink", *deaths)]]
    life.publish("chain.1", *((Story(life.name("chain"), stages), PLAIN) for _ in range(3)))


def fan_out(life: Life) -> None:
    """One stored copy in three queues, one of which lets it go."""
    death = ("fan", "expired", 1)
    three = [at("fan.a", death), at("fan.b", death), at("fan.c", death)]
    stages = [[at("fan")], three, [three[0], three[2]]]
    life.publish("fan", *((Story(life.name("fan"), stages), PLAIN) for _ in range(2)))
    life.wait(500)
    drain(life, "fan.b")


def rejected(life: Life) -> None:
    stages = [[at("jobs")], [at("sink", ("jobs", "rejected", 1))]]
    life.publish("jobs", *((Story(life.name("rejected"), stages), PLAIN) for _ in range(3)))
    for _ in range(2):
        taken = life.get("jobs")
        assert taken is not None
        life.reject(taken, "sink")
    filler(life)


def retries(life: Life) -> None:
    """Rejected into a queue to wait in, and back when the wait is over: the counts of both deaths grow."""
    stages = [[at("work")]]
    for count in range(1, RETRIES + 1):
        waits = [("wait", "expired", count - 1)] if count > 1 else []
        stages.append([at("wait", ("work", "rejected", count), *waits)])
        stages.append([at("work", ("wait", "expired", count), ("work", "rejected", count))])
    life.publish("work", (Story(life.name("retry"), [*stages, GONE]), PLAIN))
    for _ in range(2):
        work(life)
        life.wait(300)
        filler(life)
    work(life)


def too_long(life: Life) -> None:
    stages = [[at("short")], [at("sink", ("short", "maxlen", 1))]]
    for count in (2, 1, 3):
        life.publish("short", *((Story(life.name("short"), stages, is_still=True), PLAIN) for _ in range(count)))


def limited(life: Life) -> None:
    """Given back too often, and given back for ever: the counts are on the disk."""
    stages = [[at("limited")], [at("sink", ("limited", "delivery_limit", 1))]]
    life.publish("limited", *((Story(life.name("limited"), stages), PLAIN) for _ in range(2)))
    life.publish("counted", *((Story(life.name("counted"), [[at("counted")]]), PLAIN) for _ in range(2)))
    for queue, count in (("limited", 3), ("counted", 2), ("limited", 1)):
        for _ in range(count):
            taken = life.get(queue)
            assert taken is not None
            life.give_back(taken)


def backoff(life: Life) -> None:
    """Each time it comes back it waits, longer than before; then it is a dead letter."""
    stages = [[at("backoff")], [at("sink", ("backoff", "delivery_limit", 1))]]
    life.publish("backoff", *((Story(life.name("backoff"), stages), PLAIN) for _ in range(2)))
    for wait_ms, count in ((200, 2), (400, 2), (0, 1)):
        for _ in range(count):
            taken = life.get("backoff")
            assert taken is not None
            life.give_back(taken)
        life.wait(wait_ms)


def once(life: Life) -> None:
    """A duplicate is confirmed and never there, also when what it doubles is gone."""
    first = Story(life.name("once"), [[at("once")], GONE])
    life.publish("once", (first, properties(x_dedup_id=first.body.decode())))
    for _ in range(2):
        life.publish("once", (Story(life.name("double"), [GONE]), properties(x_dedup_id=first.body.decode())))
        drain(life, "once")
    filler(life)


def levels(life: Life) -> None:
    stages = [[at("levels")], GONE]
    for burst in ((3, 0, 5), (1, 9, 3)):
        messages = [(Story(life.name(f"level{min(each, 5)}"), stages), properties(level=each)) for each in burst]
        life.publish("levels", *messages)
    dying = Story(life.name("level5"), [[at("levels")], [at("sink", ("levels", "expired", 1))]])
    life.publish("levels", (dying, properties(ttl_ms=150, level=5)))
    taken = life.get("levels")
    assert taken is not None
    life.ack(taken)
    life.wait(200)


def delayed(life: Life) -> None:
    """Hidden until it is due, then in two queues, in one of which it dies."""
    both = [at("later.a"), at("later.b")]
    stages = [[at("amq.delayed.later")], both, [at("later.a"), at("sink", ("later.b", "expired", 1))]]
    for delay_ms in (600, 200):
        life.publish("k", (Story(life.name("delayed"), stages), properties(x_delay=delay_ms)), exchange="later")


def transactions(life: Life) -> None:
    """One that is committed and one that is rolled back, each with publishes, an ack and a reject."""
    acked = [[at("tx.in")], GONE]
    dead = [[at("tx.in")], [at("tx.dead", ("tx.in", "rejected", 1))]]
    inbound = [Story(life.name("tx-in"), stages, is_still=True) for stages in (acked, dead, acked, dead)]
    life.publish("tx.in", *((story, PLAIN) for story in inbound))
    outbound = [Story(life.name("tx-out"), [[at("tx.out")]]) for _ in range(2)]
    expiring_too = Story(life.name("tx-out"), [[at("expiring")], [at("sink", ("expiring", "expired", 1))]])
    life.ledger.add(*outbound, expiring_too)
    life.ledger.transactions.append(Transaction(life.name("tx").decode(), [*outbound, expiring_too], inbound[:2]))
    client = life.client
    for commit in (True, False):
        client.call(2, new_method(commands.Channel.Open))
        client.call(2, new_method(commands.Tx.Select))
        for number in (1, 2):
            client.send(2, new_method(commands.Basic.Get, queue="tx.in"))
            tagged = client.received.pop()
            assert tagged.body == inbound[number - 1 if commit else number + 1].body
        if commit:
            client.publish("tx.out", outbound[0].body, properties=PLAIN, channel=2)
            client.publish("expiring", expiring_too.body, properties=properties(ttl_ms=300), channel=2)
            client.publish("tx.out", outbound[1].body, properties=PLAIN, channel=2)
        else:
            client.publish("tx.out", b"rolled back", properties=PLAIN, channel=2)
        client.send(2, new_method(commands.Basic.Ack, delivery_tag=1))
        client.send(2, new_method(commands.Basic.Reject, delivery_tag=2, requeue=False))
        if commit:
            assert isinstance(client.call(2, new_method(commands.Tx.Commit)), commands.Tx.CommitOk)
            for story in (*outbound, expiring_too):
                story.known = 0
            for story in inbound[:2]:
                story.known = 1
        else:
            client.call(2, new_method(commands.Tx.Rollback))
        client.call(2, new_method(commands.Channel.Close, reply_code=200, reply_text="", class_id=0, method_id=0))


def refused(life: Life) -> None:
    """A target with no room keeps the dead letter in its source until there is some."""
    life.publish("full", (Story(life.name("plug"), [[at("full")], GONE]), PLAIN))
    stages = [[at("source")], [at("full", ("source", "expired", 1))], GONE]
    life.publish("source", (Story(life.name("refused"), stages), PLAIN))
    life.wait(1500)
    drain(life, "full")
    life.wait(1100)
    drain(life, "full")


def nowhere(life: Life) -> None:
    life.publish("void", (Story(life.name("void"), [[at("void")], GONE]), PLAIN))
    life.wait(300)


def strict(life: Life) -> None:
    """What the queue does not take goes where dead letters go; the publisher hears a nack, so nothing is promised."""
    life.publish("strict", (Story(life.name("strict"), [[at("strict")]]), PLAIN))
    life.publish("strict", (Story(life.name("strict"), [[at("sink", ("strict", "maxlen", 1))]]), PLAIN))


def filler(life: Life) -> None:
    """Space to win back: segments fill up and empty, so that there are checkpoints, moves and deletions."""
    stages = [[at("filler")], GONE]
    bodies = [life.name("filler") + b"." * 600 for _ in range(3)]
    life.publish("filler", *((Story(body, stages), PLAIN) for body in bodies))
    drain(life, "filler")


STEPS: list[Callable[[Life], None]] = [
    expiring, chain, filler, fan_out, rejected, delayed, retries, filler, too_long, expiring, limited,
    backoff, once, levels, transactions, chain, filler, refused, nowhere, strict, delayed, fan_out, filler,
]  # fmt: skip


# The consumers that bring everything to its end


def drain(life: Life, queue: str) -> None:
    taken = life.get(queue)
    while taken is not None:
        life.ack(taken)
        taken = life.get(queue)


def work(life: Life) -> None:
    """Rejects until it was tried often enough."""
    taken = life.get("work")
    if taken is None:
        return
    if ("work", "rejected", RETRIES) in deaths_in(taken[0].header):
        life.ack(taken)
    else:
        life.reject(taken, "wait")


def finish_jobs(life: Life) -> None:
    taken = life.get("jobs")
    while taken is not None:
        life.reject(taken, "sink")
        taken = life.get("jobs")


def finish_limited(life: Life) -> None:
    counts = {body: count for body, _, count in life.broker.contents().get("limited", [])}
    deliveries = dict.fromkeys(counts, 0)
    taken = life.get("limited")
    while taken is not None:
        deliveries[taken[1].body] += 1
        life.give_back(taken)
        taken = life.get("limited")
    assert deliveries == {body: DELIVERY_LIMIT + 1 - count for body, count in counts.items()}


def finish_backoff(life: Life) -> None:
    for _ in range(2):
        taken = life.get("backoff")
        if taken is not None:
            life.give_back(taken)


def finish_once(life: Life) -> None:
    """Whoever published it does it again: it is taken only if nobody was promised that it is there."""
    for body, story in list(life.ledger.stories.items()):
        if body.startswith(b"once") and story.known >= 0:
            life.client.publish("once", b"a double", properties=properties(x_dedup_id=body.decode()))
            life.skip_confirm()
    taken = life.client.get("once")
    while taken is not None:
        assert taken.body != b"a double"
        life.ack((taken, life.ledger.stories[taken.body]))
        taken = life.client.get("once")


def finish_levels(life: Life) -> None:
    seen: list[int] = []
    taken = life.get("levels")
    while taken is not None:
        seen.append(min(int(priority(taken[0].header)), 5))
        life.ack(taken)
        taken = life.get("levels")
    assert seen == sorted(seen, reverse=True)


ACTORS: list[Callable[[Life], None]] = [
    finish_jobs,
    finish_limited,
    finish_backoff,
    finish_once,
    finish_levels,
    work,
    lambda life: drain(life, "fan.b"),
    lambda life: drain(life, "full"),
    lambda life: drain(life, "filler"),
]


def finish(life: Life) -> None:
    """Time for everything that waits, consumers for everything that wants one, until nothing changes any more."""
    before: object = None
    while before != life.broker.contents():
        before = life.broker.contents()
        life.wait(QUIET_MS)
        for actor in ACTORS:
            actor(life)
