"""The phases of a run and the pace of its loop, on connections that go nowhere."""

from __future__ import annotations

import time

import pytest

from amqpd.cli.load.run import NS, PACE_NS_MIN, SLEEP_NS_MAX, LoadRun, Phase
from amqpd.cli.load.settings import Settings
from tests.fakes.load import IdleConnection, fleet_of, publisher


def started(settings: Settings, producers: list[IdleConnection], consumers: list[IdleConnection]) -> LoadRun:
    """A run in its first phase, begun at nanosecond zero."""
    run = LoadRun(settings, fleet_of(producers, consumers))
    run._restless = dict.fromkeys(run._fleet.producers)
    if settings.duration_s:
        run._stop_ns = int(settings.duration_s * NS)
    return run


def delivered(consumer: IdleConnection, count: int) -> None:
    consumer.peer.delivered_count += count


def test_producer_publishes_until_its_count_is_reached() -> None:
    producer = IdleConnection(publisher(count_max=10))
    run = started(Settings(count=10), [producer], [])
    for _ in range(3):
        run._publish()
    assert b"".join(producer.sent) == b"m" * 10
    assert not run._restless
    assert run._is_done(0)


def test_producer_gives_way_after_a_few_blocks_but_stays_restless() -> None:
    producer = IdleConnection(publisher(block_count=1))
    run = started(Settings(), [producer], [])
    run._publish()
    assert 0 < len(producer.sent) < 10
    assert run._restless
    assert run._sleep_ns(time.monotonic_ns()) == 0


@pytest.mark.parametrize("reason", ["is_blocked", "is_flow_stopped"])
def test_producer_that_the_broker_stops_publishes_nothing(reason: str) -> None:
    producer = IdleConnection(publisher())
    setattr(producer, reason, True)
    run = started(Settings(count=5), [producer], [])
    run._publish()
    assert producer.sent == []
    assert run._sleep_ns(time.monotonic_ns()) > 0


def test_full_window_lets_the_producer_rest_until_something_arrives() -> None:
    producer = IdleConnection(publisher(window=3))
    run = started(Settings(confirm=3), [producer], [])
    run._publish()
    assert b"".join(producer.sent) == b"mmm"
    assert not run._restless


def test_paced_run_sleeps_until_the_next_message_is_due() -> None:
    source = publisher(interval_ns=20_000_000.0)
    run = started(Settings(rate=50.0), [IdleConnection(source)], [])
    now_ns = time.monotonic_ns()
    run._stop_ns = 0
    source.started_ns = now_ns + 10_000_000
    assert PACE_NS_MIN < run._sleep_ns(now_ns) <= 10_000_001
    source.started_ns = now_ns - 1_000_000_000
    assert run._sleep_ns(now_ns) <= PACE_NS_MIN


def test_run_without_pace_sleeps_no_longer_than_its_end() -> None:
    run = started(Settings(duration_s=1.0), [], [IdleConnection()])
    now_ns = time.monotonic_ns()
    run._stop_ns = now_ns + 1_000_000
    assert run._sleep_ns(now_ns) <= 1_000_000
    run._stop_ns = 0
    assert SLEEP_NS_MAX // 2 < run._sleep_ns(now_ns) <= SLEEP_NS_MAX


def test_run_by_time_goes_through_all_phases() -> None:
    producer, consumer = IdleConnection(publisher(count_max=4)), IdleConnection()
    run = started(Settings(duration_s=5.0, count=4), [producer], [consumer])
    run._publish()
    run._advance(6 * NS)
    assert run._phase is Phase.FINISHING
    run._advance(6 * NS)
    assert producer.is_closing
    assert run._phase is Phase.FINISHING
    producer.is_closed = True
    run._advance(7 * NS)
    assert run._phase is Phase.TRAILING
    assert run._measured.published_ns == 7 * NS
    delivered(consumer, 4)
    run._advance(8 * NS)
    assert consumer.is_closing
    assert run._phase is Phase.CLOSING
    consumer.is_closed = True
    run._advance(9 * NS)
    assert run._phase is Phase.OVER
    assert not run._measured.timed_out


def test_channel_is_not_closed_before_the_last_confirm() -> None:
    source = publisher(window=10, count_max=2)
    producer = IdleConnection(source)
    run = started(Settings(count=2, confirm=10), [producer], [])
    run._publish()
    run._advance(1)
    run._advance(2)
    assert not producer.is_closing
    source.on_confirm(2, True, False, 3)
    run._advance(3)
    assert producer.is_closing


def test_confirms_that_never_come_end_with_the_linger_time() -> None:
    run = started(Settings(count=2, confirm=10, linger_s=2.0), [IdleConnection(publisher(window=10, count_max=2))], [])
    run._publish()
    run._advance(0)
    run._advance(2 * NS)
    assert run._phase is Phase.FINISHING
    run._advance(2 * NS + 1)
    assert run._phase is Phase.TRAILING
    assert run._measured.timed_out


def test_deliveries_that_stop_coming_end_the_run_after_the_idle_time() -> None:
    producer, consumer = IdleConnection(publisher(count_max=4)), IdleConnection()
    run = started(Settings(count=4, idle_s=1.0), [producer], [consumer])
    run._publish()
    run._advance(0)
    producer.is_closed = True
    run._advance(0)
    delivered(consumer, 1)
    run._advance(5 * NS)
    assert run._phase is Phase.TRAILING
    run._advance(6 * NS + 1)
    assert run._phase is Phase.CLOSING


def test_drain_ends_when_everything_that_waited_has_come() -> None:
    consumer = IdleConnection()
    run = started(Settings(drain=True), [], [consumer])
    run._fleet.ready_count = 5
    delivered(consumer, 4)
    assert not run._is_done(0)
    delivered(consumer, 1)
    assert run._is_done(0)


def test_drain_of_empty_queues_ends_at_once() -> None:
    assert started(Settings(drain=True), [], [IdleConnection()])._is_done(0)


def test_consumers_alone_go_on_while_deliveries_come_and_the_time_lasts() -> None:
    run = started(Settings(producers=0, duration_s=100.0), [], [IdleConnection()])
    assert not run._is_done(50 * NS)
    assert run._is_done(100 * NS)


def test_interruption_ends_the_first_phase() -> None:
    run = started(Settings(), [IdleConnection(publisher())], [])
    assert not run._is_done(0)
    run.interrupt()
    assert run._is_done(0)


def test_warm_up_is_left_out_of_window_and_latencies() -> None:
    producer, consumer = IdleConnection(publisher(block_count=1)), IdleConnection()
    run = started(Settings(duration_s=10.0, warmup_s=2.0), [producer], [consumer])
    run._publish()
    run._advance(1 * NS)
    assert not consumer.peer.is_recording
    run._advance(2 * NS)
    assert consumer.peer.is_recording
    before = run._measured.window_start.published_count
    assert before == producer.publisher.published_count > 0  # type: ignore[union-attr]
    run._advance(10 * NS)
    assert run._measured.window_end.at_ns - run._measured.window_start.at_ns == 8 * NS
    # What arrives after the window has waited for the load to stop.
    assert not consumer.peer.is_recording
