from __future__ import annotations

import pytest

from amqpd.channels.commits import Commits
from amqpd.channels.confirms import Confirms
from amqpd.queues.agenda import Agenda
from amqpd.store.log import Log, fresh_start
from amqpd.wire.outbox import Outbox


def waiter(commits: Commits) -> tuple[Confirms, Outbox]:
    outbox = Outbox(1, [])
    return Confirms(outbox, 1, commits), outbox


def test_what_waits_for_nothing_is_said_at_the_end_of_the_turn() -> None:
    commits = Commits(0, Agenda(Log(fresh_start(1))))
    confirms, outbox = waiter(commits)
    confirms.published(0)
    assert outbox.take() == b""
    commits.pay_fresh()
    assert outbox.take() != b""
    assert not confirms.is_waiting


def test_what_waits_for_a_mark_is_said_when_it_is_committed_and_once() -> None:
    commits = Commits(0, Agenda(Log(fresh_start(1))))
    confirms, outbox = waiter(commits)
    confirms.published(3)
    commits.pay_fresh()
    commits.committed(2)
    assert outbox.take() == b""
    assert confirms.is_waiting
    commits.committed(3)
    assert outbox.take() != b""
    assert not confirms.is_waiting
    commits.committed(4)
    assert outbox.take() == b""


def test_a_waiter_stands_in_line_once() -> None:
    commits = Commits(0, Agenda(Log(fresh_start(1))))
    confirms, outbox = waiter(commits)
    commits.wait(confirms)
    commits.wait(confirms)
    confirms.published(0)
    commits.pay_fresh()
    assert len(outbox.take()) == 21


def test_everybody_who_waits_for_a_mark_is_paid_in_the_order_of_their_coming() -> None:
    commits = Commits(0, Agenda(Log(fresh_start(1))))
    woken: list[Outbox] = []
    outboxes = [Outbox(number, woken) for number in range(3)]
    for outbox in outboxes:
        Confirms(outbox, 1, commits).published(1)
    commits.pay_fresh()
    commits.committed(1)
    assert [outbox.number for outbox in woken] == [0, 1, 2]


def test_a_mark_never_goes_back() -> None:
    commits = Commits(0, Agenda(Log(fresh_start(1))))
    commits.committed(5)
    commits.committed(5)
    with pytest.raises(AssertionError):
        commits.committed(4)
    assert commits.mark == 5


def test_a_mark_that_is_committed_already_is_paid_in_the_same_turn() -> None:
    commits = Commits(0, Agenda(Log(fresh_start(1))))
    commits.committed(9)
    confirms, outbox = waiter(commits)
    confirms.published(7)
    commits.pay_fresh()
    assert outbox.take() != b""
