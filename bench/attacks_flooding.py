"""Attacks by plain volume, and by what is refused, lapses or is looked through in vain."""

from __future__ import annotations

from attack import Attack
from attacks_letters import fanout, hold
from attacks_settling import big_message
from pamqp import commands
from raw import (
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    CONSUME_OK,
    DELIVER,
    EXCHANGE_BIND_OK,
    EXCHANGE_DECLARE_OK,
    GET_OK,
    HEADER,
    QOS_OK,
    QUEUE_BIND_OK,
    QUEUE_DECLARE_OK,
    method,
)
from staging import Stage, declare, publish

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
LAPSE_MS = 5000


def flood(stage: Stage) -> None:
    """Four connections that publish as fast as they are read, to one queue each."""
    count = stage.count(500_000)
    peers = [stage.connect() for _ in range(4)]
    for number in range(4):
        stage.queue(f"flooded-{number}")
    floods = [publish(f"flooded-{number}") * count for number in range(4)]
    with stage.watched():
        for peer, messages in zip(peers, floods):
            stage.wire.send(peer, messages, is_waiting=False)
        stage.wire.expect(lambda: not any(peer.outgoing for peer in peers), "all is sent")
        for number in range(4):
            stage.await_ready(f"flooded-{number}", count)


def drain(stage: Stage) -> None:
    """Four consumers that read as fast as they can."""
    count = stage.count(2_000_000)
    stage.queue("deep")
    stage.fill("deep", count, publish("deep", is_persistent=True))
    peers = [stage.connect() for _ in range(4)]
    with stage.watched():
        for peer in peers:
            stage.wire.call(peer, commands.Basic.Consume(queue="deep", no_ack=True), CONSUME_OK)
        stage.wire.expect(lambda: sum(peer.came(DELIVER) for peer in peers) >= count, "all are delivered")


def big_to_many(stage: Stage) -> None:
    """32 MiB for each of 50 consumers."""
    fanout(stage, "wide")
    peers = [stage.connect() for _ in range(stage.count(50))]
    for number, peer in enumerate(peers):
        stage.wire.call(peer, declare(f"big-{number}", is_exclusive=True), QUEUE_DECLARE_OK)
        stage.wire.call(peer, commands.Queue.Bind(queue=f"big-{number}", exchange="wide"), QUEUE_BIND_OK)
        stage.wire.call(peer, commands.Basic.Consume(queue=f"big-{number}", no_ack=True), CONSUME_OK)
    size = 32 << 20
    message = big_message("", size, "wide")
    with stage.watched():
        stage.wire.send(stage.control, message)
        stage.wire.expect(lambda: all(peer.received_bytes > size for peer in peers), "all are delivered")


def busy_consumers(stage: Stage) -> None:
    """Each has what it may have, so that nobody can take what comes; and then all give it back."""
    peers = [stage.connect() for _ in range(9)]
    stage.queue("shared")
    for peer in peers:
        stage.wire.call(peer, commands.Basic.Qos(prefetch_count=1), QOS_OK)
        consumes = [method(commands.Basic.Consume(queue="shared")) for _ in range(stage.count(1000))]
        stage.in_one_go(consumes, peer, CONSUME_OK)
    held = 9 * stage.count(1000)
    stage.flood(stage.control, publish("shared"), held)
    stage.wire.expect(lambda: sum(peer.came(DELIVER) for peer in peers) >= held, "all are delivered")
    more = stage.count(20_000)
    with stage.watched():
        stage.flood(stage.control, publish("shared"), more)
        stage.await_ready("shared", more)
        for peer in peers:
            stage.wire.send(peer, method(commands.Basic.Nack(0, True, True)))
        stage.wire.expect(lambda: sum(peer.came(DELIVER) for peer in peers) >= 2 * held, "all are delivered again")


def overflow(stage: Stage) -> None:
    """Each message pushes one out of a short queue into the next, ten times."""
    count = stage.count(100_000)
    for number in range(10):
        stage.queue(
            f"short-{number}",
            max_length=10,
            dead_letter_exchange="",
            dead_letter_routing_key=f"short-{number + 1}",
        )
    stage.queue("short-10")
    messages = publish("short-0") * count
    with stage.watched():
        stage.wire.send(stage.control, messages)
        stage.await_ready("short-10", count - 100)


