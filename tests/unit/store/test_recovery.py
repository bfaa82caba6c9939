"""Orderly cases; what crashes and damage do is in tests/crash."""

from __future__ import annotations

import errno

import pytest

from amqpd.store.log import Log
from amqpd.store.recovery import recover
from amqpd.store.segment import SEGMENT_HEADER_SIZE, SegmentWriter
from tests.fakes.faulty_disk import KEPT, FakeFile, FaultyDisk
from tests.fakes.store_model import (
    LOG_ID,
    StoreModel,
    found_state,
    read_back,
    redelivered_flags,
    state_after,
    unreadable_count,
)


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
    assert redelivered_flags(recovered, 1) == [True, False]
    assert recovered.start.segment.live_count == 2


def test_unclean_stop_writes_the_last_batch_again_and_flags_everything_as_redelivered() -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"first", 1)
    model.commit()
    model.publish(b"last", 1)
    model.commit()
    recovered = recover(model.disk, LOG_ID, [1])
    first, last = recovered.pages[1]
    assert (first.count, last.count) == (1, 1)
    assert (first.segment.number, last.segment.number) == (1, 2)
    assert recovered.start.segment is last.segment
    assert recovered.start.offset == len(model.disk.segments[2].content)
    assert model.disk.segments[2].unsynced == b""
    assert redelivered_flags(recovered, 1) == [True, True]
    assert [message.body for message, _ in read_back(recovered.pages[1], model.disk)[0]] == [b"first", b"last"]


def test_log_goes_on_after_recovery() -> None:
    disk = FaultyDisk()
    for round_number in range(6):
        model = StoreModel(disk, [1, 2])
        model.publish(b"%d" % round_number, 1)
        model.publish(b"shared %d" % round_number, 1, 2)
        model.settle_oldest(2)
        model.commit()
        disk = model.disk.survivor(KEPT)
        assert state_after(disk.survivor(KEPT), [1, 2]) == model.state()


def test_checkpoint_spares_reading_segments_without_live_messages() -> None:
    model = StoreModel(FaultyDisk(), [1], 1024)
    for _ in range(20):
        model.publish(b"x" * 500, 1)
        model.commit()
        model.settle_oldest(1)
    model.publish(b"kept", 1)
    model.commit()
    model.checkpoint()
    disk = model.disk.survivor(KEPT)
    recovered = recover(disk, LOG_ID, [1])
    assert found_state(recovered, disk) == model.state()
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
    with_checkpoint = state_after(model.disk.survivor(KEPT), [1, 2])
    disk = model.disk.survivor(KEPT)
    disk.checkpoints.clear()
    assert with_checkpoint == state_after(disk, [1, 2]) == model.state()


def test_messages_of_a_deleted_queue_are_dropped() -> None:
    model = StoreModel(FaultyDisk(), [1, 2])
    model.publish(b"shared", 1, 2)
    model.publish(b"only", 2)
    model.commit()
    recovered = recover(model.disk, LOG_ID, [1])
    assert found_state(recovered, model.disk) == {1: [(1, b"shared", 0)]}
    assert read_back(recovered.pages[1], model.disk)[0][0][0].holders == 1
    assert [segment.live_count for segment in [*recovered.start.sealed_segments, recovered.start.segment]] == [0, 1]
    assert recovered.next_queue_id == 3


def test_last_segment_that_was_never_written_to_is_removed() -> None:
    for content in (b"", b"AMQPDSEG", bytes(48), bytes(4096)):
        model = StoreModel(FaultyDisk(), [1])
        model.publish(b"kept", 1)
        model.commit()
        model.disk.segments[2] = FakeFile(content)
        recovered = recover(model.disk, LOG_ID, [1])
        assert found_state(recovered, model.disk) == model.state()
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
    assert found_state(recovered, disk) == model.state()
    log = Log(recovered.start)
    log.append_settle(1, read_back(recovered.pages[1], disk)[0][0][0])
    batch = log.seal([])
    assert batch is not None
    SegmentWriter(disk, recovered.start.previous_crc).commit(batch)
    assert state_after(disk, [1]) == {1: []}


def test_huge_message_is_one_batch_in_one_segment() -> None:
    model = StoreModel(FaultyDisk(), [1], 1024)
    body = bytes(3 << 20)
    model.publish(body, 1)
    model.commit()
    model.publish(b"next", 1)
    model.commit()
    assert model.disk.segment_numbers() == [1, 2]
    assert state_after(model.disk.survivor(KEPT), [1]) == model.state()


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
    assert (recovered.queues, recovered.pages) == ({1: []}, {})
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
    disk = model.disk.survivor(KEPT)
    recovered = recover(disk, LOG_ID, [1])
    assert found_state(recovered, disk) == model.state()
    assert recovered.report.damage == []


def two_batches() -> tuple[StoreModel, int, int]:
    """The last batch stands in segment 2 too, and recovery stopped before it cut the first copy; where that began, and ended."""
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"first", 1)
    model.commit()
    begun = len(model.disk.segments[1].content)
    model.publish(b"last", 1)
    model.commit()
    content = model.disk.segments[1].content
    recover(model.disk, LOG_ID, [1])
    assert model.disk.segments[1].content == content[:begun]
    model.disk.segments[1] = FakeFile(content)
    return model, begun, len(content)


