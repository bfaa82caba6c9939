"""The comparison behind `make bench`: every load, on every broker, several rounds, one broker under load at a time.

Owns: the order of the runs and where their results go. A broker that is not measured is stopped with SIGSTOP.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from against import BEFORE, NOW, Rounds, against_table, cost_us, paired
from brokers import Amqpd, Broker, RabbitMQ, find_rabbitmq
from loads import Figure, Load, Step, loads, value_of
from page import Row, machine, markdown_table, median_rows, terminal_table, write_between
from rich.console import Console

from amqpd.cli.load import LoadError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
# A broker that was stopped or has just deleted its queues gets this long to come to rest.
REST_S = 1.0
RUN_TIMEOUT_S = 1200.0


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """What every comparison may be told."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=3, help="the table shows their median (3)")
    parser.add_argument("--duration", type=float, default=10.0, metavar="S", help="of one timed run (10)")
    parser.add_argument("--loads", default="", metavar="LETTERS", help="only these, such as abg")
    parser.add_argument("--only", choices=("amqpd", "RabbitMQ"), help="only this broker")
    parser.add_argument("--against", default="", metavar="PYTHON", help="also the amqpd that this Python has installed")
    parser.add_argument(
        "--with", dest="generator", default="", metavar="PATH", help="drive the load with this amqpload"
    )
    parser.add_argument("--dir", default="/var/tmp", help="where the brokers keep their data: a real disk (/var/tmp)")
    parser.add_argument("--json", default="", metavar="FILE", help="write every result there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--check", action="store_true", help="exit 1 when a figure misses its floor")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.duration = 1, min(arguments.duration, 3.0)
    return arguments


class Comparison:
    def __init__(self, arguments: argparse.Namespace, chosen: list[Load], console: Console) -> None:
        self._arguments = arguments
        self._brokers: list[Broker] = []
        self.console = console
        self.loads = [load for load in chosen if not arguments.loads or load.letter in arguments.loads]
        # What the figures depend on.
        self.facts: dict[str, str] = {}
        # (broker, figure) -> one value for each round; None where the run failed.
        self.values: Rounds = {}
        # The same, microseconds of the broker's CPU for a message.
        self.costs: Rounds = {}
        self.results: list[dict[str, object]] = []

    @property
    def figures(self) -> list[Figure]:
        return [figure for load in self.loads for step in load.steps for figure in step.figures]

    @property
    def generator(self) -> list[str]:
        return generator_command(self._arguments.generator)

    @property
    def names(self) -> list[str]:
        """What the table is about; another build of amqpd has a table of its own."""
        return [broker.name for broker in self._brokers if broker.name != BEFORE]

    @property
    def medians(self) -> list[Row]:
        return median_rows(self.figures, self.values, self.names)

    def run(self) -> None:
        """Start the brokers, run everything, and leave nothing of them."""
        arguments = self._arguments
        # Several runs share one directory only by mistake: each has its own below it.
        directory = Path(tempfile.mkdtemp(prefix="amqpd-bench-", dir=arguments.dir))
        try:
            if arguments.only != "RabbitMQ":
                self._brokers.append(Amqpd(directory, name=NOW))
            if arguments.against:
                self._brokers.append(Amqpd(directory, arguments.against, BEFORE))
            if arguments.only != "amqpd" and find_rabbitmq() is not None:
                self._brokers.append(RabbitMQ(directory))
            if not self._brokers:
                raise LoadError("RabbitMQ is not installed")
            for broker in self._brokers:
                broker.start()
            self.facts = machine(directory) | {broker.name: broker.version() for broker in self._brokers}
            self.facts["load generator"] = os.path.basename(arguments.generator) or "amqpd bench"
            for name, fact in self.facts.items():
                self.console.print(f"{name}: {fact}", markup=False, highlight=False)
            if len(self._brokers) > 1:
                for broker in self._brokers:
                    broker.pause()
            self._run_rounds()
        finally:
            for broker in self._brokers:
                broker.stop()
            shutil.rmtree(directory, ignore_errors=True)

    def _run_rounds(self) -> None:
        for round_number in range(self._arguments.rounds):
            for load in self.loads:
                # Who goes first changes, so that a drift of the machine falls on both.
                turns = self._brokers if round_number % 2 == 0 else self._brokers[::-1]
                for broker in turns:
                    self._run_load(round_number, load, broker)

    def _run_load(self, round_number: int, load: Load, broker: Broker) -> None:
        broker.resume()
        time.sleep(REST_S)
        try:
            for step in load.steps:
                result = self.run_step(load, step, broker)
                self.results.append({"broker": broker.name, "round": round_number, "load": load.letter} | result)
                self._note(round_number, step, broker, result)
        finally:
            time.sleep(REST_S)
            if len(self._brokers) > 1:
                broker.pause()

    def run_step(self, load: Load, step: Step, broker: Broker) -> dict[str, object]:
        arguments = self._arguments
        common = ["--json", "--port", str(broker.port), "--pid", str(broker.pid), "--queue", f"bench-{load.letter}"]
        timed = ["--duration", f"{arguments.duration:g}", "--warmup", f"{arguments.duration / 5:g}"]
        command = [*self.generator, *common, *step.arguments, *(timed if step.is_timed else [])]
        with self.console.status(f"{broker.name}: load {load.letter}"):
            return run_generator(command)

    def _note(self, round_number: int, step: Step, broker: Broker, result: dict[str, object]) -> None:
        problem = complaint(result)
        for figure in step.figures:
            value = None if problem else value_of(result, figure)
            self.values.setdefault((broker.name, figure.name), []).append(value)
            self.costs.setdefault((broker.name, figure.name), []).append(None if problem else cost_us(result))
            shown = problem or (f"{value:,.3f}" if figure.is_latency else f"{value:,.0f}")
            self.console.print(
                f"round {round_number + 1}  {figure.name:<3} {broker.name:<12} {shown} {'' if problem else figure.unit}",
                markup=False,
                highlight=False,
            )


