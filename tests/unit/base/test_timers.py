"""The timing wheel against a sorted list."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqpd.base.message import Message
from amqpd.base.timers import TICK_MS, TimingWheel
from amqpd.queues.entry import Entry
from tests.fakes.core import HEADER, new_agenda, new_queue


class Bench:
    """Entries are the wheel's real timers: what fires leaves its queue."""

    def __init__(self, now_ms: int) -> None:
        self.agenda = new_agenda()
        self.queue = new_queue(self.agenda)
        self.agenda.wheel = TimingWheel(now_ms)
        self.wheel = self.agenda.wheel
        self.pending: list[Entry] = []
        self.message_id = 0

    def add(self, due_ms: int) -> Entry:
        self.message_id += 1
        entry = Entry(Message(self.message_id, b"\x00\x01q", HEADER, b""), self.queue)
        self.queue.ready.append(entry)
        entry.due_ms = due_ms
        entry.is_timed = True
        self.wheel.add(entry)
        self.pending.append(entry)
        return entry

    def advance(self, now_ms: int) -> list[int]:
        """Due times of what fired."""
        self.agenda.monotonic_ms = now_ms
        self.wheel.advance(now_ms)
        fired = [entry for entry in self.pending if entry.is_settled]
        self.pending = [entry for entry in self.pending if not entry.is_settled]
        return [int(entry.due_ms) for entry in fired]


@pytest.mark.parametrize("seed", range(10))
def test_everything_fires_once_never_early_and_at_most_a_tick_late(seed: int) -> None:
    rng = random.Random(seed)
    now_ms = rng.randrange(10**7)
    bench = Bench(now_ms)
    for _ in range(150):
        for _ in range(rng.randrange(15)):
            bench.add(
                now_ms + rng.choice([0, 1, 5, 2559, 2560, 2561, rng.randrange(700_000), rng.randrange(3_000_000)])
            )
        now_ms += rng.choice([1, 7, 10, 100, 2560, rng.randrange(100_000)])
        assert all(due_ms <= now_ms for due_ms in bench.advance(now_ms))
        assert all(entry.due_ms + 2 * TICK_MS > now_ms for entry in bench.pending)
    assert bench.wheel.count == len(bench.pending)


@settings(max_examples=settings().max_examples // 10, deadline=None)
@given(st.lists(st.integers(1, 200_000_000), min_size=1, max_size=20))
def test_delays_of_days_come_down_level_by_level(delays_ms: list[int]) -> None:
    bench = Bench(0)
    for delay_ms in delays_ms:
        bench.add(delay_ms)
    for delay_ms in sorted(delays_ms):
        bench.advance(delay_ms + 2 * TICK_MS)
    assert bench.pending == []


def test_a_timer_that_was_given_more_time_comes_round_again() -> None:
    bench = Bench(0)
    bench.add(1_000).due_ms = 5_000
    assert bench.advance(2_000) == []
    assert bench.advance(5_020) == [5_000]


def test_timers_that_are_done_are_swept_when_they_are_the_majority() -> None:
    bench = Bench(0)
    for _ in range(25_000):
        bench.add(3_600_000)
    keep = bench.pending[0]
    for entry in bench.pending[1:]:
        entry.is_settled = True
        bench.wheel.done()
    assert bench.wheel.count < 12_500
    keep.is_settled = False
    bench.pending = [keep]
    assert bench.advance(3_600_100) == [3_600_000]
