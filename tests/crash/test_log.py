"""The power goes during every single effect of a scripted life: what was synced is there, what was not is whole or gone."""

from __future__ import annotations

import itertools

import pytest

from amqpd.store.recovery import recover
from tests.fakes.faulty_disk import KEPT, LOST, OUTCOMES, FaultyDisk, PowerLoss
from tests.fakes.store_model import LOG_ID, StoreModel, found_state, state_after, unreadable_count

QUEUES = [1, 2, 3]


def live(model: StoreModel) -> None:
    """Publishes, settles, requeues, rolls, fuzzy checkpoints, moves, deletions: about 100 effects."""
    for step in range(36):
        size = 1 + step * 37 % 700
        first = model.publish(bytes([step]) * size, 1)
        model.publish(bytes([step]) * (size // 2), 1, 2, 3)
        if step % 3:
            model.settle_oldest(1)
            model.settle_oldest(1)
        if step % 4 == 0:
            model.requeue_oldest(2)
        if step % 5 == 0:
            model.settle_oldest(3)
            model.settle_oldest(2)
        if step == 7:
            model.log.append_delivered(1, first.message_id)
        if step % 9 == 8:
            # One slow queue keeps a message here and there; the rest is consumed.
            for _ in range(20):
                model.settle_oldest(1)
                model.settle_oldest(3)
            model.settle_oldest(2)
        model.commit()
        if step % 6 == 2:
            model.begin_checkpoint()
            model.feed(1)
        elif step % 6 == 4:
            model.feed_pages(2)
            model.settle_oldest(2)
            model.feed(3)
            model.publish(b"while walking", 1, 3)
            model.finish_checkpoint()
        elif step % 6 == 5:
            model.move_leaving()
            model.commit()
            model.delete_dead()


def lives_until(power_loss_at: int) -> StoreModel | None:
    """None if the script ends first."""
    disk = FaultyDisk()
    model = StoreModel(disk, QUEUES)
    disk.power_loss_at = power_loss_at
    try:
        live(model)
    except PowerLoss:
        return model
    return None


def effect_count() -> int:
    disk = FaultyDisk()
    live(StoreModel(disk, QUEUES))
    return len(disk.effects)


def test_script_reaches_every_kind_of_effect() -> None:
    disk = FaultyDisk()
    live(StoreModel(disk, QUEUES))
    assert {effect.split()[0] for effect in disk.effects} == {"create", "write", "sync", "checkpoint", "delete"}
    assert len(disk.effects) > 90


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_power_loss_at_any_effect_leaves_a_legal_prefix(outcome: str) -> None:
    for at in range(effect_count()):
        model = lives_until(at)
        assert model is not None
        disk = model.disk.survivor(outcome, at)
        recovered = recover(disk, LOG_ID, QUEUES)
        found = found_state(recovered, disk)
        where = f"{outcome} during {model.disk.effects[-1]}, effect {at}"
        assert found in model.legal_states, where
        assert recovered.report.damage == [], where
        assert unreadable_count(recovered, disk) == 0, where
        survivor = disk.survivor(KEPT)
        again = recover(survivor, LOG_ID, QUEUES)
        assert found_state(again, survivor) == found, where
        assert again.report.torn_bytes == 0, where


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_power_loss_during_recovery_changes_nothing(outcome: str) -> None:
    for at in range(0, effect_count(), 5):
        model = lives_until(at)
        assert model is not None
        broken = model.disk.survivor(outcome, at)
        expected = state_after(broken.survivor(KEPT), QUEUES)
        for inner in range(8):
            disk = broken.survivor(KEPT)
            disk.power_loss_at = inner
            try:
                recover(disk, LOG_ID, QUEUES)
            except PowerLoss:
                for second in (outcome, LOST):
                    found = state_after(disk.survivor(second, inner), QUEUES)
                    assert found == expected, f"{outcome} at {at}, then {second} at {inner} of recovery"
            else:
                break


def test_life_goes_on_after_each_crash() -> None:
    """Crash, recover, live on, crash again: states stay legal over generations of the same disk."""
    outcomes = itertools.cycle(OUTCOMES)
    disk = FaultyDisk()
    for generation in range(40):
        outcome = next(outcomes)
        model = StoreModel(disk, QUEUES)
        assert model.recovered.report.damage == []
        disk.power_loss_at = len(disk.effects) + 7 + generation * 11 % 83
        with pytest.raises(PowerLoss):
            for _ in range(4):
                live(model)
        disk = disk.survivor(outcome, generation)
        assert state_after(disk, QUEUES) in model.legal_states, f"{outcome}, generation {generation}"


def test_message_ids_and_queue_ids_are_not_given_out_again() -> None:
    for at in range(0, effect_count(), 7):
        model = lives_until(at)
        assert model is not None
        disk = model.disk.survivor(KEPT)
        recovered = recover(disk, LOG_ID, QUEUES)
        found = found_state(recovered, disk)
        ids = [message_id for held in found.values() for message_id, _, _ in held]
        assert all(message_id < recovered.start.next_message_id for message_id in ids)
        assert recovered.next_queue_id == max(QUEUES) + 1
