from __future__ import annotations

from amqpd.queues.agenda import TURN_BUDGET, Agenda
from amqpd.queues.work import Work
from amqpd.store.log import Log, fresh_start


class Counting(Work):
    """So many steps, each of which costs one."""

    def __init__(self, agenda: Agenda, steps: int, fails_at: int = -1) -> None:
        self.agenda = agenda
        self.left = steps
        self.fails_at = fails_at
        self.has_failed = False
        self.slices: list[int] = []

    def go_on(self) -> bool:
        done = 0
        while self.left > 0 and (done == 0 or self.agenda.budget > 0):
            if self.left == self.fails_at:
                raise AssertionError("planned")
            self.left -= 1
            self.agenda.budget -= 1
            done += 1
        self.slices.append(done)
        return self.left == 0

    def failed(self) -> None:
        self.has_failed = True


def new_agenda() -> Agenda:
    return Agenda(Log(fresh_start(1)))


def turn(agenda: Agenda) -> None:
    agenda.budget = TURN_BUDGET
    agenda.works.go_on()


def test_what_is_small_is_done_at_once() -> None:
    agenda = new_agenda()
    assert agenda.works.start(Counting(agenda, 10))
    assert agenda.works.count == 0


def test_what_is_long_takes_several_turns_none_of_which_costs_more_than_its_budget() -> None:
    agenda = new_agenda()
    work = Counting(agenda, 3 * TURN_BUDGET)
    assert not agenda.works.start(work)
    for _ in range(2):
        assert agenda.works.count == 1
        turn(agenda)
    assert (agenda.works.count, work.slices) == (0, [TURN_BUDGET] * 3)


def test_works_share_a_turn_and_what_one_leaves_is_for_the_next() -> None:
    agenda = new_agenda()
    agenda.budget = 0
    works = [Counting(agenda, 10_000), Counting(agenda, 11), Counting(agenda, 10_000)]
    for work in works:
        agenda.works.start(work)
    turn(agenda)
    assert works[1].left == 0
    assert sum(work.slices[-1] for work in works) <= TURN_BUDGET
    assert abs(works[0].slices[-1] - works[2].slices[-1]) < TURN_BUDGET


def test_a_work_that_goes_wrong_is_said_and_ends_nothing_else() -> None:
    agenda = new_agenda()
    bad = Counting(agenda, 2 * TURN_BUDGET, fails_at=100)
    good = Counting(agenda, 2 * TURN_BUDGET)
    agenda.works.start(bad)
    agenda.works.start(good)
    for _ in range(4):
        turn(agenda)
    assert (bad.has_failed, good.left, agenda.works.count) == (True, 0, 0)
    assert any("internal error in a long work" in line for line in agenda.lines)
