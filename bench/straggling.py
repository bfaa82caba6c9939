"""Stragglers: one message stays in each of many full segments of amqpd's log, everything else goes at once.

Owns: that measurement: how long until the disk is below the promised bound, and what a load loses meanwhile.
The bound is twice the live bytes plus two segments. It is promised of a log at rest; a load at full speed writes several
segments between two checkpoints, so the clock of the bound runs on after the load has ended, and when the old segments
themselves have gone is said beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from brokers import Amqpd
from compare import PAGE, complaint, described
from dead_lettering import look
from page import machine, write_between
from pamqp import commands
from rich.console import Console
from rich.table import Table

from amqpd.cli.load import LoadError
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.fleet import assemble
from amqpd.cli.load.process import prepare_for_load
from amqpd.cli.load.report import Totals
from amqpd.cli.load.run import LoadRun
from amqpd.cli.load.settings import Settings

BULK, STRAGGLERS, LOAD = "bench-bulk", "bench-stragglers", "bench-load"
BODY_BYTES = 16384
# Messages of the bulk between two looks at whether a segment is full: a quarter of one.
PORTIONS_PER_SEGMENT = 4
MIB = 1 << 20
REST_S = 5.0
SAMPLE_S = 0.1
BOUND_WITHIN_S = 60.0
THROUGHPUT_SHARE = 0.8
# A shorter time than this says nothing about throughput.
WINDOW_S_MIN = 2.0
# On the disk beside the segments, as a multiple of them: the load's own log before it is reclaimed.
SPARE_SHARE = 1.5
SHOWN_S = (0, 1, 2, 5, 10, 20, 30, 60)


@dataclass(frozen=True)
class Sample:
    at_s: float
    delivered_count: int
    disk_bytes: int
    # Full segments that stood when the bulk went, and still do.
    old_count: int


@dataclass
class Straggling:
    """What was measured; times count from the answer to queue.purge."""

    segment_count: int = 0
    segment_bytes: int = 0
    live_bytes: int = 0
    purge_s: float = 0.0
    before_rate: float = 0.0
    during_rate: float = 0.0
    window_s: float = 0.0
    gone_s: float | None = None
    below_s: float | None = None
    kept_count: int = 0
    samples: list[Sample] = field(default_factory=list)

    @property
    def bound_bytes(self) -> int:
        return 2 * self.live_bytes + 2 * self.segment_bytes

    def disk_bytes_at(self, at_s: float) -> int | None:
        """At the last look before; None when it was over by then."""
        if not self.samples or at_s > self.samples[-1].at_s + 1.0:
            return None
        return [sample.disk_bytes for sample in self.samples if sample.at_s <= max(at_s, self.samples[0].at_s)][-1]


class Log:
    """The files of the broker's log, seen from outside."""

    def __init__(self, broker: Amqpd) -> None:
        self._directory = broker.directory / "data" / "log"

    def segments(self) -> set[str]:
        return {name for name in os.listdir(self._directory) if name.endswith(".segment")}

    def used_bytes(self) -> int:
        """What the file system has given to it."""
        total = 0
        for name in os.listdir(self._directory):
            try:
                total += (self._directory / name).stat().st_blocks * 512
            except FileNotFoundError:
                continue
        return total


