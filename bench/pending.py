"""What millions of delayed messages cost that wait: memory for each, and the time of a tick of the broker's clock.

Owns: that measurement. It is the whole core in this process, with a clock that is told what time it is: no sockets, no
disk. Delays are spread evenly over orders of magnitude, so that the short ones show what a message costs that is due, and
the long ones are there meanwhile. Batches are sealed and thrown away; checkpoints are not taken.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import statistics
import sys
import time
from pathlib import Path

from page import cpu_model, write_between
from pamqp import commands
from pamqp.base import Frame
from rich.console import Console
from rich.table import Table

import amqpd.base.timers
from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.broker import Broker
from amqpd.runtime.memory import resident_bytes
from amqpd.store.log import Log, fresh_start
from amqpd.store.recovered import Recovered
from amqpd.store.topology import Topology
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import encode_method, new_method
from amqpd.wire.properties import Properties, encode_header

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
TICK_MS = 10
WALL_MS = 1_700_000_000_000
DELAY_MS_MIN = 1_000
DELAY_MS_MAX = 30 * 86_400_000
CHUNK_COUNT = 1_000
EXCHANGE, QUEUE = "later", "due"
# No checkpoint would ever pay in a log with segments of this size.
SEGMENT_BYTES = 1 << 50


class NoEntropy(Entropy):
    def token(self, size_bytes: int) -> bytes:
        return bytes(size_bytes)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


class Core:
    """A broker and one client that is logged in."""

    def __init__(self) -> None:
        log = Log(fresh_start(1), SEGMENT_BYTES)
        self.broker = Broker(Limits(), log, Topology(), Recovered(fresh_start(1)), NoEntropy(), 0, WALL_MS)
        self._connection = self.broker.connect("127.0.0.1", 50_000, False)
        self.send(b"AMQP\x00\x00\x09\x01")
        start_ok = new_method(
            commands.Connection.StartOk,
            client_properties=encode_table({}),
            mechanism="PLAIN",
            response="\0guest\0guest",
            locale="en_US",
        )
        self.call(0, start_ok)
        self.call(0, new_method(commands.Connection.TuneOk, channel_max=10, frame_max=131072, heartbeat=0))
        self.call(0, new_method(commands.Connection.Open, virtual_host="/"))
        self.call(1, new_method(commands.Channel.Open))
        arguments = encode_table({"x-delayed-type": "fanout"})
        kind = "x-delayed-message"
        self.call(
            1,
            new_method(
                commands.Exchange.Declare, exchange=EXCHANGE, exchange_type=kind, durable=True, arguments=arguments
            ),
        )
        self.call(1, new_method(commands.Queue.Declare, queue=QUEUE, durable=True))
        self.call(1, new_method(commands.Queue.Bind, queue=QUEUE, exchange=EXCHANGE))

    def call(self, channel: int, method: Frame) -> None:
        self.send(frame(1, channel, encode_method(method)))

    def send(self, data: bytes) -> None:
        self.broker.receive(self._connection, data)
        self.end_turn()

    def end_turn(self) -> None:
        broker = self.broker
        batch = broker.seal()
        if batch is not None:
            broker.synced(batch.mark)
        for connection in broker.woken():
            connection.take_output()

    def tick(self, now_ms: int) -> int:
        """Nanoseconds that a turn takes in which nothing happens but time."""
        began = time.perf_counter_ns()
        self.broker.tick(now_ms, WALL_MS + now_ms)
        self.end_turn()
        return time.perf_counter_ns() - began

    @property
    def pending_count(self) -> int:
        delayed = self.broker.vhosts["/"].delays.of(EXCHANGE)
        assert delayed is not None
        return delayed.count

    @property
    def due_count(self) -> int:
        return int(self.broker.vhosts["/"].queues[QUEUE].ready.count)


def publish_all(core: Core, count: int, body_bytes: int, source: random.Random) -> float:
    """Returns the seconds that the core took for it."""
    method = frame(1, 1, encode_method(new_method(commands.Basic.Publish, exchange=EXCHANGE, routing_key="k")))
    spread = math.log(DELAY_MS_MAX / DELAY_MS_MIN)
    seconds = 0.0
    for first in range(0, count, CHUNK_COUNT):
        parts: list[bytes] = []
        for _ in range(min(CHUNK_COUNT, count - first)):
            delay_ms = int(DELAY_MS_MIN * math.exp(spread * source.random()))
            table = encode_table({"x-delay": delay_ms})
            header = encode_header(body_bytes, Properties(headers=table, delivery_mode=2))
            parts += (method, frame(2, 1, header), frame(3, 1, source.randbytes(body_bytes)))
        data = b"".join(parts)
        began = time.perf_counter()
        core.send(data)
        seconds += time.perf_counter() - began
    return seconds


def measure(count: int, body_bytes: int, simulated_s: int, seed: int) -> dict[str, float]:
    core = Core()
    source = random.Random(seed)
    publish_all(core, min(count, 10_000), body_bytes, source)
    # As runtime/serve.py does.
    gc.collect()
    gc.freeze()
    gc.set_threshold(500_000, 50, 1_000)
    before_count, before_bytes = core.pending_count, resident_bytes()
    seconds = publish_all(core, count - before_count, body_bytes, source)
    pending_bytes = (resident_bytes() - before_bytes) / max(1, core.pending_count - before_count)
    assert core.pending_count == count
    # Nothing is due in the first second.
    idle = [core.tick(now_ms) for now_ms in range(TICK_MS, DELAY_MS_MIN, TICK_MS)]
    assert core.due_count == 0
    busy: list[int] = []
    for now_ms in range(DELAY_MS_MIN, simulated_s * 1000, TICK_MS):
        busy.append(core.tick(now_ms))
    assert core.due_count + core.pending_count == count
    return {
        "pending": count,
        "body_bytes": body_bytes,
        "bytes_per_pending": round(pending_bytes),
        "publish_us": round(seconds * 1e6 / max(1, count - before_count), 2),
        "idle_tick_us": round(statistics.median(idle) / 1e3, 2),
        "simulated_s": simulated_s,
        "due": core.due_count,
        "due_us": round(sum(busy) / 1e3 / max(1, core.due_count), 2),
        "tick_p99_us": round(sorted(busy)[int(len(busy) * 0.99)] / 1e3, 1),
        "tick_max_ms": round(max(busy) / 1e6, 1),
    }


def rows(figures: dict[str, float]) -> list[tuple[str, str]]:
    return [
        ("messages that wait, each for 1 s to 30 days", f"{figures['pending']:,.0f}"),
        (
            f"memory of one of them, with its body of {figures['body_bytes']:.0f} B",
            f"{figures['bytes_per_pending']:,.0f} B",
        ),
        ("taking one in: parse, log, wait", f"{figures['publish_us']:.2f} us"),
        ("a tick (of 10 ms) in which none is due", f"{figures['idle_tick_us']:.2f} us"),
        (f"messages that became due in the first {figures['simulated_s']:,.0f} s", f"{figures['due']:,.0f}"),
        ("one of them: out of the wheel, routed, logged, queued; all ticks included", f"{figures['due_us']:.2f} us"),
        ("99 of 100 of these ticks took at most", f"{figures['tick_p99_us']:,.1f} us"),
        ("the longest of them", f"{figures['tick_max_ms']:,.1f} ms"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/delays", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=5_000_000, help="messages that wait (5000000)")
    parser.add_argument("--body", type=int, default=128, metavar="BYTES", help="size of their bodies (128)")
    parser.add_argument("--simulate", type=int, default=600, metavar="S", help="let so much time pass (600)")
    parser.add_argument("--seed", type=int, default=1, help="of the delays")
    parser.add_argument("--json", default="", metavar="FILE", help="write the figures there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    given = parser.parse_args()
    console = Console()
    kind = "interpreted" if amqpd.base.timers.__file__.endswith(".py") else "compiled"
    with console.status(f"{given.count:,} messages"):
        figures = measure(given.count, given.body, given.simulate, given.seed)
    title = f"{kind} core, {cpu_model()}, {time.strftime('%Y-%m-%d')}"
    table = Table("delays", kind, title=title, title_justify="left")
    for what, value in rows(figures):
        table.add_row(what, value)
    console.print(table)
    if given.json:
        Path(given.json).write_text(json.dumps({"core": kind} | figures, indent=1) + "\n")
    if given.write:
        lines = [f"{title[0].upper()}{title[1:]}:", "", "| delays | |", "| --- | ---: |"]
        write_between(PAGE, "delays", "\n".join(lines + [f"| {what} | {value} |" for what, value in rows(figures)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
