"""The figures as a table, on the terminal and in the documentation.

Owns: how figures, ratios and verdicts read. Does not own measuring.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from loads import Figure
from rich.table import Table

SYNC_COUNT = 50


@dataclass(frozen=True)
class Row:
    figure: Figure
    # Broker name -> median of its rounds; None when it failed.
    medians: dict[str, float | None]

    @property
    def ratio(self) -> float | None:
        """amqpd against RabbitMQ: how many times as much."""
        ours, theirs = self.medians.get("amqpd"), self.medians.get("RabbitMQ")
        if not ours or not theirs:
            return None
        return ours / theirs

    @property
    def keeps_floor(self) -> bool | None:
        ratio = self.ratio
        if ratio is None:
            return None
        return ratio <= self.figure.floor if self.figure.is_latency else ratio >= self.figure.floor

    def cells(self, brokers: list[str]) -> list[str]:
        figure = self.figure
        sign = "≤" if figure.is_latency else "≥"
        values = [show(self.medians.get(name), figure) for name in brokers]
        if len(brokers) < 2:
            return [figure.name, figure.title, *values]
        ratio = f"{self.ratio:.2f}x" if self.ratio is not None else "-"
        return [figure.name, figure.title, *values, ratio, f"{sign} {figure.floor:g}x"]


def median_rows(
    figures: list[Figure], values: dict[tuple[str, str], list[float | None]], brokers: list[str]
) -> list[Row]:
    """One row for each figure; a failed round makes the median unknown."""
    rows = []
    for figure in figures:
        medians: dict[str, float | None] = {}
        for name in brokers:
            rounds = values.get((name, figure.name), [])
            known = [value for value in rounds if value is not None]
            medians[name] = statistics.median(known) if known and len(known) == len(rounds) else None
        rows.append(Row(figure, medians))
    return rows


def headings(brokers: list[str]) -> list[str]:
    return ["", "load", *brokers, *(["ratio", "floor"] if len(brokers) > 1 else [])]


def terminal_table(rows: list[Row], brokers: list[str]) -> Table:
    table = Table(title="median of the rounds; 128 B bodies unless said", title_justify="left")
    for title in headings(brokers):
        table.add_column(title, justify="left" if title in ("", "load") else "right")
    for row in rows:
        style = {True: "green", False: "red", None: None}[row.keeps_floor]
        table.add_row(*row.cells(brokers), style=style)
    return table


def markdown_table(rows: list[Row], brokers: list[str]) -> str:
    titles = headings(brokers)
    rules = ["---" if title in ("", "load") else "---:" for title in titles]
    lines = [titles, rules, *(row.cells(brokers) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def show(value: float | None, figure: Figure) -> str:
    if value is None:
        return "failed"
    if figure.is_latency:
        return f"{value:.3f} ms"
    return f"{value:,.0f} {figure.unit}".replace("deliveries", "del.")


def write_between(page: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->`."""
    before, opening, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    _, closing, after = rest.partition(f"<!-- /{mark} -->")
    if not opening or not closing:
        raise SystemExit(f"{page} has no place marked '{mark}'")
    page.write_text(f"{before}{opening}{text}\n{closing}{after}")


def machine(directory: Path) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "CPU": f"{len(os.sched_getaffinity(0))} x {cpu_model()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "fdatasync of 4 KiB": f"{sync_ms(directory):.2f} ms",
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def sync_ms(directory: Path) -> float:
    """Median time of a small write with fdatasync where the brokers have their data."""
    path = directory / "sync-probe"
    times = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(SYNC_COUNT):
            started = time.perf_counter()
            os.write(descriptor, bytes(4096))
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times) * 1e3
