"""The loads of the table: what is sent, which figure counts and what amqpd promises at least beside RabbitMQ.

Owns: the loads and their floors. The arguments are those of `amqpd bench`, and of amqpload, which has the same names.
"""

from __future__ import annotations

from dataclasses import dataclass

CONFIRMED = ("--durable", "--persistent", "--confirm", "1000", "--prefetch", "1000")


@dataclass(frozen=True)
class Figure:
    """One number of a result; `floor` is the least ratio to RabbitMQ, for a latency the ratio below which it must stay."""

    name: str
    title: str
    key: str
    unit: str
    floor: float
    is_latency: bool = False


@dataclass(frozen=True)
class Step:
    arguments: tuple[str, ...]
    figures: tuple[Figure, ...]
    # A step that is measured by count or until the queue is empty has no duration.
    is_timed: bool = True


@dataclass(frozen=True)
class Load:
    letter: str
    steps: tuple[Step, ...]


def rate(letter: str, title: str, floor: float, key: str = "deliver_rate", unit: str = "msg/s") -> Figure:
    return Figure(letter, title, key, unit, floor)


def latency(letter: str, title: str, key: str) -> Figure:
    return Figure(letter, title, key, "ms", 1.0, is_latency=True)


def loads(backlog_count: int) -> list[Load]:
    """The table of loads; `backlog_count` messages gather in load d."""
    backlog = f"{backlog_count:,}".replace(",", " ")
    return [
        one("a", ("--ack-every", "0"), rate("a", "transient, no-ack, 1p1c", 8)),
        one(
            "b",
            CONFIRMED,
            rate("b", "durable, persistent, confirmed, each acked, 1p1c", 10),
        ),
        one("c", (*CONFIRMED, "--size", "1024"), rate("c", "as b, 1 KiB", 8)),
        Load(
            "d",
            (
                Step(
                    ("--durable", "--consumers", "0", "--count", str(backlog_count), "--linger", "600"),
                    (
                        rate(
                            "d1",
                            f"{backlog} transient messages into a queue, no consumer",
                            15,
                            "publish_rate",
                        ),
                    ),
                    is_timed=False,
                ),
                Step(
                    ("--durable", "--drain", "--prefetch", "1000", "--delete"),
                    (rate("d2", "drained again, each acked", 10),),
                    is_timed=False,
                ),
            ),
        ),
        one(
            "e",
            (*CONFIRMED, "--producers", "4", "--consumers", "4", "--queues", "4"),
            rate("e", "as b, 4 queues, 4p4c", 15),
        ),
        one(
            "f",
            ("--exchange", "bench-fanout", "--exchange-type", "fanout", "--queues", "5", "--consumers", "5")
            + ("--ack-every", "0"),
            rate("f", "fanout to 5 queues, 5 consumers, no-ack", 6, unit="deliveries/s"),
        ),
        one("h", (*CONFIRMED, "--size", "16384"), rate("h", "as b, 16 KiB", 1.3)),
        one(
            "g",
            (*CONFIRMED, "--rate", "5000"),
            latency("g50", "as b at 5,000/s: end-to-end p50", "latency_us.p50"),
            latency("g99", "as b at 5,000/s: end-to-end p99", "latency_us.p99"),
        ),
    ]


def one(letter: str, arguments: tuple[str, ...], *figures: Figure) -> Load:
    return Load(letter, (Step((*arguments, "--delete"), figures),))


def value_of(result: dict[str, object], figure: Figure) -> float | None:
    """The figure in a result; a latency in milliseconds."""
    value: object = result
    for key in figure.key.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, (int, float)):
        return None
    return value / 1e3 if figure.is_latency else float(value)
