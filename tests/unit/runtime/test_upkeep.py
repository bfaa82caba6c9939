from __future__ import annotations

import logging
from collections.abc import Callable

from amqpd.runtime.upkeep import PERIOD_S, Upkeep
from tests.fakes.shell import FakeLoop


class HouseholdBroker:
    def __init__(self) -> None:
        self.checkpoint: object | None = None
        self.dead: list[int] = []
        self.told: list[object] = []

    def durable_checkpoint(self) -> object | None:
        checkpoint, self.checkpoint = self.checkpoint, None
        return checkpoint

    def dead_segments(self) -> list[int]:
        dead, self.dead = self.dead, []
        return dead

    def checkpoint_written(self, checkpoint: object) -> None:
        self.told.append(checkpoint)

    def checkpoint_failed(self) -> None:
        self.told.append("failed")


class SpyTurn:
    def __init__(self) -> None:
        self.broker = HouseholdBroker()

    def call(self, entry: Callable[[], None]) -> None:
        entry()


class SpyThread:
    def __init__(self) -> None:
        self.jobs: list[object] = []

    def write_checkpoint(self, checkpoint: object) -> None:
        self.jobs.append(checkpoint)

    def delete_segments(self, numbers: list[int]) -> None:
        self.jobs.append(numbers)


def upkeep() -> tuple[Upkeep, HouseholdBroker, SpyThread, FakeLoop]:
    loop, turn, thread = FakeLoop(), SpyTurn(), SpyThread()
    return Upkeep(loop, turn, thread, logging.Logger("fake")), turn.broker, thread, loop  # type: ignore[arg-type]


def test_durable_checkpoint_is_written_and_its_end_reported() -> None:
    kept, broker, thread, _ = upkeep()
    broker.checkpoint = "checkpoint"
    kept.look()
    kept.look()
    assert thread.jobs == ["checkpoint"]
    assert kept.is_writing
    kept.checkpoint_written("checkpoint")  # type: ignore[arg-type]
    assert not kept.is_writing
    assert broker.told == ["checkpoint"]


def test_checkpoint_without_room_is_reported_as_such() -> None:
    kept, broker, _, _ = upkeep()
    broker.checkpoint = "checkpoint"
    kept.look()
    kept.checkpoint_failed()
    assert not kept.is_writing
    assert broker.told == ["failed"]


def test_dead_segments_are_deleted_once() -> None:
    kept, broker, thread, _ = upkeep()
    broker.dead = [1, 2]
    kept.look()
    kept.look()
    assert thread.jobs == [[1, 2]]


def test_it_looks_again_and_again() -> None:
    kept, _, _, loop = upkeep()
    kept.start()
    assert [delay for delay, _ in loop.later] == [PERIOD_S]
