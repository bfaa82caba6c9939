"""Queues with a single active consumer: who is active, and who comes next."""

from __future__ import annotations

from typing import Any

from ..channel import Channel
from ..letters import letter
from ..registry import behaviour
from ..session import Session

SAC = {"x-single-active-consumer": True}


def _queue(s: Session, **arguments: Any) -> tuple[Channel, str]:
    ch = s.channel()
    return ch, ch.queue("q", arguments=SAC | arguments)


@behaviour("single-active")
def first_consumer_gets_everything(s: Session) -> None:
    ch, q = _queue(s)
    ch.consume(q, "one", no_ack=True)
    ch.consume(q, "two", no_ack=True)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.read(3)
    ch.nothing()


@behaviour("single-active")
def next_consumer_in_the_order_of_subscribing_takes_over(s: Session) -> None:
    ch, q = _queue(s)
    for tag in ("one", "two", "three"):
        ch.consume(q, tag, no_ack=True)
    for tag in ("one", "two"):
        ch.call("basic.cancel", consumer_tag=tag)
        ch.publish("", q, tag.encode())
        ch.read()


@behaviour("single-active")
def cancelling_a_waiting_consumer_changes_nothing(s: Session) -> None:
    ch, q = _queue(s)
    for tag in ("one", "two", "three"):
        ch.consume(q, tag, no_ack=True)
    ch.call("basic.cancel", consumer_tag="two")
    ch.publish("", q, b"a")
    ch.read()
    ch.call("basic.cancel", consumer_tag="one")
    ch.publish("", q, b"b")
    ch.read()


@behaviour("single-active")
def closed_channel_hands_over(s: Session) -> None:
    ch, q = _queue(s)
    other = ch.connection.channel()
    ch.consume(q, "one")
    other.consume(q, "two")
    ch.publish("", q, b"a")
    ch.read()
    ch.close()
    other.read()


@behaviour("single-active")
def dropped_connection_hands_over(s: Session) -> None:
    ch, q = _queue(s)
    other = s.channel()
    ch.consume(q, "one")
    other.consume(q, "two")
    ch.publish("", q, b"a")
    ch.read()
    ch.connection.drop()
    other.read()


@behaviour("single-active")
def cancelled_consumer_keeps_its_unacked_messages(s: Session) -> None:
    ch, q = _queue(s)
    other = ch.connection.channel()
    ch.consume(q, "one")
    ch.publish_each(q, b"a")
    ch.read()
    other.consume(q, "two")
    ch.call("basic.cancel", consumer_tag="one")
    ch.publish("", q, b"b")
    other.read()
    ch.nack(1)
    other.read()


@behaviour("single-active")
def active_consumer_at_its_prefetch_limit_is_still_the_only_one(s: Session) -> None:
    ch, q = _queue(s)
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.publish_each(q, b"a", b"b")
    ch.read()
    ch.nothing()
    ch.ack(1)
    ch.read()


@behaviour("single-active")
def requeued_message_goes_to_the_active_consumer_again(s: Session) -> None:
    ch, q = _queue(s)
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.publish("", q, b"a")
    ch.read()
    ch.reject(1)
    ch.read()


@behaviour("single-active")
def get_from_a_queue_with_a_single_active_consumer_is_405(s: Session) -> None:
    ch, q = _queue(s)
    ch.publish("", q, b"a")
    ch.get(q)


@behaviour("single-active")
def get_is_405_with_a_consumer_too(s: Session) -> None:
    ch, q = _queue(s)
    ch.consume(q, "one")
    ch.get(q, no_ack=True)


@behaviour("single-active")
def exclusive_consumer_of_a_single_active_queue(s: Session) -> None:
    ch, q = _queue(s)
    ch.attempt("basic.consume", queue=q, consumer_tag="one", exclusive=True)


@behaviour("single-active")
def exclusive_consumer_beside_another_of_a_single_active_queue(s: Session) -> None:
    ch, q = _queue(s)
    other = s.channel()
    ch.consume(q, "one")
    other.attempt("basic.consume", queue=q, consumer_tag="two", exclusive=True)


@behaviour("single-active")
def exclusive_queue_may_have_a_single_active_consumer(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", exclusive=True, arguments=SAC)
    ch.consume(q, "one", no_ack=True)
    ch.consume(q, "two", no_ack=True)
    ch.publish("", q, b"a")
    ch.read()


@behaviour("single-active")
def all_consumers_are_counted(s: Session) -> None:
    ch, q = _queue(s)
    for tag in ("one", "two", "three"):
        ch.consume(q, tag)
    ch.counts(q, 0, consumers=3)


@behaviour("single-active")
def waiting_consumers_keep_an_auto_delete_queue(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", auto_delete=True, arguments=SAC)
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.call("basic.cancel", consumer_tag="one")
    ch.counts(q, 0, consumers=1)
    ch.call("basic.cancel", consumer_tag="two")
    s.queue_exists(q, False)


@behaviour("single-active")
def first_consumer_stays_active_though_a_higher_one_comes(s: Session) -> None:
    ch, q = _queue(s)
    ch.consume(q, "low", no_ack=True)
    ch.consume(q, "high", no_ack=True, arguments={"x-priority": 10})
    ch.publish_each(q, b"a", b"b")
    ch.read(2)


@behaviour("single-active")
def cancelled_consumers_are_told_when_the_queue_goes(s: Session) -> None:
    ch, q = _queue(s)
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.call("queue.delete", queue=q)
    ch.read(2, sort=True)


@behaviour("single-active")
def order_is_kept_over_a_failover(s: Session) -> None:
    ch, q = _queue(s)
    other = ch.connection.channel()
    ch.consume(q, "one")
    other.consume(q, "two")
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.read(4)
    ch.ack(1)
    ch.close()
    other.read(3)


@behaviour("single-active")
def consumer_that_comes_back_queues_up_last(s: Session) -> None:
    ch, q = _queue(s)
    for tag in ("one", "two", "three"):
        ch.consume(q, tag, no_ack=True)
    ch.call("basic.cancel", consumer_tag="one")
    ch.consume(q, "one", no_ack=True)
    ch.call("basic.cancel", consumer_tag="two")
    ch.publish("", q, b"a")
    ch.read()
    ch.call("basic.cancel", consumer_tag="three")
    ch.publish("", q, b"b")
    ch.read()


@behaviour("single-active")
def dead_letters_of_a_single_active_queue(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead")
    q = ch.queue("q", arguments=SAC | {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.consume(q, "one")
    ch.publish("", q, b"a")
    ch.read()
    ch.reject(1, requeue=False)
    letter(ch, dead)


@behaviour("single-active")
def each_odd_value_of_x_single_active_consumer_is_406(s: Session) -> None:
    ch = s.channel()
    for value in ("true", 1, 0, None, 2.5, [True]):
        ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-single-active-consumer": value})


@behaviour("single-active")
def another_x_single_active_consumer_is_406(s: Session) -> None:
    ch, q = _queue(s)
    for arguments in (SAC, {"x-single-active-consumer": False}, {}):
        ch.attempt("queue.declare", queue=q, arguments=arguments)


@behaviour("single-active")
def x_single_active_consumer_may_be_false(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-single-active-consumer": False})
    ch.publish("", q, b"a")
    ch.get(q)
