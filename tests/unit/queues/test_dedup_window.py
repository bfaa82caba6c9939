from __future__ import annotations

import pytest

from amqpd.queues.agenda import Agenda
from amqpd.queues.dedup_window import COMPACT_COUNT, IDS_MAX, DedupWindow, Note
from amqpd.store.checkpoint import DEDUP, CheckpointBuilder, CheckpointReader
from amqpd.store.recovered import RecoveredId
from tests.fakes.core import new_agenda

WALL_MS = 1_000_000


def new_window(window_ms: int = 1000, ids_max: int = 10, owner_id: int = 7) -> tuple[Agenda, DedupWindow]:
    agenda = new_agenda()
    agenda.wall_ms = WALL_MS
    return agenda, DedupWindow("queue 'q' in vhost '/'", owner_id, window_ms, ids_max, agenda)


def advance(agenda: Agenda, ms: int) -> None:
    agenda.monotonic_ms += ms
    agenda.wall_ms += ms
    agenda.wheel.advance(agenda.monotonic_ms)


def listed(agenda: Agenda, window: DedupWindow) -> list[tuple[bytes, int, int]]:
    builder = CheckpointBuilder(agenda.log, 1)
    window.describe_to(builder)
    reader = CheckpointReader(b"".join(builder.finish().blocks()), 1, "")
    found = []
    while reader.next():
        assert (reader.kind, reader.queue_id) == (DEDUP, 7)
        found.append((reader.dedup_id, int(reader.noted_ms), int(reader.ttl_ms)))
    return found


def test_an_id_is_known_from_its_note_to_the_end_of_the_window() -> None:
    agenda, window = new_window()
    assert not window.has(b"a")
    window.note(b"a", -1, False)
    assert window.has(b"a") and not window.has(b"b")
    advance(agenda, 999)
    assert window.has(b"a")
    advance(agenda, 1)
    assert not window.has(b"a")


def test_the_window_begins_with_the_first_note() -> None:
    agenda, window = new_window()
    window.note(b"a", -1, False)
    advance(agenda, 900)
    window.note(b"a", -1, False)
    advance(agenda, 100)
    assert not window.has(b"a")
    window.note(b"a", -1, False)
    advance(agenda, 900)
    assert window.has(b"a")


def test_ids_leave_by_themselves_when_their_time_is_over() -> None:
    agenda, window = new_window()
    for number in range(10):
        window.note(b"%d" % number, -1, False)
        advance(agenda, 100)
    assert agenda.wheel.count == 1
    for _ in range(30):
        advance(agenda, 100)
    assert window.count == 0
    assert agenda.wheel.count == 0


def test_the_oldest_goes_when_there_are_too_many_and_the_operator_hears_of_it() -> None:
    agenda, window = new_window(ids_max=3)
    for number in range(5):
        window.note(b"%d" % number, -1, False)
    assert [window.has(b"%d" % number) for number in range(5)] == [False, False, True, True, True]
    assert window.evicted_count == 2
    assert agenda.lines == [
        "queue 'q' in vhost '/' had more than 3 deduplication ids within its window and forgets the oldest (1 so far)"
    ]
    assert DedupWindow("", 0, 1, IDS_MAX + 1, agenda).ids_max == IDS_MAX


def test_without_a_window_only_newer_ids_push_one_out() -> None:
    agenda, window = new_window(window_ms=-1, ids_max=2)
    window.note(b"a", -1, False)
    advance(agenda, 10**10)
    assert window.has(b"a")
    assert agenda.wheel.count == 0
    window.note(b"b", -1, False)
    window.note(b"c", -1, False)
    assert not window.has(b"a")
    assert agenda.lines == []


def test_an_id_may_have_a_time_of_its_own() -> None:
    agenda, window = new_window()
    window.note(b"short", 100, False)
    window.note(b"long", 5000, False)
    window.note(b"none", 0, False)
    assert not window.has(b"none")
    advance(agenda, 100)
    assert not window.has(b"short")
    window.note(b"short", -1, False)
    advance(agenda, 950)
    assert window.has(b"short")
    advance(agenda, 3949)
    assert window.has(b"long")
    advance(agenda, 1)
    assert not window.has(b"long")


def test_an_id_that_came_again_late_keeps_its_later_place() -> None:
    agenda, window = new_window(ids_max=2)
    window.note(b"a", 100, False)
    window.note(b"b", -1, False)
    advance(agenda, 200)
    window.note(b"a", -1, False)
    window.note(b"c", -1, False)
    assert [window.has(each) for each in (b"a", b"b", b"c")] == [True, False, True]


@pytest.mark.parametrize("window_ms", [1000, -1])
def test_what_is_used_up_is_cut_off(window_ms: int) -> None:
    agenda, window = new_window(window_ms, ids_max=5)
    for number in range(COMPACT_COUNT * 3):
        window.note(b"%d" % number, -1, False)
    assert window.count == 5
    assert len(window._order) <= COMPACT_COUNT + 5
    assert agenda.wheel.count == (0 if window_ms < 0 else 1)


def test_other_bounds_hold_at_once() -> None:
    agenda, window = new_window(window_ms=10_000)
    for number in range(5):
        window.note(b"%d" % number, -1, False)
        advance(agenda, 100)
    window.set_bounds(400, 10)
    assert [window.has(b"%d" % number) for number in range(5)] == [False, False, True, True, True]
    window.set_bounds(400, 1)
    assert window.count == 1
    window.set_bounds(60_000, 10)
    advance(agenda, 50_000)
    assert window.has(b"4")


def test_a_closed_window_knows_nothing_and_leaves_no_timer() -> None:
    agenda, window = new_window()
    window.note(b"a", -1, False)
    window.close()
    assert not window.has(b"a")
    advance(agenda, 5000)
    assert agenda.wheel.count == 0


def test_only_what_is_durable_is_logged_and_listed() -> None:
    agenda, window = new_window()
    window.note(b"durable", -1, True)
    window.note(b"durable", -1, True)
    window.note(b"transient", -1, False)
    batch = agenda.log.seal([])
    assert batch is not None and batch.record_count == 1
    assert listed(agenda, window) == [(b"durable", WALL_MS, -1)]
    advance(agenda, 1000)
    assert listed(agenda, window) == []
    _, in_memory = new_window(owner_id=0)
    in_memory.note(b"a", -1, True)
    assert not in_memory._agenda.log.dirty


def test_after_a_restart_an_id_counts_for_what_was_left_of_its_time() -> None:
    agenda, window = new_window()
    window.restore(
        [
            RecoveredId(b"over", WALL_MS - 1000, -1),
            RecoveredId(b"own", WALL_MS - 2000, 5000),
            RecoveredId(b"half", WALL_MS - 500, -1),
            RecoveredId(b"from the future", WALL_MS + 99_000, -1),
        ]
    )
    assert not window.has(b"over") and window.has(b"own") and window.has(b"half")
    assert listed(agenda, window) == [
        (b"own", WALL_MS - 2000, 5000),
        (b"half", WALL_MS - 500, -1),
        (b"from the future", WALL_MS, -1),
    ]
    advance(agenda, 500)
    assert not window.has(b"half")
    advance(agenda, 500)
    assert not window.has(b"from the future")
    advance(agenda, 5000)
    assert window.count == 0


def test_a_note_knows_whether_somebody_was_first() -> None:
    _, window = new_window()
    note = Note(window, b"a", -1)
    assert not note.is_known
    window.note(b"a", -1, False)
    assert note.is_known
