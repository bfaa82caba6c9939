"""Attacks that give back, take back or throw away much with one method, or with one end of a connection."""

from __future__ import annotations

import random

from attack import Attack
from attacks_letters import hold
from pamqp import commands
from raw import (
    CANCEL_OK,
    CHANNEL_CLOSE_OK,
    CHANNEL_OPEN_OK,
    CONSUME_OK,
    DELIVER,
    GET_EMPTY,
    GET_OK,
    QOS_OK,
    QUEUE_DELETE_OK,
    QUEUE_PURGE_OK,
    RECOVER_OK,
    TX_COMMIT_OK,
    TX_ROLLBACK_OK,
    TX_SELECT_OK,
    Peer,
    method,
)
from staging import Stage, publish

SEED = 7


def held_acks(stage: Stage) -> tuple[Peer, int]:
    """A transaction with as many acks as the queue had messages, in no order."""
    count = stage.count(10_000)
    stage.queue("deep")
    holder = hold(stage, "deep", count)
    stage.wire.call(holder, commands.Tx.Select(), TX_SELECT_OK)
    tags = list(range(1, count + 1))
    random.Random(SEED).shuffle(tags)
    stage.wire.send(holder, b"".join(method(commands.Basic.Ack(tag)) for tag in tags))
    stage.wire.call(holder, commands.Basic.Qos(), QOS_OK)
    return holder, count


def tx_rollback(stage: Stage) -> None:
    holder, _ = held_acks(stage)
    with stage.watched():
        stage.wire.call(holder, commands.Tx.Rollback(), TX_ROLLBACK_OK)


def tx_drop(stage: Stage) -> None:
    holder, count = held_acks(stage)
    with stage.watched():
        stage.wire.drop(holder)
        stage.await_ready("deep", count)


def tx_commit(stage: Stage) -> None:
    holder, _ = held_acks(stage)
    with stage.watched():
        stage.wire.call(holder, commands.Tx.Commit(), TX_COMMIT_OK)


def tx_publishes(stage: Stage) -> None:
    """Below the bound on operations of one transaction."""
    count = stage.count(60_000)
    stage.queue("deep")
    peer = stage.connect()
    stage.wire.call(peer, commands.Tx.Select(), TX_SELECT_OK)
    stage.flood(peer, publish("deep", is_persistent=True), count)
    stage.wire.call(peer, commands.Basic.Qos(), QOS_OK)
    with stage.watched():
        stage.wire.call(peer, commands.Tx.Commit(), TX_COMMIT_OK)


def in_turns(stage: Stage) -> None:
    """Each holds every other message: what one gives back goes between those of the other."""
    count = stage.count(200_000)
    wire, holders = stage.wire, [stage.connect(), stage.connect()]
    stage.queue("shared")
    for holder in holders:
        wire.call(holder, commands.Basic.Consume(queue="shared", consumer_tag="holder"), CONSUME_OK)
    stage.flood(stage.control, publish("shared"), count)
    wire.expect(lambda: sum(holder.came(DELIVER) for holder in holders) >= count, "all are delivered")
    with stage.watched():
        for holder in holders:
            wire.drop(holder)
        stage.await_ready("shared", count)


def nack_requeue(stage: Stage) -> None:
    count = stage.count(300_000)
    stage.queue("deep")
    holder = hold(stage, "deep", count)
    with stage.watched():
        stage.wire.send(holder, method(commands.Basic.Nack(0, True, True)))
        stage.await_ready("deep", count)


def nack_again(stage: Stage) -> None:
    """To the one who gives it back: it comes again at once."""
    count = stage.count(300_000)
    stage.queue("deep")
    holder = hold(stage, "deep", count, is_consuming=True)
    with stage.watched():
        stage.wire.send(holder, method(commands.Basic.Nack(0, True, True)))
        stage.wire.wait(holder, DELIVER, count)


