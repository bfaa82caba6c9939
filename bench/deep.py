"""One broker under a backlog: rates when shallow, then filled in ten steps, killed, started again and drained.

Owns: the order of these steps and what is measured in each. Does not own what amqpd promises of the figures
(deepening.py) or how they are shown (page.py, plot.py).

Publishing is always done in portions of one size, by the load generator in a process of its own, so that the rate into
an empty queue and the one at depth are of the same kind. Draining is done by the generator within this process, so that it
can check the order: every portion counts its messages from 1, so in order means that the count starts anew exactly once
for each further portion, and never skips. Of many queues, which one connection drains mixed, a sample is checked alone.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass, field

from brokers import RESTART_TIMEOUT_S, Broker
from compare import complaint, run_generator
from dead_lettering import look
from rich.console import Console

from amqpd.cli.load import LoadError
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.fleet import assemble
from amqpd.cli.load.run import LoadRun
from amqpd.cli.load.settings import Settings
from amqpd.cli.load.usage import tree_usage

STEP_COUNT = 10
# The last of them are "at depth".
DEEP_STEPS = 3
SHALLOW_ROUNDS = 5
# Queues whose order is checked when there are several.
CHECKED_QUEUES = 10
QUEUE = "bench-depth"
# After each step, before memory is read: what the last portion left has gone.
REST_S = 1.0
# A broker deep in messages may not answer for a while.
ANSWER_S = 300.0
IDLE_S = 60.0


@dataclass(frozen=True)
class Scenario:
    """How many messages in how many queues; `count` is rounded down to whole portions for every queue."""

    count: int
    queue_count: int
    shallow_count: int

    @property
    def title(self) -> str:
        queues = "1 queue" if self.queue_count == 1 else f"{self.queue_count:,} queues"
        return f"{self.whole_count:,} in {queues}"

    @property
    def portions_per_step(self) -> int:
        return max(1, math.ceil(self.count // STEP_COUNT / self.shallow_count))

    @property
    def portion_count(self) -> int:
        """Messages of one portion: as many for each queue."""
        return self.count // STEP_COUNT // self.portions_per_step // self.queue_count * self.queue_count

    @property
    def whole_count(self) -> int:
        return self.portion_count * self.portions_per_step * STEP_COUNT


@dataclass(frozen=True)
class Point:
    depth_count: int
    publish_rate: float
    resident_bytes: int


@dataclass
class Depths:
    """What was measured of one broker in one scenario."""

    broker: str
    scenario: Scenario
    empty_rate: float = 0.0
    shallow_rate: float = 0.0
    # The first at depth 0, whose rate is the one into an empty queue.
    points: list[Point] = field(default_factory=list)
    resident_bytes_max: int = 0
    ready_s: float = 0.0
    restarted_bytes: int = 0
    found_count: int = 0
    drain_rate: float = 0.0
    drained_count: int = 0
    disorder_count: int = 0

    @property
    def name(self) -> str:
        return f"{self.broker}: {self.scenario.title}"

    @property
    def deep_rate(self) -> float:
        """Published at depth: the last steps together, for a checkpoint falls into one and not into the next."""
        return statistics.median(point.publish_rate for point in self.points[-DEEP_STEPS:])

    @property
    def publish_share(self) -> float:
        """At depth, of the rate into an empty queue."""
        return self.deep_rate / self.empty_rate

    @property
    def drain_share(self) -> float:
        return self.drain_rate / self.shallow_rate

    @property
    def message_bytes(self) -> float:
        """Resident memory of a message between the half and the whole."""
        half, whole = self.points[STEP_COUNT // 2], self.points[STEP_COUNT]
        return (whole.resident_bytes - half.resident_bytes) / (whole.depth_count - half.depth_count)

    def report(self) -> dict[str, object]:
        shares = {"publish_share": self.publish_share, "drain_share": self.drain_share}
        return asdict(self) | shares | {"message_bytes": self.message_bytes}


class Deepening:
    def __init__(self, broker: Broker, scenario: Scenario, generator: list[str], console: Console) -> None:
        self._broker = broker
        self._scenario = scenario
        self._generator = generator
        self._console = console
        self.depths = Depths(broker.name, scenario)

    def run(self) -> Depths:
        """Everything on a broker that runs; it runs afterwards too, in its second life."""
        self._measure_shallow()
        for step in range(1, STEP_COUNT + 1):
            self._fill(step)
        self._restart()
        self._drain_everything()
        return self.depths

    def _measure_shallow(self) -> None:
        published, drained = [], []
        for _ in range(SHALLOW_ROUNDS):
            published.append(self._publish())
            drained.append(float(str(self._drain(self._settings())["deliver_rate"])))
        depths = self.depths
        depths.empty_rate = statistics.median(published)
        depths.shallow_rate = statistics.median(drained)
        time.sleep(REST_S)
        depths.points.append(Point(0, depths.empty_rate, tree_usage(self._broker.pid).rss_bytes))
        self._say(f"empty: published {depths.empty_rate:,.0f} msg/s, drained {depths.shallow_rate:,.0f} msg/s")

    def _fill(self, step: int) -> None:
        scenario, depths = self._scenario, self.depths
        rate = statistics.median([self._publish() for _ in range(scenario.portions_per_step)])
        time.sleep(REST_S)
        resident_bytes = tree_usage(self._broker.pid).rss_bytes
        depths.resident_bytes_max = max(depths.resident_bytes_max, resident_bytes)
        depth_count = step * scenario.portions_per_step * scenario.portion_count
        depths.points.append(Point(depth_count, rate, resident_bytes))
        self._say(f"{depth_count:>12,} deep: published {rate:,.0f} msg/s, resident {resident_bytes >> 20:,} MiB")

    def _publish(self) -> float:
        """One portion; its rate, from the first message to the last confirm."""
        scenario, broker = self._scenario, self._broker
        where = ["--json", "--port", str(broker.port), "--pid", str(broker.pid), "--timeout", f"{ANSWER_S:g}"]
        what = ["--queue", QUEUE, "--queues", str(scenario.queue_count), "--durable", "--persistent", "--linger", "600"]
        how = ["--confirm", "1000", "--consumers", "0", "--count", str(scenario.portion_count)]
        result = run_generator([*self._generator, *where, *what, *how])
        if problem := complaint(result):
            raise LoadError(f"{broker.name}: publishing {problem}")
        self.depths.resident_bytes_max = max(
            self.depths.resident_bytes_max, int(str(result["broker_rss_max_mb"])) << 20
        )
        return float(str(result["publish_rate"]))

    def _restart(self) -> None:
        broker, scenario, depths = self._broker, self._scenario, self.depths
        broker.kill()
        broker.start(RESTART_TIMEOUT_S)
        depths.ready_s = broker.ready_s
        control = LoadConnection.open(Settings(port=broker.port, timeout_s=ANSWER_S), "control")
        try:
            depths.found_count = sum(look(control, queue) for queue in self._settings().queue_names)
        finally:
            control.close()
        depths.restarted_bytes = tree_usage(broker.pid).rss_bytes
        self._say(f"killed: ready in {depths.ready_s:.2f} s, {depths.found_count:,} of {scenario.whole_count:,} found")

    def _drain_everything(self) -> None:
        scenario, depths = self._scenario, self.depths
        settings = self._settings()
        restart_count = scenario.portions_per_step * STEP_COUNT - 1
        if scenario.queue_count > 1:
            for queue in settings.queue_names[:: max(1, scenario.queue_count // CHECKED_QUEUES)]:
                result = self._drain(self._settings(queue))
                # Between two messages of one queue stand those of the others: only a step back is disorder.
                depths.disorder_count += abs(int(str(result["out_of_order"])) - restart_count)
                depths.drained_count += int(str(result["delivered"]))
        result = self._drain(settings)
        if scenario.queue_count == 1:
            depths.disorder_count = abs(int(str(result["out_of_order"])) - restart_count) + int(str(result["gaps"]))
        depths.drained_count += int(str(result["delivered"]))
        depths.drain_rate = float(str(result["deliver_rate"]))
        self._say(
            f"drained {depths.drained_count:,} at {depths.drain_rate:,.0f} msg/s, {depths.disorder_count} out of order"
        )

    def _settings(self, queue: str = "") -> Settings:
        """To drain one queue, or all of them."""
        return Settings(
            port=self._broker.port,
            pid=self._broker.pid,
            queue=queue or QUEUE,
            queues=1 if queue else self._scenario.queue_count,
            durable=True,
            drain=True,
            prefetch=1000,
            verify=True,
            idle_s=IDLE_S,
            linger_s=IDLE_S,
            timeout_s=ANSWER_S,
        )

    def _drain(self, settings: Settings) -> dict[str, object]:
        fleet = assemble(settings)
        try:
            result = LoadRun(settings, fleet).run()
        finally:
            fleet.disconnect()
        if problem := complaint(result):
            raise LoadError(f"{self._broker.name}: draining {problem}")
        if result["left"]:
            raise LoadError(f"{self._broker.name}: {result['left']} messages were left after draining")
        return result

    def _say(self, text: str) -> None:
        self._console.print(f"{self.depths.name}: {text}", markup=False, highlight=False, soft_wrap=True)
