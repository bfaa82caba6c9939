"""One load run from its first message to the result: the loop that waits, reads, publishes and notices the end.

Owns: the phases and the times at which they change. Does not own bytes (client, peer, publisher), the connections (fleet)
nor the meaning of the figures (report).

    RUNNING    publish and consume, until the time is up, the count is reached or the queues are drained
    FINISHING  every producer's last confirm, then channel.close and its answer: nothing sits in socket buffers any more
    TRAILING   deliveries of what was published, until all came, none came for `idle` seconds or `linger` is over
    CLOSING    consumers close their channels, so that the broker has handled every acknowledgement

The window, in which rates and percentiles are measured, is RUNNING without its warm-up.
"""

from __future__ import annotations

import enum
import select
import time
from collections.abc import Callable

from amqpd.cli.load import topology
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.fleet import Fleet
from amqpd.cli.load.report import Measured, Totals, summarize
from amqpd.cli.load.settings import Settings
from amqpd.cli.load.usage import load_average, machine_cpu, own_cpu_s, tree_usage

NS = 1_000_000_000
SAMPLE_NS = NS // 2
SLEEP_NS_MAX = NS // 10
# At a fixed rate the loop turns at most 20,000 times a second; what falls due together is sent together.
PACE_NS_MIN = 50_000
# One connection gives way to the others after so many reads or writes.
READS_PER_TURN = 4
WRITES_PER_TURN = 4
CLOSING_NS = 5 * NS
# How long an acknowledgement of an unfinished group may wait.
ACK_REST_NS = NS // 20


class Phase(enum.Enum):
    RUNNING = enum.auto()
    FINISHING = enum.auto()
    TRAILING = enum.auto()
    CLOSING = enum.auto()
    OVER = enum.auto()


