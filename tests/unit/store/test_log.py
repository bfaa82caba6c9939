from __future__ import annotations

import pytest

from amqpd.base.message import Message
from amqpd.store.batch import BATCH_HEADER_SIZE
from amqpd.store.log import Log, fresh_start
from amqpd.store.page import Page, PageWriter, Piece
from amqpd.store.record import SETTLE, SETTLES, SETTLES_SIZE, SPILLED, TOPOLOGY, queue_id_bytes, record_size
from amqpd.store.segment import SEGMENT_HEADER_SIZE
from amqpd.store.topology import VHOSTS, VhostRow, put


def make(segment_bytes: int = 1 << 20) -> Log:
    return Log(fresh_start(5), segment_bytes)


def publish(log: Log, *queue_ids: int, body: bytes = b"body") -> Message:
    message = Message(log.next_message_id(), b"\x00\x01q", b"header", body)
    log.append_message(message, b"".join(map(queue_id_bytes, queue_ids)), 123)
    return message


def test_every_message_gets_a_larger_id() -> None:
    log = make()
    assert [log.next_message_id() for _ in range(3)] == [1, 2, 3]
    assert log.peek_message_id() == 4


def test_fresh_log_has_nothing_to_seal() -> None:
    log = make()
    assert not log.dirty
    assert log.seal([]) is None
    assert log.mark == 1


def test_message_address_is_where_its_record_ends_up_in_the_file() -> None:
    log = make()
    first = publish(log, 7)
    second = publish(log, 7, 8)
    batch = log.seal([])
    assert batch is not None
    file = bytes(SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE) + batch.records
    for message in (first, second):
        assert file[message.offset] == 1
        assert int.from_bytes(file[message.offset + 1 : message.offset + 9], "little") == message.message_id
    assert second.offset + second.logged_bytes == len(file)
    third = publish(log, 7)
    assert third.offset == len(file) + BATCH_HEADER_SIZE


def test_seal_takes_everything_and_counts_marks() -> None:
    log = make()
    message = publish(log, 7)
    log.append_requeue(7, message, 1)
    log.append_delivered(7, message.message_id)
    log.append_settle(7, message)
    assert log.pending_bytes == message.logged_bytes + 17 + 13 + 13
    end = log.end_position
    batch = log.seal([])
    assert batch is not None
    assert (batch.mark, batch.record_count, len(batch.records)) == (1, 4, message.logged_bytes + 43)
    assert (batch.segment_number, batch.offset, batch.position) == (1, SEGMENT_HEADER_SIZE, 0)
    assert (log.mark, log.dirty, log.pending_bytes) == (2, False, 0)
    assert log.position == end == BATCH_HEADER_SIZE + len(batch.records)


def test_topology_alone_takes_a_mark_but_no_place_in_the_log() -> None:
    log = make()
    batch = log.seal([put(VHOSTS, VhostRow("/").row())])
    assert batch is not None
    assert (batch.mark, batch.records, len(batch.topology)) == (1, b"", 1)
    assert (log.mark, log.position, log.offset) == (2, 0, SEGMENT_HEADER_SIZE)


