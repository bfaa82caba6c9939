"""Attacks that kill many messages at once, or one message many times: dead letters, expiry, refusals."""

from __future__ import annotations

from attack import Attack
from pamqp import commands
from raw import (
    CANCEL_OK,
    CONSUME_OK,
    DELIVER,
    EXCHANGE_DECLARE_OK,
    QUEUE_BIND_OK,
    QUEUE_DECLARE_OK,
    TX_COMMIT_OK,
    TX_SELECT_OK,
    Peer,
    method,
)
from staging import Stage, declare, publish

# Ends before the messages do: their publishing takes its time too.
TTL_MS = 5000
TTL_SLOW_MS = 30_000


def loop(stage: Stage) -> None:
    """Eight queues whose dead letters go to all of them; a message comes back to a queue only once, so 8! ways remain."""
    wire, peer = stage.wire, stage.connect()
    fanout(stage, "loop")
    for number in range(8):
        name = f"loop-{number}"
        exclusive = declare(name, is_exclusive=True, message_ttl=0, dead_letter_exchange="loop")
        wire.call(peer, exclusive, QUEUE_DECLARE_OK)
        wire.call(peer, commands.Queue.Bind(queue=name, exchange="loop"), QUEUE_BIND_OK)
    with stage.watched():
        wire.send(peer, publish("", "loop"))


def long_history(stage: Stage) -> None:
    wire = stage.wire
    fanout(stage, "wide")
    for number in range(stage.count(200)):
        stage.queue(f"wide-{number}")
        wire.call(stage.control, commands.Queue.Bind(queue=f"wide-{number}", exchange="wide"), QUEUE_BIND_OK)
    stage.queue("mortal", message_ttl=0, dead_letter_exchange="wide")
    message = publish("mortal", headers={"x-death": [{}] * 25_000})
    with stage.watched():
        wire.send(stage.control, message * 5)


def nack_dead(stage: Stage) -> None:
    count = stage.count(300_000)
    stage.queue("dead")
    stage.queue("source", dead_letter_exchange="", dead_letter_routing_key="dead")
    holder = hold(stage, "source", count)
    with stage.watched():
        stage.wire.send(holder, method(commands.Basic.Nack(0, True, False)))
        stage.await_ready("dead", count)


def nack_wide(stage: Stage) -> None:
    fanout(stage, "wide")
    for number in range(stage.count(200)):
        stage.queue(f"wide-{number}")
        stage.wire.call(stage.control, commands.Queue.Bind(queue=f"wide-{number}", exchange="wide"), QUEUE_BIND_OK)
    count = stage.count(2_000)
    stage.queue("source", dead_letter_exchange="wide")
    holder = hold(stage, "source", count)
    with stage.watched():
        stage.wire.send(holder, method(commands.Basic.Nack(0, True, False)))
        stage.await_ready("wide-0", count)


def die_for_a_full_queue(stage: Stage) -> None:
    count = stage.count(300_000)
    stage.queue("full", max_length=1, overflow="reject-publish")
    stage.fill("full", 1)
    stage.queue("source", dead_letter_exchange="", dead_letter_routing_key="full", overflow="reject-publish")
    holder = hold(stage, "source", count)
    stage.wire.send(holder, method(commands.Basic.Nack(0, True, False)))


def refused(stage: Stage) -> None:
    """They die before the window opens; what is watched is how they are tried again, each second."""
    die_for_a_full_queue(stage)
    with stage.watched(at_least_s=5.0):
        pass


def refused_then_room(stage: Stage) -> None:
    """The same, and then the full queue goes."""
    die_for_a_full_queue(stage)
    with stage.watched(at_least_s=3.0):
        stage.wire.send(stage.control, method(commands.Queue.Delete(queue="full")))


def expiry_of_queue(stage: Stage) -> None:
    count = stage.count(500_000)
    stage.queue("mortal", message_ttl=TTL_MS)
    _all_at_once(stage, publish("mortal"), count)


def expiry_of_messages(stage: Stage) -> None:
    count = stage.count(500_000)
    stage.queue("mortal")
    _all_at_once(stage, publish("mortal", expiration=str(TTL_MS)), count)


