from __future__ import annotations

import dataclasses

from amqpd.base.limits import DEFAULTS
from amqpd.runtime.admission import (
    HANDSHAKE,
    MADE_ROOM,
    NEVER_SPOKE,
    STANDS_STILL,
    TOO_MANY_OF_ITS_HOST,
    Admission,
    Guest,
)


class FakeConnection:
    """As much of a Connection as admission looks at."""

    def __init__(self) -> None:
        self.session: object | None = None
        self.state = 0
        self.is_held_back = False


class Caller(Guest):
    def __init__(self, host: str, now_ms: int = 0) -> None:
        super().__init__(host, 4000, now_ms, DEFAULTS.handshake_timeout_ms)
        self.dropped = ""

    def drop(self, why: str) -> None:
        self.dropped = why

    def connects(self) -> FakeConnection:
        connection = FakeConnection()
        self.connection = connection  # type: ignore[assignment]
        return connection

    def opens(self) -> None:
        self.connects().session = object()


def admission(files: int = 0, **limits: int) -> Admission:
    return Admission(dataclasses.replace(DEFAULTS, **limits), files)


def enter(door: Admission, host: str = "10.0.0.1", now_ms: int = 0) -> Caller:
    caller = Caller(host, now_ms)
    assert door.enter(caller, now_ms) == ""
    return caller


def begin(door: Admission, host: str = "10.0.0.1", now_ms: int = 0) -> Caller:
    caller = enter(door, host, now_ms)
    assert door.spoke(caller, now_ms)
    return caller


def log_in(door: Admission, host: str = "10.0.0.1") -> Caller:
    caller = begin(door, host)
    caller.opens()
    return caller


def refusal(door: Admission, host: str, now_ms: int = 0) -> str:
    return door.enter(Caller(host, now_ms), now_ms)


def test_connection_beyond_the_bound_is_refused_until_one_leaves() -> None:
    door = admission(connections_max=2)
    first = log_in(door)
    log_in(door)
    assert refusal(door, "10.0.0.2") == "there are 2 connections already"
    door.leave(first)
    assert refusal(door, "10.0.0.2") == ""


def test_there_are_no_more_connections_than_files_for_them() -> None:
    door = admission(files=1)
    log_in(door)
    assert refusal(door, "10.0.0.2") == "there are 1 connections already"


def test_one_host_can_not_take_everything() -> None:
    door = admission(connections_per_host_max=2)
    log_in(door)
    log_in(door)
    assert refusal(door, "10.0.0.1") == "10.0.0.1 has 2 connections already"
    assert refusal(door, "10.0.0.2") == ""


def test_the_longest_silent_stranger_goes_for_the_newest() -> None:
    for bound in ("connections_max", "connections_unauthenticated_max", "connections_per_host_max"):
        door = admission(**{bound: 3})
        callers = [enter(door) for _ in range(3)]
        assert door.spoke(callers[0], 0)
        enter(door)
        assert [each.dropped for each in callers] == ["", MADE_ROOM, ""]
        assert door.connection_count == 3


def test_who_has_logged_in_never_makes_room() -> None:
    door = admission(connections_max=2, handshake_stalled_ms=1000)
    opened = log_in(door)
    silent = enter(door)
    enter(door, now_ms=60_000)
    assert (opened.dropped, silent.dropped) == ("", MADE_ROOM)


def test_a_host_with_many_strangers_makes_room_for_its_own() -> None:
    door = admission(connections_unauthenticated_per_host_max=2)
    other = enter(door, "10.0.0.9")
    first = enter(door)
    enter(door)
    enter(door)
    assert (other.dropped, first.dropped) == ("", MADE_ROOM)


def test_a_handshake_that_stands_still_goes_when_nobody_is_silent() -> None:
    door = admission(connections_max=2, handshake_stalled_ms=1000)
    still, moving = begin(door), begin(door)
    moving.connects()
    assert refusal(door, "10.0.0.2", 999) == "there are 2 connections already"
    assert refusal(door, "10.0.0.2", 1000) == ""
    assert (still.dropped, moving.dropped) == (STANDS_STILL, "")


