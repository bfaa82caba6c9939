from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqpd.connections.heartbeats import Heartbeats


def test_one_is_due_after_half_an_interval_without_output() -> None:
    heartbeats = Heartbeats(10, 0)
    assert not heartbeats.is_due(0, 100)
    assert not heartbeats.is_due(4_999, 100)
    assert heartbeats.is_due(5_000, 100)


def test_output_puts_it_off() -> None:
    heartbeats = Heartbeats(10, 0)
    heartbeats.is_due(0, 100)
    assert not heartbeats.is_due(4_000, 200)
    assert not heartbeats.is_due(8_999, 200)
    assert heartbeats.is_due(9_000, 200)


def test_a_silent_peer_is_dead_after_two_intervals_and_not_before() -> None:
    heartbeats = Heartbeats(1, 0)
    assert not heartbeats.is_dead(2_000)
    assert heartbeats.is_dead(2_001)
    heartbeats.received(2_001)
    assert not heartbeats.is_dead(4_001)
    assert heartbeats.is_dead(4_002)


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_no_interval_means_none_is_sent_and_nobody_is_given_up(now_ms: int, written: int) -> None:
    heartbeats = Heartbeats(0, 0)
    assert not heartbeats.is_due(now_ms, written)
    assert not heartbeats.is_due(now_ms * 2, written)
    assert not heartbeats.is_dead(now_ms)


@given(st.integers(1, 65_535), st.lists(st.integers(1, 40_000), max_size=30))
def test_a_peer_that_looks_often_never_sends_later_than_one_interval(interval_s: int, steps: list[int]) -> None:
    """Ticks come at most half an interval apart; then there is output at least once per interval and one tick."""
    heartbeats = Heartbeats(interval_s, 0)
    now_ms = written = sent_ms = 0
    for step in steps:
        now_ms += 1 + step % (interval_s * 500)
        if heartbeats.is_due(now_ms, written):
            written += 8
            sent_ms = now_ms
        assert now_ms - sent_ms <= interval_s * 2_000