def test_message_is_live_until_its_last_queue_has_settled_it() -> None:
    log = make()
    message = publish(log, 7, 8)
    assert message.holders == 2
    # Each holder counts, with its share.
    assert (log.segment.live_count, log.segment.live_bytes) == (2, message.logged_bytes // 2 * 2)
    log.append_settle(7, message)
    assert (log.segment.live_count, log.segment.live_bytes) == (1, message.logged_bytes // 2)
    log.release(message)
    assert (log.segment.live_count, log.segment.live_bytes, log.live_bytes) == (0, 0, 0)


def test_settling_more_often_than_held_is_our_bug() -> None:
    log = make()
    message = publish(log, 7)
    log.append_settle(7, message)
    with pytest.raises(AssertionError):
        log.append_settle(7, message)


def test_full_segment_is_followed_by_a_new_one() -> None:
    log = make(1000)
    old = publish(log, 7, body=b"x" * 2000)
    first = log.seal([])
    new = publish(log, 7)
    second = log.seal([])
    assert first is not None
    assert second is not None
    assert (first.segment_number, second.segment_number, second.offset) == (1, 2, SEGMENT_HEADER_SIZE)
    assert second.position == BATCH_HEADER_SIZE + len(first.records)
    assert old.segment is log.segments[0]
    assert new.segment is log.segments[1]
    assert log.segments[0].size_bytes == SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE + len(first.records)


def test_move_gives_a_message_a_new_address_and_empties_the_old_segment() -> None:
    log = make(1000)
    message = publish(log, 7, body=b"x" * 2000)
    log.seal([])
    old = message.segment
    assert old is not None
    assert log.append_move(7, message) is message
    assert message.segment is log.segment is not old
    assert (old.live_count, old.live_bytes) == (0, 0)
    assert (log.segment.live_count, message.holders, log.live_bytes) == (1, 1, message.logged_bytes)


def test_move_of_a_shared_message_leaves_it_where_it_is_for_the_others() -> None:
    log = make(1000)
    message = publish(log, 7, 8, body=b"x" * 2000)
    message.ttl_ms = 5
    log.seal([])
    old = message.segment
    assert old is not None
    moved = log.append_move(7, message)
    assert moved is not message
    assert (moved.message_id, moved.body, moved.ttl_ms, moved.enqueued_ms) == (1, message.body, 5, 123)
    assert (message.segment, message.holders, moved.segment, moved.holders) == (old, 1, log.segment, 1)
    assert (old.live_count, old.live_bytes) == (1, message.logged_bytes // 2)
    assert (log.segment.live_count, log.segment.live_bytes) == (1, moved.logged_bytes)
    assert log.append_move(8, message) is message
    assert (old.live_count, old.live_bytes) == (0, 0)
    log.append_settle(7, moved)
    log.append_settle(8, message)
    assert (log.segment.live_count, log.live_bytes) == (0, 0)


@pytest.mark.parametrize("queue_count", [1, 2, 3, 5, 40])
def test_shares_of_all_holders_together_are_never_more_than_the_message(queue_count: int) -> None:
    log = make()
    message = publish(log, *range(1, queue_count + 1), body=b"x" * 999)
    assert log.segment.live_count == queue_count
    assert message.logged_bytes // 3 < log.live_bytes <= message.logged_bytes
    for queue_id in range(1, queue_count + 1):
        log.append_settle(queue_id, message)
    assert (log.segment.live_count, log.segment.live_bytes, log.live_bytes) == (0, 0, 0)


def page_of(*messages: Message) -> Page:
    writer = PageWriter()
    for message in messages:
        writer.add_message(message, False, 0)
    (page,) = writer.finish()
    return page


def test_a_page_is_settled_as_a_range_or_one_by_one() -> None:
    log = make()
    messages = [publish(log, 7) for _ in range(3)]
    log.seal([])
    log.settle_page(7, page_of(messages[0], messages[1]), True)
    assert (log.segment.live_count, log.live_bytes) == (1, messages[2].logged_bytes)
    log.settle_page(7, page_of(messages[2]), False)
    assert (log.segment.live_count, log.segment.live_bytes, log.live_bytes) == (0, 0, 0)
    batch = log.seal([])
    assert batch is not None
    assert batch.record_count == 2
    assert [batch.records[0], batch.records[SETTLES_SIZE]] == [SETTLES, SETTLE]


def test_a_page_is_released_without_a_record_and_given_up_with_one() -> None:
    log = make()
    messages = [publish(log, 7, 8) for _ in range(3)]
    log.seal([])
    log.release_page(page_of(*messages))
    assert (log.dirty, log.segment.live_count) == (False, 3)
    for index in range(3):
        log.settle_one(8, page_of(*messages), index)
    assert (log.segment.live_count, log.segment.live_bytes, log.live_bytes) == (0, 0, 0)
    batch = log.seal([])
    assert batch is not None
    assert batch.record_count == 3


def test_what_is_on_disk_for_want_of_memory_has_a_place_and_nothing_else() -> None:
    log = make()
    message = Message(log.next_message_id(), b"\x00\x01q", b"header", b"body")
    spilled = log.append_spilled(message, 55)
    assert (message.segment, message.holders, message.enqueued_ms) == (None, 0, 0)
    assert (spilled.message_id, spilled.segment, spilled.holders) == (message.message_id, log.segment, 1)
    assert log.segment.live_count == 1
    writer = PageWriter(True)
    writer.add_message(spilled, False, 0)
    (page,) = writer.finish()
    batch = log.seal([])
    assert batch is not None
    assert (batch.record_count, batch.records[0]) == (1, SPILLED)
    (back,) = page.messages([Piece(batch.offset + BATCH_HEADER_SIZE, batch.records)])
    assert back is not None
    assert (back.body, back.enqueued_ms, back.segment) == (b"body", 55, None)
    log.settle_page(7, page, True)
    assert (log.dirty, log.segment.live_count, log.live_bytes) == (False, 0, 0)


def test_log_goes_on_where_its_start_says() -> None:
    start = fresh_start(5)
    start.segment.number = 9
    start.segment.live_bytes = 30
    start.offset, start.position, start.mark, start.epoch, start.next_message_id = 500, 10_000, 77, 4, 1234
    log = Log(start)
    message = publish(log, 7)
    batch = log.seal([])
    assert batch is not None
    assert (batch.segment_number, batch.offset, batch.position, batch.mark, batch.epoch) == (9, 500, 10_000, 77, 4)
    assert message.message_id == 1234
    assert log.live_bytes == 30 + message.logged_bytes


def of_version(version: int, segment_bytes: int = 1 << 20) -> Log:
    start = fresh_start(1)
    start.topology_version = version
    return Log(start, segment_bytes)


def versions_said(log: Log, *topology: int) -> list[list[int]]:
    """What each of these batches says of the topology; the numbers are how many changes go with it."""
    said = []
    for count in topology:
        publish(log, 1)
        batch = log.seal([put(VHOSTS, VhostRow("/").row())] * count)
        assert batch is not None
        found = []
        at, records = 0, 0
        while at < len(batch.records):
            if batch.records[at] == TOPOLOGY:
                found.append(int.from_bytes(batch.records[at + 1 : at + 9], "little"))
            at += record_size(batch.records, at, len(batch.records))
            records += 1
        assert records == batch.record_count
        said.append(found)
    return said


def test_a_start_and_every_batch_behind_a_change_of_the_topology_says_how_far_it_was() -> None:
    assert versions_said(of_version(4), 0, 0, 2, 0, 0, 1, 1, 0) == [[4], [], [], [5], [], [], [6], [7]]


def test_every_segment_says_it_once_more() -> None:
    assert versions_said(of_version(4, segment_bytes=300), 0, 0, 0, 0, 0, 0)[::3] == [[4], [4]]


def test_changes_alone_are_counted_and_said_with_the_next_message() -> None:
    log = of_version(1)
    for _ in range(3):
        batch = log.seal([put(VHOSTS, VhostRow("/").row())])
        assert batch is not None
        assert batch.records == b""
    assert versions_said(log, 0) == [[4]]


def test_without_a_topology_that_is_counted_nothing_is_said() -> None:
    assert versions_said(make(), 0, 1, 0) == [[], [], []]
