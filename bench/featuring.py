"""What a queue's features cost: the durable load on queues that have some, beside a plain one; and dead-lettering.

Owns: these loads, what amqpd promises of them, and their table. Does not own running them (compare.py).
"""

from __future__ import annotations

from pathlib import Path

from brokers import Broker
from compare import PAGE, Comparison, described, parsed, parser, show_against, write_json
from dead_lettering import run_dead_lettering
from loads import CONFIRMED, Load, Step, one, rate
from page import Row, show, write_between
from rich.console import Console
from rich.table import Table

from amqpd.cli.load import LoadError

PLAIN, EXPIRY, LEVELS, DEAD_LETTERS = "p", "t", "l", "x"
# An hour: it is set and never comes.
QUIET_TTL = ("--queue-arg", "x-message-ttl=3600000", "--queue-arg", "x-dead-letter-exchange=bench-dead")
TEN_LEVELS = ("--queue-arg", "x-max-priority=9", "--priorities", "10")
# At least so much of the rate of amqpd's own plain queue.
OF_PLAIN = {EXPIRY: 0.85, LEVELS: 0.70}


def feature_loads(dead_letter_count: int) -> list[Load]:
    # The floor beside RabbitMQ of the first three is that of load b less what the feature may cost.
    dead = rate(DEAD_LETTERS, f"{dead_letter_count:,} expired messages to another queue", 10, "dead_letter_rate")
    return [
        one(PLAIN, CONFIRMED, rate(PLAIN, "plain queue: durable, persistent, confirmed, each acked", 10)),
        one(EXPIRY, (*CONFIRMED, *QUIET_TTL), rate(EXPIRY, "with message TTL and dead-letter exchange, not firing", 8)),
        one(LEVELS, (*CONFIRMED, *TEN_LEVELS), rate(LEVELS, "with 10 priorities, as many messages of each", 7)),
        Load(DEAD_LETTERS, (Step((str(dead_letter_count),), (dead,), is_timed=False),)),
    ]


class Features(Comparison):
    def run_step(self, load: Load, step: Step, broker: Broker) -> dict[str, object]:
        if load.letter != DEAD_LETTERS:
            return super().run_step(load, step, broker)
        count = int(step.arguments[0])
        with self.console.status(f"{broker.name}: {count:,} dead letters"):
            return run_dead_lettering(self.generator, broker, count)


def of_plain(rows: list[Row], row: Row, broker: str) -> float | None:
    """Its rate as a share of the same broker's plain queue."""
    plain = next((each.medians.get(broker) for each in rows if each.figure.name == PLAIN), None)
    value = row.medians.get(broker)
    return value / plain if plain and value and row.figure.name in OF_PLAIN else None


def keeps_promise(rows: list[Row], row: Row) -> bool | None:
    least = OF_PLAIN.get(row.figure.name)
    if least is None:
        return row.keeps_floor
    share = of_plain(rows, row, "amqpd")
    return None if share is None else share >= least


def cells(rows: list[Row], row: Row, names: list[str]) -> list[str]:
    figure = row.figure
    shares = {name: of_plain(rows, row, name) for name in names}
    values = [
        show(row.medians.get(name), figure) + (f" ({share:.0%} of plain)" if (share := shares[name]) else "")
        for name in names
    ]
    ratio = f"{row.ratio:.2f}x" if row.ratio is not None else "-"
    least = OF_PLAIN.get(figure.name)
    promise = f"≥ {figure.floor:g}x" if least is None else f"≥ {least:.0%} of plain"
    return [figure.title, *values, ratio, promise]


def main() -> int:
    options = parser("bench/features", "What TTL, dead letters and priorities cost, beside a plain queue and RabbitMQ.")
    options.add_argument("--dead-letters", type=int, default=1_000_000, metavar="N", help="expired messages (1000000)")
    arguments = parsed(options)
    count = min(arguments.dead_letters, 100_000) if arguments.quick else arguments.dead_letters
    console = Console()
    comparison = Features(arguments, feature_loads(count), console)
    try:
        comparison.run()
    except LoadError as error:
        Console(stderr=True).print(f"bench: {error}", style="red", markup=False, highlight=False)
        return 1
    names, rows = comparison.names, comparison.medians
    titles = ["load", *names, "ratio", "promise"]
    table = Table(*titles, title="median of the rounds; 128 B bodies", title_justify="left")
    for row in rows:
        style = {True: "green", False: "red", None: None}[keeps_promise(rows, row)]
        table.add_row(*cells(rows, row, names), style=style)
    console.print(table)
    is_as_good = show_against(comparison)
    if arguments.json:
        write_json(Path(arguments.json), comparison)
    if arguments.write:
        rules = ["---", *["---:"] * (len(titles) - 1)]
        lines = [titles, rules, *(cells(rows, row, names) for row in rows)]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        rounds = f"Median of {arguments.rounds}, {arguments.duration:g} s each:"
        write_between(PAGE, "features", f"{described(comparison.facts)}\n\n{rounds}\n\n{text}")
    if any(None in row.medians.values() for row in rows):
        return 1
    is_kept = is_as_good and all(keeps_promise(rows, row) is not False for row in rows)
    return 1 if arguments.check and not is_kept else 0
