"""Unacked against a dict."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqpd.channels.unacked import COMPACT_COUNT, Unacked
from amqpd.queues.entry import Entry
from tests.fakes.core import new_entry, new_queue

QUEUE = new_queue()
ENTRY_POOL = [new_entry(n, QUEUE) for n in range(64)]


class Model:
    """What Unacked is to do, with a dict; every step is done to both and compared."""

    def __init__(self) -> None:
        self.unacked = Unacked()
        self.model: dict[int, Entry] = {}
        self.next_tag = 1

    def add(self, count: int) -> None:
        for _ in range(count):
            entry = ENTRY_POOL[self.next_tag % len(ENTRY_POOL)]
            self.unacked.add(self.next_tag, entry)
            self.model[self.next_tag] = entry
            self.next_tag += 1

    def gap(self, count: int) -> None:
        """As many no-ack deliveries."""
        self.next_tag += count

    def nth(self, index: int) -> int:
        """Mostly a tag that is there; else one that is not."""
        tags = list(self.model)
        return tags[index % len(tags)] if tags and index % 7 != 6 else index

    def take(self, index: int) -> None:
        tag = self.nth(index)
        assert self.unacked.take(tag) is self.model.pop(tag, None)
        assert not self.unacked.has(tag)

    def hold(self, index: int) -> None:
        """What a transaction does."""
        entry = self.unacked.find(self.nth(index))
        if entry is not None:
            entry.is_held = True

    def roll_back(self, index: int) -> None:
        for entry in self.model.values():
            entry.is_held = False

    def free(self, last_tag: int) -> list[tuple[int, Entry]]:
        return [(tag, entry) for tag, entry in self.model.items() if tag <= last_tag and not entry.is_held]

    def take_through(self, index: int) -> None:
        tag = self.nth(index)
        wanted = [each for each in self.model if each <= tag]
        assert self.unacked.free_through(tag) == self.free(tag)
        assert self.unacked.take_through(tag) == [self.model.pop(each) for each in wanted]

    def take_all(self, index: int) -> None:
        assert self.unacked.take_all() == list(self.model.values())
        self.model.clear()

    def churn(self, count: int) -> None:
        """One that stays unacked while many come and go."""
        self.add(1)
        oldest = self.next_tag - 1
        for _ in range(count):
            self.add(1)
            assert self.unacked.take(self.next_tag - 1) is self.model.pop(self.next_tag - 1)
        assert self.unacked.has(oldest)

    def check(self) -> None:
        assert self.unacked.count == len(self.model)
        assert self.unacked.free_through(self.unacked.last_tag()) == self.free(self.next_tag)
        assert self.unacked.items() == list(self.model.items())
        assert all(self.unacked.has(tag) for tag in self.model)


SIZES = st.one_of(st.integers(1, 20), st.sampled_from([COMPACT_COUNT - 1, COMPACT_COUNT, COMPACT_COUNT + 1, 3000]))
STEPS = st.one_of(
    st.tuples(st.sampled_from(["add", "gap"]), SIZES),
    st.tuples(st.sampled_from(["take", "take", "hold", "roll_back", "take_through"]), st.integers(0, 5000)),
    st.tuples(st.just("take_all"), st.just(0)),
)


@settings(max_examples=settings().max_examples // 5, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_it_is_a_dict_by_tag_whatever_is_added_taken_and_held(steps: list[tuple[str, int]]) -> None:
    model = Model()
    for what, number in steps:
        getattr(model, what)(number)
    model.check()
    model.take_all(0)
    model.check()


@settings(max_examples=settings().max_examples // 25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["churn", "gap", "add"]), st.sampled_from([3, 2000, 6000])), max_size=4),
    st.randoms(),
)
def test_old_deliveries_are_kept_while_thousands_pass(steps: list[tuple[str, int]], random: object) -> None:
    model = Model()
    for what, number in steps:
        getattr(model, what)(number)
        model.hold(random.randrange(5))  # type: ignore[attr-defined]
    model.check()
    model.roll_back(0)
    model.check()
    model.take_through(random.randrange(5))  # type: ignore[attr-defined]
    model.check()


def test_memory_follows_what_is_unacked_and_not_how_long() -> None:
    model = Model()
    model.add(1)
    for _ in range(20):
        model.churn(2000)
    assert model.unacked.count == 21
    assert len(model.unacked._items) < 10 * COMPACT_COUNT
    model.check()


def test_a_wide_gap_takes_no_place() -> None:
    model = Model()
    model.add(2)
    model.gap(1_000_000)
    model.add(2)
    assert len(model.unacked._items) < 10
    model.check()
    model.take_through(1_000_003)
    model.check()


def test_a_tag_is_taken_once() -> None:
    unacked = Unacked()
    unacked.add(1, ENTRY_POOL[0])
    assert unacked.take(1) is ENTRY_POOL[0]
    assert unacked.take(1) is None
    assert unacked.take_through(1) == []


@pytest.mark.parametrize("tag", [0, 4, -1, 1 << 62, -(1 << 62)])
def test_a_tag_that_never_was_is_not_there(tag: int) -> None:
    unacked = Unacked()
    for each in (1, 2, 3):
        unacked.add(each, ENTRY_POOL[each])
    assert not unacked.has(tag)
    assert unacked.take(tag) is None
    assert unacked.count == 3


def test_what_is_looked_at_stays_unacked() -> None:
    unacked = Unacked()
    for each in (1, 2, 3, COMPACT_COUNT * 3):
        unacked.add(each, ENTRY_POOL[each % len(ENTRY_POOL)])
    unacked.take(2)
    assert unacked.items() == [(1, ENTRY_POOL[1]), (3, ENTRY_POOL[3]), (COMPACT_COUNT * 3, ENTRY_POOL[0])]
    assert unacked.find(1) is ENTRY_POOL[1]
    assert unacked.find(COMPACT_COUNT * 3) is ENTRY_POOL[0]
    assert unacked.find(2) is None
    assert unacked.find(COMPACT_COUNT * 4) is None
    assert unacked.count == 3