def generator_command(path: str) -> list[str]:
    """amqpload is handed nothing that it does not know; both read the same names."""
    return [path] if path else [sys.executable, "-P", "-m", "amqpd.cli.bench"]


def run_generator(command: list[str]) -> dict[str, object]:
    """Its result, or one that holds only an `error`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
        line = done.stdout.strip().splitlines()[-1]
        result: dict[str, object] = json.loads(line)
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        result = {"error": f"no result: {error}"}
    return result


def complaint(result: dict[str, object]) -> str:
    """Why a result does not count; empty when it does."""
    if "error" in result:
        return f"failed: {result['error']}"
    if result.get("timeout"):
        return "failed: not everything was delivered in time"
    published, confirmed, delivered, expected = (
        int(str(result[key])) for key in ("published", "confirmed", "delivered", "expected")
    )
    if delivered < expected:
        return f"failed: {delivered} of {expected} messages came"
    if result["confirm"] and confirmed < published:
        return f"failed: {confirmed} of {published} messages were confirmed"
    return ""


def main() -> int:
    arguments = parsed(parser("bench/run", "Load amqpd, and RabbitMQ beside it where it is installed."))
    console = Console()
    comparison = Comparison(arguments, loads(200_000 if arguments.quick else 2_000_000), console)
    try:
        comparison.run()
    except LoadError as error:
        Console(stderr=True).print(f"bench: {error}", style="red", markup=False, highlight=False)
        return 1
    names, rows = comparison.names, comparison.medians
    console.print(terminal_table(rows, names))
    is_as_good = show_against(comparison)
    if arguments.json:
        write_json(Path(arguments.json), comparison)
    if arguments.write:
        rounds = f"Median of {arguments.rounds}, {arguments.duration:g} s each:"
        write_between(PAGE, "table", f"{described(comparison.facts)}\n\n{rounds}\n\n{markdown_table(rows, names)}")
    if any(None in row.medians.values() for row in rows):
        return 1
    return 1 if arguments.check and not (is_as_good and all(row.keeps_floor is not False for row in rows)) else 0


def show_against(comparison: Comparison) -> bool:
    """The table of two builds, if there are two; whether the new one is as good."""
    if not any(name == BEFORE for name, _ in comparison.values):
        return True
    pairs = paired(comparison.figures, comparison.values, comparison.costs)
    comparison.console.print(against_table(pairs))
    return all(pair.is_as_good is not False for pair in pairs)


def described(facts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def write_json(path: Path, comparison: Comparison) -> None:
    medians = {row.figure.name: row.medians | {"ratio": row.ratio} for row in comparison.medians}
    report = {"machine": comparison.facts, "medians": medians, "results": comparison.results}
    path.write_text(json.dumps(report, indent=1) + "\n")
