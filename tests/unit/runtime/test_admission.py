from __future__ import annotations

import dataclasses

from amqpd.base.limits import DEFAULTS
from amqpd.runtime.admission import Admission


class Newcomer:
    """As much of a Connection as admission looks at."""

    def __init__(self) -> None:
        self.session: object | None = None


def admission(**limits: int) -> Admission:
    return Admission(dataclasses.replace(DEFAULTS, **limits))


def admit(door: Admission, host: str = "10.0.0.1") -> Newcomer:
    assert door.refusal(host) == ""
    newcomer = Newcomer()
    door.admit(newcomer, host)  # type: ignore[arg-type]
    return newcomer


def test_connection_beyond_the_bound_is_refused_until_one_leaves() -> None:
    door = admission(connections_max=2)
    first = admit(door)
    admit(door)
    assert door.refusal("10.0.0.2") == "there are 2 connections already"
    door.leave(first)  # type: ignore[arg-type]
    assert door.refusal("10.0.0.2") == ""


def test_one_host_can_not_take_everything() -> None:
    door = admission(connections_per_host_max=2)
    admit(door)
    admit(door)
    assert door.refusal("10.0.0.1") == "10.0.0.1 has 2 connections already"
    assert door.refusal("10.0.0.2") == ""


def test_newcomers_are_bounded_and_those_that_opened_are_none() -> None:
    door = admission(connections_unauthenticated_max=3)
    newcomers = [admit(door, f"10.0.0.{number}") for number in range(3)]
    assert "not logged in" in door.refusal("10.0.0.9")
    newcomers[0].session = object()
    assert door.refusal("10.0.0.9") == ""


def test_newcomers_of_one_host_are_bounded() -> None:
    door = admission(connections_unauthenticated_per_host_max=2)
    admit(door)
    admit(door)
    assert "not logged in" in door.refusal("10.0.0.1")
    assert door.refusal("10.0.0.2") == ""


def test_counts_return_to_nothing_when_all_have_left() -> None:
    door = admission(connections_unauthenticated_max=4)
    for _ in range(5):
        newcomers = [admit(door) for _ in range(4)]
        newcomers[1].session = object()
        door.refusal("10.0.0.1")
        for newcomer in newcomers:
            door.leave(newcomer)  # type: ignore[arg-type]
            door.leave(newcomer)  # type: ignore[arg-type]
    assert door.connection_count == 0
    assert door.refusal("10.0.0.1") == ""
