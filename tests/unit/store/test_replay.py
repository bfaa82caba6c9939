from __future__ import annotations

import pytest

from amqpd.base.message import Message, SegmentUse
from amqpd.store.batch import BatchHeader
from amqpd.store.checkpoint import CheckpointBuilder, CheckpointReader
from amqpd.store.log import Log, fresh_start
from amqpd.store.record import queue_id_bytes
from amqpd.store.recovered import RecoveryReport
from amqpd.store.replay import Replay
from amqpd.store.segment import UnknownFormat


class Bench:
    """A log, and a replay that is fed each batch that the log seals."""

    def __init__(self) -> None:
        self.log = Log(fresh_start(5))
        self.report = RecoveryReport()
        self.replay = Replay([7, 8], self.report)
        self.segment = SegmentUse(1)

    def publish(self, *queue_ids: int) -> Message:
        message = Message(self.log.next_message_id(), b"\x00\x01q", b"header", b"body")
        self.log.append_message(message, b"".join(map(queue_id_bytes, queue_ids)), 55)
        return message

    def apply(self, times: int = 1, bodies_only: bool = False) -> None:
        batch = self.log.seal([])
        assert batch is not None
        data = batch.encode_header(0) + batch.records
        for _ in range(times):
            self.replay.apply(data, BatchHeader(data, 0), self.segment, bodies_only)

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
    assert (bench.segment.live_count, bench.segment.live_bytes) == (2, first.logged_bytes + second.logged_bytes)


def test_message_comes_back_whole_and_shared() -> None:
    bench = Bench()
    bench.publish(7, 8)
    bench.apply()
    found = bench.replay.finish(False)
    message = found[7][0].message
    assert message is found[8][0].message
    assert (message.route_key, message.header, message.body) == (b"\x00\x01q", b"header", b"body")
    assert (message.enqueued_ms, message.holders) == (55, 2)


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
    bench.log.append_move(message)
    bench.apply()
    assert bench.replay.finish(False)[7][0].message.offset == message.offset - 48
    assert bench.segment.live_count == 1


def test_move_of_a_settled_message_brings_nothing_back() -> None:
    bench = Bench()
    message = bench.publish(7)
    bench.log.append_settle(7, message)
    message.holders = 1
    bench.log.segment.live_count += 1
    bench.log.append_move(message)
    bench.apply()
    assert bench.ids() == {7: [], 8: []}


@pytest.mark.parametrize("kind", [0, 6, 31, 32, 255])
def test_batch_with_an_unknown_kind_is_refused_whole(kind: int) -> None:
    bench = Bench()
    bench.publish(7)
    batch = bench.log.seal([])
    assert batch is not None
    batch.records += bytes([kind]) + bytes(40)
    batch.record_count += 1
    data = batch.encode_header(0) + batch.records
    with pytest.raises(UnknownFormat):
        bench.replay.apply(data, BatchHeader(data, 0), bench.segment, False)
    assert bench.ids() == {7: [], 8: []}


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
    bench.replay.load(CheckpointReader(builder.finish().data, 5, ""))
    bench.apply(bodies_only=True)
    found = bench.replay.finish(False)
    assert [(each.delivery_count, each.redelivered, each.ready_at_ms) for each in found[7]] == [
        (4, True, 1_700_000_000_123)
    ]
    assert found[8] == []
