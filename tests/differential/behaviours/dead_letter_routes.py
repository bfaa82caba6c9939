"""Dead letters: where they go, by which keys, and which of them are dropped for going round in a cycle."""

from __future__ import annotations

from typing import Any

from ..channel import Channel
from ..letters import bodies, letter, reject_next, reject_when_there, source
from ..registry import behaviour
from ..session import Session


def _with_exchange(s: Session, type: str = "direct", **arguments: Any) -> tuple[Channel, str, str]:
    """A channel, a queue and the exchange that its dead letters go to."""
    ch = s.channel()
    x = ch.exchange("dlx", type)
    q = ch.queue("q", arguments={"x-dead-letter-exchange": x} | arguments)
    return ch, q, x


# Routing


@behaviour("dead-letters")
def dead_letter_keeps_its_routing_key(s: Session) -> None:
    ch, q, x = _with_exchange(s, "topic")
    dead = ch.queue("dead")
    ch.bind(dead, x, "#")
    source_exchange = ch.exchange("x", "topic")
    ch.bind(q, source_exchange, "#")
    ch.publish(source_exchange, "order.paid", b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_routing_key_takes_the_place_of_the_key(s: Session) -> None:
    ch, q, x = _with_exchange(s, "topic", **{"x-dead-letter-routing-key": "dead.letter"})
    dead, other = ch.queue("dead"), ch.queue("other")
    ch.bind(dead, x, "dead.*")
    ch.bind(other, x, "q.*")
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)
    ch.drain(other)


@behaviour("dead-letters")
def empty_dead_letter_routing_key_is_a_key(s: Session) -> None:
    ch, q, x = _with_exchange(s, "direct", **{"x-dead-letter-routing-key": ""})
    dead = ch.queue("dead")
    ch.bind(dead, x, "")
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letters_reach_several_queues(s: Session) -> None:
    ch, q, x = _with_exchange(s, "fanout")
    for label in ("one", "two", "three"):
        ch.bind(ch.queue(label), x)
    ch.publish("", q, b"a")
    reject_next(ch, q)
    for label in ("one", "two", "three"):
        letter(ch, s.name(label))


@behaviour("dead-letters")
def dead_letter_reaches_a_queue_once_though_two_bindings_match(s: Session) -> None:
    ch, q, x = _with_exchange(s, "topic")
    dead = ch.queue("dead")
    ch.bind(dead, x, "#")
    ch.bind(dead, x, "*")
    ch.publish("", q, b"a")
    reject_next(ch, q)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def dead_letter_is_routed_by_its_headers(s: Session) -> None:
    ch, q, x = _with_exchange(s, "headers")
    dead = ch.queue("dead")
    ch.bind(dead, x, "", arguments={"x-match": "all", "kind": "order"})
    ch.publish("", q, b"a", headers={"kind": "order"})
    ch.publish("", q, b"b", headers={"kind": "other"})
    reject_next(ch, q)
    reject_next(ch, q)
    letter(ch, dead)
    ch.drain(dead)


