"""What the figures of a run mean: counters and times in, the JSON result and a readable summary out.

Owns: the definition of every rate. Does not own measuring.

    publish_rate   with confirms: confirmed within the window / its length; without: all published / the time until the
                   broker answered channel.close behind the last one, so what sat in socket buffers is not free
    deliver_rate   by duration: delivered within the window / its length; by count or drained: all / time of the last
    latency_us     stamp in the body until the read returned; in a throughput run it is mostly queueing
    *_cpu_pct      within the window; 100 is one core
"""

from __future__ import annotations

from dataclasses import dataclass, field

from amqpd.cli.load import histogram
from amqpd.cli.load.histogram import Histogram
from amqpd.cli.load.settings import Settings
from amqpd.cli.load.usage import Machine, Usage

PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999))
MIB = 1 << 20


@dataclass
class Totals:
    """Counters of all connections at one moment."""

    at_ns: int = 0
    published_count: int = 0
    confirmed_count: int = 0
    nacked_count: int = 0
    returned_count: int = 0
    delivered_count: int = 0
    redelivered_count: int = 0
    out_of_order_count: int = 0
    gap_count: int = 0
    latency: Histogram | None = None
    confirm_latency: Histogram | None = None


@dataclass
class Measured:
    """Everything that a run wrote down."""

    started_ns: int = 0
    published_ns: int = 0
    last_delivery_ns: int = 0
    ended_ns: int = 0
    window_start: Totals = field(default_factory=Totals)
    window_end: Totals = field(default_factory=Totals)
    end: Totals = field(default_factory=Totals)
    is_counted: bool = False
    timed_out: bool = False
    expected_count: int = 0
    left_count: int = 0
    lag_ns_max: int = 0
    blocked_ns: int = 0
    blocked_count: int = 0
    flow_count: int = 0
    heartbeat_count: int = 0
    send_count: int = 0
    receive_count: int = 0
    load_average: float = 0.0
    own_cpu_before_s: float = 0.0
    own_cpu_s: float = 0.0
    window_own_cpu_before_s: float = 0.0
    window_own_cpu_s: float = 0.0
    usage_before: Usage = field(default_factory=Usage)
    usage_after: Usage = field(default_factory=Usage)
    window_usage_before: Usage | None = None
    window_broker_cpu_s: float = 0.0
    rss_bytes_max: int = 0
    machine_before: Machine = field(default_factory=Machine)
    machine_after: Machine = field(default_factory=Machine)


def summarize(settings: Settings, measured: Measured) -> dict[str, object]:
    """The result of a run, ready for JSON."""
    end = measured.end
    result: dict[str, object] = {
        "label": settings.label,
        "generator": f"amqpd bench ({'compiled' if is_compiled() else 'interpreted'})",
        "port": settings.port,
        "producers": settings.producers,
        "consumers": settings.consumers,
        "queues": settings.queues,
        "size": settings.size,
        "confirm": settings.confirm,
        "prefetch": settings.prefetch,
        "ack_every": settings.ack_every,
        "rate": round(settings.rate),
        "durable": settings.durable,
        "persistent": settings.persistent,
        "published": end.published_count,
        "confirmed": end.confirmed_count,
        "nacked": end.nacked_count,
        "returned": end.returned_count,
        "delivered": end.delivered_count,
        "redelivered": end.redelivered_count,
        "expected": measured.expected_count,
        "left": measured.left_count,
    }
    if settings.verify:
        result |= {"out_of_order": end.out_of_order_count, "gaps": end.gap_count}
    result |= _rates(settings, measured)
    result |= {"elapsed": _seconds(measured.ended_ns - measured.started_ns), "timeout": measured.timed_out}
    for name, durations in (("latency_us", end.latency), ("confirm_us", end.confirm_latency)):
        if durations is not None and durations.count:
            result[name] = microseconds(durations)
    if settings.rate:
        result["max_send_lag_us"] = round(measured.lag_ns_max / 1e3)
    return result | _usage(settings, measured)


def _rates(settings: Settings, measured: Measured) -> dict[str, object]:
    start, stop, end = measured.window_start, measured.window_end, measured.end
    window_ns = stop.at_ns - start.at_ns
    publish_ns = deliver_ns = 0
    published_count = delivered_count = 0
    if settings.producers:
        if settings.confirm and not measured.is_counted:
            publish_ns, published_count = window_ns, stop.confirmed_count - start.confirmed_count
        else:
            publish_ns = measured.published_ns - start.at_ns
            published_count = end.published_count - start.published_count
    if settings.consumers:
        if measured.is_counted or settings.drain:
            deliver_ns = max(0, measured.last_delivery_ns - start.at_ns)
            delivered_count = end.delivered_count - start.delivered_count
        else:
            deliver_ns, delivered_count = window_ns, stop.delivered_count - start.delivered_count
    return {
        "publish_rate": _per_second(published_count, publish_ns),
        "deliver_rate": _per_second(delivered_count, deliver_ns),
        "publish_s": _seconds(publish_ns),
        "deliver_s": _seconds(deliver_ns),
    }


def _usage(settings: Settings, measured: Measured) -> dict[str, object]:
    window_ns = measured.window_end.at_ns - measured.window_start.at_ns
    before, after = measured.machine_before, measured.machine_after
    usage: dict[str, object] = {
        "client_cpu_s": round(measured.own_cpu_s, 2),
        "client_cpu_pct": round(100 * _per_second(measured.window_own_cpu_s, window_ns)),
    }
    if settings.pid:
        broker_cpu_s = measured.usage_after.cpu_s - measured.usage_before.cpu_s
        written_bytes = measured.usage_after.written_bytes - measured.usage_before.written_bytes
        other_s = after.process_s - before.process_s - broker_cpu_s - measured.own_cpu_s
        usage |= {
            "broker_cpu_s": round(broker_cpu_s, 2),
            "broker_cpu_pct": round(100 * _per_second(measured.window_broker_cpu_s, window_ns)),
            "broker_rss_mb": round(measured.usage_after.rss_bytes / MIB),
            "broker_rss_max_mb": round(measured.rss_bytes_max / MIB),
            "broker_write_mb": round(written_bytes / MIB, 1),
            "other_cpu_s": round(other_s, 2),
        }
    return usage | {
        "irq_s": round(after.interrupt_s - before.interrupt_s, 2),
        "steal_s": round(after.stolen_s - before.stolen_s, 2),
        "load1": round(measured.load_average, 2),
        "blocked_s": _seconds(measured.blocked_ns),
        "blocked": measured.blocked_count,
        "flow": measured.flow_count,
        "heartbeats": measured.heartbeat_count,
        "sends": measured.send_count,
        "recvs": measured.receive_count,
    }


def microseconds(durations: Histogram) -> dict[str, float]:
    """Count, edges, mean and percentiles of a histogram of nanoseconds."""
    figures: dict[str, float] = {
        "n": int(durations.count),
        "min": round(int(durations.value_min) / 1e3, 1),
        "mean": round(durations.mean() / 1e3, 1),
    }
    for name, fraction in PERCENTILES:
        figures[name] = round(durations.percentile(fraction) / 1e3, 1)
    figures["max"] = round(int(durations.value_max) / 1e3, 1)
    return figures


def is_compiled() -> bool:
    """Whether the hot half runs as machine code: interpreted it drives about a tenth of the load."""
    return not str(histogram.__file__).endswith(".py")


def _per_second(amount: float, duration_ns: int) -> float:
    return round(amount / (duration_ns / 1e9), 1) if duration_ns > 0 else 0.0


def _seconds(duration_ns: int) -> float:
    return round(duration_ns / 1e9, 3)
