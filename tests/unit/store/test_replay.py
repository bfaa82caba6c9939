from __future__ import annotations

import pytest

from amqpd.base.errors import UnknownFormat
from amqpd.base.message import Message, SegmentUse
from amqpd.store.batch import BatchHeader
from amqpd.store.checkpoint import CheckpointBuilder, CheckpointReader
from amqpd.store.log import Log, fresh_start
from amqpd.store.page import Page, PageWriter
from amqpd.store.record import queue_id_bytes
from amqpd.store.recovered import RecoveryReport
from amqpd.store.replay import Replay


def page_of(messages: list[Message]) -> Page:
    writer = PageWriter()
    for message in messages:
        writer.add_message(message, False, 0)
    return writer.finish()[0]


class Bench:
    """A log, and a replay that is fed each batch that the log seals."""

    def __init__(self, is_resident: bool = True) -> None:
        self.log = Log(fresh_start(5))
        self.report = RecoveryReport()
        self.segment = SegmentUse(1)
        self.segment.size_bytes = 1 << 20
        self.replay = Replay([7, 8], self.report, {1: self.segment}, [7, 8] if is_resident else [])

    def publish(self, *queue_ids: int) -> Message:
        message = Message(self.log.next_message_id(), b"\x00\x01q", b"header", b"body")
        self.log.append_message(message, b"".join(map(queue_id_bytes, queue_ids)), 55)
        return message

    def apply(self, times: int = 1, bodies_only: bool = False) -> None:
        batch = self.log.seal([])
        assert batch is not None
        data = bytes(batch.offset) + batch.encode_header(0) + batch.records
        for _ in range(times):
            self.replay.apply(data, BatchHeader(data, batch.offset), self.segment, bodies_only)

    def pages(self, queue_id: int) -> list[list[int]]:
        """The ids in each page, once all is finished."""
        pages = self.replay.pages.get(queue_id, [])
        return [[int(page.message_id(index)) for index in range(page.count)] for page in pages]

    def ids(self) -> dict[int, list[int]]:
        found = self.replay.finish(False)
        return {queue_id: [int(entry.message.message_id) for entry in entries] for queue_id, entries in found.items()}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_records_may_be_applied_any_number_of_times(times: int) -> None:
    bench = Bench()
    first = bench.publish(7, 8)
    second = bench.publish(7)
    bench.log.append_requeue(7, second, 4)
    bench.log.append_settle(7, first)
    bench.apply(times)
    found = bench.replay.finish(False)
    assert [entry.message.message_id for entry in found[7]] == [2]
    assert [entry.message.message_id for entry in found[8]] == [1]
    assert (found[7][0].delivery_count, found[7][0].redelivered) == (4, True)
    live_bytes = (first.logged_bytes >> 1) + second.logged_bytes
    assert (bench.segment.live_count, bench.segment.live_bytes) == (2, live_bytes)


def test_each_queue_gets_its_own_message_and_counts_with_its_share() -> None:
    bench = Bench()
    bench.publish(7, 8)
    bench.apply()
    found = bench.replay.finish(False)
    message = found[7][0].message
    for each in (message, found[8][0].message):
        assert (each.route_key, each.header, each.body) == (b"\x00\x01q", b"header", b"body")
        assert (each.enqueued_ms, each.holders, each.share_shift) == (55, 1, 1)
    assert (bench.segment.live_count, bench.segment.live_bytes) == (2, 2 * (message.logged_bytes >> 1))


def test_watermark_marks_everything_up_to_it_as_redelivered() -> None:
    bench = Bench()
    bench.publish(7)
    second = bench.publish(7)
    bench.publish(7)
    bench.log.append_delivered(7, second.message_id)
    bench.apply()
    assert [entry.redelivered for entry in bench.replay.finish(False)[7]] == [True, True, False]
    assert bench.replay.delivered_to == {7: 2}


