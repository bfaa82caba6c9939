"""The lines of leases; what comes of them is in tests/behaviour/test_consumer_timeout.py."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.limits import DEFAULTS
from amqpd.channels.leases import LATE_TAGS_MAX, SWEEP_COUNT, LeaseLine, Leases, lease_ms
from amqpd.channels.unacked import Unacked
from amqpd.wire.outbox import Outbox
from tests.behaviour.harness import BrokerHarness
from tests.fakes.core import new_entry, new_queue

QUEUE = new_queue()
ENTRY = new_entry(1, QUEUE)


def new_leases(broker: BrokerHarness, unacked: Unacked) -> Leases:
    session = broker.broker.new_session(77, Outbox(77, []), broker.broker.vhosts["/"], "guest")
    return Leases(session, unacked)


@pytest.mark.parametrize(
    ("consumer_ms", "queue_ms", "server_ms", "found"),
    [
        (-1, -1, 0, 0),
        (-1, -1, 7, 7),
        (-1, 5, 7, 5),
        (-1, 9, 7, 9),
        (-1, 0, 7, 0),
        (3, 5, 7, 3),
        (8, 5, 7, 8),
        (0, 5, 7, 0),
    ],
)
def test_the_nearest_timeout_that_is_set_holds(consumer_ms: int, queue_ms: int, server_ms: int, found: int) -> None:
    queue = new_queue()
    queue.options.consumer_timeout_ms = queue_ms
    assert lease_ms(consumer_ms, queue, dataclasses.replace(DEFAULTS, consumer_timeout_ms=server_ms)) == found


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["add", "add", "settle", "look"]), st.integers(0, 50))),
)
def test_a_line_gives_what_is_unsettled_and_over_once_and_in_order(steps: list[tuple[int, str, int]]) -> None:
    unacked, line = Unacked(), LeaseLine(20)
    starts: dict[int, int] = {}
    now_ms, next_tag = 1000, 1
    for wait_ms, action, which in steps:
        now_ms += wait_ms
        if action == "add":
            unacked.add(next_tag, ENTRY)
            line.add(next_tag, now_ms, unacked)
            starts[next_tag] = now_ms
            next_tag += 1
        elif action == "settle":
            taken = unacked.take(which)
            assert (taken is not None) == (which in starts)
            starts.pop(which, None)
        else:
            due = [tag for tag, start_ms in starts.items() if now_ms - start_ms >= 20]
            assert line.take_due(now_ms, unacked, 1000) == due
            for tag in due:
                unacked.take(tag)
                del starts[tag]
    assert line.leases(unacked) == [(start_ms, tag) for tag, start_ms in starts.items()]


def test_settled_leases_do_not_gather() -> None:
    unacked, line = Unacked(), LeaseLine(1 << 40)
    unacked.add(1, ENTRY)
    line.add(1, 0, unacked)
    for tag in range(2, 20_000):
        unacked.add(tag, ENTRY)
        line.add(tag, tag, unacked)
        unacked.take(tag)
        assert line.count <= SWEEP_COUNT + 5
    assert line.leases(unacked) == [(0, 1)]


def test_a_line_that_runs_for_long_forgets_its_past() -> None:
    unacked, line = Unacked(), LeaseLine(10)
    for tag in range(1, 10_000):
        unacked.add(tag, ENTRY)
        line.add(tag, tag, unacked)
        for due in line.take_due(tag, unacked, 1000):
            unacked.take(due)
    assert len(line._tags) <= 2 * SWEEP_COUNT + 10
    assert line.count == 10


def test_lines_of_timeouts_that_nobody_has_any_more_are_dropped(broker: BrokerHarness) -> None:
    unacked = Unacked()
    leases = new_leases(broker, unacked)
    for tag in range(1, 101):
        unacked.add(tag, ENTRY)
        leases.begin(tag, tag)
    assert len(leases.lines) == 100
    due = leases.take_due(broker.broker.agenda.monotonic_ms + 40, 1000)
    assert due == [(tag, tag) for tag in range(1, 41)]
    unacked.take_through(90)
    assert leases.take_due(broker.broker.agenda.monotonic_ms + 40, 1000) == []
    assert sorted(leases.lines) == list(range(91, 101))


def test_a_late_tag_is_known_once() -> None:
    leases = BrokerHarness().connect().connection.channels[1].leases
    leases.note_late(5, None)
    assert not leases.take_late(4)
    assert leases.take_late(5)
    assert not leases.take_late(5)


def test_late_tags_are_bounded_and_the_newest_are_kept(broker: BrokerHarness) -> None:
    leases = new_leases(broker, Unacked())
    for tag in range(LATE_TAGS_MAX + 10):
        leases.note_late(tag, None)
    assert not leases.take_late(0)
    assert leases.take_late(LATE_TAGS_MAX // 2)
    assert leases.take_late(LATE_TAGS_MAX + 9)


def test_a_tag_that_was_begun_again_is_due_once_when_it_was_first_and_does_not_gather(broker: BrokerHarness) -> None:
    """A transaction takes it, and gives it back when it is rolled back; its first lease may not have been come across."""
    unacked = Unacked()
    leases = new_leases(broker, unacked)
    for tag in (1, 2):
        unacked.add(tag, ENTRY)
        leases.begin(tag, 50)
    for _ in range(3 * SWEEP_COUNT):
        leases.begin(1, 50)
    leases.begin(2, 70)
    now_ms = broker.broker.agenda.monotonic_ms
    assert leases.lines[50].count < 2 * SWEEP_COUNT
    assert leases.take_due(now_ms + 49, 1000) == []
    assert sorted(leases.take_due(now_ms + 70, 10_000)) in ([(1, 50), (2, 50)], [(1, 50), (2, 70)])
    assert leases.lines == {}


def test_no_more_are_taken_at_once_than_there_is_room_for_and_none_is_left_out(broker: BrokerHarness) -> None:
    unacked = Unacked()
    leases = new_leases(broker, unacked)
    for tag in range(1, 11):
        unacked.add(tag, ENTRY)
        leases.begin(tag, 50 + tag % 2)
    now_ms = broker.broker.agenda.monotonic_ms + 60
    found: list[int] = []
    while due := leases.take_due(now_ms, 3):
        assert len(due) <= 3
        for tag, _ in due:
            unacked.take(tag)
            found.append(tag)
    assert sorted(found) == list(range(1, 11))


def test_late_tags_of_all_channels_of_a_connection_are_bounded_together(broker: BrokerHarness) -> None:
    one = new_leases(broker, Unacked())
    session = one._session
    other = Leases(session, Unacked())
    for tag in range(LATE_TAGS_MAX - 3):
        one.note_late(tag, None)
    for tag in range(10):
        other.note_late(tag, None)
    assert session.late_count <= LATE_TAGS_MAX
    assert other.take_late(9)
    assert not other.take_late(0)
    assert one.take_late(0)
    one.forget_late()
    other.forget_late()
    assert session.late_count == 0
