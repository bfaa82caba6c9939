from __future__ import annotations

from amqpd.base.message import SegmentUse
from amqpd.store.reclaim import CHECKPOINT_INTERVAL_MS, Reclaim, choose_cheapest, choose_sparse, disk_bytes
from amqpd.store.recovery import recover
from tests.fakes.faulty_disk import KEPT, FaultyDisk
from tests.fakes.store_model import LOG_ID, StoreModel, found_state, state_after

SEGMENT_BYTES = 4096


def segment(number: int, size: int, live: int) -> SegmentUse:
    made = SegmentUse(number)
    made.size_bytes, made.live_bytes, made.live_count = size, live, 1 if live else 0
    return made


def numbers(segments: list[SegmentUse]) -> list[int]:
    return [int(each.number) for each in segments]


def choose(segments: list[SegmentUse], segment_bytes: int = 100) -> list[int]:
    return numbers(choose_sparse(segments, sum(int(each.live_bytes) for each in segments), segment_bytes))


def test_nothing_is_moved_while_space_is_within_its_bound() -> None:
    assert choose([segment(1, 100, 60), segment(2, 100, 40), segment(3, 50, 50)]) == []


def test_sparsest_segments_are_chosen_first_and_no_more_than_needed() -> None:
    segments = [segment(1, 100, 40), segment(2, 100, 1), segment(3, 100, 90), segment(4, 100, 2), segment(5, 10, 0)]
    assert choose(segments, 60) == [2]
    assert choose(segments, 1) == [2, 4]


def test_open_segment_and_well_filled_ones_are_never_chosen() -> None:
    assert choose([segment(1, 100, 51), segment(2, 1000, 1)]) == []


def test_segment_that_is_leaving_is_not_chosen_again() -> None:
    segments = [segment(1, 1000, 1), segment(2, 10, 0)]
    assert choose(segments) == [1]
    segments[0].is_leaving = True
    assert choose(segments) == []


def work(model: StoreModel, rounds: int, keep_every: int) -> int:
    """Publish and settle, keep one message in `keep_every`; what the broker does besides. Returns the highest disk use."""
    highest = 0
    for step in range(rounds):
        message = model.publish(b"x" * 300, 1)
        if step % keep_every:
            model.queues[1].pop(message.message_id)
            model.log.append_settle(1, message)
        model.commit()
        model.now_ms += CHECKPOINT_INTERVAL_MS
        house_keep(model)
        bound = 2 * model.log.live_bytes + 2 * SEGMENT_BYTES
        highest = max(highest, int(disk_bytes(model.log.segments) - bound))
    return highest


def house_keep(model: StoreModel) -> None:
    if model.reclaim.is_checkpoint_due(model.now_ms):
        model.checkpoint()
    model.move_leaving()
    model.commit()
    model.delete_dead()


def settle_down(model: StoreModel) -> int:
    """Idle for a while; returns by how much disk use is over its bound."""
    for _ in range(50):
        model.now_ms += CHECKPOINT_INTERVAL_MS
        house_keep(model)
    return int(disk_bytes(model.log.segments) - 2 * model.log.live_bytes - 2 * SEGMENT_BYTES)


def test_disk_use_stays_bounded_when_everything_is_consumed() -> None:
    model = StoreModel(FaultyDisk(), [1], SEGMENT_BYTES)
    work(model, 600, 1 << 30)
    assert settle_down(model) <= 0
    assert len(model.disk.segments) == len(model.log.segments) <= 3
    assert state_after(model.disk.survivor(KEPT), [1]) == model.state()


def test_disk_use_stays_bounded_when_a_slow_queue_keeps_one_message_in_every_segment() -> None:
    model = StoreModel(FaultyDisk(), [1], SEGMENT_BYTES)
    work(model, 1200, 11)
    assert len(model.queues[1]) == 110
    assert settle_down(model) <= 0
    disk = model.disk.survivor(KEPT)
    recovered = recover(disk, LOG_ID, [1])
    assert found_state(recovered, disk) == model.state()
    assert recovered.report.damage == []


def test_what_a_queue_that_is_purged_held_goes_without_another_message() -> None:
    """The last checkpoint is long, and what tells of the purge is short."""
    model = StoreModel(FaultyDisk(), [1], SEGMENT_BYTES)
    for _ in range(2000):
        model.publish(b"", 1)
    model.commit()
    for _ in range(2):
        model.checkpoint()
    for _ in range(100):
        model.publish(b"", 1)
        model.commit()
    for held in model.queues[1].values():
        model.log.release(held.message)
    model.queues[1].clear()
    model.log.append_delivered(1, 1)
    model.commit()
    assert settle_down(model) <= 0


def test_idle_node_stops_taking_checkpoints() -> None:
    model = StoreModel(FaultyDisk(), [1], SEGMENT_BYTES)
    work(model, 200, 7)
    settle_down(model)
    effects = len(model.disk.effects)
    settle_down(model)
    assert len(model.disk.effects) == effects