@pytest.mark.parametrize("remains", ["all", "nothing", "half", "zeros"])
def test_a_batch_that_was_written_again_may_be_lost_where_it_first_was(remains: str) -> None:
    """A sync failed, so it was in the page cache only; then the power went."""
    model, begun, end = two_batches()
    content = model.disk.segments[1].content
    left = {"all": end, "nothing": begun, "half": (begun + end) // 2, "zeros": begun}[remains]
    model.disk.segments[1] = FakeFile(content[:left] + (bytes(40) if remains == "zeros" else b""))
    for _ in range(2):
        recovered = recover(model.disk, LOG_ID, [1])
        assert found_state(recovered, model.disk) == model.state()
        assert recovered.report.damage == []
    again = StoreModel(model.disk, [1])
    again.publish(b"more", 1)
    again.commit()
    assert found_state(recover(again.disk, LOG_ID, [1]), again.disk) == again.state()


@pytest.mark.parametrize("content", [b"", b"AMQPDSEG torn", None], ids=["empty", "torn", "header only"])
def test_the_power_may_go_while_recovery_writes_the_last_batch_again(content: bytes | None) -> None:
    """What it read, and never had been synced, may then be torn after all."""
    model, begun, _ = two_batches()
    first, second = model.disk.segments[1].content, model.disk.segments[2].content
    model.disk.segments[1] = FakeFile(first[: begun + 30])
    model.disk.segments[2] = FakeFile(second[:SEGMENT_HEADER_SIZE] if content is None else content)
    recovered = recover(model.disk, LOG_ID, [1])
    assert [body for _, body, _ in found_state(recovered, model.disk)[1]] == [b"first"]
    assert recovered.report.damage == []
    assert model.disk.segments[1].content == first[:begun]


def test_the_last_batch_is_written_again_behind_a_segment_that_was_only_created() -> None:
    model, _, _ = two_batches()
    model.disk.segments[2] = FakeFile(model.disk.segments[2].content[:SEGMENT_HEADER_SIZE])
    for _ in range(2):
        recovered = recover(model.disk, LOG_ID, [1])
        assert found_state(recovered, model.disk) == model.state()
        assert recovered.report.damage == []
    assert model.disk.segment_numbers() == [1, 2, 3]


def test_another_batch_in_the_place_of_a_lost_one_is_damage() -> None:
    model, begun, _ = two_batches()
    other = StoreModel(FaultyDisk(), [1])
    other.publish(b"other", 1)
    other.commit()
    model.disk.segments[1] = FakeFile(other.disk.segments[1].content)
    recovered = recover(model.disk, LOG_ID, [1])
    assert begun > 0
    assert recovered.report.damage != []


def test_a_segment_that_begins_at_a_checkpoint_follows_the_one_before_it() -> None:
    """So that a start from the older checkpoint, which reads both, finds nothing amiss."""
    model = StoreModel(FaultyDisk(), [1], 1024)
    model.publish(b"first", 1)
    model.commit()
    model.checkpoint()
    model.publish(b"x" * 1200, 1)
    model.settle_oldest(1)
    model.settle_oldest(1)
    model.commit()
    # Nothing in segment 1 is needed for this one, and segment 2 is yet to be created.
    model.checkpoint()
    assert model.disk.segment_numbers() == [1]
    again = StoreModel(model.disk, [1], 1024, int(model.log.position))
    again.publish(b"next", 1)
    again.commit()
    assert model.disk.segment_numbers() == [1, 2]
    del model.disk.checkpoints[2]
    recovered = recover(model.disk, LOG_ID, [1])
    assert found_state(recovered, model.disk) == again.state()
    assert recovered.report.damage == []


def test_a_moved_message_that_is_damaged_is_missed_and_said() -> None:
    model = StoreModel(FaultyDisk(), [1], 1024)
    kept = model.publish(b"kept", 1)
    model.commit()
    model.publish(b"x" * 1200, 1)
    model.commit()
    assert model.log.append_move(1, kept) is kept
    model.commit()
    model.publish(b"y" * 1200, 1)
    model.commit()
    model.checkpoint()
    assert model.disk.segment_numbers() == [1, 2]
    moved = bytearray(model.disk.segments[2].content)
    moved[moved.index(b"kept")] ^= 1
    model.disk.segments[2] = FakeFile(bytes(moved))
    disk = model.disk.survivor(KEPT)
    recovered = recover(disk, LOG_ID, [1], resident_queue_ids=[1])
    others = {1: model.state()[1][1:]}
    assert found_state(recovered, disk) == others
    assert recovered.report.missing_counts == {1: 1}
    # What need not be in memory is not looked at: its queue will notice.
    recovered = recover(model.disk, LOG_ID, [1])
    assert (recovered.report.damage, unreadable_count(recovered, model.disk)) == ([], 1)
    assert found_state(recovered, model.disk) == others


def test_what_is_gone_behind_the_last_batch_keeps_its_place() -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"first", 1)
    model.commit()
    intact = model.disk.segments[1].content
    model.publish(b"gone", 1)
    model.commit()
    end = int(model.log.position)
    model.disk.segments[1] = FakeFile(intact)
    recovered = recover(model.disk, LOG_ID, [1], end)
    assert [body for _, body, _ in found_state(recovered, model.disk)[1]] == [b"first"]
    assert recovered.report.damage == [f"the log ends {end - len(intact) + SEGMENT_HEADER_SIZE} bytes too early"]
    assert recovered.start.position > end
    assert model.disk.segments[1].content == intact


def test_what_a_checkpoint_lists_in_a_segment_that_has_to_be_removed_is_missed_and_said() -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"gone", 1)
    model.commit()
    model.checkpoint()
    model.disk.segments[1] = FakeFile(bytes(len(model.disk.segments[1].content)))
    recovered = recover(model.disk, LOG_ID, [1])
    assert recovered.report.missing_counts == {1: 1}
    assert recovered.queues[1] == [] and 1 not in recovered.pages
    assert any("is lost" in sentence for sentence in recovered.report.damage)
