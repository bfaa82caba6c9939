"""Two builds of amqpd in one run: what the one reaches of the other, and what a message costs each.

Owns: that comparison and how it reads. Both ran in each round, one after the other, so what is compared is the pair of a round;
the machine's drift falls on both. Does not own running them (compare.py).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from loads import Figure
from rich.table import Table

NOW, BEFORE = "amqpd", "amqpd before"
LEAST_SHARE = 0.97

Rounds = dict[tuple[str, str], list[float | None]]


@dataclass(frozen=True)
class Pairs:
    """One figure of both builds, a pair for each round in which both came through."""

    figure: Figure
    values: list[tuple[float, float]]
    # Microseconds of the broker's CPU for a message.
    costs: list[tuple[float, float]]

    @property
    def shares(self) -> list[float]:
        """Of each round, how good the new build is as a share of the old: above 1 is better, for latencies too."""
        if self.figure.is_latency:
            return sorted(before / now for now, before in self.values if now)
        return sorted(now / before for now, before in self.values if before)

    @property
    def share(self) -> float | None:
        return statistics.median(self.shares) if self.shares else None

    @property
    def is_as_good(self) -> bool | None:
        """None for a latency: of microseconds, 3 % is noise."""
        if self.figure.is_latency:
            return None
        return self.share is not None and self.share >= LEAST_SHARE

    def cells(self) -> list[str]:
        shares, figure = self.shares, self.figure
        if not shares:
            return [figure.name, figure.title, "failed", "", "", "", ""]
        digits = ",.3f" if figure.is_latency else ",.0f"
        values = [f"{statistics.median(each):{digits}} {figure.unit}" for each in zip(*self.values)]
        share = f"{self.share:.1%} ({shares[0]:.1%} to {shares[-1]:.1%})"
        costs = [f"{statistics.median(each):.3f} us" for each in zip(*self.costs)] or ["", ""]
        return [figure.name, figure.title, *values, share, *costs]


def paired(figures: list[Figure], values: Rounds, costs: Rounds) -> list[Pairs]:
    return [Pairs(figure, _pairs(values, figure), _pairs(costs, figure)) for figure in figures]


def _pairs(rounds: Rounds, figure: Figure) -> list[tuple[float, float]]:
    both = zip(rounds.get((NOW, figure.name), []), rounds.get((BEFORE, figure.name), []))
    return [(now, before) for now, before in both if now is not None and before is not None]


def cost_us(result: dict[str, object]) -> float | None:
    """CPU of the broker for each message that went through it, over the whole run."""
    cpu_s = result.get("broker_cpu_s")
    count = max(int(str(result.get("delivered", 0))), int(str(result.get("published", 0))))
    return cpu_s / count * 1e6 if isinstance(cpu_s, (int, float)) and count else None


def against_table(pairs: list[Pairs]) -> Table:
    titles = ["", "load", "now", "before", f"of before (≥ {LEAST_SHARE:.0%})", "CPU/message now", "before"]
    table = Table(title="medians of the rounds; of before: of the rounds' pairs", title_justify="left")
    for title in titles:
        table.add_column(title, justify="left" if title in ("", "load") else "right")
    for pair in pairs:
        table.add_row(*pair.cells(), style={True: "green", False: "red", None: None}[pair.is_as_good])
    return table
