"""Backlogs: amqpd with one deep queue and with many queues, RabbitMQ beside it, one broker at a time.

Owns: which scenarios are measured, what amqpd promises of them, and their table. Does not own measuring (deep.py).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from brokers import Amqpd, Broker, RabbitMQ, find_rabbitmq
from compare import PAGE, described, generator_command
from deep import SHALLOW_ROUNDS, STEP_COUNT, Deepening, Depths, Scenario
from page import machine, write_between
from plot import depth_plot
from rich.console import Console
from rich.table import Table

from amqpd.cli.load import LoadError
from amqpd.cli.load.process import prepare_for_load

MIB = 1 << 20
PLOT = PAGE.parent / "depth.svg"


@dataclass(frozen=True)
class Promise:
    """One row of the table; `keeps` is whether amqpd's figure is what it should be, for rows that promise something."""

    title: str
    show: Callable[[Depths], str]
    floor: str = ""
    keeps: Callable[[Depths], bool] | None = None


PROMISES = (
    Promise("published into an empty queue", lambda of: f"{of.empty_rate:,.0f} msg/s"),
    Promise("drained when shallow", lambda of: f"{of.shallow_rate:,.0f} msg/s"),
    Promise(
        "published at depth",
        lambda of: f"{of.deep_rate:,.0f} msg/s ({of.publish_share:.0%})",
        "≥ 90% of empty",
        lambda of: of.publish_share >= 0.9,
    ),
    Promise(
        "resident memory, at most",
        lambda of: f"{of.resident_bytes_max / MIB:,.0f} MiB",
        "≤ 1,024 MiB",
        lambda of: of.resident_bytes_max <= 1024 * MIB,
    ),
    Promise(
        "memory of a message, from the half to the whole",
        lambda of: f"{of.message_bytes:,.1f} B",
        "≤ 25 B",
        lambda of: of.message_bytes <= 25,
    ),
    Promise(
        "kill -9, ready again after",
        lambda of: f"{of.ready_s:,.2f} s",
        "≤ 10 s",
        lambda of: of.ready_s <= 10,
    ),
    Promise("resident memory then", lambda of: f"{of.restarted_bytes / MIB:,.0f} MiB"),
    Promise(
        "missing then",
        lambda of: f"{of.scenario.whole_count - of.found_count:,}",
        "0",
        lambda of: of.found_count == of.scenario.whole_count,
    ),
    Promise(
        "drained from there",
        lambda of: f"{of.drain_rate:,.0f} msg/s ({of.drain_share:.0%})",
        "≥ 80% of shallow",
        lambda of: of.drain_share >= 0.8,
    ),
    Promise(
        "not drained, or out of order",
        lambda of: f"{of.scenario.whole_count - of.drained_count:,}, {of.disorder_count:,}",
        "0, 0",
        lambda of: of.drained_count == of.scenario.whole_count and of.disorder_count == 0,
    ),
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/depth", description="What millions of waiting messages cost.")
    parser.add_argument("--count", type=int, default=10_000_000, help="messages of 128 B in amqpd (10000000)")
    parser.add_argument("--queues", type=int, default=1000, help="the same again in so many queues, 0: not (1000)")
    parser.add_argument("--rabbitmq-count", type=int, default=2_000_000, help="messages in RabbitMQ (2000000)")
    parser.add_argument("--shallow", type=int, default=250_000, help="messages of a shallow queue (250000)")
    parser.add_argument("--only", choices=("amqpd", "RabbitMQ"), help="only this broker")
    parser.add_argument("--with", dest="generator", default="", metavar="PATH", help="publish with this amqpload")
    parser.add_argument("--dir", default="/var/tmp", help="where the brokers keep their data: a real disk (/var/tmp)")
    parser.add_argument("--json", default="", metavar="FILE", help="write every figure there")
    parser.add_argument("--write", action="store_true", help="put table and plot into docs/performance.md")
    parser.add_argument("--check", action="store_true", help="exit 1 when amqpd breaks a promise")
    return parser.parse_args()


def scenarios(arguments: argparse.Namespace) -> list[tuple[type[Broker], Scenario]]:
    chosen: list[tuple[type[Broker], Scenario]] = []
    if arguments.only != "RabbitMQ":
        chosen.append((Amqpd, Scenario(arguments.count, 1, arguments.shallow)))
    if arguments.only != "amqpd" and find_rabbitmq() is not None:
        chosen.append((RabbitMQ, Scenario(arguments.rabbitmq_count, 1, arguments.shallow)))
    if arguments.only != "RabbitMQ" and arguments.queues > 1:
        chosen.append((Amqpd, Scenario(arguments.count, arguments.queues, arguments.shallow)))
    if not chosen:
        raise LoadError("RabbitMQ is not installed")
    for _, scenario in chosen:
        if scenario.whole_count == 0:
            raise LoadError(
                f"{scenario.count:,} messages are less than one for each queue in each of {STEP_COUNT} steps"
            )
    return chosen


def measure(
    chosen: list[tuple[type[Broker], Scenario]], arguments: argparse.Namespace, console: Console
) -> tuple[dict[str, str], list[Depths]]:
    """What the figures depend on, and the figures. Each scenario has a fresh broker, which is gone before the next."""
    directory = Path(tempfile.mkdtemp(prefix="amqpd-depth-", dir=arguments.dir))
    facts, depths = machine(directory), []
    try:
        for number, (kind, scenario) in enumerate(chosen):
            broker = kind(directory / str(number))
            broker.start()
            try:
                facts[broker.name] = broker.version()
                depths.append(Deepening(broker, scenario, generator_command(arguments.generator), console).run())
            finally:
                broker.stop()
                shutil.rmtree(directory / str(number), ignore_errors=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    generator = Path(arguments.generator).name or "amqpd bench"
    return facts | {"published by": generator, "drained by": "amqpd bench"}, depths


def rows(depths: list[Depths]) -> list[list[str]]:
    return [[promise.title, *(promise.show(of) for of in depths), promise.floor] for promise in PROMISES]


def keeps(promise: Promise, depths: list[Depths]) -> bool | None:
    """What amqpd promises; RabbitMQ has not promised anything."""
    ours = [of for of in depths if of.broker == Amqpd.name]
    return all(promise.keeps(of) for of in ours) if promise.keeps and ours else None


def write_page(titles: list[str], facts: dict[str, str], depths: list[Depths]) -> None:
    PLOT.write_text(depth_plot([(of.name, of.points) for of in depths]))
    rules = ["---", *["---:"] * (len(titles) - 1)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [titles, rules, *rows(depths)])
    plot = f"![Publish rate and resident memory over the number of waiting messages]({PLOT.name})"
    write_between(PAGE, "depth", f"{described(facts)}\n\n{table}\n\n{plot}")


def main() -> int:
    arguments = parse_arguments()
    console = Console()
    prepare_for_load()
    try:
        facts, depths = measure(scenarios(arguments), arguments, console)
    except LoadError as error:
        Console(stderr=True).print(f"bench: {error}", style="red", markup=False, highlight=False)
        return 1
    titles = ["", *(of.name for of in depths), "promise"]
    caption = f"128 B, persistent, confirm window and prefetch 1000; shallow: median of {SHALLOW_ROUNDS}"
    table = Table(*titles, title=caption, title_justify="left")
    verdicts = [keeps(promise, depths) for promise in PROMISES]
    for line, verdict in zip(rows(depths), verdicts, strict=True):
        table.add_row(*line, style={True: "green", False: "red", None: None}[verdict])
    console.print(table)
    if arguments.json:
        report = {"machine": facts, "depths": [of.report() for of in depths]}
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    if arguments.write:
        write_page(titles, facts, depths)
    return 1 if arguments.check and False in verdicts else 0
