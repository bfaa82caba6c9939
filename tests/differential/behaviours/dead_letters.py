"""Dead letters: why a message leaves its queue, where it goes, and what its headers say about that."""

from __future__ import annotations

from typing import Any

from ..channel import Channel
from ..codec import Typed
from ..letters import bodies, headers, letter, letters, source
from ..registry import behaviour
from ..session import Session

RICH: dict[str, Any] = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "delivery_mode": 2,
    "priority": 3,
    "correlation_id": "c-1",
    "reply_to": "somewhere",
    "message_id": "m-1",
    "timestamp": 1700000000,
    "type": "order",
    "user_id": "guest",
    "app_id": "test",
    "cluster_id": "none",
}


def _reject(ch: Channel, q: str, *, requeue: bool = False) -> None:
    """Get the next message and reject it."""
    tag = ch.get(q)["delivery_tag"]
    ch.reject(tag, requeue=requeue)


def _with_exchange(s: Session, type: str = "direct", **arguments: Any) -> tuple[Channel, str, str]:
    """A channel, a queue and the exchange that its dead letters go to."""
    ch = s.channel()
    x = ch.exchange("dlx", type)
    q = ch.queue("q", arguments={"x-dead-letter-exchange": x} | arguments)
    return ch, q, x


# Reasons