class LoadRun:
    def __init__(self, settings: Settings, fleet: Fleet, on_sample: Callable[[Totals], None] | None = None) -> None:
        self.settings = settings
        self._fleet = fleet
        self._on_sample = on_sample
        self._phase = Phase.RUNNING
        self._phase_end_ns = 0
        # A new phase looks at once whether it is over already.
        self._has_news = False
        self._interrupted = False
        self._poller = select.epoll()
        self._by_fileno: dict[int, LoadConnection] = {}
        self._writing: dict[LoadConnection, None] = {}
        # Producers that may have something to do this turn; at a fixed rate all of them have.
        self._restless: dict[LoadConnection, None] = {}
        self._heartbeat_ns: dict[LoadConnection, int] = {}
        self._delivered_count = 0
        self._change_ns = 0
        self._stop_ns = 0
        self._is_warm = settings.warmup_s <= 0
        self._measured = Measured()

    def interrupt(self) -> None:
        """End the run early, but in order; the figures cover what was done."""
        self._interrupted = True

    def run(self) -> dict[str, object]:
        """The whole run; the result has the keys of the JSON output."""
        self._begin()
        now_ns = self._measured.started_ns
        sample_ns = now_ns
        while self._phase is not Phase.OVER:
            if now_ns >= sample_ns:
                sample_ns = now_ns + SAMPLE_NS
                self._sample(now_ns)
            self._wait(now_ns)
            now_ns = time.monotonic_ns()
            self._publish()
            self._advance(now_ns)
        self._measured.ended_ns = now_ns
        return self._conclude()

    def _begin(self) -> None:
        settings, fleet, measured = self.settings, self._fleet, self._measured
        measured.load_average = load_average()
        measured.usage_before = tree_usage(settings.pid)
        measured.rss_bytes_max = measured.usage_before.rss_bytes
        measured.own_cpu_before_s = own_cpu_s()
        measured.machine_before = machine_cpu()
        for connection in fleet.connections:
            self._by_fileno[connection.fileno()] = connection
            self._poller.register(connection.fileno(), select.EPOLLIN)
        fleet.record(self._is_warm)
        consuming_ns = time.monotonic_ns()
        for number, connection in enumerate(fleet.consumers):
            topology.consume(connection, settings, number)
            self._send_waiting(connection)
        started_ns = time.monotonic_ns() if fleet.producers else consuming_ns
        measured.started_ns = self._change_ns = started_ns
        self._stop_ns = started_ns + int(settings.duration_s * NS) if settings.duration_s else 0
        for publisher in fleet.publishers:
            publisher.started_ns = started_ns
        self._restless = dict.fromkeys(fleet.producers)
        measured.window_start = fleet.totals(started_ns)
        if self._is_warm and not fleet.producers:
            # Draining begins with the first basic.consume; what it brought before this line counts.
            measured.window_start.delivered_count = 0

    # One turn of the loop.

    def _wait(self, now_ns: int) -> None:
        """Sleep until a socket or the clock has something to do, then read."""
        timeout_s = self._sleep_ns(now_ns) / NS
        if self.settings.rate and timeout_s:
            # epoll sleeps whole milliseconds, too coarse for a pace; select on the epoll descriptor does not.
            select.select([self._poller], [], [], timeout_s)
            timeout_s = 0
        for fileno, event in self._poller.poll(timeout_s):
            connection = self._by_fileno[fileno]
            if event & ~select.EPOLLOUT:
                for _ in range(READS_PER_TURN):
                    if not connection.receive():
                        break
            if connection.publisher is not None:
                self._restless[connection] = None
            elif connection.has_waiting():
                self._send_waiting(connection)

    def _sleep_ns(self, now_ns: int) -> int:
        if self._has_news or (self._restless and not self.settings.rate):
            self._has_news = False
            return 0
        if self._phase is not Phase.RUNNING:
            return SLEEP_NS_MAX
        wake_ns = now_ns + SLEEP_NS_MAX
        if self._stop_ns:
            wake_ns = min(wake_ns, self._stop_ns)
        if self.settings.rate:
            for connection, publisher in zip(self._fleet.producers, self._fleet.publishers, strict=True):
                is_stuck = connection in self._writing or connection.is_blocked or connection.is_flow_stopped
                is_full = publisher.window and publisher.outstanding_count >= publisher.window
                if not (is_stuck or is_full or publisher.is_finished()):
                    wake_ns = min(wake_ns, int(publisher.due_ns(publisher.published_count)) + 1)
            wake_ns = max(wake_ns, now_ns + PACE_NS_MIN)
        return max(0, wake_ns - time.monotonic_ns())

    def _publish(self) -> None:
        if self.settings.rate:
            for connection in self._fleet.producers:
                self._pump(connection)
        elif self._restless:
            restless = list(self._restless)
            self._restless = {}
            for connection in restless:
                if self._pump(connection):
                    self._restless[connection] = None

    def _pump(self, connection: LoadConnection) -> bool:
        """Publish on one connection; True when it could go on at once."""
        publisher = connection.publisher
        assert publisher is not None
        for _ in range(WRITES_PER_TURN):
            if connection.has_waiting() and not connection.flush():
                publisher.is_held_back = True
                self._watch_writes(connection, True)
                return False
            if self._phase is not Phase.RUNNING or connection.is_flow_stopped or connection.is_blocked:
                break
            now_ns = time.monotonic_ns()
            count = publisher.allowed_count(now_ns)
            if not count:
                break
            connection.queue(publisher.publish(count, now_ns))
        else:
            return True
        self._watch_writes(connection, False)
        return False

    def _send_waiting(self, connection: LoadConnection) -> None:
        self._watch_writes(connection, not connection.flush())

    def _watch_writes(self, connection: LoadConnection, wanted: bool) -> None:
        if wanted is (connection in self._writing):
            return
        if wanted:
            self._writing[connection] = None
        else:
            del self._writing[connection]
        self._poller.modify(connection.fileno(), select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def _sample(self, now_ns: int) -> None:
        """Twice a second: memory, heartbeats, acknowledgements that would otherwise wait for more messages."""
        self._measured.rss_bytes_max = max(self._measured.rss_bytes_max, tree_usage(self.settings.pid).rss_bytes)
        for connection in self._fleet.consumers:
            peer = connection.peer
            if peer.unacked_count and now_ns - peer.last_delivery_ns > ACK_REST_NS:
                connection.ack_rest()
                self._send_waiting(connection)
        for connection in self._fleet.connections:
            interval_ns = connection.heartbeat_s * NS // 2
            if interval_ns and now_ns - self._heartbeat_ns.setdefault(connection, now_ns) > interval_ns:
                self._heartbeat_ns[connection] = now_ns
                connection.send_heartbeat()
                self._restless |= {connection: None} if connection.publisher is not None else {}
                if connection.publisher is None:
                    self._send_waiting(connection)
        if self._on_sample is not None:
            self._on_sample(self._fleet.totals(now_ns, with_latency=True))

    # The phases.

    def _become(self, phase: Phase, now_ns: int, lasts_ns: int) -> None:
        self._phase = phase
        self._phase_end_ns = now_ns + lasts_ns
        self._has_news = True

    def _advance(self, now_ns: int) -> None:
        linger_ns = int(self.settings.linger_s * NS)
        if self._phase is Phase.RUNNING:
            self._end_warmup(now_ns)
            if self._is_done(now_ns):
                self._end_window(now_ns)
                self._restless = dict.fromkeys(self._fleet.producers)
                self._become(Phase.FINISHING, now_ns, linger_ns)
        elif self._phase is Phase.FINISHING:
            if self._are_producers_closed() or self._is_overdue(now_ns):
                self._measured.published_ns = now_ns
                self._become(Phase.TRAILING, now_ns, linger_ns)
        elif self._phase is Phase.TRAILING:
            if self._has_all_come(now_ns) or self._is_overdue(now_ns):
                self._measured.usage_after = tree_usage(self.settings.pid)
                for connection in self._fleet.consumers:
                    connection.ack_rest()
                    connection.close_channel()
                    self._send_waiting(connection)
                self._become(Phase.CLOSING, now_ns, CLOSING_NS)
        elif all(connection.is_closed for connection in self._fleet.consumers) or now_ns > self._phase_end_ns:
            self._become(Phase.OVER, now_ns, 0)

    def _is_overdue(self, now_ns: int) -> bool:
        if now_ns > self._phase_end_ns:
            self._measured.timed_out = True
            return True
        return False

    def _end_warmup(self, now_ns: int) -> None:
        if self._is_warm or now_ns < self._measured.started_ns + int(self.settings.warmup_s * NS):
            return
        self._is_warm = True
        self._fleet.record(True)
        self._measured.window_start = self._fleet.totals(now_ns)
        self._measured.window_usage_before = tree_usage(self.settings.pid)
        self._measured.window_own_cpu_before_s = own_cpu_s()

    def _is_idle(self, now_ns: int) -> bool:
        delivered_count = self._fleet.delivered_count()
        if delivered_count != self._delivered_count:
            self._delivered_count = delivered_count
            self._change_ns = now_ns
        return now_ns - self._change_ns > int(self.settings.idle_s * NS)

    def _is_done(self, now_ns: int) -> bool:
        if self._interrupted or (self._stop_ns and now_ns >= self._stop_ns):
            return True
        fleet = self._fleet
        if not fleet.producers:
            is_idle = self._is_idle(now_ns)
            wanted_count = self.settings.drain_target(fleet.ready_count)
            if wanted_count:
                return is_idle or self._delivered_count >= wanted_count
            return self.settings.drain
        if not self.settings.count:
            return False
        return all(publisher.is_finished() for publisher in fleet.publishers) and not any(
            connection.has_waiting() for connection in fleet.producers
        )

    def _end_window(self, now_ns: int) -> None:
        settings, measured = self.settings, self._measured
        measured.window_end = self._fleet.totals(now_ns)
        before = measured.window_usage_before or measured.usage_before
        measured.window_broker_cpu_s = tree_usage(settings.pid).cpu_s - before.cpu_s
        measured.window_own_cpu_s = own_cpu_s() - (measured.window_own_cpu_before_s or measured.own_cpu_before_s)
        measured.is_counted = not settings.duration_s or bool(settings.count and now_ns < self._stop_ns)
        if settings.duration_s and not settings.rate:
            # Percentiles of the window only: what comes later has waited for the load to stop.
            self._fleet.record(False)

    def _are_producers_closed(self) -> bool:
        all_closed = True
        for connection, publisher in zip(self._fleet.producers, self._fleet.publishers, strict=True):
            if connection.is_closed:
                continue
            all_closed = False
            if not (connection.is_closing or connection.has_waiting() or publisher.outstanding_count):
                connection.close_channel()
                self._restless[connection] = None
                self._has_news = True
        return all_closed

    def _has_all_come(self, now_ns: int) -> bool:
        if self._is_idle(now_ns) or self._interrupted:
            return True
        if not self._fleet.consumers or not self._fleet.producers:
            return True
        return self._delivered_count >= self._fleet.published_count() * self.settings.fanout

    def _conclude(self) -> dict[str, object]:
        settings, fleet, measured = self.settings, self._fleet, self._measured
        measured.own_cpu_s = own_cpu_s() - measured.own_cpu_before_s
        measured.machine_after = machine_cpu()
        measured.rss_bytes_max = max(measured.rss_bytes_max, measured.usage_after.rss_bytes)
        measured.end = fleet.totals(measured.ended_ns, with_latency=True)
        fleet.add_counters(measured)
        for connection in [*fleet.producers, *fleet.consumers]:
            measured.blocked_ns += connection.blocked_ns_until(measured.ended_ns)
            connection.close()
        measured.left_count = topology.count_left(fleet.control, settings)
        if settings.producers and settings.consumers:
            measured.expected_count = measured.end.published_count * settings.fanout
        elif settings.drain:
            measured.expected_count = settings.drain_target(fleet.ready_count)
        if settings.delete:
            topology.delete(fleet.control, settings)
        fleet.control.close()
        return summarize(settings, measured)
