"""What one seed stands for: queues and routes, who works on them, what goes wrong and when.

Owns the draws that are made before anything runs, as plain values: a plan can be printed, and made smaller by leaving parts
out (shrink.py). Does not own the draws made on the way: each client, the disk and the network have a source of their own,
so that leaving one out does not change what the others would do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from amqpd.queues.agenda import TURN_BUDGET

# How a life ends.
KILL = "kill"
POWER = "power"
POWER_IN_EFFECT = "power in effect"
POWER_IN_DELETE = "power in delete"
POWER_IN_CHECKPOINT = "power in checkpoint"
CLEAN_STOP = "clean stop"
SYNC_FAILS = "sync fails"
WRITE_FAILS = "write fails"
CHECKPOINT_FAILS = "checkpoint fails"
# Trouble that a node lives through.
FULL = "full"
SLOW = "slow disk"
READ_FAILS = "read fails"
# For a while: nothing can be read, or nothing be opened.
READS_FAIL = "reads fail"
NO_DESCRIPTORS = "no descriptors"
MEMORY_SHORT = "memory short"
# Limits and times that nothing ever comes near, for all queues, or no more of them.
POLICY = "policy"
CUT = "cut"
# Trouble that comes with the next crash.
ROT_CHECKPOINT = "rot checkpoint"

# The exchange that takes its time, and how long at the most.
DELAYING = "del"
DELAY_MS_MAX = 1500
# No message that came back waits longer.
RETRY_MS_MAX = 600
# Longer than any run.
DEDUP_WINDOW_MS = 3_600_000

PUBLISHER = "publisher"
CONSUMER = "consumer"
GETTER = "getter"
TX = "tx"
OWNER = "owner"


@dataclass(frozen=True)
class QueueSpec:
    name: str
    durable: bool = True
    ttl_ms: int = -1
    # Where its dead letters go: the exchange, its routing key, and the queues behind it.
    dead_exchange: str | None = None
    dead_key: str = ""
    dead_targets: tuple[str, ...] = ()
    max_length: int = -1
    max_bytes: int = -1
    refuses: bool = False
    delivery_limit: int = -1
    max_priority: int = 0
    # What comes back waits so long at the first time, twice as long at the second, and so on up to RETRY_MS_MAX; below 0
    # for not at all. Only what a client did not want, or whatever comes back?
    retry_ms: int = -1
    retry_type: str = "failed"
    # Of messages with the same id only the first is taken.
    dedups: bool = False
    # Only dead letters come here.
    is_target: bool = False

    def arguments(self) -> tuple[tuple[str, Any], ...]:
        found: list[tuple[str, Any]] = []
        if self.ttl_ms >= 0:
            found.append(("x-message-ttl", self.ttl_ms))
        if self.dead_exchange is not None:
            found.append(("x-dead-letter-exchange", self.dead_exchange))
            if self.dead_key:
                found.append(("x-dead-letter-routing-key", self.dead_key))
        if self.max_length >= 0:
            found.append(("x-max-length", self.max_length))
        if self.max_bytes >= 0:
            found.append(("x-max-length-bytes", self.max_bytes))
        if self.refuses:
            found.append(("x-overflow", "reject-publish"))
        if self.delivery_limit >= 0:
            found.append(("x-delivery-limit", self.delivery_limit))
        if self.max_priority:
            found.append(("x-max-priority", self.max_priority))
        if self.retry_ms >= 0:
            found.append(("x-retry-initial-ms", self.retry_ms))
            found.append(("x-retry-max-ms", RETRY_MS_MAX))
            found.append(("x-delayed-retry-type", self.retry_type))
        if self.dedups:
            found.append(("x-dedup-window-ms", DEDUP_WINDOW_MS))
        return tuple(found)

    def drops(self) -> bool:
        """May a message leave without a settle and without going somewhere else? (Its TTL apart.)"""
        return self.dead_exchange is None and (self.is_cut() or self.delivery_limit >= 0)

    def is_cut(self) -> bool:
        """Does something leave it when it is too long?"""
        return (self.max_length >= 0 or self.max_bytes >= 0) and not self.refuses


@dataclass(frozen=True)
class Route:
    exchange: str
    routing_key: str
    queues: tuple[str, ...]
    # By an exchange that takes its time.
    is_delayed: bool = False


@dataclass(frozen=True)
class ClientSpec:
    name: str
    kind: str
    queue: str = ""
    prefetch: int = 0
    no_ack: bool = False
    heartbeat_s: int = 0
    # What a consumer has not settled after so long goes back; 0 for never.
    timeout_ms: int = 0


@dataclass(frozen=True)
class Trouble:
    step: int
    kind: str
    # How many steps it lasts, how many effects it lets pass, or which client it hits.
    number: int = 0


@dataclass(frozen=True)
class DepthSpec:
    """When a queue is deep, what of it stays in memory, and how much the caretaker does in a turn."""

    head_count: int = 256
    head_bytes: int = 1 << 20
    chunk_count: int = 256
    chunk_bytes: int = 256 << 10
    resident_chunks: int = 256
    described_count: int = 20_000
    moved_bytes: int = 4 << 20
    # What a turn has for long work before anybody comes in.
    turn_budget: int = TURN_BUDGET


@dataclass(frozen=True)
class Plan:
    seed: int
    steps: int
    segment_bytes: int
    body_bytes_max: int
    queues: tuple[QueueSpec, ...]
    exchanges: tuple[tuple[str, str], ...]
    bindings: tuple[tuple[str, str, str], ...]
    routes: tuple[Route, ...]
    clients: tuple[ClientSpec, ...]
    troubles: tuple[Trouble, ...]
    # Of 100 crashes, after how many everything is looked at before work goes on; and in how many the power goes again
    # while the node recovers.
    audit_percent: int = 50
    crash_again_percent: int = 25
    # Large steps of time between small ones, of 100.
    leap_percent: int = 3
    depth: DepthSpec = DepthSpec()
    # Bytes on the disk go bad at each crash: fewer promises hold.
    rot: bool = False


def draw(seed: int, rot: bool = False) -> Plan:
    source = random.Random(f"plan {seed}")
    queues = _queues(source)
    exchanges = (
        ("fan", "fanout"),
        ("dir", "direct"),
        ("top", "topic"),
        ("dlx", "fanout"),
        (DELAYING, "x-delayed-message"),
    )
    bindings, routes = _routes(source, queues)
    if rot:
        # One body in several records: what is intact can't be told by it.
        routes = tuple(each for each in routes if not each.is_delayed)
    steps = source.randrange(60, 260)
    return Plan(
        seed=seed,
        steps=steps,
        segment_bytes=source.choice((2048, 4096, 4096, 8192, 16384)),
        body_bytes_max=source.choice((40, 200, 200, 900, 5000)),
        queues=queues,
        exchanges=exchanges,
        bindings=bindings,
        routes=routes,
        clients=_clients(source, queues),
        troubles=_troubles(source, steps),
        audit_percent=source.choice((20, 50, 80)),
        # A start that is cut short may have mended, and not yet said, what had gone bad.
        crash_again_percent=0 if rot else source.choice((0, 0, 30)),
        leap_percent=source.choice((1, 4, 10, 30)),
        depth=_depth(source),
        rot=rot,
    )


def _depth(source: random.Random) -> DepthSpec:
    """Mostly so little that pages are written and read back all the time."""
    if source.random() < 0.15:
        return DepthSpec()
    return DepthSpec(
        head_count=source.randrange(2, 9),
        head_bytes=source.choice((300, 1 << 20, 1 << 20)),
        chunk_count=source.randrange(2, 5),
        chunk_bytes=source.choice((400, 1 << 20, 1 << 20)),
        resident_chunks=source.randrange(1, 4),
        described_count=source.choice((7, 15, 40, 20_000)),
        moved_bytes=source.choice((1, 300, 2000, 4 << 20)),
        turn_budget=source.choice((0, 3, TURN_BUDGET)),
    )


def _queues(source: random.Random) -> tuple[QueueSpec, ...]:
    found = [QueueSpec("q1"), QueueSpec("q2")]
    if source.random() < 0.4:
        found.append(QueueSpec("t1", durable=False))
    if source.random() < 0.3:
        found.append(QueueSpec("p1", max_priority=3))
    if source.random() < 0.3:
        found.append(QueueSpec("ttl1", ttl_ms=source.choice((50, 300, 2000))))
    if source.random() < 0.35:
        limit = source.choice((-1, -1, 2))
        retry = {"retry_ms": source.choice((5, 100, 500)), "retry_type": source.choice(("failed", "all"))}
        found.append(QueueSpec("r1", delivery_limit=limit, **retry))  # type: ignore[arg-type]
    if source.random() < 0.35:
        found.append(QueueSpec("u1", dedups=True))
    if source.random() < 0.25:
        found.append(QueueSpec("max1", max_length=source.choice((1, 4, 7, 20))))
    if source.random() < 0.25:
        found.append(QueueSpec("bytes1", max_bytes=source.choice((200, 1000, 5000)), refuses=source.random() < 0.5))
    if source.random() < 0.3:
        found.append(QueueSpec("full1", max_length=source.randrange(1, 8), refuses=True))
    if source.random() < 0.7:
        found += _dead_letter_queues(source)
    return tuple(found)


def _dead_letter_queues(source: random.Random) -> list[QueueSpec]:
    refusing = source.random() < 0.15
    targets = [QueueSpec("d1", is_target=True, max_length=source.randrange(2, 6) if refusing else -1, refuses=refusing)]
    if source.random() < 0.35:
        targets.append(QueueSpec("d2", is_target=True))
    names = tuple(each.name for each in targets)
    if len(targets) == 1 and source.random() < 0.5:
        dead = {"dead_exchange": "", "dead_key": "d1", "dead_targets": names}
    else:
        dead = {"dead_exchange": "dlx", "dead_targets": names}
    found = [QueueSpec("s1", **dead)]  # type: ignore[arg-type]
    reasons = [
        {"ttl_ms": source.choice((50, 300, 2000))},
        {"max_length": source.choice((1, 3, 5, 20))},
        {"max_bytes": source.choice((100, 1000, 4000))},
        {"delivery_limit": source.randrange(0, 3)},
        {"delivery_limit": source.randrange(0, 3), "retry_ms": 50},
    ]
    for number in range(source.randrange(0, 3)):
        found.append(QueueSpec(f"s{number + 2}", **dead, **source.choice(reasons)))  # type: ignore[arg-type]
    return found + targets


def _routes(
    source: random.Random, queues: tuple[QueueSpec, ...]
) -> tuple[tuple[tuple[str, str, str], ...], tuple[Route, ...]]:
    """Bindings (exchange, queue, key), and where a message goes by them."""
    names = [each.name for each in queues if not each.is_target]
    bindings = [("dlx", each.name, "") for each in queues if each.is_target]
    routes = [Route("", name, (name,)) for name in names]
    fan = tuple(name for name in names if source.random() < 0.6)
    bindings += [("fan", name, "") for name in fan]
    routes.append(Route("fan", "", fan))
    for key in ("a", "b"):
        bound = tuple(name for name in names if source.random() < 0.35)
        bindings += [("dir", name, key) for name in bound]
        routes.append(Route("dir", key, bound))
    patterns = ("x.*", "x.#", "#.y")
    chosen = {name: source.choice(patterns) for name in names if source.random() < 0.5}
    bindings += [("top", name, pattern) for name, pattern in chosen.items()]
    matches = {"x": ("x.#",), "x.y": patterns, "x.b.c": ("x.#",), "y": ("#.y",)}
    for key, matching in matches.items():
        routes.append(Route("top", key, tuple(name for name, pattern in chosen.items() if pattern in matching)))
    routes.append(Route("", "nowhere", ()))
    delayed = tuple(
        each.name
        for each in queues
        if each.durable and not each.is_target and not each.refuses and source.random() < 0.3
    )
    if delayed and source.random() < 0.5:
        bindings += [(DELAYING, name, "") for name in delayed]
        routes += [Route(DELAYING, "", delayed, True)] * 2
    return tuple(bindings), tuple(routes)


def _clients(source: random.Random, queues: tuple[QueueSpec, ...]) -> tuple[ClientSpec, ...]:
    found = [ClientSpec(f"publisher{number + 1}", PUBLISHER) for number in range(source.randrange(1, 4))]
    count = source.randrange(0, 5)
    for number in range(count):
        queue = source.choice(queues).name
        kind = source.choice((CONSUMER, CONSUMER, CONSUMER, GETTER))
        found.append(
            ClientSpec(
                f"{kind}{number + 1}",
                kind,
                queue,
                prefetch=source.choice((0, 1, 3, 10)),
                no_ack=source.random() < 0.1,
                heartbeat_s=source.choice((0, 0, 0, 1)),
                timeout_ms=source.choice((0, 0, 0, 100, 1000)) if kind == CONSUMER else 0,
            )
        )
    if source.random() < 0.6:
        found.append(ClientSpec("tx1", TX, source.choice(queues).name))
    if source.random() < 0.5:
        found.append(ClientSpec("owner1", OWNER))
    return tuple(found)


def _troubles(source: random.Random, steps: int) -> tuple[Trouble, ...]:
    found: list[Trouble] = []
    kinds = [KILL, POWER, POWER, POWER_IN_EFFECT, POWER_IN_EFFECT, POWER_IN_EFFECT, CLEAN_STOP]
    kinds += [POWER_IN_DELETE, POWER_IN_DELETE, POWER_IN_CHECKPOINT, SYNC_FAILS, WRITE_FAILS, CHECKPOINT_FAILS]
    kinds = [kind for kind in kinds if source.random() < 0.7] or [POWER]
    for _ in range(source.randrange(1, 6)):
        kind = source.choice(kinds)
        step = source.randrange(10, steps)
        found.append(Trouble(step, kind, source.randrange(0, 12)))
        if source.random() < 0.15:
            found.append(Trouble(max(0, step - 2), ROT_CHECKPOINT))
    if source.random() < 0.25:
        found.append(Trouble(source.randrange(0, steps), FULL, source.randrange(3, 40)))
    for _ in range(source.randrange(0, 3)):
        slow = Trouble(source.randrange(0, steps), SLOW, source.randrange(2, 25))
        found.append(slow)
        if source.random() < 0.3:
            # While much has happened that the disk does not have.
            found.append(Trouble(slow.step + source.randrange(1, slow.number + 1), POWER))
    for _ in range(source.choice((0, 0, 1, 3))):
        found.append(Trouble(source.randrange(5, steps), READ_FAILS))
    for _ in range(source.choice((0, 0, 0, 2, 4))):
        found.append(Trouble(source.randrange(5, steps), POLICY, source.randrange(4)))
    for _ in range(source.choice((0, 0, 1, 2))):
        found.append(Trouble(source.randrange(0, steps), MEMORY_SHORT, source.choice((5, 30, 1000))))
    for _ in range(source.randrange(0, 4)):
        found.append(Trouble(source.randrange(5, steps), CUT, source.randrange(0, 100)))
    for kind in (READS_FAIL, NO_DESCRIPTORS):
        for _ in range(source.choice((0, 0, 1, 2))):
            found.append(Trouble(source.randrange(5, steps), kind, source.choice((3, 20, 200))))
    return tuple(sorted(found, key=lambda each: (each.step, each.kind, each.number)))