def test_a_thousand_clients_of_one_host_that_come_at_once_are_all_served() -> None:
    """Beside as many silent ones as there is room for, of the same host."""
    door = admission()
    silent = [enter(door) for _ in range(5000)]
    clients = []
    for now_ms in range(1000):
        clients.append(enter(door, now_ms=now_ms))
        door.spoke(clients[-1], now_ms)
    in_handshake = clients[: DEFAULTS.handshakes_per_host_max]
    assert [each for each in clients if each.stage == HANDSHAKE] == in_handshake
    while in_handshake:
        for each in in_handshake:
            each.opens()
        in_handshake = door.call_in(1000)  # type: ignore[assignment]
    assert all(each.connection is not None and each.dropped == "" for each in clients)
    assert sum(each.dropped == "" for each in silent) < DEFAULTS.connections_unauthenticated_per_host_max


def test_handshakes_beyond_the_bound_wait_in_line_and_hosts_take_turns() -> None:
    door = admission(handshakes_max=2)
    running = [begin(door, "10.0.0.1"), begin(door, "10.0.0.1")]
    waiting = [enter(door, host) for host in ("10.0.0.1", "10.0.0.1", "10.0.0.2")]
    assert [door.spoke(each, 0) for each in waiting] == [False] * 3
    assert door.call_in(10) == []
    for each in running:
        each.opens()
    assert door.call_in(20) == [waiting[0], waiting[2]]
    waiting[0].opens()
    assert door.call_in(30) == [waiting[1]]
    assert not door.has_line


def test_one_host_has_only_its_share_of_the_handshakes() -> None:
    door = admission(handshakes_max=3, handshakes_per_host_max=2)
    begin(door, "10.0.0.1")
    begin(door, "10.0.0.1")
    assert not door.spoke(enter(door, "10.0.0.1"), 0)
    begin(door, "10.0.0.2")


def test_who_waits_in_line_has_its_time_for_the_handshake_afterwards() -> None:
    door = admission(handshakes_max=1)
    running = begin(door)
    waiting = enter(door)
    door.spoke(waiting, 100)
    running.opens()
    door.call_in(7100)
    assert waiting.deadline_ms == DEFAULTS.handshake_timeout_ms + 7000


def test_a_handshake_that_stands_still_makes_place_for_the_line_and_one_that_we_hold_back_does_not() -> None:
    door = admission(handshakes_max=3, handshake_stalled_ms=1000)
    still, held, moving = [begin(door) for _ in range(3)]
    still.connects()
    held.connects().is_held_back = True
    steps = moving.connects()
    waiting = [enter(door), enter(door)]
    for each in waiting:
        door.spoke(each, 0)
    assert door.call_in(500) == []
    steps.state = 1
    assert door.call_in(999) == []
    assert door.call_in(1500) == [waiting[0]]
    assert (still.dropped, held.dropped, moving.dropped) == (STANDS_STILL, "", "")


def test_a_host_that_fills_its_share_does_not_cost_others_their_handshakes() -> None:
    door = admission(handshakes_max=3, handshakes_per_host_max=2, handshake_stalled_ms=1000)
    slow = begin(door, "10.0.0.2")
    begin(door, "10.0.0.1", now_ms=1500)
    begin(door, "10.0.0.1", now_ms=1500)
    door.spoke(enter(door, "10.0.0.1", now_ms=1500), 1500)
    assert door.call_in(2000) == []
    assert slow.dropped == ""


def test_a_crowd_in_line_makes_room_for_somebody_else() -> None:
    door = admission(connections_max=4, handshakes_max=1)
    begin(door, "10.0.0.1")
    crowd = [enter(door, "10.0.0.1") for _ in range(3)]
    for each in crowd:
        door.spoke(each, 0)
    assert refusal(door, "10.0.0.1") == "there are 4 connections already"
    assert refusal(door, "10.0.0.2") == ""
    assert [each.dropped for each in crowd] == ["", "", TOO_MANY_OF_ITS_HOST]


def test_who_never_speaks_is_dropped_in_time() -> None:
    door = admission()
    early, late = enter(door), enter(door, now_ms=5000)
    door.expire(DEFAULTS.handshake_timeout_ms)
    assert (early.dropped, late.dropped) == (NEVER_SPOKE, "")


def test_counts_return_to_nothing_when_all_have_left() -> None:
    door = admission(connections_unauthenticated_max=4, handshakes_max=2)
    for _ in range(5):
        callers = [enter(door) for _ in range(4)]
        for each in callers[:3]:
            door.spoke(each, 0)
        callers[1].opens()
        door.call_in(0)
        for each in callers:
            door.leave(each)
            door.leave(each)
    assert door.connection_count == 0
    assert not door.has_line
    assert all(not held for name, held in vars(door).items() if isinstance(held, dict)), vars(door)
