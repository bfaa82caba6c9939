"""Attacks by declaring, binding and deleting thousands of things at once, and by policies over all of them."""

from __future__ import annotations

import time

from attack import Attack
from pamqp import commands
from raw import (
    CHANNEL_OPEN_OK,
    CONSUME_OK,
    EXCHANGE_DECLARE_OK,
    EXCHANGE_DELETE_OK,
    QUEUE_BIND_OK,
    QUEUE_DECLARE_OK,
    QUEUE_DELETE_OK,
    QUEUE_UNBIND_OK,
    method,
)
from staging import Stage, declare, publish

SMALL_SEGMENTS = ("--set", f"limits.segment_bytes={4 << 20}")


def declare_many(stage: Stage) -> None:
    declares = [method(declare(f"named-{number}")) for number in range(stage.count(5000))]
    peer = stage.connect()
    with stage.watched():
        stage.in_one_go(declares, peer, QUEUE_DECLARE_OK)


def delete_many(stage: Stage) -> None:
    count = stage.count(5000)
    stage.in_one_go([method(declare(f"named-{number}")) for number in range(count)], stage.control, QUEUE_DECLARE_OK)
    deletes = [method(commands.Queue.Delete(queue=f"named-{number}")) for number in range(count)]
    with stage.watched():
        stage.in_one_go(deletes, stage.control, QUEUE_DELETE_OK)


def exchange(stage: Stage, name: str, exchange_type: str) -> None:
    stage.wire.call(
        stage.control, commands.Exchange.Declare(exchange=name, exchange_type=exchange_type), EXCHANGE_DECLARE_OK
    )


def binds(exchange_name: str, queue: str, count: int) -> list[bytes]:
    keys = (f"a.key.{number}" for number in range(count))
    return [method(commands.Queue.Bind(queue=queue, exchange=exchange_name, routing_key=key)) for key in keys]


def bind_many(stage: Stage) -> None:
    stage.queue("bound")
    exchange(stage, "keys", "topic")
    with stage.watched():
        stage.in_one_go(binds("keys", "bound", stage.count(5000)), stage.control, QUEUE_BIND_OK)


def unbind_many(stage: Stage) -> None:
    count = stage.count(5000)
    stage.queue("bound")
    exchange(stage, "keys", "topic")
    stage.in_one_go(binds("keys", "bound", count), stage.control, QUEUE_BIND_OK)
    keys = (f"a.key.{number}" for number in range(count))
    unbinds = [method(commands.Queue.Unbind(queue="bound", exchange="keys", routing_key=key)) for key in keys]
    with stage.watched():
        stage.in_one_go(unbinds, stage.control, QUEUE_UNBIND_OK)


def delete_bound_queue(stage: Stage) -> None:
    stage.queue("bound")
    exchange(stage, "keys", "topic")
    stage.in_one_go(binds("keys", "bound", stage.count(9000)), stage.control, QUEUE_BIND_OK)
    with stage.watched():
        stage.wire.call(stage.control, commands.Queue.Delete(queue="bound"), QUEUE_DELETE_OK)


def delete_bound_exchange(stage: Stage) -> None:
    """Its bindings are spread over a few queues, as a queue may have 10,000 of them."""
    exchange(stage, "keys", "topic")
    for number in range(5):
        stage.queue(f"bound-{number}")
        stage.in_one_go(binds("keys", f"bound-{number}", stage.count(9000)), stage.control, QUEUE_BIND_OK)
    with stage.watched():
        stage.wire.call(stage.control, commands.Exchange.Delete(exchange="keys"), EXCHANGE_DELETE_OK)


def drop_exclusive(stage: Stage) -> None:
    count = stage.count(5000)
    peer = stage.connect()
    exchange(stage, "keys", "topic")
    names = [f"mine-{number}" for number in range(count)]
    stage.in_one_go([method(declare(name, is_exclusive=True)) for name in names], peer, QUEUE_DECLARE_OK)
    bound = [method(commands.Queue.Bind(queue=name, exchange="keys", routing_key=f"{name}.#")) for name in names]
    stage.in_one_go(bound, peer, QUEUE_BIND_OK)
    with stage.watched():
        stage.wire.drop(peer)


def delete_consumed(stage: Stage) -> None:
    """A queue with 5,000 consumers, each of which must be told."""
    stage.queue("shared")
    for _ in range(5):
        peer = stage.connect()
        consumes = [method(commands.Basic.Consume(queue="shared")) for _ in range(stage.count(1000))]
        stage.in_one_go(consumes, peer, CONSUME_OK)
    with stage.watched():
        stage.wire.call(stage.control, commands.Queue.Delete(queue="shared"), QUEUE_DELETE_OK)