def lapse(stage: Stage) -> None:
    """Deliveries whose consumer lets them lapse, all at the same time."""
    count = stage.count(200_000)
    stage.queue("deep", consumer_timeout=LAPSE_MS)
    stage.fill("deep", count)
    peer = stage.connect()
    with stage.watched(at_least_s=LAPSE_MS / 1e3 + 1.0):
        stage.wire.call(peer, commands.Basic.Consume(queue="deep"), CONSUME_OK)
        stage.wire.wait(peer, DELIVER, count)


def retries(stage: Stage) -> None:
    """Given back into a queue that delays what is given back: all are due again at once."""
    count = stage.count(200_000)
    stage.queue("slow", delayed_retry_type="all", delayed_retry_min=LAPSE_MS)
    holder = hold(stage, "slow", count)
    with stage.watched(at_least_s=LAPSE_MS / 1e3):
        stage.wire.send(holder, method(commands.Basic.Nack(0, True, True)))
        stage.await_ready("slow", count)


def queues_expire(stage: Stage) -> None:
    """All were used last at nearly the same time."""
    count = stage.count(5000)
    peer = stage.connect()
    declares = [method(declare(f"brief-{number}", expires=LAPSE_MS)) for number in range(count)]
    with stage.watched(at_least_s=LAPSE_MS / 1e3 + 1.0):
        stage.in_one_go(declares, peer, QUEUE_DECLARE_OK)


def auto_delete_chain(stage: Stage) -> None:
    """The last binding of each goes with the one before it."""
    count = stage.count(1000)
    declares = [
        commands.Exchange.Declare(exchange=f"fleeting-{number}", exchange_type="fanout", auto_delete=True)
        for number in range(count)
    ]
    stage.in_one_go([method(each) for each in declares], stage.control, EXCHANGE_DECLARE_OK)
    links = [
        commands.Exchange.Bind(destination=f"fleeting-{number + 1}", source=f"fleeting-{number}")
        for number in range(count - 1)
    ]
    stage.in_one_go([method(each) for each in links], stage.control, EXCHANGE_BIND_OK)
    peer = stage.connect()
    stage.wire.call(peer, declare("last", is_exclusive=True), QUEUE_DECLARE_OK)
    bound = commands.Queue.Bind(queue="last", exchange=f"fleeting-{count - 1}")
    stage.wire.call(peer, bound, QUEUE_BIND_OK)
    with stage.watched():
        stage.wire.drop(peer)


def soft_errors(stage: Stage) -> None:
    """A channel that is closed for its mistake, and opened again, in one write."""
    count = stage.count(5000)
    missing = method(commands.Queue.Declare(queue="nowhere", passive=True))
    again = missing + method(commands.Channel.CloseOk()) + method(commands.Channel.Open())
    peer = stage.connect()
    with stage.watched():
        stage.wire.send(peer, again * count)
        stage.wire.expect(lambda: peer.seen[CHANNEL_CLOSE] >= count or peer.is_gone, "all are refused")


def open_and_close(stage: Stage) -> None:
    count = stage.count(50_000)
    opened = method(commands.Channel.Open(), 2) + method(commands.Channel.Close(200, "", 0, 0), 2)
    peer = stage.connect()
    with stage.watched():
        stage.wire.send(peer, opened * count)
        stage.wire.wait(peer, CHANNEL_CLOSE_OK, count)


def heartbeat_flood(stage: Stage) -> None:
    peer = stage.connect()
    with stage.watched():
        stage.wire.send(peer, HEARTBEAT * stage.count(5_000_000))
        stage.wire.call(peer, commands.Basic.Qos(), QOS_OK)


def stranger_flood(stage: Stage) -> None:
    """Before any login; the broker may close at once."""
    with stage.watched():
        for _ in range(stage.count(200)):
            peer = stage.wire.dial(HEADER + HEARTBEAT * 4000)
            stage.wire.run_until(lambda peer=peer: peer.is_gone or not peer.outgoing, 5.0)  # type: ignore[misc]
            stage.wire.drop(peer)


