"""Orderly cases; what crashes and damage do is in tests/crash."""

from __future__ import annotations

import errno

import pytest

from amqpd.store.log import Log
from amqpd.store.recovery import recover
from amqpd.store.segment import SEGMENT_HEADER_SIZE, SegmentWriter
from tests.fakes.faulty_disk import KEPT, FakeFile, FaultyDisk
from tests.fakes.store_model import LOG_ID, StoreModel, found_state


def test_empty_disk_is_a_fresh_log() -> None:
    recovered = recover(FaultyDisk(), LOG_ID, [1])
    start = recovered.start
    assert recovered.queues == {1: []}
    assert (start.segment.number, start.offset, start.position) == (1, SEGMENT_HEADER_SIZE, 0)
    assert (start.mark, start.epoch, start.next_message_id, start.previous_crc) == (1, 1, 1, 0)
    assert recovered.report.damage == recovered.report.notices == []


def test_clean_stop_goes_on_in_the_same_segment_and_trusts_the_watermark() -> None:
    model = StoreModel(FaultyDisk(), [1])
    delivered = model.publish(b"delivered", 1)
    model.publish(b"waiting", 1)
    model.log.append_delivered(1, delivered.message_id)
    model.commit()
    effects = len(model.disk.effects)
    recovered = recover(model.disk, LOG_ID, [1], int(model.log.position))
    assert len(model.disk.effects) == effects
    assert (recovered.start.segment.number, recovered.start.offset) == (1, model.log.offset)
    assert (recovered.start.position, recovered.start.mark) == (model.log.position, model.log.mark)
    assert [entry.redelivered for entry in recovered.queues[1]] == [True, False]
    assert recovered.start.segment.live_count == 2


def test_unclean_stop_writes_the_last_batch_again_and_flags_everything_as_redelivered() -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"first", 1)
    model.commit()
    model.publish(b"last", 1)
    model.commit()
    recovered = recover(model.disk, LOG_ID, [1])
    first, last = recovered.queues[1]
    assert first.message.segment is not None
    assert last.message.segment is not None
    assert (first.message.segment.number, last.message.segment.number) == (1, 2)
    assert recovered.start.segment is last.message.segment
    assert recovered.start.offset == len(model.disk.segments[2].content)
    assert model.disk.segments[2].unsynced == b""
    assert [entry.redelivered for entry in recovered.queues[1]] == [True, True]


def test_log_goes_on_after_recovery() -> None:
    disk = FaultyDisk()
    for round_number in range(6):
        model = StoreModel(disk, [1, 2])
        model.publish(b"%d" % round_number, 1)
        model.publish(b"shared %d" % round_number, 1, 2)
        model.settle_oldest(2)
        model.commit()
        disk = model.disk.survivor(KEPT)
        assert found_state(recover(disk.survivor(KEPT), LOG_ID, [1, 2])) == model.state()


def test_checkpoint_spares_reading_segments_without_live_messages() -> None:
    model = StoreModel(FaultyDisk(), [1], 1024)
    for _ in range(20):
        model.publish(b"x" * 500, 1)
        model.commit()
        model.settle_oldest(1)
    model.publish(b"kept", 1)
    model.commit()
    model.checkpoint()
    recovered = recover(model.disk.survivor(KEPT), LOG_ID, [1])
    assert found_state(recovered) == model.state()
    assert recovered.report.segment_count <= 2
    assert recovered.report.checkpoint_generation == 1
    assert recovered.next_generation == 2
    assert len(recovered.start.sealed_segments) == len(model.disk.segments)


def test_full_replay_equals_checkpoint_and_replay() -> None:
    model = StoreModel(FaultyDisk(), [1, 2], 1024)
    for step in range(60):
        model.publish(b"x" * (step * 13 % 300), 1, 2)
        model.commit()
        model.settle_oldest(1 + step % 2)
        if step % 20 == 10:
            model.begin_checkpoint()
            model.feed(1)
        if step % 20 == 15:
            model.feed(2)
            model.finish_checkpoint()
    model.commit()
    with_checkpoint = recover(model.disk.survivor(KEPT), LOG_ID, [1, 2])
    disk = model.disk.survivor(KEPT)
    disk.checkpoints.clear()
    assert found_state(with_checkpoint) == found_state(recover(disk, LOG_ID, [1, 2])) == model.state()