@pytest.mark.parametrize("times", [1, 2])
def test_the_last_word_on_a_deduplication_id_counts(times: int) -> None:
    bench = Bench()
    bench.publish(7)
    for noted_ms, dedup_id in ((5, b"a"), (6, b"b"), (7, b"a")):
        bench.log.append_dedup(7, noted_ms, -1, dedup_id)
    bench.log.append_dedup(8, 9, 500, b"")
    bench.log.append_dedup(9, 9, -1, b"of a queue that is gone")
    bench.apply(times)
    found = bench.replay.dedup_ids
    assert [(each.dedup_id, each.noted_ms, each.ttl_ms) for each in found[7].values()] == [(b"b", 6, -1), (b"a", 7, -1)]
    assert [(each.dedup_id, each.noted_ms, each.ttl_ms) for each in found[8].values()] == [(b"", 9, 500)]
    assert list(found) == [7, 8]
    assert bench.replay.next_queue_id == 10


def test_before_the_checkpoint_no_id_is_taken() -> None:
    bench = Bench()
    bench.log.append_dedup(7, 5, -1, b"a")
    bench.publish(7)
    bench.apply(bodies_only=True)
    assert bench.replay.dedup_ids == {}
    assert bench.report.record_count == 2


def test_records_of_unknown_queues_are_counted_and_dropped() -> None:
    bench = Bench()
    message = bench.publish(9)
    bench.log.append_requeue(9, message, 1)
    bench.log.append_delivered(9, 1)
    bench.log.append_settle(9, message)
    bench.apply()
    assert bench.ids() == {7: [], 8: []}
    assert bench.report.unknown_queue_count == 2
    assert bench.replay.next_queue_id == 10


def test_settle_of_an_unknown_message_is_counted() -> None:
    bench = Bench()
    message = bench.publish(7)
    bench.log.append_settle(7, message)
    message.holders = 1
    bench.log.append_settle(7, message)
    bench.apply()
    assert bench.report.unknown_settle_count == 1


def test_before_the_checkpoint_only_bodies_that_it_asks_for_are_taken() -> None:
    bench = Bench()
    bench.publish(7)
    bench.apply(bodies_only=True)
    assert bench.ids() == {7: [], 8: []}
    assert bench.replay.next_message_id == 2


def test_moved_message_is_at_its_new_address() -> None:
    bench = Bench()
    message = bench.publish(7)
    bench.log.append_move(7, message)
    bench.apply()
    assert bench.replay.finish(False)[7][0].message.offset == message.offset
    assert bench.segment.live_count == 1


def test_a_move_is_for_the_queue_that_it_names() -> None:
    bench = Bench()
    message = bench.publish(7, 8)
    moved = bench.log.append_move(8, message)
    bench.apply()
    found = bench.replay.finish(False)
    assert (found[7][0].message.offset, found[8][0].message.offset) == (message.offset, moved.offset)
    assert (found[7][0].message.share_shift, found[8][0].message.share_shift) == (1, 0)
    assert bench.segment.live_bytes == (message.logged_bytes >> 1) + moved.logged_bytes


def test_move_of_a_settled_message_brings_nothing_back() -> None:
    bench = Bench()
    message = bench.publish(7)
    bench.log.append_settle(7, message)
    message.holders = 1
    bench.log.segment.live_count += 1
    bench.log.append_move(7, message)
    bench.apply()
    assert bench.ids() == {7: [], 8: []}


@pytest.mark.parametrize("kind", [0, 10, 31, 32, 255])
def test_batch_with_an_unknown_kind_is_refused_whole(kind: int) -> None:
    bench = Bench()
    bench.publish(7)
    batch = bench.log.seal([])
    assert batch is not None
    batch.records += bytes([kind]) + bytes(40)
    batch.record_count += 1
    data = bytes(batch.offset) + batch.encode_header(0) + batch.records
    with pytest.raises(UnknownFormat):
        bench.replay.apply(data, BatchHeader(data, batch.offset), bench.segment, False)
    assert bench.ids() == {7: [], 8: []}


