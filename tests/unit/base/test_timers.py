"""The timing wheel against a sorted list."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqpd.base.message import Message
from amqpd.base.timers import SWEEP_COUNT_MIN, TICK_MS, Timer, TimingWheel
from amqpd.queues.entry import Entry
from tests.fakes.core import HEADER, new_agenda, new_queue
from tests.fakes.effort import effort_of, is_interpreted, only_interpreted


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


class Order:
    """Dead letters stand in the order in which their timers fired."""

    def __init__(self, now_ms: int) -> None:
        self.bench = Bench(now_ms)
        self.bench.queue.options.dead_letter_exchange = "x"
        self.agenda = self.bench.agenda
        self.wheel = self.bench.wheel

    def advance(self, now_ms: int, count_max: int) -> tuple[int, list[tuple[int, int]]]:
        """How many timers were touched, and (due, message_id) of what fired, in order."""
        self.agenda.monotonic_ms = now_ms
        touched = self.wheel.advance(now_ms, count_max)
        departing = self.bench.queue.departing
        entries = [departing.take().entry for _ in range(departing.count)]
        fired = [(int(entry.due_ms), int(entry.message.message_id)) for entry in entries]
        return touched, fired


def test_within_a_tick_the_earliest_fires_first_and_of_equals_the_oldest_message() -> None:
    order = Order(0)
    # The first one moves down from the second wheel, when the others stand in the first one already.
    order.bench.add(3_009)
    order.advance(2_000, 1000)
    for due_ms in (3_009, 3_001, 3_004, 3_001):
        order.bench.add(due_ms)
    assert order.advance(3_010, 1000)[1] == [(3_001, 3), (3_001, 5), (3_004, 4), (3_009, 1), (3_009, 2)]


def test_what_was_due_before_it_was_added_fires_in_due_order_too() -> None:
    order = Order(10_000)
    for due_ms in (9_000, -4, 500, 10_001):
        order.bench.add(due_ms)
    assert order.advance(10_020, 1000)[1] == [(-4, 2), (500, 3), (9_000, 1), (10_001, 4)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count_max", [1, 3, 50])
def test_in_slices_everything_fires_once_never_early_and_in_due_order(seed: int, count_max: int) -> None:
    rng = random.Random(seed)
    now_ms = rng.randrange(10**6)
    order = Order(now_ms)
    fired: list[tuple[int, int]] = []
    for _ in range(40):
        for _ in range(rng.randrange(30)):
            order.bench.add(now_ms + rng.choice([1, 5, 9, 2559, 2560, rng.randrange(20_000), rng.randrange(900_000)]))
        now_ms += rng.choice([1, 7, 10, 100, 2560, 30_000])
        touched, now_fired = order.advance(now_ms, count_max)
        assert touched <= count_max
        assert all(due_ms <= now_ms for due_ms, _ in now_fired)
        fired += now_fired
    while order.wheel.is_behind:
        fired += order.advance(now_ms, count_max)[1]
    assert fired == sorted(set(fired))
    left = [entry for entry in order.bench.pending if not entry.is_settled]
    assert all(entry.due_ms + 2 * TICK_MS > now_ms for entry in left)
    assert order.wheel.count == len(left)


@only_interpreted
@pytest.mark.parametrize("due_ms", [50, 3_000])
def test_a_slot_with_thousands_takes_no_call_longer_than_it_is_allowed(due_ms: int) -> None:
    order = Order(0)
    for _ in range(5000):
        order.bench.add(due_ms)
    fired = 0
    longest = 0
    for _ in range(500):
        effort = effort_of(lambda: order.advance(due_ms + TICK_MS, 100))
        longest = max(longest, effort.lines)
        fired = len([entry for entry in order.bench.pending if entry.is_settled])
        if not order.wheel.is_behind:
            break
    assert fired == 5000
    # Some tens of lines for each timer, those of the test included.
    assert longest < 100 * 60


def test_nothing_is_behind_while_nothing_is_due() -> None:
    order = Order(0)
    order.bench.add(5_000)
    order.advance(4_000, 1_000)
    assert not order.wheel.is_behind
    assert order.advance(5_000, 2)[1] == []
    assert order.wheel.is_behind
    assert order.advance(5_000, 1_000)[1] == [(5_000, 1)]
    assert not order.wheel.is_behind


class LongWork(Timer):
    """Has more to do than one turn has room for, as long as there is any."""

    def __init__(self, wheel: TimingWheel, name: str, parts: int, done: list[str]) -> None:
        self.due_ms = 0
        self._wheel = wheel
        self._name = name
        self._parts = parts
        self._done = done

    def fire(self) -> None:
        self._done.append(self._name)
        self._parts -= 1
        if self._parts > 0:
            self._wheel.put_off(self)

    def is_done(self) -> bool:
        return self._parts == 0


@pytest.mark.skipif(not is_interpreted, reason="an interpreted timer can't stand among compiled ones")
def test_who_has_more_to_do_takes_turns_with_all_others() -> None:
    wheel = TimingWheel(0)
    done: list[str] = []
    for name, parts in (("a", 3), ("b", 3), ("c", 1)):
        wheel.add(LongWork(wheel, name, parts, done))
    turns = 0
    wheel.advance(10)
    while wheel.is_behind:
        wheel.advance(10)
        turns += 1
    assert sorted(done) == ["a", "a", "a", "b", "b", "b", "c"]
    assert done.index("b") < 3
    assert done.index("c") < 5
    assert wheel.count == 0
    # Each time it was put off was the end of a turn.
    assert turns == 4


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_that_others_come_between_loses_nobody(seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench(0)
    now_ms = 0
    entries = [bench.add(rng.choice([2_000, 2_600, 60_000, rng.randrange(1, 200_000)])) for _ in range(24_000)]
    rng.shuffle(entries)
    left = entries[20_000:]
    for at, entry in enumerate(entries[:20_000]):
        if not entry.is_settled:
            entry.is_settled = True
            bench.wheel.done()
        if at > SWEEP_COUNT_MIN and at % 500 == 0:
            now_ms += 130
            bench.agenda.monotonic_ms = now_ms
            bench.wheel.advance(now_ms, 300)
            left.append(bench.add(now_ms + rng.randrange(200_000)))
    assert bench.wheel.count < 24_000 - SWEEP_COUNT_MIN // 2
    assert all(not entry.is_settled or entry.due_ms <= now_ms for entry in left)
    while now_ms < 500_000:
        now_ms += 1_000
        bench.agenda.monotonic_ms = now_ms
        bench.wheel.advance(now_ms)
    assert all(entry.is_settled for entry in left)
    assert bench.wheel.count == 0


@only_interpreted
def test_no_single_timer_that_is_done_pays_for_a_whole_sweep() -> None:
    bench = Bench(0)
    for _ in range(25_000):
        bench.add(3_600_000)
    longest = 0
    for at, entry in enumerate(bench.pending):
        entry.is_settled = True
        if at > SWEEP_COUNT_MIN:
            longest = max(longest, effort_of(bench.wheel.done).lines)
        else:
            bench.wheel.done()
    assert longest < 300
    assert bench.wheel.count < 12_500