@behaviour("dead-letters")
def dead_letter_can_be_routed_by_its_first_death(s: Session) -> None:
    ch, q, x = _with_exchange(s, "headers")
    dead = ch.queue("dead")
    ch.bind(dead, x, "", arguments={"x-match": "all-with-x", "x-first-death-reason": "rejected"})
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_goes_on_to_the_alternate_exchange(s: Session) -> None:
    ch = s.channel()
    alternate = ch.exchange("alternate", "fanout")
    x = ch.exchange("dlx", "direct", arguments={"alternate-exchange": alternate})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": x})
    dead = ch.queue("dead")
    ch.bind(dead, alternate)
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_goes_through_bound_exchanges(s: Session) -> None:
    ch, q, x = _with_exchange(s, "fanout")
    behind = ch.exchange("behind", "fanout")
    ch.call("exchange.bind", source=x, destination=behind, routing_key="")
    dead = ch.queue("dead")
    ch.bind(dead, behind)
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_may_go_through_an_internal_exchange(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange("dlx", "fanout", internal=True)
    q, dead = ch.queue("q", arguments={"x-dead-letter-exchange": x}), ch.queue("dead")
    ch.bind(dead, x)
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_of_a_missing_exchange_is_dropped(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": s.name("missing")})
    ch.publish("", q, b"a")
    reject_next(ch, q)
    ch.sync()
    ch.counts(q, 0)


@behaviour("dead-letters")
def dead_letter_exchange_may_be_declared_later(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": s.name("dlx")})
    x, dead = ch.exchange("dlx", "fanout"), ch.queue("dead")
    ch.bind(dead, x)
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def unroutable_dead_letter_is_dropped(s: Session) -> None:
    ch, q, x = _with_exchange(s)
    dead = ch.queue("dead")
    ch.bind(dead, x, "another key")
    ch.publish("", q, b"a", mandatory=True)
    reject_next(ch, q)
    ch.nothing()
    ch.counts(q, 0)
    ch.drain(dead)


@behaviour("dead-letters")
def default_exchange_brings_a_dead_letter_to_the_queue_of_its_key(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead")
    x = ch.exchange("x", "topic")
    q = ch.queue("q", arguments={"x-dead-letter-exchange": ""})
    ch.bind(q, x, "#")
    ch.publish(x, dead, b"a")
    reject_next(ch, q)
    letter(ch, dead)


# CC and BCC


@behaviour("dead-letters")
def cc_keys_are_told_and_routed_by(s: Session) -> None:
    ch, q, x = _with_exchange(s)
    for key in (q, "one", "two"):
        ch.bind(ch.queue(f"dead {key.partition('-')[0]}"), x, key)
    ch.publish("", q, b"a", headers={"CC": ["one", "two"]})
    reject_next(ch, q)
    for label in ("q", "one", "two"):
        letter(ch, s.name(f"dead {label}"))


@behaviour("dead-letters")
def bcc_keys_are_routed_by_but_not_told(s: Session) -> None:
    ch, q, x = _with_exchange(s)
    ch.bind(ch.queue("dead q"), x, q)
    ch.bind(ch.queue("dead one"), x, "one")
    ch.publish("", q, b"a", headers={"BCC": ["one"], "other": 1})
    reject_next(ch, q)
    letter(ch, s.name("dead q"))
    s.pause(100)
    ch.drain(s.name("dead one"))


@behaviour("dead-letters")
def dead_letter_routing_key_takes_the_cc_away(s: Session) -> None:
    ch, q, x = _with_exchange(s, "direct", **{"x-dead-letter-routing-key": "dead"})
    ch.bind(ch.queue("dead"), x, "dead")
    ch.bind(ch.queue("one"), x, "one")
    ch.publish("", q, b"a", headers={"CC": ["one"], "other": 1})
    reject_next(ch, q)
    letter(ch, s.name("dead"))
    s.pause(100)
    ch.drain(s.name("one"))


@behaviour("dead-letters")
def message_that_came_by_its_cc_tells_all_its_keys(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", s.name("nowhere"), b"a", headers={"CC": [q]})
    reject_next(ch, q)
    letter(ch, dead)


# Cycles


@behaviour("dead-letters")
def message_that_expires_round_in_a_cycle_is_dropped(s: Session) -> None:
    ch = s.channel()
    arguments = {"x-dead-letter-exchange": "", "x-message-ttl": 50}
    one = ch.queue("one", arguments=arguments | {"x-dead-letter-routing-key": s.name("two")})
    two = ch.queue("two", arguments=arguments | {"x-dead-letter-routing-key": one})
    ch.publish("", one, b"a")
    s.pause(400)
    ch.counts(one, 0)
    ch.counts(two, 0)


@behaviour("dead-letters")
def queue_that_is_its_own_dead_letter_queue_drops_what_expires(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-message-ttl": 50})
    ch.publish("", q, b"a")
    s.pause(300)
    ch.counts(q, 0)


@behaviour("dead-letters")
def rejected_message_may_come_back_to_its_own_queue(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": ""})
    ch.publish("", q, b"a")
    for _ in range(3):
        ch.counts(q, 1)
        reject_when_there(ch, q)
    letter(ch, q)


@behaviour("dead-letters")
def rejection_in_the_cycle_lets_the_message_go_round(s: Session) -> None:
    ch = s.channel()
    work = ch.queue("work", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.name("wait")})
    ch.queue(
        "wait",
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 50},
    )
    ch.publish("", work, b"a")
    for _ in range(3):
        reject_when_there(ch, work)
    letter(ch, work)


@behaviour("dead-letters")
def cycle_drops_only_the_copy_that_went_round(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange("dlx", "fanout")
    q = ch.queue("q", arguments={"x-dead-letter-exchange": x, "x-message-ttl": 50})
    dead = ch.queue("dead")
    ch.bind(q, x)
    ch.bind(dead, x)
    ch.publish("", q, b"a")
    letter(ch, dead)
    s.pause(200)
    ch.counts(q, 0)
    ch.drain(dead)


@behaviour("dead-letters")
def message_over_the_length_of_its_own_dead_letter_queue_is_dropped(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-max-length": 1})
    ch.publish_each(q, b"a", b"b", b"c")
    s.pause(100)
    bodies(ch, q, 1)