def ack_all(stage: Stage) -> None:
    count = stage.count(1_000_000)
    stage.queue("deep")
    holder = hold(stage, "deep", count, message=publish("deep", is_persistent=True))
    with stage.watched():
        stage.wire.send(holder, method(commands.Basic.Ack(0, True)))
        stage.wire.call(holder, commands.Basic.Qos(), QOS_OK)


def nack_each(stage: Stage) -> None:
    """One by one, from behind, in one write."""
    count = stage.count(100_000)
    stage.queue("deep")
    holder = hold(stage, "deep", count)
    nacks = b"".join(method(commands.Basic.Nack(tag)) for tag in range(count, 0, -1))
    with stage.watched():
        stage.wire.send(holder, nacks)
        stage.await_ready("deep", count)


def recover(stage: Stage) -> None:
    count = stage.count(200_000)
    stage.queue("deep")
    holder = hold(stage, "deep", count)
    with stage.watched():
        stage.wire.call(holder, commands.Basic.Recover(True), RECOVER_OK)
        stage.await_ready("deep", count)


def close_channel(stage: Stage) -> None:
    count = stage.count(200_000)
    stage.queue("deep")
    holder = hold(stage, "deep", count)
    with stage.watched():
        stage.wire.call(holder, commands.Channel.Close(200, "", 0, 0), CHANNEL_CLOSE_OK)
        stage.await_ready("deep", count)


def drop_many_channels(stage: Stage) -> None:
    """All on one queue, each with one message that it has not settled."""
    wire, peer = stage.wire, stage.connect()
    channels = range(2, stage.count(2047) + 1)
    stage.queue("shared")
    stage.in_one_go([method(commands.Channel.Open(), channel) for channel in channels], peer, CHANNEL_OPEN_OK)
    once = [method(commands.Basic.Qos(prefetch_count=1), channel) for channel in channels]
    stage.in_one_go(once, peer, QOS_OK)
    consumes = [method(commands.Basic.Consume(queue="shared", consumer_tag="c"), channel) for channel in channels]
    stage.in_one_go(consumes, peer, CONSUME_OK)
    stage.flood(stage.control, publish("shared"), len(channels))
    wire.wait(peer, DELIVER, len(channels))
    with stage.watched():
        wire.drop(peer)
        stage.await_ready("shared", len(channels))


def purge(stage: Stage, is_persistent: bool) -> None:
    stage.queue("deep")
    stage.fill("deep", stage.count(1_000_000), publish("deep", is_persistent=is_persistent))
    with stage.watched():
        stage.wire.call(stage.control, commands.Queue.Purge(queue="deep"), QUEUE_PURGE_OK)


def delete(stage: Stage, is_persistent: bool) -> None:
    stage.queue("deep")
    stage.fill("deep", stage.count(1_000_000), publish("deep", is_persistent=is_persistent))
    with stage.watched():
        stage.wire.call(stage.control, commands.Queue.Delete(queue="deep"), QUEUE_DELETE_OK)


def purge_levels(stage: Stage) -> None:
    stage.queue("levels", max_priority=10)
    stage.fill("levels", stage.count(500_000), publish("levels", is_persistent=True, priority=5))
    with stage.watched():
        stage.wire.call(stage.control, commands.Queue.Purge(queue="levels"), QUEUE_PURGE_OK)


def get_many(stage: Stage) -> None:
    count = stage.count(10_000)
    stage.queue("deep")
    stage.fill("deep", count)
    peer = stage.connect()
    with stage.watched():
        stage.in_one_go([method(commands.Basic.Get(queue="deep"))] * count, peer, GET_OK)


def get_nothing(stage: Stage) -> None:
    stage.queue("empty")
    peer = stage.connect()
    with stage.watched():
        stage.in_one_go([method(commands.Basic.Get(queue="empty"))] * stage.count(100_000), peer, GET_EMPTY)