def test_what_was_on_disk_for_want_of_memory_is_nothing_to_a_restart() -> None:
    bench = Bench()
    first = bench.publish(7)
    spilled = bench.log.append_spilled(Message(bench.log.next_message_id(), b"\x00\x01q", b"header", b"body"), 55)
    last = bench.publish(7)
    bench.apply()
    assert bench.ids()[7] == [first.message_id, last.message_id]
    assert bench.segment.live_count == 2
    assert bench.replay.next_message_id > spilled.message_id


@pytest.mark.parametrize("times", [1, 2])
def test_a_retry_says_when_it_is_ready_and_a_later_requeue_that_it_is(times: int) -> None:
    bench = Bench()
    waits = bench.publish(7)
    back = bench.publish(7)
    for message in (waits, back):
        bench.log.append_retry(7, message, 2, 1_700_000_000_123)
    bench.log.append_requeue(7, back, 3)
    bench.log.append_retry(9, waits, 1, 5)
    bench.apply(times)
    found = bench.replay.finish(False)[7]
    assert [(each.delivery_count, each.redelivered, each.ready_at_ms) for each in found] == [
        (2, True, 1_700_000_000_123),
        (3, True, 0),
    ]


def test_a_checkpoint_says_who_waits() -> None:
    bench = Bench()
    message = bench.publish(7)
    builder = CheckpointBuilder(bench.log, 1)
    builder.add(7, message, 4, True)
    builder.add_waiting(7, message, 1_700_000_000_123)
    # Of a queue that is gone, and of a message that is.
    builder.add_waiting(9, message, 1)
    builder.add_waiting(8, message, 1)
    bench.replay.load(CheckpointReader(b"".join(builder.finish().blocks()), 5, ""))
    assert bench.replay.wanted_segments() == [1]
    bench.apply(bodies_only=True)
    found = bench.replay.finish(False)
    assert [(each.delivery_count, each.redelivered, each.ready_at_ms) for each in found[7]] == [
        (4, True, 1_700_000_000_123)
    ]
    assert found[7][0].message.body == b"body"
    assert found[8] == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_range_of_settles_is_every_settle_in_it(times: int) -> None:
    bench = Bench(is_resident=False)
    messages = [bench.publish(7, 8) for _ in range(6)]
    page = page_of(messages[1:4])
    bench.log.settle_page(7, page, True)
    bench.apply(times)
    assert bench.replay.wanted_segments() == []
    bench.replay.finish(False)
    assert bench.pages(7) == [[1, 5, 6]]
    assert bench.pages(8) == [[1, 2, 3, 4, 5, 6]]
    assert bench.segment.live_count == 9


def test_of_a_queue_that_may_be_on_disk_only_addresses_are_kept() -> None:
    bench = Bench(is_resident=False)
    messages = [bench.publish(7) for _ in range(3)]
    bench.log.append_requeue(7, messages[0], 3)
    bench.apply()
    assert bench.replay.wanted_segments() == []
    assert bench.ids() == {7: [], 8: []}
    (page,) = bench.replay.pages[7]
    assert [page.offset(index) for index in range(3)] == [message.offset for message in messages]
    assert [page.redelivered(index) for index in range(3)] == [True, False, False]
    assert [page.delivery_count(message_id) for message_id in (1, 2, 3)] == [3, 0, 0]
    assert (bench.segment.live_count, bench.segment.live_bytes) == (3, sum(each.logged_bytes for each in messages))


def test_a_message_with_a_time_of_its_own_is_kept_whole_among_others_that_are_not() -> None:
    bench = Bench(is_resident=False)
    bench.publish(7)
    timed = Message(bench.log.next_message_id(), b"\x00\x01q", b"\x00\x3c" + bytes(10) + b"\x01\x00\x0210", b"timed")
    bench.log.append_message(timed, queue_id_bytes(7), 55)
    bench.publish(7)
    bench.apply()
    found = bench.replay.finish(False)
    assert [(entry.message.message_id, entry.message.body) for entry in found[7]] == [(2, b"timed")]
    assert bench.pages(7) == [[1], [3]]


