"""Queues with a limit: what is dropped, what is refused, and what the publisher hears of it."""

from __future__ import annotations

from typing import Any

from ..channel import Channel
from ..codec import Typed
from ..letters import bodies, letter, letters, source
from ..registry import behaviour
from ..session import Session


def _queue(s: Session, **arguments: Any) -> tuple[Channel, str]:
    """A channel that confirms, and a queue; `max_length=1` is x-max-length: 1."""
    ch = s.channel()
    q = ch.queue("q", arguments={"x-" + name.replace("_", "-"): value for name, value in arguments.items()})
    ch.select_confirms()
    return ch, q


@behaviour("max-length")
def oldest_messages_are_dropped(s: Session) -> None:
    ch, q = _queue(s, max_length=2)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.confirms()
    bodies(ch, q, 2)


@behaviour("max-length")
def oldest_messages_are_dropped_when_octets_are_too_many(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10)
    ch.publish_each(q, b"aaaa", b"bbbb", b"cc", b"d")
    ch.confirms()
    bodies(ch, q, 3)


@behaviour("max-length")
def both_limits_count(s: Session) -> None:
    ch, q = _queue(s, max_length=3, max_length_bytes=10)
    ch.publish_each(q, b"a", b"b", b"c", b"d", b"eeeeeeeee")
    ch.confirms()
    bodies(ch, q, 2)


@behaviour("max-length")
def limit_of_0_drops_every_message(s: Session) -> None:
    ch, q = _queue(s, max_length=0)
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    bodies(ch, q, 0)


@behaviour("max-length")
def limit_of_0_lets_a_waiting_consumer_have_messages(s: Session) -> None:
    ch, q = _queue(s, max_length=0)
    ch.consume(q, "tag", no_ack=True)
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    for _ in range(2):
        ch.read()


@behaviour("max-length")
def limit_of_0_octets_drops_all_but_empty_messages(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=0)
    ch.publish_each(q, b"", b"a", b"")
    ch.confirms()
    bodies(ch, q, 1)


@behaviour("max-length")
def message_larger_than_the_limit_is_dropped(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10)
    ch.publish_each(q, b"a", b"b" * 11)
    ch.confirms()
    bodies(ch, q, 0)


@behaviour("max-length")
def message_as_large_as_the_limit_stays(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10)
    ch.publish_each(q, b"a" * 10)
    ch.confirms()
    bodies(ch, q, 1)


@behaviour("max-length")
def octets_of_properties_are_not_counted(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10)
    for _ in range(2):
        ch.publish("", q, b"aaaaa", headers={"long": "x" * 100}, message_id="m" * 50)
    ch.confirms()
    bodies(ch, q, 2)


@behaviour("max-length")
def unacked_messages_are_not_counted(s: Session) -> None:
    ch, q = _queue(s, max_length=1)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.publish("", q, b"b")
    ch.confirms()
    ch.counts(q, 1)
    ch.get(q)


@behaviour("max-length")
def unacked_octets_are_not_counted(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10)
    ch.publish("", q, b"a" * 10)
    ch.get(q)
    ch.publish("", q, b"b" * 10)
    ch.confirms()
    bodies(ch, q, 1)


@behaviour("max-length")
def requeued_message_may_push_out_itself(s: Session) -> None:
    ch, q = _queue(s, max_length=1)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.publish("", q, b"b")
    ch.confirms()
    ch.nack(1)
    ch.sync()
    ch.drain(q)


@behaviour("max-length")
def several_requeued_messages_and_the_limit(s: Session) -> None:
    ch, q = _queue(s, max_length=2)
    for body in (b"a", b"b", b"c"):
        ch.publish("", q, body)
        ch.confirms()
        ch.get(q)
    ch.nack(0, multiple=True)
    ch.sync()
    ch.drain(q)


