from __future__ import annotations

import pytest

from amqpd.queues.departure import COMPACT_COUNT, Departure, DepartureLine
from tests.fakes.core import new_entry, new_queue


def departures(count: int) -> list[Departure]:
    entry = new_entry(1, new_queue())
    return [Departure(entry, str(number)) for number in range(count)]


@pytest.mark.parametrize("count", [1, 5, 3 * COMPACT_COUNT])
def test_who_came_first_goes_first(count: int) -> None:
    line = DepartureLine()
    for departure in departures(count):
        line.add(departure)
    assert line.count == count
    assert line.first().reason == "0"
    assert [line.take().reason for _ in range(count)] == [str(number) for number in range(count)]
    assert line.count == 0


def test_out_of_turn_the_last_one_goes() -> None:
    line = DepartureLine()
    for departure in departures(3):
        line.add(departure)
    assert [line.take().reason, line.take_last().reason, line.take().reason] == ["0", "2", "1"]