class Run:
    def __init__(self, broker: Amqpd, segment_count: int, segment_bytes: int, duration_s: float, console: Console):
        self._port = broker.port
        self._log = Log(broker)
        self._duration_s = duration_s
        self._console = console
        self._old: set[str] = set()
        self.figures = Straggling(segment_count, segment_bytes)

    def run(self) -> Straggling:
        figures = self.figures
        control = LoadConnection.open(Settings(port=self._port, timeout_s=300.0), "control")
        self._fill()
        # What the page cache still has to write is no part of either measurement.
        os.sync()
        time.sleep(REST_S)
        figures.before_rate = self._load(lambda totals: None)
        self._say(f"load before: {figures.before_rate:,.0f} msg/s")
        segments = self._log.segments()
        # The last one is open: nothing says when it will be full.
        self._old = segments - {max(segments)}
        began_s = time.monotonic()
        control.call(commands.Queue.Purge(queue=BULK), commands.Queue.PurgeOk)
        purged_s = time.monotonic()
        figures.purge_s = purged_s - began_s
        self._sample(0, purged_s)
        self._load(lambda totals: self._sample(totals.delivered_count, purged_s))
        while figures.below_s is None and time.monotonic() - purged_s < BOUND_WITHIN_S:
            time.sleep(SAMPLE_S)
            self._sample(figures.samples[-1].delivered_count, purged_s)
        self._judge()
        figures.kept_count = look(control, STRAGGLERS)
        control.close()
        return figures

    def _fill(self) -> None:
        """Bulk, and one straggler at the beginning of each segment; the last one is open."""
        figures = self.figures
        portion_count = max(1, figures.segment_bytes // PORTIONS_PER_SEGMENT // BODY_BYTES)
        self._publish(STRAGGLERS, 1)
        straggler_count, known = 1, self._log.segments()
        with self._console.status(f"filling {figures.segment_count} segments"):
            while straggler_count < figures.segment_count:
                self._publish(BULK, portion_count)
                segments = self._log.segments()
                if not segments <= known:
                    known = segments
                    self._publish(STRAGGLERS, 1)
                    straggler_count += 1
                elif self._log.used_bytes() > SPARE_SHARE * (straggler_count + 1) * figures.segment_bytes:
                    raise LoadError(f"there are only {len(segments)} segments: the log does not roll as expected")
            for _ in range(PORTIONS_PER_SEGMENT):
                self._publish(BULK, portion_count)
        figures.live_bytes = straggler_count * BODY_BYTES
        self._say(f"{straggler_count} stragglers in {len(known)} segments, {self._log.used_bytes() / MIB:,.0f} MiB")

    def _publish(self, queue: str, count: int) -> None:
        settings = Settings(
            port=self._port,
            queue=queue,
            durable=True,
            persistent=True,
            size=BODY_BYTES,
            confirm=1000,
            consumers=0,
            count=count,
            linger_s=60.0,
            timeout_s=60.0,
        )
        self._generate(settings)

    def _load(self, on_sample: Callable[[Totals], None]) -> float:
        settings = Settings(
            port=self._port,
            queue=LOAD,
            durable=True,
            persistent=True,
            confirm=1000,
            prefetch=1000,
            duration_s=self._duration_s,
            timeout_s=60.0,
        )
        return float(str(self._generate(settings, on_sample)["deliver_rate"]))

    def _generate(self, settings: Settings, on_sample: Callable[[Totals], None] | None = None) -> dict[str, object]:
        fleet = assemble(settings)
        try:
            result = LoadRun(settings, fleet, on_sample).run()
        finally:
            fleet.disconnect()
        if problem := complaint(result):
            raise LoadError(f"{settings.queue} {problem}")
        return result

    def _sample(self, delivered_count: int, purged_s: float) -> None:
        figures = self.figures
        at_s = time.monotonic() - purged_s
        sample = Sample(at_s, delivered_count, self._log.used_bytes(), len(self._old & self._log.segments()))
        figures.samples.append(sample)
        if figures.gone_s is None and sample.old_count == 0:
            figures.gone_s = at_s
        if figures.below_s is None and sample.disk_bytes <= figures.bound_bytes:
            figures.below_s = at_s

    def _judge(self) -> None:
        """The rate of the load from the purge until the old segments had gone."""
        figures = self.figures
        last = max(WINDOW_S_MIN, min(figures.gone_s or self._duration_s, self._duration_s))
        window = [sample for sample in figures.samples if sample.at_s <= last and sample.delivered_count]
        if len(window) >= 2:
            figures.window_s = window[-1].at_s
            figures.during_rate = window[-1].delivered_count / window[-1].at_s

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/stragglers", description="One message left in each of many segments.")
    parser.add_argument("--segments", type=int, default=200, help="with a straggler each (200)")
    parser.add_argument("--segment-mib", type=int, default=64, help="size of a segment (64, as by default)")
    parser.add_argument("--duration", type=float, default=20.0, metavar="S", help="of the load before and after (20)")
    parser.add_argument("--dir", default="/var/tmp", help="where the broker keeps its data: a real disk (/var/tmp)")
    parser.add_argument("--json", default="", metavar="FILE", help="write every sample there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--check", action="store_true", help="exit 1 when amqpd breaks a promise")
    return parser.parse_args()


def affordable_count(arguments: argparse.Namespace) -> int:
    """As many segments as the disk has room for."""
    segment_bytes: int = arguments.segment_mib * MIB
    wanted_count: int = arguments.segments
    return min(wanted_count, int(shutil.disk_usage(arguments.dir).free / SPARE_SHARE) // segment_bytes)


def rows(of: Straggling) -> list[tuple[str, str, str, bool | None]]:
    """Title, figure, promise, and whether it was kept."""
    share = of.during_rate / of.before_rate if of.before_rate else 0.0
    gone, below = (f"{at_s:.1f} s" if at_s is not None else "never" for at_s in (of.gone_s, of.below_s))
    shown = [(at_s, used) for at_s in SHOWN_S if (used := of.disk_bytes_at(at_s)) is not None]
    return [
        ("segments with one message left", f"{of.segment_count} of {of.segment_bytes // MIB} MiB", "", None),
        ("the rest purged in", f"{of.purge_s:.2f} s", "", None),
        *((f"disk after {at_s} s", f"{used / MIB:,.0f} MiB", "", None) for at_s, used in shown),
        ("the old segments had gone after", gone, "", None),
        (
            f"below {of.bound_bytes / MIB:,.0f} MiB (twice the live bytes and two segments) after",
            below,
            f"≤ {BOUND_WITHIN_S:g} s",
            of.below_s is not None and of.below_s <= BOUND_WITHIN_S,
        ),
        ("load before", f"{of.before_rate:,.0f} msg/s", "", None),
        (
            f"load during the first {of.window_s:.1f} s",
            f"{of.during_rate:,.0f} msg/s ({share:.0%})",
            f"≥ {THROUGHPUT_SHARE:.0%}",
            share >= THROUGHPUT_SHARE,
        ),
        ("stragglers still there", f"{of.kept_count}", f"{of.segment_count}", of.kept_count == of.segment_count),
    ]


def measure(arguments: argparse.Namespace, console: Console) -> tuple[dict[str, str], Straggling]:
    segment_count = affordable_count(arguments)
    if segment_count < arguments.segments:
        console.print(f"The disk has room for {segment_count} segments only, not {arguments.segments}.", style="yellow")
    if segment_count < 2:
        raise LoadError(f"{arguments.dir} is too full")
    directory = Path(tempfile.mkdtemp(prefix="amqpd-stragglers-", dir=arguments.dir))
    facts = machine(directory)
    broker = Amqpd(directory)
    broker.flags = ("--set", f"limits.segment_bytes={arguments.segment_mib * MIB}")
    try:
        broker.start()
        run = Run(broker, segment_count, arguments.segment_mib * MIB, arguments.duration, console)
        return facts | {broker.name: broker.version()}, run.run()
    finally:
        broker.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    arguments = parse_arguments()
    console = Console()
    prepare_for_load()
    try:
        facts, figures = measure(arguments, console)
    except LoadError as error:
        Console(stderr=True).print(f"bench: {error}", style="red", markup=False, highlight=False)
        return 1
    table = Table("", Amqpd.name, "promise")
    lines = rows(figures)
    for title, figure, promise, verdict in lines:
        table.add_row(title, figure, promise, style={True: "green", False: "red", None: None}[verdict])
    console.print(table)
    if arguments.json:
        report = {"machine": facts, "bound_bytes": figures.bound_bytes} | asdict(figures)
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    if arguments.write:
        cells = [("", Amqpd.name, "promise"), ("---", "---:", "---:"), *(line[:3] for line in lines)]
        text = "\n".join("| " + " | ".join(line) + " |" for line in cells)
        write_between(PAGE, "stragglers", f"{described(facts)}\n\n{text}")
    return 1 if arguments.check and any(line[3] is False for line in lines) else 0