@behaviour("max-length")
def consumer_takes_messages_before_they_are_too_many(s: Session) -> None:
    ch, q = _queue(s, max_length=1)
    ch.consume(q, "tag")
    ch.publish_each(q, b"a", b"b", b"c")
    ch.confirms()
    for _ in range(3):
        ch.read()


@behaviour("max-length")
def drop_head_may_be_named(s: Session) -> None:
    ch, q = _queue(s, max_length=1, overflow="drop-head")
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    bodies(ch, q, 1)


@behaviour("max-length")
def full_queue_nacks_with_reject_publish(s: Session) -> None:
    ch, q = _queue(s, max_length=2, overflow="reject-publish")
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.confirms()
    bodies(ch, q, 2)


@behaviour("max-length")
def refused_message_without_confirms_is_dropped(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.publish_each(q, b"a", b"b")
    ch.nothing()
    bodies(ch, q, 1)


@behaviour("max-length")
def refused_mandatory_message_is_not_returned(s: Session) -> None:
    ch, q = _queue(s, max_length=1, overflow="reject-publish")
    ch.publish("", q, b"a")
    ch.publish("", q, b"b", mandatory=True)
    ch.confirms()
    ch.nothing()


@behaviour("max-length")
def queue_takes_messages_again_when_there_is_room(s: Session) -> None:
    ch, q = _queue(s, max_length=1, overflow="reject-publish")
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.get(q, no_ack=True)
    ch.publish("", q, b"c")
    ch.confirms()
    bodies(ch, q, 1)


@behaviour("max-length")
def unacked_messages_leave_room_with_reject_publish(s: Session) -> None:
    ch, q = _queue(s, max_length=1, overflow="reject-publish")
    ch.publish("", q, b"a")
    ch.get(q)
    ch.publish_each(q, b"b", b"c")
    ch.confirms()
    ch.nack(1)
    ch.sync()
    ch.drain(q)


@behaviour("max-length")
def full_queue_nacks_by_octets_with_reject_publish(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10, overflow="reject-publish")
    ch.publish_each(q, b"a" * 9, b"b", b"c")
    ch.confirms()
    ch.drain(q)


@behaviour("max-length")
def message_over_the_rest_of_the_octets_with_reject_publish(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10, overflow="reject-publish")
    ch.publish_each(q, b"a" * 9, b"b" * 5)
    ch.confirms()
    ch.drain(q)


@behaviour("max-length")
def message_larger_than_the_limit_with_reject_publish(s: Session) -> None:
    ch, q = _queue(s, max_length_bytes=10, overflow="reject-publish")
    ch.publish_each(q, b"a" * 11)
    ch.confirms()
    ch.drain(q)


@behaviour("max-length")
def limit_of_0_with_reject_publish_refuses_every_message(s: Session) -> None:
    ch, q = _queue(s, max_length=0, overflow="reject-publish")
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.drain(q)


@behaviour("max-length")
def limit_of_0_with_reject_publish_and_a_waiting_consumer(s: Session) -> None:
    ch, q = _queue(s, max_length=0, overflow="reject-publish")
    ch.consume(q, "tag", no_ack=True)
    ch.publish("", q, b"a")
    ch.confirms()
    ch.nothing()


@behaviour("max-length")
def refused_persistent_message_is_nacked(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.select_confirms()
    for body in (b"a", b"b"):
        ch.publish("", q, body, delivery_mode=2)
        ch.confirms()
    bodies(ch, q, 1)


@behaviour("max-length")
def refusal_of_one_queue_nacks_though_another_took_it(s: Session) -> None:
    ch, q = _queue(s, max_length=0, overflow="reject-publish")
    other = ch.queue("other")
    x = ch.exchange("x", "fanout")
    ch.bind(q, x)
    ch.bind(other, x)
    ch.publish(x, "", b"a")
    ch.confirms()


@behaviour("max-length")
def message_that_one_queue_refuses_is_kept_by_none(s: Session) -> None:
    ch, q = _queue(s, max_length=0, overflow="reject-publish")
    other = ch.queue("other")
    x = ch.exchange("x", "fanout")
    ch.bind(q, x)
    ch.bind(other, x)
    ch.publish(x, "", b"a")
    ch.confirms()
    ch.sync()
    ch.drain(q, other)


@behaviour("max-length")
def reject_publish_makes_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=1, overflow="reject-publish")
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.sync()
    ch.drain(dead)


@behaviour("max-length")
def reject_publish_dlx_nacks_and_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=1, overflow="reject-publish-dlx")
    ch.select_confirms()
    ch.publish("", q, b"a")
    ch.publish("", q, b"b", expiration="60000", headers={"mine": 1})
    ch.publish("", q, b"c")
    ch.confirms()
    letters(ch, dead, 2)
    ch.drain(q)