def test_segment_is_deleted_only_when_two_checkpoints_and_the_disk_allow_it() -> None:
    model = StoreModel(FaultyDisk(), [1], 512)
    model.publish(b"x" * 600, 1)
    model.commit()
    model.publish(b"y" * 600, 1)
    model.commit()
    model.settle_oldest(1)
    assert model.reclaim.take_dead(model.synced_mark, False) == []
    model.commit()
    model.checkpoint()
    assert model.delete_dead() == []
    model.checkpoint()
    assert model.reclaim.take_dead(0, False) == []
    assert model.delete_dead() == [1]
    assert numbers(model.log.segments) == [2, 3]


def test_segment_emptied_by_something_unsealed_waits_for_that_batch() -> None:
    model = StoreModel(FaultyDisk(), [1], 512)
    message = model.publish(b"x" * 600, 1)
    model.commit()
    model.checkpoint()
    model.checkpoint()
    # The queue was deleted in this turn: nothing is dirty, but the topology change is not durable yet.
    model.log.release(message)
    assert model.reclaim.take_dead(model.synced_mark, True) == []
    assert model.reclaim.take_dead(model.synced_mark, False) == []
    assert model.reclaim.take_dead(model.synced_mark + 1, False) == [1]


def test_damage_asks_for_a_checkpoint_at_once() -> None:
    model = StoreModel(FaultyDisk(), [1], 512)
    reclaim = Reclaim(model.log, 0, 5, True)
    assert reclaim.is_checkpoint_due(CHECKPOINT_INTERVAL_MS)
    assert reclaim.begin_checkpoint(CHECKPOINT_INTERVAL_MS).generation == 5
    assert not reclaim.is_checkpoint_due(1 << 40)
    reclaim.checkpoint_failed()
    assert not reclaim.is_checkpoint_due(1 << 40)


def test_long_log_gets_a_checkpoint_even_if_all_of_it_is_live() -> None:
    model = StoreModel(FaultyDisk(), [1], SEGMENT_BYTES)
    assert not model.reclaim.is_checkpoint_due(1 << 40)
    while model.log.segment.number < 6:
        model.publish(b"x" * 300, 1)
        model.commit()
    assert model.reclaim.is_checkpoint_due(1 << 40)


def test_while_the_disk_is_short_one_segment_at_a_time_is_emptied_and_only_where_that_is_cheap() -> None:
    segments = [segment(1, 100, 13), segment(2, 100, 12), segment(3, 100, 3), segment(4, 100, 1)]
    assert numbers(choose_cheapest(segments)) == [3]
    assert numbers(choose_cheapest(segments[:3])) == [2]
    assert numbers(choose_cheapest(segments[:2])) == []
    segments[2].is_leaving = True
    assert numbers(choose_cheapest(segments)) == []


def test_what_was_chosen_before_the_disk_got_short_and_takes_much_is_left() -> None:
    model = StoreModel(FaultyDisk(), [1], SEGMENT_BYTES)
    model.log.segments = [segment(1, 100, 40), segment(2, 100, 2), segment(3, 100, 2)]
    model.log.segments[0].is_leaving = model.log.segments[1].is_leaving = True
    model.reclaim.set_disk_short(True)
    assert [each.is_leaving for each in model.log.segments] == [False, True, False]


def test_while_the_disk_is_short_every_dead_segment_is_worth_a_checkpoint() -> None:
    model = StoreModel(FaultyDisk(), [1], SEGMENT_BYTES)
    for _ in range(100):
        model.publish(b"x" * 300, 1)
        model.commit()
    settle_down(model)
    many = len(model.disk.segments)
    for message_id in sorted(model.queues[1])[:40]:
        held = model.queues[1].pop(message_id)
        model.log.append_settle(1, held.message)
        model.commit()
    settle_down(model)
    assert len(model.disk.segments) >= many
    model.reclaim.set_disk_short(True)
    settle_down(model)
    assert len(model.disk.segments) < many
    assert state_after(model.disk.survivor(KEPT), [1]) == model.state()


def test_while_the_disk_is_short_an_open_segment_ends_once_most_of_it_is_dead() -> None:
    model = StoreModel(FaultyDisk(), [1], 64 << 20)
    held = model.publish(b"x" * (1 << 20), 1)
    model.commit()
    model.reclaim.set_disk_short(True)
    model.publish(b"live", 1)
    model.commit()
    assert len(model.log.segments) == 1
    del model.queues[1][held.message_id]
    model.log.append_settle(1, held)
    model.commit()
    assert len(model.log.segments) == 2
    settle_down(model)
    assert sum(map(model.disk.segment_size, model.disk.segments)) < 1000
    assert state_after(model.disk.survivor(KEPT), [1]) == model.state()
