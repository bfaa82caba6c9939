"""basic.get: one message at a time."""

from __future__ import annotations

from ..registry import behaviour
from ..session import Session


@behaviour("get")
def empty_queue_answers_get_empty(s: Session) -> None:
    ch = s.channel()
    ch.get(ch.queue())


@behaviour("get")
def get_ok_counts_what_is_left(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    for _ in range(4):
        ch.get(q)


@behaviour("get")
def count_of_get_ok_leaves_out_unacked_messages(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    ch.get(q)
    ch.get(q)
    ch.ack(1)
    ch.nack(2)
    ch.get(q)


@behaviour("get")
def get_without_acks_takes_the_message_at_once(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.get(q, no_ack=True)
    ch.get(q)
    ch.close()
    ch.open()
    ch.drain(q)


@behaviour("get")
def get_without_acks_uses_up_a_delivery_tag(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.get(q, no_ack=True)
    ch.get(q)
    ch.ack(1)
    ch.read()


@behaviour("get")
def get_from_a_missing_queue_is_404(s: Session) -> None:
    ch = s.channel()
    ch.get(s.name("missing"))


@behaviour("get")
def get_is_not_limited_by_prefetch(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.qos", prefetch_count=1, **{"global": True})
    ch.publish_each(q, b"a", b"b")
    ch.get(q)
    ch.get(q)


@behaviour("get")
def got_message_comes_back_redelivered(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m")
    ch.get(q)
    ch.reject(1)
    ch.get(q)
    ch.reject(2)
    ch.get(q)


@behaviour("get")
def get_tells_exchange_routing_key_and_properties(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "topic"), ch.queue()
    ch.bind(q, x, "#")
    ch.publish(x, "some.key", b"m", content_type="text/plain", delivery_mode=2, headers={"a": 1}, type="t")
    ch.get(q)


@behaviour("get")
def get_competes_with_consumers(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "tag")
    ch.publish_each(q, b"a", b"b")
    ch.read()
    ch.get(q)
    ch.get(q)


@behaviour("get")
def get_from_a_queue_with_an_exclusive_consumer_works(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "tag", exclusive=True)
    ch.publish_each(q, b"a", b"b")
    ch.read()
    ch.get(q)
