"""Policies: arguments from outside, live, and how they meet the arguments of the declare."""

from __future__ import annotations

from ..channel import Channel
from ..letters import bodies, letter
from ..registry import behaviour
from ..session import Session


def _queue(s: Session, **arguments: object) -> tuple[Channel, str]:
    ch = s.channel()
    given = {"x-" + name.replace("_", "-"): value for name, value in arguments.items()}
    return ch, ch.queue("q", **({"arguments": given} if given else {}))


@behaviour("policies")
def queue_takes_its_ttl_from_a_policy(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"message-ttl": 50})
    ch.publish("", q, b"a")
    s.pause(300)
    ch.get(q)


@behaviour("policies")
def queue_declared_under_a_policy_takes_it(s: Session) -> None:
    s.policy("p", s.name("q"), {"max-length": 1})
    ch, q = _queue(s)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    bodies(ch, q, 1)


@behaviour("policies")
def new_ttl_applies_to_what_is_in_the_queue(s: Session) -> None:
    ch, q = _queue(s)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    s.policy("p", q, {"message-ttl": 50})
    s.pause(300)
    bodies(ch, q, 0)


@behaviour("policies")
def ttl_of_a_policy_that_is_cleared_lets_messages_live(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"message-ttl": 50})
    s.clear_policy("p")
    ch.publish("", q, b"a")
    s.pause(300)
    ch.get(q)


@behaviour("policies")
def new_limit_drops_what_is_too_much(s: Session) -> None:
    ch, q = _queue(s)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.sync()
    s.policy("p", q, {"max-length": 1})
    bodies(ch, q, 1)


@behaviour("policies")
def new_limit_in_octets_drops_what_is_too_much(s: Session) -> None:
    ch, q = _queue(s)
    ch.publish_each(q, b"aaaa", b"bbbb", b"cccc")
    ch.sync()
    s.policy("p", q, {"max-length-bytes": 8})
    bodies(ch, q, 2)


@behaviour("policies")
def cleared_limit_lets_the_queue_grow(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"max-length": 1})
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    s.clear_policy("p")
    ch.publish_each(q, b"c", b"d")
    bodies(ch, q, 3)


@behaviour("policies")
def changed_policy_applies_at_once(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"max-length": 3})
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.sync()
    ch.counts(q, 3)
    s.policy("p", q, {"max-length": 2})
    bodies(ch, q, 2)


@behaviour("policies")
def overflow_comes_from_a_policy(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"max-length": 1, "overflow": "reject-publish"})
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.drain(q)


@behaviour("policies")
def dead_letter_exchange_of_a_policy_gets_what_was_in_the_queue(s: Session) -> None:
    ch, q = _queue(s)
    dead = ch.queue("dead")
    ch.publish("", q, b"a")
    ch.get(q)
    s.policy("p", q, {"dead-letter-exchange": "", "dead-letter-routing-key": dead})
    ch.reject(1, requeue=False)
    letter(ch, dead)


@behaviour("policies")
def dead_letter_exchange_of_a_policy_gets_what_the_new_limit_drops(s: Session) -> None:
    ch, q = _queue(s)
    dead = ch.queue("dead")
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    s.policy("p", q, {"max-length": 1, "dead-letter-exchange": "", "dead-letter-routing-key": dead})
    letter(ch, dead)
    ch.drain(q)


@behaviour("policies")
def cleared_dead_letter_exchange_gets_nothing(s: Session) -> None:
    ch, q = _queue(s)
    dead = ch.queue("dead")
    s.policy("p", q, {"dead-letter-exchange": "", "dead-letter-routing-key": dead})
    ch.publish("", q, b"a")
    ch.get(q)
    s.clear_policy("p")
    ch.reject(1, requeue=False)
    ch.sync()
    ch.drain(q, dead)


@behaviour("policies")
def queue_expires_by_a_policy(s: Session) -> None:
    _, q = _queue(s)
    s.policy("p", q, {"expires": 100})
    s.pause(400)
    s.queue_exists(q, False)


# Arguments and policies


@behaviour("policies")
def lower_limit_of_argument_and_policy_counts(s: Session) -> None:
    for label, argument, policy in (("one", 1, 3), ("two", 3, 1)):
        ch = s.channel()
        q = ch.queue(label, arguments={"x-max-length": argument})
        s.policy(f"p {label}", q, {"max-length": policy})
        ch.publish_each(q, b"a", b"b", b"c", b"d")
        ch.sync()
        bodies(ch, q, 1)


@behaviour("policies")
def lower_ttl_of_argument_and_policy_counts(s: Session) -> None:
    for label, argument, policy in (("one", 50, 60000), ("two", 60000, 50)):
        ch = s.channel()
        q = ch.queue(label, arguments={"x-message-ttl": argument})
        s.policy(f"p {label}", q, {"message-ttl": policy})
        ch.publish("", q, b"a")
        s.pause(300)
        ch.get(q)


@behaviour("policies")
def dead_letter_exchange_of_the_declare_wins(s: Session) -> None:
    ch = s.channel()
    mine, theirs = ch.queue("mine"), ch.queue("theirs")
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": mine})
    s.policy("p", q, {"dead-letter-exchange": "amq.fanout", "dead-letter-routing-key": theirs})
    ch.publish("", q, b"a")
    ch.get(q)
    ch.reject(1, requeue=False)
    letter(ch, mine)