@behaviour("dead-letters")
def rejected_message_goes_to_the_dead_letter_exchange(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def nacked_message_goes_to_the_dead_letter_exchange(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.nack(1, requeue=False)
    letter(ch, dead)


@behaviour("dead-letters")
def requeued_and_acked_messages_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b")
    _reject(ch, q, requeue=True)
    ch.get(q)
    ch.ack(2)
    ch.get(q)
    ch.ack(3)
    ch.sync()
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def message_expired_by_the_queue_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=50)
    ch.publish("", q, b"a")
    letter(ch, dead)


@behaviour("dead-letters")
def message_expired_by_its_own_expiration_is_dead_lettered_without_it(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", expiration="50")
    letter(ch, dead)


@behaviour("dead-letters")
def original_expiration_is_told_though_the_queue_was_sooner(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=50)
    ch.publish("", q, b"a", expiration="0060000")
    letter(ch, dead)


@behaviour("dead-letters")
def original_expiration_is_told_of_a_rejected_message(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", expiration="60000")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def message_over_the_length_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=2)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    letters(ch, dead, 2)
    ch.drain(q)


@behaviour("dead-letters")
def message_over_the_octets_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length_bytes=10)
    ch.publish_each(q, b"aaaa", b"bbbb", b"cccc")
    letter(ch, dead)
    ch.drain(q)


@behaviour("dead-letters")
def message_refused_with_reject_publish_dlx_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=1, overflow="reject-publish-dlx")
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    letter(ch, dead)
    ch.drain(q)


@behaviour("dead-letters")
def message_with_ttl_0_is_dead_lettered_at_once(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=0)
    ch.publish("", q, b"a")
    letter(ch, dead)


@behaviour("dead-letters")
def message_with_expiration_0_is_dead_lettered_at_once(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", expiration="0")
    letter(ch, dead)


@behaviour("dead-letters")
def message_requeued_after_its_time_is_dead_lettered_as_expired(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=100)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(300)
    ch.nack(1)
    letter(ch, dead)


@behaviour("dead-letters")
def message_rejected_after_its_time_is_dead_lettered_as_rejected(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=100)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(300)
    ch.reject(1, requeue=False)
    letter(ch, dead)


@behaviour("dead-letters")
def purged_messages_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    ch.call("queue.purge", queue=q)
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def messages_of_a_deleted_queue_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    ch.call("queue.delete", queue=q)
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def messages_of_an_expired_queue_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, expires=100)
    ch.publish_each(q, b"a", b"b")
    s.pause(400)
    s.queue_exists(q, False)
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def no_ack_delivery_is_no_dead_letter(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q, no_ack=True)
    ch.close()
    ch.open()
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def unacked_message_of_a_deleted_queue_is_no_dead_letter(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.call("queue.delete", queue=q)
    ch.reject(1, requeue=False)
    ch.sync()
    bodies(ch, dead, 0)


# What the message looks like


@behaviour("dead-letters")
def dead_letter_keeps_its_properties_and_body(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"x" * 5000, **RICH, expiration="60000")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_keeps_headers_of_every_type(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    given = {
        "a": Typed("b", -1),
        "b": Typed("B", 255),
        "c": Typed("s", -300),
        "d": Typed("u", 60000),
        "e": -70000,
        "f": Typed("i", 2**32 - 1),
        "g": Typed("l", 2**40),
        "h": Typed("f", 0.5),
        "i": 2.5,
        "j": Typed("D", (2, 314)),
        "k": "text",
        "l": b"\x00\xff",
        "m": Typed("T", 1700000000),
        "n": True,
        "o": {"z": {"y": 1}, "a": 2},
        "p": [1, "two", [3.0]],
        "q": None,
    }
    ch.publish("", q, b"a", headers=given)
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_is_not_redelivered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    _reject(ch, q, requeue=True)
    tag = ch.get(q)["delivery_tag"]
    ch.reject(tag, requeue=False)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def empty_dead_letter_arrives(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q)
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_tells_of_its_last_death_too(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    _reject(ch, q)
    ch.counts(dead, 1)
    ch.get(dead)


@behaviour("dead-letters")
def headers_of_a_dead_letter_come_in_an_order(s: Session) -> None:
    ch = s.channel()
    end = ch.queue("end")
    middle = ch.queue("middle", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": end})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": middle})
    ch.publish("", q, b"a", headers={"zulu": 1, "alpha": 2})
    for queue in (q, middle):
        _reject_quietly(ch, queue)
    ch.counts(end, 1)
    ch.get(end)


# Routing


@behaviour("dead-letters")
def dead_letter_keeps_its_routing_key(s: Session) -> None:
    ch, q, x = _with_exchange(s, "topic")
    dead = ch.queue("dead")
    ch.bind(dead, x, "#")
    source_exchange = ch.exchange("x", "topic")
    ch.bind(q, source_exchange, "#")
    ch.publish(source_exchange, "order.paid", b"a")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_routing_key_takes_the_place_of_the_key(s: Session) -> None:
    ch, q, x = _with_exchange(s, "topic", **{"x-dead-letter-routing-key": "dead.letter"})
    dead, other = ch.queue("dead"), ch.queue("other")
    ch.bind(dead, x, "dead.*")
    ch.bind(other, x, "q.*")
    ch.publish("", q, b"a")
    _reject(ch, q)
    letter(ch, dead)
    ch.drain(other)


@behaviour("dead-letters")
def empty_dead_letter_routing_key_is_a_key(s: Session) -> None:
    ch, q, x = _with_exchange(s, "direct", **{"x-dead-letter-routing-key": ""})
    dead = ch.queue("dead")
    ch.bind(dead, x, "")
    ch.publish("", q, b"a")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letters_reach_several_queues(s: Session) -> None:
    ch, q, x = _with_exchange(s, "fanout")
    for label in ("one", "two", "three"):
        ch.bind(ch.queue(label), x)
    ch.publish("", q, b"a")
    _reject(ch, q)
    for label in ("one", "two", "three"):
        letter(ch, s.name(label))


@behaviour("dead-letters")
def dead_letter_reaches_a_queue_once_though_two_bindings_match(s: Session) -> None:
    ch, q, x = _with_exchange(s, "topic")
    dead = ch.queue("dead")
    ch.bind(dead, x, "#")
    ch.bind(dead, x, "*")
    ch.publish("", q, b"a")
    _reject(ch, q)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def dead_letter_is_routed_by_its_headers(s: Session) -> None:
    ch, q, x = _with_exchange(s, "headers")
    dead = ch.queue("dead")
    ch.bind(dead, x, "", arguments={"x-match": "all", "kind": "order"})
    ch.publish("", q, b"a", headers={"kind": "order"})
    ch.publish("", q, b"b", headers={"kind": "other"})
    _reject(ch, q)
    _reject(ch, q)
    letter(ch, dead)
    ch.drain(dead)


@behaviour("dead-letters")
def dead_letter_can_be_routed_by_its_first_death(s: Session) -> None:
    ch, q, x = _with_exchange(s, "headers")
    dead = ch.queue("dead")
    ch.bind(dead, x, "", arguments={"x-match": "all-with-x", "x-first-death-reason": "rejected"})
    ch.publish("", q, b"a")
    _reject(ch, q)
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
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_goes_through_bound_exchanges(s: Session) -> None:
    ch, q, x = _with_exchange(s, "fanout")
    behind = ch.exchange("behind", "fanout")
    ch.call("exchange.bind", source=x, destination=behind, routing_key="")
    dead = ch.queue("dead")
    ch.bind(dead, behind)
    ch.publish("", q, b"a")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_may_go_through_an_internal_exchange(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange("dlx", "fanout", internal=True)
    q, dead = ch.queue("q", arguments={"x-dead-letter-exchange": x}), ch.queue("dead")
    ch.bind(dead, x)
    ch.publish("", q, b"a")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_of_a_missing_exchange_is_dropped(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": s.name("missing")})
    ch.publish("", q, b"a")
    _reject(ch, q)
    ch.sync()
    ch.counts(q, 0)


@behaviour("dead-letters")
def dead_letter_exchange_may_be_declared_later(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": s.name("dlx")})
    x, dead = ch.exchange("dlx", "fanout"), ch.queue("dead")
    ch.bind(dead, x)
    ch.publish("", q, b"a")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def unroutable_dead_letter_is_dropped(s: Session) -> None:
    ch, q, x = _with_exchange(s)
    dead = ch.queue("dead")
    ch.bind(dead, x, "another key")
    ch.publish("", q, b"a", mandatory=True)
    _reject(ch, q)
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
    _reject(ch, q)
    letter(ch, dead)


# CC and BCC


@behaviour("dead-letters")
def cc_keys_are_told_and_routed_by(s: Session) -> None:
    ch, q, x = _with_exchange(s)
    for key in (q, "one", "two"):
        ch.bind(ch.queue(f"dead {key.partition('-')[0]}"), x, key)
    ch.publish("", q, b"a", headers={"CC": ["one", "two"]})
    _reject(ch, q)
    for label in ("q", "one", "two"):
        letter(ch, s.name(f"dead {label}"))


@behaviour("dead-letters")
def bcc_keys_are_routed_by_but_not_told(s: Session) -> None:
    ch, q, x = _with_exchange(s)
    ch.bind(ch.queue("dead q"), x, q)
    ch.bind(ch.queue("dead one"), x, "one")
    ch.publish("", q, b"a", headers={"BCC": ["one"], "other": 1})
    _reject(ch, q)
    letter(ch, s.name("dead q"))
    s.pause(100)
    ch.drain(s.name("dead one"))


@behaviour("dead-letters")
def dead_letter_routing_key_takes_the_cc_away(s: Session) -> None:
    ch, q, x = _with_exchange(s, "direct", **{"x-dead-letter-routing-key": "dead"})
    ch.bind(ch.queue("dead"), x, "dead")
    ch.bind(ch.queue("one"), x, "one")
    ch.publish("", q, b"a", headers={"CC": ["one"], "other": 1})
    _reject(ch, q)
    letter(ch, s.name("dead"))
    s.pause(100)
    ch.drain(s.name("one"))


@behaviour("dead-letters")
def message_that_came_by_its_cc_tells_all_its_keys(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", s.name("nowhere"), b"a", headers={"CC": [q]})
    _reject(ch, q)
    letter(ch, dead)


# x-death


@behaviour("dead-letters")
def second_death_of_the_same_kind_counts_to_two(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    for _ in range(3):
        _reject(ch, q)
        event = letter(ch, dead)
        ch.publish("", q, b"again", headers=headers(event))
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def newest_death_comes_first(s: Session) -> None:
    ch = s.channel()
    last = ch.queue("last")
    second = ch.queue("second", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": last})
    first = ch.queue(
        "first",
        arguments={"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": second},
    )
    ch.publish("", first, b"a")
    ch.counts(second, 1)
    _reject_quietly(ch, second)
    letter(ch, last)


@behaviour("dead-letters")
def death_that_comes_again_moves_to_the_front(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    _reject_quietly(ch, q)
    first = letter(ch, dead)
    other, dead_other = ch.queue("other", arguments={"x-dead-letter-exchange": s.name("fan")}), ch.queue("end")
    ch.bind(dead_other, ch.exchange("fan", "fanout"))
    ch.publish("", other, b"a", headers=headers(first))
    _reject_quietly(ch, other)
    second = letter(ch, dead_other)
    ch.publish("", q, b"a", headers=headers(second))
    _reject_quietly(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def other_reasons_in_the_same_queue_are_deaths_of_their_own(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    _reject_quietly(ch, q)
    first = letter(ch, dead)
    ch.publish("", q, b"a", headers=headers(first), expiration="50")
    letter(ch, dead)


@behaviour("dead-letters")
def chain_of_ten_queues_tells_ten_deaths(s: Session) -> None:
    ch = s.channel()
    target = ch.queue("end")
    for place in range(10, 0, -1):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target, "x-message-ttl": 0}
        target = ch.queue(f"stage {place}", arguments=arguments)
    ch.publish("", target, b"a")
    letter(ch, s.name("end"))


@behaviour("dead-letters")
def first_death_headers_stay_what_they_are(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    given = {"x-first-death-reason": "mine", "x-first-death-queue": "my queue", "x-first-death-exchange": "my exchange"}
    ch.publish("", q, b"a", headers=given)
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def first_death_tells_the_exchange_of_the_publish(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    x = ch.exchange("x", "fanout")
    ch.bind(q, x)
    ch.publish(x, "some key", b"a")
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_of_a_client_is_counted_on(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    death = {"count": Typed("l", 41), "reason": "rejected", "queue": q, "time": Typed("T", 1), "mine": "kept"}
    ch.publish("", q, b"a", headers={"x-death": [death]})
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_of_a_client_with_another_queue_gets_a_new_first(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    death = {"count": Typed("l", 41), "reason": "rejected", "queue": "other", "time": Typed("T", 1), "mine": "kept"}
    ch.publish("", q, b"a", headers={"x-death": [death]})
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_with_a_count_of_another_type_is_counted_on(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    for tag in "Isu":
        death = {"reason": "rejected", "queue": q, "count": Typed(tag, 2)}
        ch.publish("", q, b"a", headers={"x-death": [death]})
        _reject(ch, q)
        letter(ch, dead)


@behaviour("dead-letters")
def x_death_that_is_an_empty_array_gets_its_first_entry(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", headers={"x-death": []})
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_that_is_no_array(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", headers={"x-death": "mine", "other": 1})
    _reject(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_of_a_client_takes_part_in_cycles(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    death = {"reason": "expired", "queue": dead, "count": Typed("l", 1)}
    ch.publish("", q, b"a", headers={"x-death": [death]}, expiration="0")
    ch.publish("", q, b"b", expiration="0")
    letter(ch, dead)
    ch.drain(dead)


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
        _reject_quietly(ch, q)
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
        _reject_quietly(ch, work)
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


# Orders and methods


@behaviour("dead-letters")
def messages_nacked_with_multiple_arrive_in_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    for _ in range(4):
        ch.get(q)
    ch.nack(3, multiple=True, requeue=False)
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def messages_nacked_one_by_one_arrive_in_that_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b", b"c")
    for _ in range(3):
        ch.get(q)
    for tag in (2, 3, 1):
        ch.nack(tag, requeue=False)
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def nack_of_everything_sends_everything(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.consume(q, "tag")
    ch.read(3)
    ch.nack(0, multiple=True, requeue=False)
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def expired_messages_arrive_in_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=50)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    bodies(ch, dead, 4)


@behaviour("dead-letters")
def dropped_messages_arrive_in_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=1)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def rejection_in_a_transaction_waits_for_the_commit(s: Session) -> None:
    ch = s.channel()
    other = ch.connection.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.call("tx.select")
    ch.get(q)
    ch.reject(1, requeue=False)
    ch.sync()
    other.counts(dead, 0)
    ch.call("tx.commit")
    letter(other, dead)


@behaviour("dead-letters")
def rolled_back_rejection_is_no_death(s: Session) -> None:
    ch = s.channel()
    other = ch.connection.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.call("tx.select")
    ch.get(q)
    ch.reject(1, requeue=False)
    ch.call("tx.rollback")
    ch.close()
    bodies(other, q, 1)
    other.drain(dead)


@behaviour("dead-letters")
def dead_letters_of_a_closed_channel_are_none(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.close()
    ch.open()
    bodies(ch, q, 1)
    ch.drain(dead)


@behaviour("dead-letters")
def consumer_gets_the_dead_letter(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.consume(dead, "dead", no_ack=True)
    ch.consume(q, "work")
    ch.publish("", q, b"a")
    ch.read()
    ch.reject(1, requeue=False)
    event = ch.read_unwritten()
    ch.log(f"= {event['consumer_tag']} tag {event['delivery_tag']} {event['exchange']!r} {event.body!r}")


@behaviour("dead-letters")
def dead_letter_expires_in_its_new_queue_by_that_queues_ttl(s: Session) -> None:
    ch = s.channel()
    end = ch.queue("end")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": end, "x-message-ttl": 50}
    middle = ch.queue("middle", arguments=arguments)
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": middle})
    ch.publish("", q, b"a", expiration="50")
    letter(ch, end)


@behaviour("dead-letters")
def full_target_with_drop_head_drops_its_oldest(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead", arguments={"x-max-length": 1})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.publish("", dead, b"old")
    ch.publish("", q, b"new")
    _reject(ch, q)
    s.pause(100)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def full_target_with_reject_publish(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.publish("", dead, b"old")
    ch.publish("", q, b"new")
    _reject(ch, q)
    s.pause(100)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def dead_letter_that_was_refused_arrives_when_there_is_room(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.publish("", dead, b"old")
    ch.publish("", q, b"new")
    _reject(ch, q)
    s.pause(100)
    ch.drain(dead)
    ch.counts(dead, 1)


# Declaring


@behaviour("dead-letters")
def dead_letter_routing_key_without_an_exchange_is_406(s: Session) -> None:
    s.channel().queue("q", arguments={"x-dead-letter-routing-key": "key"})


@behaviour("dead-letters")
def each_odd_value_of_x_dead_letter_exchange_is_406(s: Session) -> None:
    ch = s.channel()
    for value in (1, True, None, 2.5, ["x"], {"x": "x"}, b"octets"):
        ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-dead-letter-exchange": value})


@behaviour("dead-letters")
def each_odd_value_of_x_dead_letter_routing_key_is_406(s: Session) -> None:
    ch = s.channel()
    for value in (1, True, None, 2.5, ["x"], b"octets"):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": value}
        ch.attempt("queue.declare", queue=s.name("q"), arguments=arguments)


@behaviour("dead-letters")
def another_dead_letter_exchange_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "x", "x-dead-letter-routing-key": "key"})
    same = {"x-dead-letter-exchange": "x", "x-dead-letter-routing-key": "key"}
    for change in ({}, {"x-dead-letter-exchange": "y"}, {"x-dead-letter-routing-key": "other"}):
        ch.attempt("queue.declare", queue=q, arguments=same | change)
    ch.attempt("queue.declare", queue=q, arguments={"x-dead-letter-exchange": "x"})
    ch.attempt("queue.declare", queue=q)


def _reject_quietly(ch: Channel, q: str) -> None:
    """Wait for the next message and reject it; only that is written down."""
    event = ch.await_message(q)
    ch.reject(event["delivery_tag"], requeue=False)