def open_channels(stage: Stage) -> None:
    opens = [method(commands.Channel.Open(), channel) for channel in range(2, stage.count(2047) + 1)]
    peer = stage.connect()
    with stage.watched():
        stage.in_one_go(opens, peer, CHANNEL_OPEN_OK)


def policies(stage: Stage) -> None:
    """Each pattern is asked about each queue; each queue gets the best of those that fit."""
    names = [f"service-{number % 20}-queue-{number}" for number in range(stage.count(10_000))]
    stage.in_one_go([method(declare(name)) for name in names], stage.control, QUEUE_DECLARE_OK)
    wanted = [
        policy(f"service-{number}", f"^service-{number}-.*[0-9]$", {"max-length": 1 + number}, number)
        for number in range(20)
    ]
    wanted.append(policy("all", ".*", {"message-ttl": 86_400_000}, 0))
    with stage.watched(at_least_s=1.0):
        stage.broker.load_definitions({"policies": wanted})
    stage.flood(stage.control, publish("service-3-queue-3"), 10)
    stage.await_ready("service-3-queue-3", 4, 10.0)


def policy_ttl(stage: Stage) -> None:
    """The TTL of a million messages becomes another, and nothing expires."""
    stage.queue("deep")
    stage.fill("deep", stage.count(1_000_000))
    stage.broker.load_definitions({"policies": [policy("ttl", "^deep$", {"message-ttl": 86_400_000}, 1)]})
    with stage.watched(at_least_s=1.0):
        stage.broker.load_definitions({"policies": [policy("ttl", "^deep$", {"message-ttl": 43_200_000}, 1)]})


def policy_expires(stage: Stage) -> None:
    """A million messages become too old at one stroke; RabbitMQ asks a message's TTL only when it comes in."""
    stage.queue("deep")
    stage.fill("deep", stage.count(1_000_000))
    with stage.watched(at_least_s=1.0):
        stage.broker.load_definitions({"policies": [policy("ttl", "^deep$", {"message-ttl": 1}, 1)]})
        stage.await_ready("deep", 0)


def checkpoint(stage: Stage) -> None:
    """Segments are small, so that checkpoints are taken each second while a little is published and settled."""
    stage.queue("levels", max_priority=10)
    for priority in range(10):
        stage.flood(stage.control, publish("levels", is_persistent=True, priority=priority), stage.count(50_000))
    stage.await_ready("levels", 10 * stage.count(50_000))
    stage.queue("passing", max_length=10)
    some = publish("passing", content=b"x" * 16_384, is_persistent=True) * 64
    with stage.watched():
        until_s = time.monotonic() + 6.0
        while time.monotonic() < until_s:
            stage.wire.send(stage.control, some)
            stage.wire.run_until(lambda: False, 0.05)


def policy(name: str, pattern: str, definition: dict[str, object], priority: int) -> dict[str, object]:
    return {
        "vhost": "/",
        "name": name,
        "pattern": pattern,
        "apply-to": "queues",
        "definition": definition,
        "priority": priority,
    }


ATTACKS = [
    Attack("policies", "21 policies over 10,000 queues from a definitions file", policies),
    Attack("policy-ttl", "a policy changes the TTL of 1,000,000 messages", policy_ttl),
    Attack("policy-expires", "a policy with a TTL of 1 ms on 1,000,000 messages", policy_expires, is_common=False),
    Attack("declare", "5,000 times queue.declare, durable, in one write", declare_many),
    Attack("delete-many", "5,000 times queue.delete in one write", delete_many),
    Attack("bind", "5,000 times queue.bind to a topic exchange in one write", bind_many),
    Attack("unbind", "5,000 times queue.unbind in one write", unbind_many),
    Attack("delete-bound", "queue.delete with 9,000 bindings", delete_bound_queue),
    Attack("delete-exchange", "exchange.delete with 45,000 bindings", delete_bound_exchange),
    Attack("delete-consumed", "queue.delete with 5,000 consumers", delete_consumed),
    Attack("exclusive-drop", "a connection with 5,000 exclusive, bound queues disconnects", drop_exclusive),
    Attack("channels", "2,046 times channel.open in one write", open_channels),
    Attack("checkpoint", "checkpoints while a queue with priorities holds 500,000", checkpoint, flags=SMALL_SEGMENTS),
]
