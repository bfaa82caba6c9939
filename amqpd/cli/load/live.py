"""The live view of a run: rates, latency and what waits, twice a second.

Owns: the picture. The run goes on in a process of its own, because drawing takes milliseconds and would stand in the very
latencies that are measured; its samples come through a pipe, one line of JSON each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from amqpd.cli.load import LoadError
from amqpd.cli.load.fleet import assemble
from amqpd.cli.load.process import prepare_for_load
from amqpd.cli.load.report import Totals, microseconds
from amqpd.cli.load.run import LoadRun
from amqpd.cli.load.settings import Settings

BARS = " ▁▂▃▄▅▆▇█"
HISTORY_COUNT = 40

Fields = dict[str, object]


def run_with_view(settings: Settings, console: Console) -> dict[str, object]:
    """Run the load in a child process and draw what it reports; the result when it is over."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _be_the_run(settings, write_end)
    os.close(write_end)
    # Ctrl-C reaches both: the run ends in order, the view waits for its result.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with os.fdopen(read_end) as lines:
            result = draw(settings, read_lines(lines), console)
    finally:
        signal.signal(signal.SIGINT, previous)
        os.waitpid(child, 0)
    if result is None:
        raise LoadError("the load process ended without a result")
    if "error" in result:
        raise LoadError(str(result["error"]))
    return result


def _be_the_run(settings: Settings, write_end: int) -> None:
    """The child: never returns."""
    status = 1
    with os.fdopen(write_end, "w", buffering=1) as pipe:
        try:
            result = run_load(settings, lambda totals: _write_line(pipe, {"sample": sample_fields(totals)}))
            _write_line(pipe, {"result": result})
            status = 0
        except LoadError as error:
            _write_line(pipe, {"result": {"error": str(error)}})
        except BaseException as error:
            _write_line(pipe, {"result": {"error": f"{type(error).__name__}: {error}"}})
    sys.stderr.flush()
    os._exit(status)


def run_load(settings: Settings, on_sample: Callable[[Totals], None] | None = None) -> dict[str, object]:
    """Run in this process; SIGINT and SIGTERM end the run early and in order."""
    prepare_for_load()
    fleet = assemble(settings)
    run = LoadRun(settings, fleet, on_sample)

    def interrupt(_signal: int, _frame: object) -> None:
        run.interrupt()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return run.run()
    finally:
        fleet.disconnect()


def sample_fields(totals: Totals) -> Fields:
    fields: Fields = {
        "at_ns": totals.at_ns,
        "published": totals.published_count,
        "confirmed": totals.confirmed_count,
        "delivered": totals.delivered_count,
    }
    if totals.latency is not None and totals.latency.count:
        fields["latency_us"] = microseconds(totals.latency)
    if totals.confirm_latency is not None and totals.confirm_latency.count:
        fields["confirm_us"] = microseconds(totals.confirm_latency)
    return fields


def _write_line(pipe: IO[str], fields: Fields) -> None:
    pipe.write(json.dumps(fields) + "\n")


def read_lines(lines: IO[str]) -> Iterator[Fields]:
    for line in lines:
        yield json.loads(line)


def draw(settings: Settings, reports: Iterator[Fields], console: Console) -> dict[str, object] | None:
    """Draw every sample until the result comes."""
    picture = Picture(settings)
    with Live(picture.render(), console=console, auto_refresh=False, transient=True) as live:
        for report in reports:
            result = report.get("result")
            if isinstance(result, dict):
                return result
            sample = report["sample"]
            assert isinstance(sample, dict)
            picture.take(sample)
            live.update(picture.render(), refresh=True)
    return None


class Picture:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._last: Fields = {}
        self._first_ns = 0
        self._seconds = 0.0
        self._rates: dict[str, list[float]] = {}

    def take(self, sample: Fields) -> None:
        """One more sample: rates are those since the one before."""
        at_ns = number(sample["at_ns"])
        if not self._last:
            self._first_ns = int(at_ns)
            self._last = {"at_ns": at_ns}
        interval_s = (at_ns - number(self._last["at_ns"])) / 1e9
        for name in ("published", "confirmed", "delivered"):
            if interval_s > 0:
                rate = (number(sample[name]) - number(self._last.get(name, 0))) / interval_s
                self._rates.setdefault(name, []).append(rate)
        self._seconds = (at_ns - self._first_ns) / 1e9
        self._last = sample

    def render(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for title in ("", "now", "total", ""):
            table.add_column(title, justify="left" if title == "" else "right")
        for name in self._shown():
            history = self._rates.get(name, [])
            rate = f"{history[-1]:,.0f}/s" if history else "-"
            table.add_row(name, rate, f"{number(self._last.get(name, 0)):,.0f}", spark(history))
        parts: list[Table | Text] = [Text(self._title(), style="bold"), table]
        for key, title in (("latency_us", "latency"), ("confirm_us", "confirm")):
            figures = self._last.get(key)
            if isinstance(figures, dict):
                parts.append(Text(f"{title}  {describe_latency(figures)}"))
        return Group(*parts)

    def _title(self) -> str:
        settings = self._settings
        return (
            f"{settings.label or 'load'}: {settings.producers} producers, {settings.consumers} consumers, "
            f"{settings.size} B, {self._seconds:.1f} s"
        )

    def _shown(self) -> list[str]:
        settings = self._settings
        wanted = {"published": settings.producers, "confirmed": settings.confirm, "delivered": settings.consumers}
        return [name for name, count in wanted.items() if count]


def describe_latency(figures: dict[str, float]) -> str:
    """`p50 0.21 ms  p95 ...` of a histogram's figures in microseconds."""
    names = {"p50": "p50", "p95": "p95", "p99": "p99", "p999": "p99.9", "max": "max"}
    return "  ".join(f"{title} {figures[name] / 1e3:.2f} ms" for name, title in names.items())


def spark(history: list[float]) -> str:
    recent = history[-HISTORY_COUNT:]
    highest = max(recent, default=0.0)
    if highest <= 0:
        return ""
    return "".join(BARS[round(value / highest * (len(BARS) - 1))] for value in recent)


def number(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)