def test_a_queue_with_something_that_waits_is_in_memory_as_a_whole() -> None:
    bench = Bench(is_resident=False)
    messages = [bench.publish(7) for _ in range(3)]
    builder = CheckpointBuilder(bench.log, 1)
    builder.add_page(7, page_of(messages))
    data = b"".join(builder.finish().blocks())
    bench.replay.load(CheckpointReader(data, 5, ""))
    published = bench.log.seal([])
    assert published is not None
    bench.log.append_retry(7, messages[1], 2, 1_700_000_000_123)
    bench.apply()
    assert bench.replay.wanted_segments() == [1]
    whole = bytes(published.offset) + published.encode_header(0) + published.records
    bench.replay.apply(whole, BatchHeader(whole, published.offset), bench.segment, True)
    found = bench.replay.finish(False)
    assert [(entry.message.message_id, entry.message.body) for entry in found[7]] == [
        (1, b"body"),
        (2, b"body"),
        (3, b"body"),
    ]
    assert [entry.ready_at_ms for entry in found[7]] == [0, 1_700_000_000_123, 0]


def test_pages_of_a_checkpoint_are_taken_as_they_are_and_what_left_since_is_out() -> None:
    bench = Bench(is_resident=False)
    messages = [bench.publish(7) for _ in range(600)]
    builder = CheckpointBuilder(bench.log, 1)
    writer = PageWriter()
    for message in messages:
        writer.add_message(message, False, 5 if message.message_id == 2 else 0)
    for page in writer.finish():
        builder.add_page(7, page)
    builder.add_page(9, page_of(messages))
    bench.replay.load(CheckpointReader(b"".join(builder.finish().blocks()), 5, ""))
    assert bench.report.unknown_queue_count == 1
    bench.log.seal([])
    bench.log.append_settle(7, messages[299])
    bench.apply(2)
    assert bench.replay.wanted_segments() == []
    bench.replay.finish(True)
    ids = [message_id for page in bench.pages(7) for message_id in page]
    assert ids == [message_id for message_id in range(1, 601) if message_id != 300]
    assert bench.segment.live_count == 599
    assert bench.replay.pages[7][0].delivery_count(2) == 5
    assert all(page.redelivered(0) for page in bench.replay.pages[7])


@pytest.mark.parametrize(
    ("segment_number", "short_by", "left"), [(2, 0, []), (1, 1, [1, 2, 3, 4]), (1, 0, [1, 2, 3, 4, 5])]
)
def test_what_was_in_a_segment_that_is_gone_or_too_short_is_lost(
    segment_number: int, short_by: int, left: list[int]
) -> None:
    bench = Bench(is_resident=False)
    page = page_of([bench.publish(7) for _ in range(5)])
    page.segment.number = segment_number
    bench.segment.size_bytes = page.end - short_by
    builder = CheckpointBuilder(bench.log, 1)
    builder.add_page(7, page)
    bench.replay.load(CheckpointReader(b"".join(builder.finish().blocks()), 5, ""))
    assert bench.replay.wanted_segments() == []
    bench.replay.finish(False)
    assert [message_id for ids in bench.pages(7) for message_id in ids] == left
    assert bench.report.missing_counts == ({7: 5 - len(left)} if len(left) < 5 else {})
    assert bench.segment.live_count == len(left)


def test_what_was_moved_since_the_checkpoint_is_not_lost_with_its_old_segment() -> None:
    bench = Bench(is_resident=False)
    messages = [bench.publish(7) for _ in range(5)]
    builder = CheckpointBuilder(bench.log, 1)
    page = page_of(messages)
    page.segment.number = 2
    builder.add_page(7, page)
    bench.replay.load(CheckpointReader(b"".join(builder.finish().blocks()), 5, ""))
    page.segment.number = 1
    bench.log.seal([])
    for message in messages:
        bench.log.append_move(7, message)
    bench.apply()
    assert bench.replay.wanted_segments() == []
    bench.replay.finish(False)
    assert bench.report.missing_counts == {}
    assert bench.pages(7) == [[1, 2, 3, 4, 5]]
    assert [bench.replay.pages[7][0].offset(index) for index in range(5)] == [each.offset for each in messages]
