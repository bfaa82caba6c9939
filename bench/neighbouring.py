"""What a quiet neighbour feels while somebody does his worst, on amqpd and on RabbitMQ, as a table.

Owns: which attacks are played on which brokers, how often, and what counts: of each round the longest that the neighbour had to
wait, of the rounds the median of these; the worst round stands beside it. Each round has a fresh broker, alone on the machine.
What the machine itself held up, a process that only sleeps, is told with it: above that nobody is to blame.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import attacks_connecting
import attacks_flooding
import attacks_letters
import attacks_naming
import attacks_routing
import attacks_settling
from attack import Attack
from brokers import Amqpd, Broker, RabbitMQ, find_rabbitmq
from compare import described
from page import machine, write_between
from raw import AttackError
from rich.console import Console
from rich.table import Table
from staging import Felt, Stage

from amqpd.cli.load import LoadError
from amqpd.cli.load.process import allow_files, keep_freed_memory

PAGE = Path(__file__).resolve().parent.parent / "docs" / "neighbours.md"
ATTACKS: list[Attack] = [
    *attacks_letters.ATTACKS,
    *attacks_settling.ATTACKS,
    *attacks_naming.ATTACKS,
    *attacks_routing.ATTACKS,
    *attacks_connecting.ATTACKS,
    *attacks_flooding.ATTACKS,
]
FILES_MAX = 65536
AMQPD, BEFORE, RABBITMQ = "amqpd", "amqpd before", "RabbitMQ"


@dataclass
class Cell:
    """One attack on one broker."""

    rounds: list[Felt] = field(default_factory=list)
    problem: str = ""

    @property
    def max_ms(self) -> float | None:
        return statistics.median(felt.max_ms for felt in self.rounds) if self.rounds and not self.problem else None

    @property
    def p99_ms(self) -> float | None:
        return statistics.median(felt.p99_ms for felt in self.rounds) if self.rounds and not self.problem else None

    @property
    def worst_ms(self) -> float:
        return max(felt.max_ms for felt in self.rounds)

    @property
    def machine_ms(self) -> float:
        return max(felt.machine_max_ms for felt in self.rounds)

    def shown(self) -> list[str]:
        """Max, with the worst round and what the machine did then; p99."""
        if self.max_ms is None or self.p99_ms is None:
            return [self.problem or "-", ""]
        worst = f" ({milliseconds(self.worst_ms)})" if len(self.rounds) > 1 else ""
        return [milliseconds(self.max_ms) + worst, milliseconds(self.p99_ms)]


def milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/neighbours", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="NAMES", help="only these attacks, with commas (--list has them)")
    parser.add_argument("--list", action="store_true", help="name the attacks and end")
    parser.add_argument("--broker", choices=("amqpd", "rabbitmq"), help="only this one")
    parser.add_argument("--against", default="", metavar="PYTHON", help="also the amqpd that this Python has installed")
    parser.add_argument("--rounds", type=int, default=3, help="the table shows their median (3)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="of all counts, such as 0.1 (1)")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth")
    parser.add_argument("--dir", default="/var/tmp", help="where the brokers keep their data: a real disk (/var/tmp)")
    parser.add_argument("--json", default="", metavar="FILE", help="write every round there, after each")
    parser.add_argument("--write", action="store_true", help="put the table into docs/neighbours.md")
    parser.add_argument("--check", action="store_true", help="exit 1 when amqpd misses a limit")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.scale = 1, min(arguments.scale, 0.1)
    return arguments


class Neighbours:
    def __init__(self, arguments: argparse.Namespace, attacks: list[Attack], console: Console) -> None:
        self._arguments = arguments
        self._console = console
        self._directory = Path(tempfile.mkdtemp(prefix="amqpd-neighbours-", dir=arguments.dir))
        self.attacks = attacks
        self.facts = machine(self._directory)
        self.cells: dict[tuple[str, str], Cell] = {}
        # What the neighbour felt before any blow.
        self.calm: dict[str, list[Felt]] = {}
        self.names = self._chosen()

    def _chosen(self) -> list[str]:
        arguments = self._arguments
        names = []
        if arguments.broker != "rabbitmq":
            names = [AMQPD, BEFORE] if arguments.against else [AMQPD]
        if arguments.broker != "amqpd" and find_rabbitmq() is not None:
            names.append(RABBITMQ)
        if not names:
            raise LoadError("RabbitMQ is not installed")
        return names

    def run(self) -> None:
        try:
            for attack in self.attacks:
                for round_number in range(self._arguments.rounds):
                    for name in self.names:
                        self._play(attack, name, round_number)
                    self.save()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self, attack: Attack, name: str, directory: Path) -> Broker:
        """RabbitMQ needs four ports, and somebody may take one between the choice and the start."""
        tries = 3
        while True:
            tries -= 1
            broker = self._broker(attack, name, directory / str(tries))
            try:
                broker.start()
            except LoadError:
                broker.end()
                if tries == 0:
                    raise
            else:
                return broker

    def _broker(self, attack: Attack, name: str, directory: Path) -> Broker:
        if name == RABBITMQ:
            return RabbitMQ(directory)
        broker = Amqpd(directory, self._arguments.against if name == BEFORE else sys.executable, name)
        broker.flags = attack.flags
        return broker

    def _play(self, attack: Attack, name: str, round_number: int) -> None:
        cell = self.cells.setdefault((attack.name, name), Cell())
        if cell.problem or (name == RABBITMQ and not attack.is_common):
            return
        directory = self._directory / f"{attack.name}-{round_number}"
        try:
            broker = self._start(attack, name, directory)
        except LoadError as error:
            cell.problem = str(error)
            self._say(attack, name, round_number, cell)
            return
        stage = None
        try:
            self.facts.setdefault(name, broker.version())
            stage = Stage(broker, self._arguments.scale)
            with self._console.status(f"{name}: {attack.title}"):
                attack.play(stage)
            stage.end()
            felt = stage.felt()
            self.calm.setdefault(name, []).append(stage.felt_when_calm())
            cell.rounds.append(felt)
            if felt.is_dead:
                cell.problem = f"it was served no more: {broker.ending()}"
        except (AttackError, LoadError, OSError) as error:
            cell.problem = f"{error} {broker.ending()}".strip()
        finally:
            broker.end()
            if stage is not None:
                stage.end()
            shutil.rmtree(directory, ignore_errors=True)
        self._say(attack, name, round_number, cell)

    def _say(self, attack: Attack, name: str, round_number: int, cell: Cell) -> None:
        if cell.problem:
            told = f"failed: {cell.problem}"
        else:
            felt, calm = cell.rounds[-1], self.calm[name][-1]
            told = (
                f"max {milliseconds(felt.max_ms)} ms, p99 {milliseconds(felt.p99_ms)} ms in {felt.window_s:.1f} s"
                f" (calm {milliseconds(calm.max_ms)}, machine {milliseconds(felt.machine_max_ms)},"
                f" stood in line {milliseconds(felt.queued_ms)})"
            )
        self._console.print(
            f"{time.strftime('%H:%M:%S')} round {round_number + 1}  {attack.name:<15} {name:<12} {told}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def keeps_limit(self, attack: Attack) -> bool | None:
        cell = self.cells.get((attack.name, AMQPD))
        if cell is None:
            return None
        return cell.max_ms is not None and cell.max_ms <= attack.limit_ms

    def rows(self) -> list[tuple[list[str], bool | None]]:
        """The cells of each attack's row, and whether amqpd kept the limit."""
        rows: list[tuple[list[str], bool | None]] = [(self._calm_row(), None)]
        for attack in self.attacks:
            cells = [self.cells.get((attack.name, name), Cell()) for name in self.names]
            measured = [cell.machine_ms for cell in cells if cell.rounds]
            shown = [text for cell in cells for text in cell.shown()]
            machine_ms = milliseconds(max(measured)) if measured else ""
            row = [attack.name, attack.title, *shown, machine_ms, f"≤ {attack.limit_ms:g}"]
            rows.append((row, self.keeps_limit(attack)))
        return rows

    def _calm_row(self) -> list[str]:
        calm = [Cell(self.calm.get(name, [])) for name in self.names]
        measured = [cell.machine_ms for cell in calm if cell.rounds]
        shown = [text for cell in calm for text in cell.shown()]
        return ["", "nothing at all", *shown, milliseconds(max(measured)) if measured else "", ""]

    def titles(self) -> list[str]:
        return ["", "attack", *(f"{name} {what}" for name in self.names for what in ("max", "p99")), "machine", "limit"]

    def save(self) -> None:
        if not self._arguments.json:
            return
        cells = {f"{attack}/{name}": asdict(cell) for (attack, name), cell in self.cells.items()}
        calm = {name: [asdict(felt) for felt in each] for name, each in self.calm.items()}
        report = {"machine": self.facts, "attacks": cells, "calm": calm}
        Path(self._arguments.json).write_text(json.dumps(report, indent=1) + "\n")