@behaviour("policies")
def dead_letter_routing_key_may_come_from_the_policy_alone(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead")
    q = ch.queue("q", arguments={"x-dead-letter-exchange": ""})
    s.policy("p", q, {"dead-letter-routing-key": dead})
    ch.publish("", q, b"a")
    ch.get(q)
    ch.reject(1, requeue=False)
    letter(ch, dead)


@behaviour("policies")
def overflow_of_the_declare_wins(s: Session) -> None:
    ch, q = _queue(s, max_length=1, overflow="drop-head")
    s.policy("p", q, {"overflow": "reject-publish"})
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    bodies(ch, q, 1)


@behaviour("policies")
def overflow_of_the_policy_meets_the_limit_of_the_declare(s: Session) -> None:
    ch, q = _queue(s, max_length=1)
    s.policy("p", q, {"overflow": "reject-publish"})
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.drain(q)


@behaviour("policies")
def policies_are_not_compared_on_a_redeclaration(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"max-length": 5, "message-ttl": 60000})
    ch.attempt("queue.declare", queue=q)
    ch.attempt("queue.declare", queue=q, arguments={"x-max-length": 5})


# Which policy


@behaviour("policies")
def policy_of_the_highest_priority_counts(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("low", q, {"max-length": 1}, priority=1)
    s.policy("high", q, {"max-length": 3}, priority=2)
    s.policy("below", q, {"max-length": 2}, priority=-1)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.sync()
    bodies(ch, q, 3)


@behaviour("policies")
def only_one_policy_counts(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("low", q, {"message-ttl": 50}, priority=1)
    s.policy("high", q, {"max-length": 1}, priority=2)
    ch.publish_each(q, b"a", b"b")
    s.pause(300)
    bodies(ch, q, 1)


@behaviour("policies")
def next_policy_counts_when_the_highest_goes(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("low", q, {"max-length": 1}, priority=1)
    s.policy("high", q, {"max-length": 3}, priority=2)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.sync()
    ch.counts(q, 3)
    s.clear_policy("high")
    bodies(ch, q, 1)


@behaviour("policies")
def policy_of_exchanges_is_none_of_a_queue(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"alternate-exchange": "amq.fanout"}, apply_to="exchanges", priority=9)
    s.policy("mine", q, {"max-length": 1}, priority=1)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    bodies(ch, q, 1)


@behaviour("policies")
def policy_of_everything_is_one_of_queues(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"max-length": 1}, apply_to="all")
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    bodies(ch, q, 1)


@behaviour("policies")
def policy_does_not_touch_other_queues(s: Session) -> None:
    ch, q = _queue(s)
    other = ch.queue("other")
    s.policy("p", q, {"max-length": 1})
    ch.publish_each(other, b"a", b"b")
    bodies(ch, other, 2)


# Exchanges


@behaviour("policies")
def alternate_exchange_comes_from_a_policy(s: Session) -> None:
    ch = s.channel()
    x, alternate, q = ch.exchange("x", "direct"), ch.exchange("alternate", "fanout"), ch.queue("q")
    ch.bind(q, alternate)
    s.policy("p", x, {"alternate-exchange": alternate}, apply_to="exchanges")
    ch.publish(x, "nowhere", b"a", mandatory=True)
    bodies(ch, q, 1)
    s.clear_policy("p")
    ch.publish(x, "nowhere", b"b", mandatory=True)
    ch.read()


@behaviour("policies")
def alternate_exchange_of_the_declare_wins(s: Session) -> None:
    ch = s.channel()
    mine, theirs = ch.exchange("mine", "fanout"), ch.exchange("theirs", "fanout")
    x = ch.exchange("x", "direct", arguments={"alternate-exchange": mine})
    q, other = ch.queue("q"), ch.queue("other")
    ch.bind(q, mine)
    ch.bind(other, theirs)
    s.policy("p", x, {"alternate-exchange": theirs}, apply_to="exchanges")
    ch.publish(x, "nowhere", b"a")
    bodies(ch, q, 1)
    ch.drain(other)


# Operator policies


@behaviour("policies")
def operator_policy_limits_by_itself(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("o", q, {"max-length": 1}, is_operator=True)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    bodies(ch, q, 1)


@behaviour("policies")
def lower_limit_of_policy_and_operator_policy_counts(s: Session) -> None:
    for label, policy, operator in (("one", 1, 3), ("two", 3, 1)):
        ch = s.channel()
        q = ch.queue(label)
        s.policy(f"p {label}", q, {"max-length": policy})
        s.policy(f"o {label}", q, {"max-length": operator}, is_operator=True)
        ch.publish_each(q, b"a", b"b", b"c", b"d")
        ch.sync()
        bodies(ch, q, 1)


@behaviour("policies")
def operator_policy_limits_an_argument(s: Session) -> None:
    ch, q = _queue(s, max_length=3)
    s.policy("o", q, {"max-length": 1}, is_operator=True)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.sync()
    bodies(ch, q, 1)


@behaviour("policies")
def operator_policy_adds_what_the_policy_leaves_open(s: Session) -> None:
    ch, q = _queue(s)
    s.policy("p", q, {"overflow": "reject-publish"})
    s.policy("o", q, {"max-length": 1}, is_operator=True)
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.drain(q)
