"""Consumers with a priority: who is served first, and when the others are."""

from __future__ import annotations

from typing import Any

from ..channel import Channel
from ..codec import Typed
from ..registry import behaviour
from ..session import Session


def _consume(ch: Channel, q: str, tag: str, priority: Any = None, **arguments: Any) -> None:
    given = {} if priority is None else {"arguments": {"x-priority": priority}}
    ch.consume(q, tag, **given, **arguments)


@behaviour("consumer-priority")
def highest_consumer_gets_all_it_can_take(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    _consume(ch, q, "low", 1, no_ack=True)
    _consume(ch, q, "high", 10, no_ack=True)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.read(3)


@behaviour("consumer-priority")
def lower_consumer_is_served_when_the_higher_has_its_fill(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    _consume(ch, q, "low", 1)
    _consume(ch, q, "middle", 5)
    _consume(ch, q, "high", 10)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.read(3)
    ch.nothing()
    ch.ack(3)
    ch.read()


@behaviour("consumer-priority")
def higher_consumer_that_has_room_again_comes_first(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    _consume(ch, q, "low", 1)
    _consume(ch, q, "high", 10)
    ch.publish_each(q, b"a", b"b")
    ch.read(2)
    ch.ack(2, multiple=True)
    ch.sync()
    ch.publish("", q, b"c")
    ch.read()


@behaviour("consumer-priority")
def consumer_without_a_priority_has_priority_0(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    _consume(ch, q, "below", -1, no_ack=True)
    _consume(ch, q, "none", no_ack=True)
    ch.publish("", q, b"a")
    ch.read()
    _consume(ch, q, "above", 1, no_ack=True)
    ch.publish("", q, b"b")
    ch.read()


@behaviour("consumer-priority")
def negative_consumer_gets_what_the_others_leave(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    _consume(ch, q, "below", -100)
    _consume(ch, q, "none")
    ch.publish_each(q, b"a", b"b")
    ch.read(2)


@behaviour("consumer-priority")
def consumers_of_the_same_priority_take_turns(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    _consume(ch, q, "low", 1, no_ack=True)
    _consume(ch, q, "one", 5, no_ack=True)
    _consume(ch, q, "two", 5, no_ack=True)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.read(4)


@behaviour("consumer-priority")
def cancelled_high_consumer_leaves_its_place_to_the_next(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    _consume(ch, q, "low", 1, no_ack=True)
    _consume(ch, q, "high", 10, no_ack=True)
    ch.call("basic.cancel", consumer_tag="high")
    ch.publish("", q, b"a")
    ch.read()


@behaviour("consumer-priority")
def message_requeued_by_the_high_consumer_comes_back_to_it(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    _consume(ch, q, "low", 1)
    _consume(ch, q, "high", 10)
    ch.publish("", q, b"a")
    ch.read()
    ch.reject(1)
    ch.read()


@behaviour("consumer-priority")
def priorities_count_between_channels_and_connections(s: Session) -> None:
    ch = s.channel()
    other, third = ch.connection.channel(), s.channel()
    q = ch.queue()
    _consume(ch, q, "low", 1, no_ack=True)
    _consume(third, q, "high", 10, no_ack=True)
    _consume(other, q, "middle", 5, no_ack=True)
    ch.publish_each(q, b"a", b"b")
    third.read(2)
    ch.nothing()
    other.nothing()


@behaviour("consumer-priority")
def global_prefetch_and_priorities(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1, **{"global": True})
    _consume(ch, q, "low", 1)
    _consume(ch, q, "high", 10)
    ch.publish_each(q, b"a", b"b")
    ch.read()
    ch.nothing()
    ch.ack(1)
    ch.read()


@behaviour("consumer-priority")
def paused_channel_is_passed_by_the_full_one(s: Session) -> None:
    ch = s.channel()
    other = ch.connection.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=2)
    _consume(ch, q, "high", 10)
    _consume(other, q, "low", 1, no_ack=True)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.read(2)
    other.read()


@behaviour("consumer-priority")
def priority_may_be_as_large_as_a_64_bit_integer(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    _consume(ch, q, "low", Typed("l", -(2**63)), no_ack=True)
    _consume(ch, q, "high", Typed("l", 2**63 - 1), no_ack=True)
    _consume(ch, q, "middle", 2**31 - 1, no_ack=True)
    ch.publish("", q, b"a")
    ch.read()


@behaviour("consumer-priority")
def each_odd_consumer_priority_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for value in (2.5, True, None, [1], {"a": 1}, b"5", Typed("T", 5), Typed("D", (0, 5))):
        ch.attempt("basic.consume", queue=q, consumer_tag="tag", arguments={"x-priority": value})


@behaviour("consumer-priority")
def unknown_arguments_of_consumers_are_fine(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    arguments = {"x-cancel-on-ha-failover": True, "x-mine": {"a": [1]}, "other": None}
    ch.consume(q, "tag", no_ack=True, arguments=arguments)
    ch.publish("", q, b"a")
    ch.read()


@behaviour("consumer-priority")
def x_cancel_on_ha_failover_may_be_anything(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for place, value in enumerate((True, False, "yes", 1)):
        arguments = {"x-cancel-on-ha-failover": value}
        ch.attempt("basic.consume", queue=q, consumer_tag=f"tag {place}", arguments=arguments)
