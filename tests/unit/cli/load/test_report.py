"""What the figures of a run mean."""

from __future__ import annotations

import json

import pytest

from amqpd.cli.load.histogram import Histogram
from amqpd.cli.load.report import Measured, Totals, microseconds, summarize
from amqpd.cli.load.settings import Settings
from amqpd.cli.load.usage import Usage

NS = 1_000_000_000


def measured() -> Measured:
    """Ten seconds with two of warm-up; the last confirm after eleven, the last delivery after twelve."""
    return Measured(
        started_ns=0,
        published_ns=11 * NS,
        last_delivery_ns=12 * NS,
        ended_ns=13 * NS,
        window_start=Totals(2 * NS, published_count=200, confirmed_count=180, delivered_count=160),
        window_end=Totals(10 * NS, published_count=1000, confirmed_count=980, delivered_count=960),
        end=Totals(13 * NS, published_count=1000, confirmed_count=1000, delivered_count=1000),
    )


def test_confirmed_rate_is_that_of_the_window() -> None:
    result = summarize(Settings(confirm=100), measured())
    assert result["publish_rate"] == 100.0
    assert result["publish_s"] == 8.0


def test_unconfirmed_rate_includes_the_time_until_the_broker_had_everything() -> None:
    result = summarize(Settings(), measured())
    assert result["publish_s"] == 9.0
    assert result["publish_rate"] == pytest.approx(800 / 9, abs=0.1)


def test_delivered_rate_is_that_of_the_window_for_a_timed_run() -> None:
    assert summarize(Settings(), measured())["deliver_rate"] == 100.0


@pytest.mark.parametrize("settings", [Settings(count=1000), Settings(drain=True)])
def test_delivered_rate_counts_to_the_last_delivery_when_the_end_was_a_number(settings: Settings) -> None:
    figures = measured()
    figures.is_counted = True
    assert summarize(settings, figures)["deliver_rate"] == 84.0


def test_run_without_deliveries_has_rate_zero() -> None:
    result = summarize(Settings(drain=True), Measured())
    assert result["deliver_rate"] == 0.0
    assert "latency_us" not in result


def test_broker_usage_is_reported_only_for_a_known_process() -> None:
    assert "broker_cpu_s" not in summarize(Settings(), measured())
    figures = measured()
    figures.usage_before, figures.usage_after = Usage(1.0, 1 << 20, 0), Usage(5.0, 3 << 20, 10 << 20)
    figures.window_broker_cpu_s = 4.0
    result = summarize(Settings(pid=1), figures)
    assert (result["broker_cpu_s"], result["broker_cpu_pct"], result["broker_rss_mb"]) == (4.0, 50, 3)
    assert result["broker_write_mb"] == 10.0


def test_latencies_are_in_microseconds() -> None:
    durations = Histogram()
    durations.record(50_000, 99)
    durations.record(2_000_000, 1)
    figures = microseconds(durations)
    assert figures["p50"] == pytest.approx(50, rel=0.01)
    assert figures["p999"] == figures["max"] == 2000.0
    assert list(figures) == ["n", "min", "mean", "p50", "p95", "p99", "p999", "max"]


def test_result_is_json_and_has_the_order_only_when_it_was_checked() -> None:
    assert "out_of_order" not in json.loads(json.dumps(summarize(Settings(), measured())))
    assert summarize(Settings(verify=True), measured())["gaps"] == 0


def test_result_says_whether_the_hot_half_was_compiled() -> None:
    assert summarize(Settings(), measured())["generator"] in ("amqpd bench (compiled)", "amqpd bench (interpreted)")
