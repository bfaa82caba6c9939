"""What a dead letter looks like: its properties, its headers, and the x-death tables that tell its story."""

from __future__ import annotations

from typing import Any

from ..codec import Typed
from ..letters import bodies, headers, letter, reject_next, reject_when_there, source
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


# What the message looks like


@behaviour("dead-letters")
def dead_letter_keeps_its_properties_and_body(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"x" * 5000, **RICH, expiration="60000")
    reject_next(ch, q)
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
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_is_not_redelivered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    reject_next(ch, q, requeue=True)
    tag = ch.get(q)["delivery_tag"]
    ch.reject(tag, requeue=False)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def empty_dead_letter_arrives(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q)
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def dead_letter_tells_of_its_last_death_too(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    reject_next(ch, q)
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
        reject_when_there(ch, queue)
    ch.counts(end, 1)
    ch.get(end)


# x-death


@behaviour("dead-letters")
def second_death_of_the_same_kind_counts_to_two(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    for _ in range(3):
        reject_next(ch, q)
        event = letter(ch, dead)
        ch.publish("", q, b"again", headers=headers(event))
    reject_next(ch, q)
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
    reject_when_there(ch, second)
    letter(ch, last)


@behaviour("dead-letters")
def death_that_comes_again_moves_to_the_front(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    reject_when_there(ch, q)
    first = letter(ch, dead)
    other, dead_other = ch.queue("other", arguments={"x-dead-letter-exchange": s.name("fan")}), ch.queue("end")
    ch.bind(dead_other, ch.exchange("fan", "fanout"))
    ch.publish("", other, b"a", headers=headers(first))
    reject_when_there(ch, other)
    second = letter(ch, dead_other)
    ch.publish("", q, b"a", headers=headers(second))
    reject_when_there(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def other_reasons_in_the_same_queue_are_deaths_of_their_own(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    reject_when_there(ch, q)
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
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def first_death_tells_the_exchange_of_the_publish(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    x = ch.exchange("x", "fanout")
    ch.bind(q, x)
    ch.publish(x, "some key", b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_of_a_client_is_counted_on(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    death = {"count": Typed("l", 41), "reason": "rejected", "queue": q, "time": Typed("T", 1), "mine": "kept"}
    ch.publish("", q, b"a", headers={"x-death": [death]})
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_of_a_client_with_another_queue_gets_a_new_first(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    death = {"count": Typed("l", 41), "reason": "rejected", "queue": "other", "time": Typed("T", 1), "mine": "kept"}
    ch.publish("", q, b"a", headers={"x-death": [death]})
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_with_a_count_of_another_type_is_counted_on(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    for tag in "Isu":
        death = {"reason": "rejected", "queue": q, "count": Typed(tag, 2)}
        ch.publish("", q, b"a", headers={"x-death": [death]})
        reject_next(ch, q)
        letter(ch, dead)


@behaviour("dead-letters")
def x_death_that_is_an_empty_array_gets_its_first_entry(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", headers={"x-death": []})
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def x_death_that_is_no_array(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", headers={"x-death": "mine", "other": 1})
    reject_next(ch, q)
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


@behaviour("dead-letters")
def deaths_of_one_kind_become_one(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    for at, counts in enumerate([(2, 3), (None, None), (None, 5), (7, None)]):
        deaths = [
            {"reason": "rejected", "queue": "other"} | ({} if count is None else {"count": Typed("l", count)})
            for count in counts
        ]
        ch.publish("", q, b"%d" % at, headers={"x-death": deaths})
        reject_next(ch, q)
        letter(ch, dead)


@behaviour("dead-letters")
def death_without_a_count_is_counted_on(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    mine, other = {"reason": "rejected", "queue": q}, {"reason": "rejected", "queue": "other", "count": Typed("l", 3)}
    for deaths in ([mine], [other, mine], [mine, mine]):
        ch.publish("", q, b"a", headers={"x-death": deaths})
        reject_next(ch, q)
        letter(ch, dead)