def get_and_return(stage: Stage) -> None:
    """8 MiB that are asked for and given back, again and again, by somebody who never reads."""
    wire, peer = stage.wire, stage.connect()
    stage.queue("big")
    wire.send(stage.control, big_message("big", 8 << 20))
    stage.await_ready("big", 1)
    again = method(commands.Basic.Get(queue="big")) + method(commands.Basic.Nack(0, True, True))
    wire.stop_reading(peer)
    with stage.watched(at_least_s=3.0):
        wire.send(peer, again * stage.count(200), is_waiting=False)
        wire.run_until(lambda: False, 3.0)
        wire.drop(peer)


def consumers_come_and_go(stage: Stage) -> None:
    count = stage.count(10_000)
    stage.queue("shared")
    peer = stage.connect()
    consumes = [method(commands.Basic.Consume(queue="shared", consumer_tag=f"c{number}")) for number in range(count)]
    cancels = [method(commands.Basic.Cancel(f"c{number}")) for number in range(count)]
    come_and_go = b"".join(
        b"".join(consumes[at : at + 1000]) + b"".join(cancels[at : at + 1000]) for at in range(0, count, 1000)
    )
    with stage.watched():
        stage.wire.send(peer, come_and_go)
        stage.wire.wait(peer, CANCEL_OK, count)


def big_message(routing_key: str, size: int, exchange: str = "") -> bytes:
    """In frames of 128 KiB."""
    from pamqp import body, header

    part = 131072 - 8
    start = method(commands.Basic.Publish(exchange=exchange, routing_key=routing_key))
    head = method(header.ContentHeader(0, size, commands.Basic.Properties()))  # type: ignore[arg-type]
    sizes = [min(part, size - at) for at in range(0, size, part)]
    return start + head + b"".join(method(body.ContentBody(b"x" * each)) for each in sizes)  # type: ignore[arg-type]


ATTACKS = [
    Attack("tx-rollback", "tx.rollback with 10,000 held acks", tx_rollback),
    Attack("tx-drop", "a transaction with 10,000 held acks disconnects", tx_drop),
    Attack("tx-commit", "tx.commit of 10,000 held acks", tx_commit),
    Attack("tx-publishes", "tx.commit of 60,000 persistent publishes", tx_publishes),
    Attack("in-turns", "two consumers that hold 200,000 messages in turns disconnect", in_turns),
    Attack("nack-requeue", "basic.nack multiple of 300,000 with requeue", nack_requeue),
    Attack("nack-again", "the same, back to the consumer that gave them up", nack_again),
    Attack("nack-each", "100,000 times basic.nack with requeue, from behind, in one write", nack_each),
    Attack("ack-all", "basic.ack multiple of 1,000,000 persistent messages", ack_all),
    Attack("recover", "basic.recover with 200,000 unacked", recover),
    Attack("channel-close", "channel.close with 200,000 unacked", close_channel),
    Attack("channels-drop", "a connection with 2,047 channels, a consumer on each, disconnects", drop_many_channels),
    Attack("purge", "queue.purge of 1,000,000 transient messages", lambda stage: purge(stage, False)),
    Attack("purge-durable", "queue.purge of 1,000,000 persistent messages", lambda stage: purge(stage, True)),
    Attack("delete", "queue.delete of 1,000,000 transient messages", lambda stage: delete(stage, False)),
    Attack("delete-durable", "queue.delete of 1,000,000 persistent messages", lambda stage: delete(stage, True)),
    Attack("purge-levels", "queue.purge of 500,000 persistent messages with priorities", purge_levels),
    Attack("get", "10,000 times basic.get in one write", get_many),
    Attack("get-empty", "100,000 times basic.get of an empty queue in one write", get_nothing),
    Attack("get-return", "200 times basic.get and nack of one message of 8 MiB, never read", get_and_return),
    Attack("consumers", "10,000 consumers come and go in one write", consumers_come_and_go),
]
