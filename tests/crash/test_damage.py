"""Bytes that changed by themselves: never a wrong body, never a crash, never a silent loss."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from amqpd.base.errors import Corrupt
from amqpd.store.recovered import Recovered
from amqpd.store.recovery import recover
from tests.fakes.faulty_disk import KEPT, FakeFile, FaultyDisk
from tests.fakes.store_model import (
    LOG_ID,
    State,
    StoreModel,
    found_state,
    redelivered_flags,
    state_after,
    unreadable_count,
)

QUEUES = [1, 2]


def make_log(checkpoint_at: int = -1) -> tuple[FaultyDisk, State, dict[int, bytes]]:
    """A disk with about ten segments, what its queues hold, and every body that was ever published."""
    model = StoreModel(FaultyDisk(), QUEUES, 2048)
    bodies: dict[int, bytes] = {}
    for step in range(60):
        body = b"body %d " % step * (1 + step % 40)
        bodies[model.publish(body, 1 + step % 2).message_id] = body
        if step % 3 == 0:
            model.settle_oldest(1 + step % 2)
        model.commit()
        if step == checkpoint_at:
            model.begin_checkpoint()
            model.feed_pages(1)
            model.feed(2)
            model.finish_checkpoint()
    return model.disk.survivor(KEPT), model.state(), bodies


def check(disk: FaultyDisk, intact: State, bodies: dict[int, bytes], where: str) -> Recovered | None:
    try:
        recovered = recover(disk, LOG_ID, QUEUES)
    except Corrupt:
        return None
    found = found_state(recovered, disk)
    for held in found.values():
        for message_id, body, _ in held:
            assert body == bodies[message_id], where
    if found != intact:
        report = recovered.report
        # What is older than the checkpoint is noticed when its queue reads it.
        assert report.damage or report.torn_bytes or unreadable_count(recovered, disk), where
    assert state_after(disk.survivor(KEPT), QUEUES) == found, where
    return recovered


def flip(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << source.randrange(8))]) + data[at + 1 :]


def zero(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(data))
    return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]


def cut(data: bytes, source: random.Random) -> bytes:
    return data[: source.randrange(len(data))]


def repeat(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(data))
    return data[:at] + data[max(0, at - 512) : at] + data[at:]


def noise(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(data))
    return data[:at] + source.randbytes(min(64, len(data) - at)) + data[at + 64 :]


@pytest.mark.parametrize("damage", [flip, zero, cut, repeat, noise])
@pytest.mark.parametrize("checkpoint_at", [-1, 30])
def test_damaged_segment(damage: Callable[[bytes, random.Random], bytes], checkpoint_at: int) -> None:
    origin, intact, bodies = make_log(checkpoint_at)
    for seed in range(60):
        source = random.Random(seed)
        disk = origin.survivor(KEPT)
        number = source.choice(disk.segment_numbers())
        disk.segments[number] = FakeFile(damage(disk.segments[number].content, source))
        where = f"{damage.__name__} in segment {number}, seed {seed}"
        recovered = check(disk, intact, bodies, where)
        assert recovered is not None, where
        if recovered.report.damage:
            assert all(all(redelivered_flags(recovered, queue_id)) for queue_id in QUEUES), where


def test_one_damaged_batch_costs_one_batch() -> None:
    origin, intact, bodies = make_log()
    disk = origin.survivor(KEPT)
    data = disk.segments[3].content
    at = data.index(b"AQB1", 200) + 90
    disk.segments[3] = FakeFile(data[:at] + b"\xff" + data[at + 1 :])
    recovered = check(disk, intact, bodies, "")
    assert recovered is not None
    assert len(recovered.report.damage) == 1
    assert "segment 3" in recovered.report.damage[0]
    assert "records" in recovered.report.damage[0]
    assert disk.aside["3.bad"] == data[:at] + b"\xff" + data[at + 1 :]
    lost = sum(map(len, intact.values())) - sum(map(len, found_state(recovered, disk).values()))
    assert abs(lost) <= 1


def place_of(disk: FaultyDisk, message_id: int) -> tuple[int, int]:
    """In which segment a message is, and at which byte."""
    record = b"\x01" + message_id.to_bytes(8, "little") + (1000).to_bytes(8, "little")
    (found,) = [
        (number, file.content.index(record)) for number, file in disk.segments.items() if record in file.content
    ]
    return found


@pytest.mark.parametrize("at", [0, 1, 18, 24])
def test_damage_in_front_of_the_checkpoint_is_noticed_when_the_message_is_read(at: int) -> None:
    origin, intact, bodies = make_log(30)
    disk = origin.survivor(KEPT)
    number, offset = place_of(disk, intact[1][0][0])
    data = disk.segments[number].content
    disk.segments[number] = FakeFile(data[: offset + at] + b"\xff" + data[offset + at + 1 :])
    recovered = check(disk, intact, bodies, "")
    assert recovered is not None
    assert recovered.report.damage == []
    assert unreadable_count(recovered, disk) == 1
    assert found_state(recovered, disk) == {1: intact[1][1:], 2: intact[2]}


@pytest.mark.parametrize("queue_id", QUEUES)
def test_a_body_in_front_of_the_checkpoint_that_changed_is_never_delivered(queue_id: int) -> None:
    origin, intact, bodies = make_log(30)
    disk = origin.survivor(KEPT)
    message_id, body, _ = intact[queue_id][0]
    number, offset = place_of(disk, message_id)
    data = disk.segments[number].content
    at = data.index(body, offset)
    disk.segments[number] = FakeFile(data[:at] + b"\xff" + data[at + 1 :])
    recovered = check(disk, intact, bodies, "")
    assert recovered is not None
    found = found_state(recovered, disk)
    assert found[queue_id] == intact[queue_id][1:]


def test_a_segment_in_front_of_the_checkpoint_that_is_gone_is_noticed_at_start() -> None:
    origin, intact, bodies = make_log(30)
    disk = origin.survivor(KEPT)
    del disk.segments[place_of(disk, intact[1][0][0])[0]]
    recovered = check(disk, intact, bodies, "")
    assert recovered is not None
    found = found_state(recovered, disk)
    lost = {queue_id: len(intact[queue_id]) - len(found[queue_id]) for queue_id in QUEUES}
    assert lost[1] > 0
    assert recovered.report.missing_counts == {queue_id: count for queue_id, count in lost.items() if count > 0}
    assert recovered.report.damage == recovered.report.lost()


def test_a_segment_in_front_of_the_checkpoint_that_is_cut_costs_what_was_in_the_end_of_it() -> None:
    model = StoreModel(FaultyDisk(), QUEUES, 2048)
    for _ in range(5):
        model.publish(b"x" * 300, 1)
    model.commit()
    model.publish(b"x" * 600, 1)
    model.commit()
    model.publish(b"y", 2)
    model.commit()
    model.checkpoint()
    disk = model.disk.survivor(KEPT)
    disk.segments[1] = FakeFile(disk.segments[1].content[:-1])
    recovered = recover(disk, LOG_ID, QUEUES)
    assert recovered.report.damage == ["queue_id 1: 1 message is lost"]
    state = model.state()
    assert found_state(recovered, disk) == {1: state[1][:-1], 2: state[2]}


def test_swapped_segments_are_noticed() -> None:
    origin, intact, bodies = make_log()
    origin.segments[2], origin.segments[4] = origin.segments[4], origin.segments[2]
    recovered = check(origin, intact, bodies, "swapped")
    assert recovered is not None
    assert recovered.report.damage


def test_missing_segment_is_noticed() -> None:
    origin, intact, bodies = make_log(30)
    number = origin.segment_numbers()[-2]
    del origin.segments[number]
    recovered = check(origin, intact, bodies, "missing")
    assert recovered is not None
    assert f"segments {number} to {number} are gone" in recovered.report.damage


def test_segment_of_another_log_is_not_read() -> None:
    disk, _, _ = make_log()
    last = disk.segment_numbers()[-1]
    disk.segments = {1: disk.segments[last]}
    recovered = recover(disk, LOG_ID + 1, QUEUES)
    assert found_state(recovered, disk) == {1: [], 2: []}


def test_damaged_newest_checkpoint_falls_back_to_the_one_before() -> None:
    model = StoreModel(FaultyDisk(), QUEUES, 2048)
    for step in range(30):
        model.publish(b"x" * 300, 1)
        if step % 2:
            model.settle_oldest(1)
        model.commit()
        if step in (10, 20):
            model.checkpoint()
    newest = max(model.disk.checkpoints)
    for at in range(0, len(model.disk.checkpoints[newest]), 7):
        disk = model.disk.survivor(KEPT)
        data = disk.checkpoints[newest]
        disk.checkpoints[newest] = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        recovered = recover(disk, LOG_ID, QUEUES)
        assert found_state(recovered, disk) == model.state(), at
        assert recovered.report.checkpoint_generation == newest - 1
        assert recovered.next_generation == newest + 1
        assert disk.checkpoint_generations() == [newest - 1]


def test_no_intact_checkpoint_and_missing_segments_is_refused_every_time() -> None:
    model = StoreModel(FaultyDisk(), QUEUES, 1024)
    for _ in range(40):
        model.publish(b"x" * 300, 1)
        model.settle_oldest(1)
        model.commit()
        if model.reclaim.is_checkpoint_due(model.now_ms + 10_000):
            model.checkpoint()
        model.delete_dead()
    disk = model.disk.survivor(KEPT)
    assert disk.segment_numbers()[0] > 1
    for generation in disk.checkpoint_generations():
        disk.checkpoints[generation] = b"rubbish"
    for _ in range(2):
        with pytest.raises(Corrupt, match="no intact checkpoint"):
            recover(disk, LOG_ID, QUEUES)


def test_vanished_log_after_a_clean_stop_is_refused() -> None:
    with pytest.raises(Corrupt, match="gone"):
        recover(FaultyDisk(), LOG_ID, QUEUES, clean_position=1234)


def test_end_that_is_missing_after_a_clean_stop_is_damage_and_not_a_torn_tail() -> None:
    model = StoreModel(FaultyDisk(), QUEUES, 2048)
    for _ in range(10):
        model.publish(b"x" * 300, 1)
        model.commit()
    disk = model.disk.survivor(KEPT)
    last = disk.segment_numbers()[-1]
    disk.segments[last] = FakeFile(disk.segments[last].content[:-5])
    recovered = recover(disk, LOG_ID, QUEUES, int(model.log.position))
    assert any("too early" in sentence for sentence in recovered.report.damage)


def test_settles_in_a_lost_batch_bring_messages_back_flagged() -> None:
    model = StoreModel(FaultyDisk(), [1], 1 << 20)
    model.publish(b"one", 1)
    model.commit()
    model.settle_oldest(1)
    model.commit()
    model.publish(b"two", 1)
    model.commit()
    data = model.disk.segments[1].content
    second = data.index(b"AQB1", data.index(b"AQB1") + 1)
    model.disk.segments[1] = FakeFile(data[: second + 70] + b"\xee" + data[second + 71 :])
    recovered = recover(model.disk, LOG_ID, [1])
    assert [body for _, body, _ in found_state(recovered, model.disk)[1]] == [b"one", b"two"]
    assert redelivered_flags(recovered, 1) == [True, True]


def test_batch_behind_a_part_that_is_gone_is_served() -> None:
    """What was cut out may end exactly where the next batch begins: that batch is whole, and was confirmed."""
    model = StoreModel(FaultyDisk(), [1], 1 << 20)
    for body in (b"one", b"two", b"three"):
        model.publish(body, 1)
        model.commit()
    data = model.disk.segments[1].content
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"AQB1"]
    model.disk.segments[1] = FakeFile(data[: starts[1]] + data[starts[2] :])
    recovered = recover(model.disk, LOG_ID, [1])
    assert [body for _, body, _ in found_state(recovered, model.disk)[1]] == [b"one", b"three"]
    assert any("are gone before" in sentence for sentence in recovered.report.damage)


def drained_and_checkpointed() -> StoreModel:
    model = StoreModel(FaultyDisk(), [1], 2048)
    for _ in range(14):
        model.publish(b"x" * 300, 1)
        model.commit()
        model.settle_oldest(1)
        model.commit()
    checkpoint = model.checkpoint()
    assert checkpoint.segment_number > 1
    return model


@pytest.mark.parametrize("is_cut", [False, True], ids=["gone", "cut"])
def test_what_is_written_after_the_end_of_the_log_was_lost_is_found_again(is_cut: bool) -> None:
    """The checkpoint stands behind all that is left: new records must not come to stand before it."""
    model = drained_and_checkpointed()
    disk = model.disk.survivor(KEPT)
    last = disk.segment_numbers()[-1]
    if is_cut:
        data = disk.segments[last].content
        disk.segments[last] = FakeFile(data[: data.rindex(b"AQB1")])
    else:
        del disk.segments[last]
    again = StoreModel(disk, [1], 2048, int(model.log.position))
    assert any("too early" in sentence for sentence in again.recovered.report.damage)
    again.publish(b"confirmed", 1)
    again.commit()
    survivor = again.disk.survivor(KEPT)
    found = recover(survivor, LOG_ID, [1])
    assert [body for _, body, _ in found_state(found, survivor)[1]] == [b"confirmed"]


def test_checkpoint_without_any_segment_is_refused() -> None:
    disk = drained_and_checkpointed().disk
    disk.segments.clear()
    with pytest.raises(Corrupt, match="all of its segments are gone"):
        recover(disk, LOG_ID, [1])
