"""Round robin among those that can take a message now."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqpd.queues.consumers import Consumer, Consumers, SharedCredit
from tests.fakes.core import new_consumer, new_queue

QUEUE = new_queue()


def consumers_with(*credits: int) -> tuple[Consumers, list[Consumer]]:
    consumers = Consumers()
    made = [new_consumer(QUEUE, str(at), credit) for at, credit in enumerate(credits)]
    for each in made:
        consumers.add(each)
    return consumers, made


def take(consumers: Consumers) -> str:
    """The tag of who is next, who pays one credit for it; "" if nobody is."""
    consumer = consumers.next()
    if consumer is None:
        return ""
    consumer.credit -= 1
    return consumer.consumer_tag


def test_there_is_no_next_one_among_none() -> None:
    assert Consumers().next() is None


def test_consumers_take_turns() -> None:
    consumers, _ = consumers_with(9, 9, 9)
    assert [take(consumers) for _ in range(7)] == ["0", "1", "2", "0", "1", "2", "0"]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_every_credit_is_used_once_and_nobody_gets_two_more_than_another_that_has_credit(credits: list[int]) -> None:
    consumers, made = consumers_with(*credits)
    taken: dict[str, int] = {each.consumer_tag: 0 for each in made}
    while (tag := take(consumers)) != "":
        taken[tag] += 1
        waiting = [taken[each.consumer_tag] for each in made if each.credit > 0]
        assert not waiting or max(taken.values()) - min(waiting) <= 1
    assert list(taken.values()) == credits


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "take"]), st.integers(0, 7)), max_size=40),
)
def test_turns_go_on_where_they_were_when_consumers_come_and_go(steps: list[tuple[str, int]]) -> None:
    """Model: a list in which whoever was served goes to the end; a new one stands before those served this round."""
    consumers = Consumers()
    there: list[Consumer] = []
    since_served: dict[str, int] = {}
    for number, (what, index) in enumerate(steps):
        if what == "add":
            there.append(new_consumer(QUEUE, str(number)))
            consumers.add(there[-1])
            since_served[str(number)] = 0
        elif what == "remove" and there:
            gone = there.pop(index % len(there))
            assert consumers.remove(gone)
            assert not consumers.remove(gone)
        elif what == "take" and there:
            tag = take(consumers)
            assert tag in [each.consumer_tag for each in there]
            for each in there:
                since_served[each.consumer_tag] += 1
            since_served[tag] = 0
        # Nobody waits longer than one round of everybody who was ever there meanwhile.
        assert all(since_served[each.consumer_tag] <= len(since_served) for each in there)
        assert consumers.all == there


def test_who_has_no_credit_of_its_own_is_skipped() -> None:
    consumers, _ = consumers_with(0, 2, 0)
    assert [take(consumers) for _ in range(3)] == ["1", "1", ""]


def test_who_shares_a_credit_that_is_used_up_is_skipped() -> None:
    consumers, made = consumers_with(5, 5)
    made[0].shared.remaining = 0
    assert [take(consumers), take(consumers)] == ["1", "1"]


def test_a_channel_whose_flow_is_off_is_skipped() -> None:
    consumers, made = consumers_with(5)
    made[0].shared.is_flowing = False
    assert consumers.next() is None
    made[0].shared.is_flowing = True
    assert consumers.next() is made[0]


def test_a_closed_outbox_is_skipped_and_not_waited_for() -> None:
    consumers, made = consumers_with(5, 5)
    made[1].outbox.is_open = False
    assert [take(consumers), take(consumers)] == ["0", "0"]


def test_exclusive_is_one_consumer_that_said_so() -> None:
    consumers = Consumers()
    assert not consumers.has_exclusive
    consumers.add(new_consumer(QUEUE, exclusive=True))
    assert consumers.has_exclusive
    other, _ = consumers_with(1)
    assert not other.has_exclusive


def test_only_the_first_to_come_is_active_where_one_is_to_be() -> None:
    consumers = Consumers(True)
    made = [new_consumer(QUEUE, str(at), 2) for at in range(2)]
    for each in made:
        consumers.add(each)
    assert [take(consumers) for _ in range(3)] == ["0", "0", ""]
    consumers.remove(made[0])
    assert take(consumers) == "1"


def test_shared_credit_is_unlimited_and_flowing_at_first() -> None:
    shared = SharedCredit()
    assert shared.remaining > 1 << 50
    assert shared.is_flowing


def all_of(consumers: Consumers, count: int) -> str:
    return "".join(take(consumers) or "-" for _ in range(count))


def test_who_hangs_is_passed_over_until_it_settles_something() -> None:
    consumers, made = consumers_with(9, 9, 9)
    consumers.lapsed(made[1])
    assert sorted(all_of(consumers, 4)) == ["0", "0", "2", "2"]
    consumers.settled(made[1])
    assert sorted(all_of(consumers, 3)) == ["0", "1", "2"]


def test_who_hangs_gets_nothing_though_everybody_else_is_busy() -> None:
    consumers, made = consumers_with(9, 0)
    consumers.lapsed(made[0])
    assert all_of(consumers, 1) == "-"
    # The other one goes: then it is better than nobody.
    consumers.remove(made[1])
    assert all_of(consumers, 2) == "00"


def test_who_hangs_comes_after_those_of_lower_priority() -> None:
    consumers = Consumers()
    high, low = new_consumer(QUEUE, "h", 9), new_consumer(QUEUE, "l", 9)
    high.priority = 5
    consumers.add(low)
    consumers.add(high)
    assert all_of(consumers, 2) == "hh"
    consumers.lapsed(high)
    assert all_of(consumers, 2) == "ll"
    # If all hang they take turns, whatever their priorities.
    consumers.lapsed(low)
    assert sorted(all_of(consumers, 4)) == ["h", "h", "l", "l"]
    consumers.settled(low)
    assert all_of(consumers, 2) == "ll"
    consumers.settled(high)
    assert all_of(consumers, 2) == "hh"


def test_a_single_active_consumer_that_hangs_is_relieved_by_the_next_one_for_good() -> None:
    consumers = Consumers(True)
    made = [new_consumer(QUEUE, str(at), 9) for at in range(3)]
    for each in made:
        consumers.add(each)
    consumers.lapsed(made[0])
    assert all_of(consumers, 2) == "11"
    consumers.settled(made[0])
    assert all_of(consumers, 1) == "1"
    consumers.lapsed(made[1])
    assert all_of(consumers, 1) == "0"


def test_if_all_hang_the_next_in_line_is_active_and_whoever_settles_first_stays_so() -> None:
    consumers = Consumers(True)
    made = [new_consumer(QUEUE, str(at), 9) for at in range(2)]
    for each in made:
        consumers.add(each)
    consumers.lapsed(made[0])
    consumers.lapsed(made[1])
    assert all_of(consumers, 1) == "0"
    consumers.lapsed(made[0])
    assert all_of(consumers, 1) == "1"
    consumers.settled(made[0])
    assert all_of(consumers, 2) == "00"
    consumers.lapsed(made[0])
    made.append(new_consumer(QUEUE, "2", 9))
    consumers.add(made[2])
    assert all_of(consumers, 2) == "22"


@given(st.lists(st.tuples(st.sampled_from("alrs"), st.integers(0, 7)), max_size=40), st.booleans())
def test_somebody_who_does_not_hang_is_always_preferred(steps: list[tuple[str, int]], single_active: bool) -> None:
    consumers = Consumers(single_active)
    there: list[Consumer] = []
    for number, (what, index) in enumerate(steps):
        if what == "a":
            there.append(new_consumer(QUEUE, str(number)))
            there[-1].priority = index % 2
            consumers.add(there[-1])
        elif there and what == "l":
            consumers.lapsed(there[index % len(there)])
        elif there and what == "r":
            consumers.remove(there.pop(index % len(there)))
        elif there and there[index % len(there)].is_hung:
            consumers.settled(there[index % len(there)])
        found = consumers.next()
        assert (found is None) == (not there)
        assert found is None or not found.is_hung or all(each.is_hung for each in there)
