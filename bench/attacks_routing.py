"""Attacks on routing: many bindings, many targets, long chains of exchanges, each met by many messages in one write."""

from __future__ import annotations

from attack import Attack
from attacks_naming import exchange
from pamqp import commands
from raw import EXCHANGE_BIND_OK, EXCHANGE_DECLARE_OK, QOS_OK, QUEUE_BIND_OK, QUEUE_DECLARE_OK, RETURN, method
from staging import Stage, declare, publish

# Of bindings; a queue may have 10,000, and a real one has far fewer.
QUEUES = 20


def headers(stage: Stage) -> None:
    """Nearly all bindings ask for one header that the message has and one that it has not."""
    exchange(stage, "by-headers", "headers")
    bindings = stage.count(10_000)
    targets(stage)
    bound = [
        method(
            commands.Queue.Bind(
                queue=f"target-{number % QUEUES}",
                exchange="by-headers",
                arguments={"x-match": "all", "kind": "order", "number": number},
            )
        )
        for number in range(bindings)
    ]
    stage.in_one_go(bound, stage.control, QUEUE_BIND_OK)
    messages = [
        publish("", "by-headers", headers={"kind": "order", "number": number % bindings})
        for number in range(stage.count(2000))
    ]
    strike(stage, b"".join(messages))


def topics(stage: Stage) -> None:
    exchange(stage, "by-topic", "topic")
    targets(stage)
    bound = [
        method(
            commands.Queue.Bind(queue=f"target-{number % QUEUES}", exchange="by-topic", routing_key=f"#.x{number}.#")
        )
        for number in range(stage.count(10_000))
    ]
    stage.in_one_go(bound, stage.control, QUEUE_BIND_OK)
    # Long keys, each another: nothing that was remembered helps.
    keys = [".".join(f"x{number * 31 + word}" for word in range(40))[:255].rpartition(".")[0] for number in range(1000)]
    strike(stage, b"".join(publish(key, "by-topic") for key in keys[: stage.count(1000)]))


def wide_topics(stage: Stage) -> None:
    """Patterns of many `#` and `*`, which fit in many ways."""
    exchange(stage, "by-topic", "topic")
    targets(stage)
    bound = [
        method(
            commands.Queue.Bind(
                queue=f"target-{number % QUEUES}",
                exchange="by-topic",
                routing_key="#.*." * (1 + number % 20) + f"x{number}",
            )
        )
        for number in range(stage.count(1000))
    ]
    stage.in_one_go(bound, stage.control, QUEUE_BIND_OK)
    keys = [".".join(["a"] * 100) + f".x{number}" for number in range(stage.count(500))]
    strike(stage, b"".join(publish(key, "by-topic") for key in keys))


def bind_wide(stage: Stage) -> None:
    """Short queues, so that what is measured is the way in and not memory."""
    exchange(stage, "wide", "fanout")
    count = stage.count(5000)
    names = [f"wide-{number}" for number in range(count)]
    stage.in_one_go([method(declare(name, max_length=100)) for name in names], stage.control, QUEUE_DECLARE_OK)
    bound = [method(commands.Queue.Bind(queue=name, exchange="wide")) for name in names]
    stage.in_one_go(bound, stage.control, QUEUE_BIND_OK)


def wide_fanout(stage: Stage) -> None:
    bind_wide(stage)
    strike(stage, publish("", "wide") * stage.count(500))


def wide_durable_fanout(stage: Stage) -> None:
    bind_wide(stage)
    strike(stage, publish("", "wide", is_persistent=True) * stage.count(100))


def alternates(stage: Stage) -> None:
    """Nothing is bound anywhere but to the last."""
    count = stage.count(1000)
    declares = [
        commands.Exchange.Declare(
            exchange=f"alternate-{number}",
            exchange_type="direct",
            arguments={"alternate-exchange": f"alternate-{number + 1}"},
        )
        for number in range(count)
    ]
    stage.in_one_go([method(each) for each in declares], stage.control, EXCHANGE_DECLARE_OK)
    exchange(stage, f"alternate-{count}", "fanout")
    stage.queue("last", max_length=100)
    bound = commands.Queue.Bind(queue="last", exchange=f"alternate-{count}")
    stage.wire.call(stage.control, bound, QUEUE_BIND_OK)
    strike(stage, b"".join(publish(f"key-{number}", "alternate-0") for number in range(stage.count(2000))))


def chain(stage: Stage) -> None:
    count = stage.count(1000)
    declares = [
        commands.Exchange.Declare(exchange=f"chain-{number}", exchange_type="fanout") for number in range(count)
    ]
    stage.in_one_go([method(each) for each in declares], stage.control, EXCHANGE_DECLARE_OK)
    links = [
        commands.Exchange.Bind(destination=f"chain-{number + 1}", source=f"chain-{number}")
        for number in range(count - 1)
    ]
    stage.in_one_go([method(each) for each in links], stage.control, EXCHANGE_BIND_OK)
    stage.queue("last", max_length=100)
    stage.wire.call(stage.control, commands.Queue.Bind(queue="last", exchange=f"chain-{count - 1}"), QUEUE_BIND_OK)
    strike(stage, b"".join(publish(f"key-{number}", "chain-0") for number in range(stage.count(2000))))


def carbon_copies(stage: Stage) -> None:
    """As many keys as one message may carry, each bound to all queues of a topic exchange."""
    exchange(stage, "by-topic", "topic")
    for number in range(stage.count(500)):
        stage.wire.call(stage.control, declare(f"copy-{number}", max_length=100), QUEUE_DECLARE_OK)
        bound = commands.Queue.Bind(queue=f"copy-{number}", exchange="by-topic", routing_key="#")
        stage.wire.call(stage.control, bound, QUEUE_BIND_OK)
    keys = [f"copy.{number}" for number in range(100)]
    strike(stage, publish("first", "by-topic", headers={"CC": keys}) * stage.count(500))


def returned(stage: Stage) -> None:
    count = stage.count(100_000)
    peer = stage.connect()
    with stage.watched():
        stage.wire.send(peer, publish("nowhere", is_mandatory=True) * count)
        stage.wire.wait(peer, RETURN, count)


def targets(stage: Stage) -> None:
    for number in range(QUEUES):
        stage.queue(f"target-{number}", max_length=100)


def strike(stage: Stage, messages: bytes) -> None:
    """All in one write; over when the broker has answered what came behind them."""
    peer = stage.connect()
    with stage.watched():
        stage.wire.send(peer, messages)
        stage.wire.call(peer, commands.Basic.Qos(), QOS_OK)


ATTACKS = [
    Attack("headers", "2,000 publishes in one write to a headers exchange with 10,000 bindings", headers),
    Attack("topics", "1,000 long keys in one write to 10,000 bindings such as #.x.#", topics),
    Attack("wide-topics", "500 keys of 101 words in one write to 1,000 bindings such as #.*.#.*.x", wide_topics),
    Attack("fanout", "500 publishes in one write to a fanout of 5,000 queues", wide_fanout),
    Attack("fanout-durable", "100 persistent ones, the same", wide_durable_fanout),
    Attack("alternates", "2,000 publishes in one write down a chain of 1,000 alternate exchanges", alternates),
    Attack("chain", "2,000 publishes in one write down a chain of 1,000 bound exchanges", chain),
    Attack("copies", "500 publishes in one write with 100 CC keys for 500 queues", carbon_copies),
    Attack("returned", "100,000 unroutable mandatory publishes in one write", returned),
]