def expiry_to_dead(stage: Stage) -> None:
    count = stage.count(500_000)
    stage.queue("dead")
    stage.queue("mortal", message_ttl=TTL_MS, dead_letter_exchange="", dead_letter_routing_key="dead")
    stage.flood(stage.control, publish("mortal"), count)
    with stage.watched(at_least_s=TTL_MS / 1e3):
        stage.await_ready("dead", count)


def _all_at_once(stage: Stage, message: bytes, count: int) -> None:
    with stage.watched(at_least_s=TTL_MS / 1e3):
        stage.flood(stage.control, message, count)
        stage.await_ready("mortal", 0)


def short_queue(stage: Stage) -> None:
    """A policy that makes a deep queue short: all but one message die."""
    count = stage.count(300_000)
    stage.queue("dead")
    stage.queue("deep", dead_letter_exchange="", dead_letter_routing_key="dead")
    stage.fill("deep", count)
    policy = {"vhost": "/", "name": "short", "pattern": "^deep$", "apply-to": "queues", "priority": 1}
    with stage.watched():
        stage.broker.load_definitions({"policies": [policy | {"definition": {"max-length": 1}}]})
        stage.await_ready("dead", count - 1)


def due_together(stage: Stage) -> None:
    count = stage.count(200_000)
    delayed = commands.Exchange.Declare(
        exchange="later", exchange_type="x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"}
    )
    stage.wire.call(stage.control, delayed, EXCHANGE_DECLARE_OK)
    stage.queue("due")
    stage.wire.call(stage.control, commands.Queue.Bind(queue="due", exchange="later"), QUEUE_BIND_OK)
    message = publish("", "later", headers={"x-delay": TTL_MS})
    stage.wire.call(stage.control, commands.Tx.Select(), TX_SELECT_OK)
    with stage.watched(at_least_s=TTL_MS / 1e3):
        for at in range(0, count, 20_000):
            stage.flood(stage.control, message, min(20_000, count - at))
            stage.wire.call(stage.control, commands.Tx.Commit(), TX_COMMIT_OK)
        stage.await_ready("due", count)


def fanout(stage: Stage, name: str) -> None:
    stage.wire.call(
        stage.control, commands.Exchange.Declare(exchange=name, exchange_type="fanout"), EXCHANGE_DECLARE_OK
    )


def hold(stage: Stage, queue: str, count: int, is_consuming: bool = False, message: bytes = b"") -> Peer:
    """A consumer that has got them all and settled none; it takes no more unless it stays `is_consuming`."""
    wire, holder = stage.wire, stage.connect()
    stage.fill(queue, count, message)
    wire.call(holder, commands.Basic.Consume(queue=queue, consumer_tag="holder"), CONSUME_OK)
    wire.wait(holder, DELIVER, count)
    if not is_consuming:
        wire.call(holder, commands.Basic.Cancel("holder"), CANCEL_OK)
    return holder


ATTACKS = [
    Attack("loop", "one byte into 8 queues with TTL 0 on a fanout that is their own dead-letter exchange", loop, 50.0),
    Attack("long-history", "5 messages with 25,000 x-death entries die into 200 queues", long_history),
    Attack("nack-dead", "basic.nack multiple of 300,000 into a dead-letter exchange", nack_dead),
    Attack("nack-wide", "basic.nack multiple of 2,000 into a dead-letter exchange with 200 queues", nack_wide),
    Attack("refused", "300,000 dead letters that a full queue refuses, tried again each second", refused),
    Attack("refused-room", "the same, and then the full queue is deleted", refused_then_room),
    Attack("expiry-queue", "500,000 messages expire at once, by x-message-ttl", expiry_of_queue),
    Attack("expiry-message", "500,000 messages expire at once, by expiration", expiry_of_messages),
    Attack("expiry-dead", "500,000 messages expire at once and become dead letters", expiry_to_dead),
    Attack("short-queue", "a policy with max-length 1 on a queue of 300,000, to dead letters", short_queue),
    Attack("due-together", "200,000 delayed messages become due at once", due_together, is_common=False),
]
