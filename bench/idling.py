"""What a broker costs that does nothing: time to start, memory, memory of an idle connection.

Owns: those three measurements. A connection is idle when it has logged in, opened one channel and sends nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from brokers import Amqpd, Broker, RabbitMQ, find_rabbitmq
from compare import PAGE
from page import write_between
from rich.console import Console
from rich.table import Table

from amqpd.cli.load import LoadError
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.settings import Settings
from amqpd.cli.load.usage import tree_usage

SETTLE_S = 2.0
SPARE_FILES = 200
KIB = 1 << 10
MIB = 1 << 20

# Figure -> (title, unit, at most); None: no promise.
FIGURES = {
    "ready_s": ("from exec until ready for connections", "s", 1.0),
    "idle_mib": ("resident memory when idle", "MiB", 60.0),
    "connections": ("idle connections, one channel each", "", None),
    "connected_mib": ("resident memory with them", "MiB", None),
    "connection_kib": ("resident memory of one of them", "KiB", 40.0),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/idle", description="Start time and memory of an idle broker.")
    parser.add_argument("--connections", type=int, default=5000, help="idle connections (5000)")
    parser.add_argument("--starts", type=int, default=3, help="start time is the median of so many (3)")
    parser.add_argument("--rabbitmq", action="store_true", help="measure RabbitMQ beside it")
    parser.add_argument("--only", choices=("amqpd", "RabbitMQ"), help="only this broker")
    parser.add_argument("--dir", default="/var/tmp", help="where the brokers keep their data (/var/tmp)")
    parser.add_argument("--json", default="", metavar="FILE", help="write the figures there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--check", action="store_true", help="exit 1 when amqpd breaks a promise")
    return parser.parse_args()


def measure(kind: type[Broker], directory: Path, starts: int, connection_count: int) -> dict[str, float]:
    """All figures of one broker, each start with a fresh data directory."""
    ready_s = []
    for number in range(starts):
        broker = kind(directory / str(number))
        broker.start()
        ready_s.append(broker.ready_s)
        if number < starts - 1:
            broker.stop()
    try:
        time.sleep(SETTLE_S)
        idle_bytes = tree_usage(broker.pid).rss_bytes
        sockets = [connect(broker.port, number) for number in range(connection_count)]
        time.sleep(SETTLE_S)
        connected_bytes = tree_usage(broker.pid).rss_bytes
        for connected in sockets:
            connected.close()
    finally:
        broker.stop()
    return {
        "ready_s": round(statistics.median(ready_s), 3),
        "idle_mib": round(idle_bytes / MIB, 1),
        "connections": connection_count,
        "connected_mib": round(connected_bytes / MIB, 1),
        "connection_kib": round((connected_bytes - idle_bytes) / KIB / max(1, connection_count), 1),
    }


def connect(port: int, number: int) -> socket.socket:
    """A connection with one channel, of which this side keeps only the socket."""
    return LoadConnection.open(Settings(port=port), f"idle connection {number}").socket


def allow_files(count: int) -> None:
    """Brokers inherit the limit: every connection is a descriptor on both sides."""
    wanted = count + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise LoadError(f"{count} connections need {wanted} file descriptors, the limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def rows(figures: dict[str, dict[str, float]]) -> list[list[str]]:
    lines = []
    for key, (title, unit, most) in FIGURES.items():
        values = [f"{of_broker[key]:,g} {unit}".strip() for of_broker in figures.values()]
        lines.append([title, *values, f"≤ {most:g} {unit}" if most else ""])
    return lines


def main() -> int:
    arguments = parse_arguments()
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="amqpd-bench-", dir=arguments.dir))
    kinds: list[type[Broker]] = []
    if arguments.only != "RabbitMQ":
        kinds.append(Amqpd)
    if (arguments.rabbitmq or arguments.only == "RabbitMQ") and find_rabbitmq() is not None:
        kinds.append(RabbitMQ)
    figures: dict[str, dict[str, float]] = {}
    try:
        allow_files(arguments.connections)
        for kind in kinds:
            with console.status(f"{kind.name}: {arguments.connections} connections"):
                figures[kind.name] = measure(kind, directory, arguments.starts, arguments.connections)
    except LoadError as error:
        Console(stderr=True).print(f"bench: {error}", style="red", markup=False, highlight=False)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    titles = ["idle", *figures, "promise"]
    table = Table(*titles)
    for line in rows(figures):
        table.add_row(*line)
    console.print(table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n")
    if arguments.write:
        cells = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows(figures)]
        write_between(PAGE, "idle", "\n".join("| " + " | ".join(line) + " |" for line in cells))
    ours = figures.get(Amqpd.name, {})
    broken = [key for key, (_, _, most) in FIGURES.items() if most and ours.get(key, 0) > most]
    return 1 if arguments.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