def wide_headers(stage: Stage) -> None:
    """Tables as large as a frame, in a message that is published, routed by its headers, and dies."""
    declared = commands.Exchange.Declare(exchange="by-headers", exchange_type="headers")
    stage.wire.call(stage.control, declared, EXCHANGE_DECLARE_OK)
    stage.queue("dead")
    stage.queue("mortal", message_ttl=0, dead_letter_exchange="", dead_letter_routing_key="dead")
    bound = commands.Queue.Bind(queue="mortal", exchange="by-headers", arguments={"x-match": "any", "h1": f"{1:0100d}"})
    stage.wire.call(stage.control, bound, QUEUE_BIND_OK)
    table = {f"h{number}": f"{number:0100d}" for number in range(1000)}
    count = stage.count(200)
    messages = publish("", "by-headers", headers=table) * count
    with stage.watched():
        stage.wire.send(stage.control, messages)
        stage.await_ready("dead", count)


def hard_patterns(stage: Stage) -> None:
    """Patterns that a backtracking matcher never gets done with, on names made for them."""
    names = [f"{'a' * 200}-{number}" for number in range(stage.count(2000))]
    stage.in_one_go([method(declare(name)) for name in names], stage.control, QUEUE_DECLARE_OK)
    policies: list[dict[str, object]] = []
    for number, pattern in enumerate(("^(a+)+$", "^(a|aa)+$", "^(.*)*x$", "^(a*)*b$", "(a?){30}a{30}$")):
        definition = {"max-length": 1000}
        hard = {"vhost": "/", "name": f"hard-{number}", "pattern": pattern, "apply-to": "queues", "priority": number}
        policies.append(hard | {"definition": definition})
    with stage.watched(at_least_s=1.0):
        stage.broker.load_definitions({"policies": policies})


def get_from_levels(stage: Stage) -> None:
    """Got and given back, one by one, from a deep queue with priorities."""
    count = stage.count(20_000)
    stage.queue("levels", max_priority=10)
    for priority in range(10):
        stage.flood(stage.control, publish("levels", priority=priority), stage.count(20_000))
    stage.await_ready("levels", 10 * stage.count(20_000))
    peer = stage.connect()
    again = method(commands.Basic.Get(queue="levels")) + method(commands.Basic.Nack(0, True, True))
    with stage.watched():
        stage.wire.send(peer, again * count)
        stage.wire.wait(peer, GET_OK, count)


ATTACKS = [
    Attack("flood", "2,000,000 publishes on four connections, as fast as they are read", flood),
    Attack("drain", "2,000,000 deliveries to four consumers, as fast as they read", drain),
    Attack("big", "a message of 32 MiB to 50 consumers", big_to_many),
    Attack("busy", "20,000 publishes to 9,000 consumers that may have no more, and all give back", busy_consumers),
    Attack(
        "overflow", "100,000 publishes in one write through ten short queues, each the dead letters of one", overflow
    ),
    Attack("lapse", "200,000 deliveries lapse at once (x-consumer-timeout)", lapse, is_common=False),
    Attack("retries", "200,000 delayed retries become due at once", retries, is_common=False),
    Attack("queues-expire", "5,000 queues expire at once", queues_expire),
    Attack("auto-delete", "a chain of 1,000 auto-delete exchanges goes with its last queue", auto_delete_chain),
    Attack("soft-errors", "5,000 times a channel closed by an error and opened again, in one write", soft_errors),
    Attack("open-close", "50,000 times channel.open and channel.close in one write", open_and_close),
    Attack("heartbeat-flood", "5,000,000 heartbeats in one write", heartbeat_flood),
    Attack("stranger", "200 strangers with 4,000 frames each before login", stranger_flood),
    Attack("wide-headers", "200 messages with 1,000 headers, routed by one of them, die", wide_headers),
    Attack(
        "hard-patterns", "policies with patterns that a backtracking matcher never ends, 2,000 queues", hard_patterns
    ),
    Attack("get-levels", "20,000 times basic.get and nack in one write, a queue with priorities", get_from_levels),
]