def choose(only: str) -> list[Attack]:
    wanted = [name for name in only.split(",") if name]
    if unknown := [name for name in wanted if name not in [attack.name for attack in ATTACKS]]:
        raise LoadError(f"there is no attack {unknown[0]!r}: --list names them")
    return [attack for attack in ATTACKS if not wanted or attack.name in wanted]


def markdown(neighbours: Neighbours) -> str:
    titles = neighbours.titles()
    rules = ["---", "---", *["---:"] * (len(titles) - 2)]
    lines = [titles, rules, *(row for row, _ in neighbours.rows())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    arguments = parse_arguments()
    console = Console()
    try:
        attacks = choose(arguments.only)
        if arguments.list:
            for attack in attacks:
                console.print(f"{attack.name:<16} {attack.title}", markup=False, highlight=False, soft_wrap=True)
            return 0
        # Brokers inherit it: each connection is a descriptor on both sides.
        allow_files(FILES_MAX)
        keep_freed_memory()
        neighbours = Neighbours(arguments, attacks, console)
        for name, fact in neighbours.facts.items():
            console.print(f"{name}: {fact}", markup=False, highlight=False)
        neighbours.run()
    except LoadError as error:
        Console(stderr=True).print(f"bench: {error}", style="red", markup=False, highlight=False)
        return 1
    table = Table(*neighbours.titles(), title="ms; median of the rounds, in brackets the worst", title_justify="left")
    for row, verdict in neighbours.rows():
        table.add_row(*row, style={True: "green", False: "red", None: None}[verdict])
    console.print(table)
    if arguments.write:
        how = f"Milliseconds. Median of {arguments.rounds} rounds, in brackets the worst round:"
        write_between(PAGE, "neighbours", f"{described(neighbours.facts)}\n\n{how}\n\n{markdown(neighbours)}")
    return 1 if arguments.check and any(neighbours.keeps_limit(attack) is False for attack in attacks) else 0