@behaviour("max-length")
def reject_publish_dlx_without_an_exchange_only_nacks(s: Session) -> None:
    ch, q = _queue(s, max_length=1, overflow="reject-publish-dlx")
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.drain(q)


@behaviour("max-length")
def refused_message_of_a_transaction(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.call("tx.select")
    ch.publish_each(q, b"a", b"b")
    ch.attempt("tx.commit")
    ch.drain(q)


@behaviour("max-length")
def dropped_dead_letters_keep_what_they_were(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length_bytes=5)
    ch.publish("", q, b"aaaaa", delivery_mode=2, expiration="60000", headers={"n": Typed("s", 1)})
    ch.publish("", q, b"b")
    letter(ch, dead)
    ch.drain(q)


@behaviour("max-length")
def message_too_large_by_itself_is_dead_lettered_after_the_others(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length_bytes=5)
    ch.publish_each(q, b"a", b"b", b"cccccc")
    bodies(ch, dead, 3)


@behaviour("max-length")
def each_odd_value_of_a_limit_is_406(s: Session) -> None:
    ch = s.channel()
    for name in ("x-max-length", "x-max-length-bytes"):
        for value in ("5", -1, 2.5, True, None, [1], Typed("T", 5)):
            ch.attempt("queue.declare", queue=s.name("q"), arguments={name: value})


@behaviour("max-length")
def limits_may_be_large_and_of_any_integer_type(s: Session) -> None:
    ch = s.channel()
    for tag in "bBsuIilL":
        ch.queue(f"q {tag}", arguments={"x-max-length": Typed(tag, 100), "x-max-length-bytes": Typed(tag, 100)})
    ch.queue("large", arguments={"x-max-length": Typed("l", 2**62), "x-max-length-bytes": Typed("l", 2**62)})


@behaviour("max-length")
def each_odd_value_of_x_overflow_is_406(s: Session) -> None:
    ch = s.channel()
    for value in ("", "Drop-Head", "drop-tail", 1, True, None, ["drop-head"], b"drop-head"):
        ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-max-length": 1, "x-overflow": value})


@behaviour("max-length")
def overflow_without_a_limit_is_fine(s: Session) -> None:
    ch, q = _queue(s, overflow="reject-publish")
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    bodies(ch, q, 2)


@behaviour("max-length")
def another_limit_is_406(s: Session) -> None:
    ch = s.channel()
    limits = {"x-max-length": 5, "x-max-length-bytes": 500, "x-overflow": "drop-head"}
    q = ch.queue("q", arguments=limits)
    same = {"x-max-length": Typed("l", 5), "x-max-length-bytes": Typed("l", 500)}
    ch.attempt("queue.declare", queue=q, arguments=limits | same)
    for change in ({"x-max-length": 6}, {"x-max-length-bytes": 501}, {"x-overflow": "reject-publish"}):
        ch.attempt("queue.declare", queue=q, arguments=limits | change)
    for name in limits:
        ch.attempt("queue.declare", queue=q, arguments={key: limits[key] for key in limits if key != name})
