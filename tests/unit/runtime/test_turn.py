from __future__ import annotations

import asyncio

import pytest

from amqpd.runtime.turn import RETURNED_COUNT_MAX
from tests.fakes.shell import FakeConnection, World


class FakePage:
    count = RETURNED_COUNT_MAX // 4


class FakeRead:
    """As far as a turn looks at what was read."""

    def __init__(self) -> None:
        self.pages = [FakePage(), FakePage()]


class SpyPeer:
    def __init__(self, world: World) -> None:
        self.world = world

    def flush(self) -> None:
        self.world.broker.calls.append("flush")


@pytest.fixture
def world() -> World:
    return World()


def connect(world: World) -> FakeConnection:
    connection = FakeConnection(world.broker)
    world.turn.peers[connection] = SpyPeer(world)  # type: ignore[index,assignment]
    return connection


def test_turn_ticks_once_however_much_enters(world: World) -> None:
    world.turn.begin()
    world.turn.begin()
    assert world.broker.calls == ["tick"]
    world.loop.run()
    world.turn.begin()
    assert world.broker.calls == ["tick", "tick"]


def test_disk_is_given_its_batch_before_sockets_are_written(world: World) -> None:
    world.broker.batches.append("batch")
    connection = connect(world)
    world.turn.begin()
    connection.says(b"x")
    world.loop.run()
    assert world.broker.calls == ["tick", "seal", "submit", "flush"]


def test_one_batch_is_with_the_writer_at_a_time(world: World) -> None:
    world.broker.batches += ["first", "second"]
    world.turn.begin()
    world.loop.run()
    world.turn.begin()
    world.loop.run()
    assert world.writer.submitted == ["first"]
    world.turn.synced(7)
    assert world.writer.submitted == ["first", "second"]
    assert world.broker.calls[-3:] == ["synced 7", "seal", "submit"]


def test_what_the_disk_pays_for_is_written_at_once(world: World) -> None:
    connection = connect(world)
    connection.says(b"confirm")
    world.turn.synced(1)
    assert world.broker.calls == ["tick", "synced 1", "flush"]
    assert world.loop.ready == []


def test_synced_within_an_open_turn_does_not_tick_again(world: World) -> None:
    world.turn.begin()
    world.turn.synced(1)
    assert world.broker.calls == ["tick", "synced 1"]


def test_connection_that_is_gone_is_not_written(world: World) -> None:
    connection = connect(world)
    connection.says(b"x")
    world.turn.peers.clear()
    world.turn.begin()
    world.loop.run()
    assert "flush" not in world.broker.calls


def test_work_that_is_left_goes_on_in_the_next_turn(world: World) -> None:
    world.turn.begin()
    world.broker.has_work = True
    world.loop.run()
    assert world.broker.calls == ["tick", "tick", "go_on"]
    assert world.turn.is_open
    world.loop.run()
    assert not world.turn.is_open


def test_what_the_core_wants_to_read_goes_to_the_reader_at_the_end_of_a_turn(world: World) -> None:
    world.broker.reads += ["first", "second"]
    world.turn.begin()
    world.loop.run()
    assert world.broker.calls == ["tick", "read 2"]


def test_what_was_read_comes_back_in_portions_of_a_turn_each(world: World) -> None:
    world.turn.reads_done([FakeRead() for _ in range(4)])  # type: ignore[misc]
    world.turn.reads_done([FakeRead()])  # type: ignore[list-item]
    assert world.broker.calls == ["tick", "reads_done 2"]
    world.loop.run()
    assert world.broker.calls[2:] == ["tick", "reads_done 2"]
    world.loop.run()
    assert world.broker.calls[4:] == ["tick", "reads_done 1"]
    world.loop.run()
    assert world.loop.ready == []


def test_notices_of_the_core_reach_the_log_once(world: World) -> None:
    world.broker.agenda.notice("login refused")
    world.turn.begin()
    world.loop.run()
    world.turn.begin()
    world.loop.run()
    assert world.log == ["login refused"]


def test_ticking_repeats_until_it_is_stopped(world: World) -> None:
    world.turn.start_ticking()
    assert [delay for delay, _ in world.loop.later] == [0.1]
    world.turn.stop_ticking()
    world.loop.later.pop()[1]()
    assert world.loop.later == []


def test_drained_waits_for_the_last_batch(world: World) -> None:
    async def story() -> None:
        world.broker.batches += ["first", "second"]
        waiting = asyncio.ensure_future(world.turn.drained())
        for mark in (1, 2):
            await asyncio.sleep(0)
            world.loop.run()
            assert not waiting.done()
            world.turn.synced(mark)
        await asyncio.wait_for(waiting, 1)
        assert world.writer.submitted == ["first", "second"]

    asyncio.run(story())


def test_what_was_given_up_is_listed_before_the_batch_that_says_so(world: World) -> None:
    world.broker.batches.append("batch")
    world.broker.given_up.append("lost")
    world.turn.begin()
    world.loop.run()
    assert world.broker.calls == ["tick", "note_lost 1", "seal", "submit"]


def test_what_the_core_raises_is_told_as_such_wherever_it_comes_up(world: World) -> None:
    """An OSError too: whoever guards against their own must not take it for that."""
    told: list[str] = []
    world.turn.on_core_error = lambda error: told.append(str(error))

    def fails(*arguments: object) -> None:
        raise OSError(f"{len(told)}")

    world.turn.call(fails)
    world.broker.woken = fails  # type: ignore[assignment,method-assign]
    world.loop.run()
    world.broker.synced = fails  # type: ignore[method-assign]
    world.turn.synced(1)
    world.broker.reads_done = fails  # type: ignore[method-assign]
    world.turn.reads_done([FakeRead()])  # type: ignore[list-item]
    world.loop.run()
    world.broker.tick = fails  # type: ignore[method-assign]
    world.turn.start_ticking()
    assert told == ["0", "1", "2", "3", "4", "5"]
    assert len(world.loop.later) == 1
