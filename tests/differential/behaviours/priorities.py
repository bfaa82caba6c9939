"""Priority queues: which message comes first, and what that does to limits, requeues and prefetch."""

from __future__ import annotations

from typing import Any

from ..channel import Channel
from ..codec import Typed
from ..letters import letters, source
from ..registry import behaviour
from ..session import Session


def _queue(s: Session, max_priority: int = 9, more: dict[str, Any] | None = None) -> tuple[Channel, str]:
    ch = s.channel()
    return ch, ch.queue("q", arguments={"x-max-priority": max_priority} | (more or {}))


def _publish(ch: Channel, q: str, *bodies: str) -> None:
    """`3 a` is a message of priority 3; `a` alone has none."""
    for body in bodies:
        priority, _, _ = body.rpartition(" ")
        properties: dict[str, Any] = {"priority": int(priority)} if priority else {}
        ch.publish("", q, body.encode(), **properties)


@behaviour("priorities")
def higher_priority_comes_first(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "1 a", "5 b", "9 c", "0 d", "5 e")
    ch.counts(q, 5)
    ch.drain(q)


@behaviour("priorities")
def same_priority_keeps_its_order(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "5 a", "5 b", "5 c", "5 d")
    ch.counts(q, 4)
    ch.drain(q)


@behaviour("priorities")
def message_without_a_priority_has_priority_0(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "a", "0 b", "c", "1 d")
    ch.counts(q, 4)
    ch.drain(q)


@behaviour("priorities")
def priority_above_the_maximum_is_the_maximum(s: Session) -> None:
    ch, q = _queue(s, 5)
    _publish(ch, q, "5 a", "200 b", "5 c", "255 d", "4 e", "6 f")
    ch.counts(q, 6)
    ch.drain(q)


@behaviour("priorities")
def message_keeps_the_priority_that_was_sent(s: Session) -> None:
    ch, q = _queue(s, 5)
    _publish(ch, q, "200 a")
    ch.get(q)


@behaviour("priorities")
def queue_without_x_max_priority_ignores_priorities(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.counts(q, 3)
    ch.drain(q)


@behaviour("priorities")
def maximum_of_0_has_one_level(s: Session) -> None:
    ch, q = _queue(s, 0)
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.counts(q, 3)
    ch.drain(q)


@behaviour("priorities")
def maximum_of_255_has_all_levels(s: Session) -> None:
    ch, q = _queue(s, 255)
    _publish(ch, q, "254 a", "255 b", "0 c", "128 d")
    ch.counts(q, 4)
    ch.drain(q)


@behaviour("priorities")
def requeued_message_keeps_its_place_among_its_like(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "5 a", "5 b", "1 c")
    ch.get(q)
    ch.nack(1)
    ch.sync()
    ch.drain(q)


@behaviour("priorities")
def higher_message_passes_a_requeued_one(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "5 a", "1 b")
    ch.get(q)
    _publish(ch, q, "9 c", "5 d")
    ch.nack(1)
    ch.sync()
    ch.drain(q)


@behaviour("priorities")
def messages_requeued_together_are_sorted_again(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "1 a", "5 b", "9 c", "5 d")
    for _ in range(4):
        ch.get(q)
    ch.nack(0, multiple=True)
    ch.sync()
    ch.drain(q)


@behaviour("priorities")
def prefetched_messages_are_not_passed(s: Session) -> None:
    ch, q = _queue(s)
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "tag")
    _publish(ch, q, "1 a")
    ch.read()
    _publish(ch, q, "1 b", "9 c")
    ch.sync()
    ch.ack(1)
    ch.read()
    ch.ack(2)
    ch.read()


@behaviour("priorities")
def consumer_gets_what_waited_in_the_order_of_priorities(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.counts(q, 3)
    ch.consume(q, "tag", no_ack=True)
    ch.read(3)


@behaviour("priorities")
def get_counts_all_levels(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.counts(q, 3)
    ch.get(q)
    ch.get(q)


@behaviour("priorities")
def purge_takes_all_levels(s: Session) -> None:
    ch, q = _queue(s)
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.counts(q, 3)
    ch.call("queue.purge", queue=q)
    ch.counts(q, 0)


@behaviour("priorities")
def full_queue_of_one_level_drops_its_oldest(s: Session) -> None:
    ch, q = _queue(s, more={"x-max-length": 2})
    _publish(ch, q, "5 a", "5 b", "5 c")
    ch.counts(q, 2)
    ch.drain(q)


@behaviour("priorities")
def full_queue_of_several_levels_drops_by_level(s: Session) -> None:
    ch, q = _queue(s, more={"x-max-length": 2})
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.counts(q, 2)
    ch.drain(q)


@behaviour("priorities")
def full_queue_refuses_a_higher_message_too(s: Session) -> None:
    ch, q = _queue(s, more={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.select_confirms()
    _publish(ch, q, "1 a", "9 b")
    ch.confirms()
    ch.drain(q)


@behaviour("priorities")
def messages_of_each_level_expire(s: Session) -> None:
    ch, q = _queue(s, more={"x-message-ttl": 50})
    _publish(ch, q, "1 a", "9 b", "5 c")
    s.pause(300)
    ch.counts(q, 0)
    ch.drain(q)


@behaviour("priorities")
def dead_letters_of_a_priority_queue_keep_their_priority(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_priority=9)
    _publish(ch, q, "1 a", "9 b")
    for _ in range(2):
        event = ch.await_message(q)
        ch.reject(event["delivery_tag"], requeue=False)
    letters(ch, dead, 2)


@behaviour("priorities")
def dead_letter_queue_sorts_by_priority(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead", arguments={"x-max-priority": 9})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-message-ttl": 50}
    q = ch.queue("q", arguments=arguments)
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.counts(dead, 3)
    ch.drain(dead)


@behaviour("priorities")
def priorities_are_committed_together(s: Session) -> None:
    ch, q = _queue(s)
    ch.call("tx.select")
    _publish(ch, q, "1 a", "9 b", "5 c")
    ch.call("tx.commit")
    ch.counts(q, 3)
    ch.drain(q)


@behaviour("priorities")
def each_odd_value_of_x_max_priority_is_406(s: Session) -> None:
    ch = s.channel()
    for value in ("5", -1, 256, 2.5, True, None, [1], Typed("l", 2**40), Typed("T", 5)):
        ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-max-priority": value})


@behaviour("priorities")
def another_x_max_priority_is_406(s: Session) -> None:
    ch, q = _queue(s, 9)
    for arguments in ({"x-max-priority": Typed("s", 9)}, {"x-max-priority": 8}, {}):
        ch.attempt("queue.declare", queue=q, arguments=arguments)
