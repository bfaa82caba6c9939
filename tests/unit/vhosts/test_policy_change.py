from __future__ import annotations

from amqpd.base.limits import Limits
from amqpd.queues.agenda import TURN_BUDGET, Agenda
from amqpd.store.log import Log, fresh_start
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.policies import Policy, checked_policy
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE

COUNT = 500


def new_vhost(queue_count: int = COUNT) -> VHost:
    vhost = VHost("/", Limits(), Agenda(Log(fresh_start(1))), Changes(1))
    for number in range(queue_count):
        vhost.declare_queue(f"q{number}", False, False, False, 0, EMPTY_TABLE, False)
    return vhost


def policy(length: int, pattern: str = "^q") -> Policy:
    return checked_policy("/", "p", pattern, 0, "queues", {"max-length": length}, False)


def turn(vhost: VHost) -> None:
    vhost._agenda.budget = TURN_BUDGET
    vhost._agenda.works.go_on()


def lengths(vhost: VHost) -> list[int]:
    return [int(queue.options.max_length) for queue in vhost.queues.values()]


def test_a_policy_reaches_many_queues_in_several_turns() -> None:
    vhost = new_vhost()
    vhost.set_policy(policy(7))
    assert 0 < lengths(vhost).count(7) < COUNT
    turns = 0
    while vhost._agenda.works.count > 0:
        turn(vhost)
        turns += 1
    assert lengths(vhost) == [7] * COUNT
    assert turns >= 2


def test_what_is_declared_meanwhile_goes_by_the_new_one_at_once() -> None:
    vhost = new_vhost()
    vhost.set_policy(policy(7))
    assert vhost.declare_queue("q-new", False, False, False, 0, EMPTY_TABLE, False).options.max_length == 7


def test_policies_that_change_again_before_they_are_everywhere_begin_anew() -> None:
    vhost = new_vhost()
    vhost.set_policy(policy(7))
    turn(vhost)
    vhost.set_policy(policy(8))
    while vhost._agenda.works.count > 0:
        turn(vhost)
    assert lengths(vhost) == [8] * COUNT


def test_a_queue_that_is_deleted_meanwhile_is_passed_over() -> None:
    vhost = new_vhost()
    vhost.set_policy(policy(7))
    for name in list(vhost.queues)[100:]:
        vhost.delete_queue(vhost.queues[name])
    while vhost._agenda.works.count > 0:
        turn(vhost)
    assert lengths(vhost) == [7] * 100