def test_messages_of_a_deleted_queue_are_dropped() -> None:
    model = StoreModel(FaultyDisk(), [1, 2])
    model.publish(b"shared", 1, 2)
    model.publish(b"only", 2)
    model.commit()
    recovered = recover(model.disk, LOG_ID, [1])
    assert [entry.message.body for entry in recovered.queues[1]] == [b"shared"]
    assert recovered.queues[1][0].message.holders == 1
    assert recovered.next_queue_id == 3


def test_last_segment_that_was_never_written_to_is_removed() -> None:
    for content in (b"", b"AMQPDSEG", bytes(48), bytes(4096)):
        model = StoreModel(FaultyDisk(), [1])
        model.publish(b"kept", 1)
        model.commit()
        model.disk.segments[2] = FakeFile(content)
        recovered = recover(model.disk, LOG_ID, [1])
        assert found_state(recovered) == model.state()
        assert recovered.report.damage == []
        assert any("segment 2: removed" in notice for notice in recovered.report.notices)


def test_torn_tail_is_cut_and_said() -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"kept", 1)
    model.commit()
    intact = model.disk.segments[1].content
    model.disk.segments[1] = FakeFile(intact + b"AQB1 torn")
    recovered = recover(model.disk, LOG_ID, [1])
    assert model.disk.segments[1].content == intact
    assert recovered.report.torn_bytes == 9
    assert any("cut 9 bytes" in notice for notice in recovered.report.notices)


@pytest.mark.parametrize("effect", [0, 1], ids=["creating the segment", "writing to it"])
def test_full_disk_does_not_keep_a_node_from_starting(effect: int) -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"kept", 1)
    model.commit()
    disk = model.disk.survivor(KEPT)
    disk.error, disk.error_at = errno.ENOSPC, effect
    recovered = recover(disk, LOG_ID, [1])
    assert found_state(recovered) == model.state()
    log = Log(recovered.start)
    log.append_settle(1, recovered.queues[1][0].message)
    batch = log.seal([])
    assert batch is not None
    SegmentWriter(disk, recovered.start.previous_crc).commit(batch)
    assert found_state(recover(disk, LOG_ID, [1])) == {1: []}


def test_huge_message_is_one_batch_in_one_segment() -> None:
    model = StoreModel(FaultyDisk(), [1], 1024)
    body = bytes(3 << 20)
    model.publish(body, 1)
    model.commit()
    model.publish(b"next", 1)
    model.commit()
    assert model.disk.segment_numbers() == [1, 2]
    assert found_state(recover(model.disk.survivor(KEPT), LOG_ID, [1])) == model.state()


@pytest.mark.parametrize("before", [b"", b"rubbish"])
def test_old_batch_that_shows_up_behind_the_end_is_not_applied(before: bytes) -> None:
    """Disk space of a file that is gone may come back with what was in it."""
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"settled", 1)
    model.commit()
    stale = model.disk.segments[1].content[SEGMENT_HEADER_SIZE:]
    model.settle_oldest(1)
    model.commit()
    intact = model.disk.segments[1].content
    model.disk.segments[1] = FakeFile(intact + before + stale)
    recovered = recover(model.disk, LOG_ID, [1])
    assert recovered.queues == {1: []}
    assert recovered.report.damage == []
    assert model.disk.segments[1].content == intact


def test_what_a_checkpoint_covers_is_not_written_again() -> None:
    model = StoreModel(FaultyDisk(), [1], 1024)
    model.publish(b"settled", 1)
    model.publish(b"kept" * 300, 1)
    model.commit()
    model.settle_oldest(1)
    model.publish(b"x" * 1200, 1)
    model.log.append_settle(1, model.queues[1].pop(3).message)
    model.commit()
    model.checkpoint()
    assert model.disk.segment_numbers() == [1, 2]
    recovered = recover(model.disk.survivor(KEPT), LOG_ID, [1])
    assert found_state(recovered) == model.state()
    assert recovered.report.damage == []
