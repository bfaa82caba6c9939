"""Publisher confirms, mandatory and immediate."""

from __future__ import annotations

from ..registry import behaviour
from ..session import Session


@behaviour("confirms")
def every_publish_is_confirmed_once(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish_each(q, *(b"%d" % number for number in range(20)))
    ch.confirms()
    ch.nothing()


@behaviour("confirms")
def select_may_be_repeated(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish("", q, b"a")
    ch.confirms()
    ch.call("confirm.select")
    ch.publish("", q, b"b")
    ch.confirms()


@behaviour("confirms")
def publishes_before_select_are_not_counted(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.select_confirms()
    ch.publish("", q, b"c")
    ch.confirms()
    ch.nothing()


@behaviour("confirms")
def unroutable_message_is_confirmed(s: Session) -> None:
    ch = s.channel()
    ch.select_confirms()
    ch.publish("", s.name("missing"), b"m")
    ch.read()


@behaviour("confirms")
def persistent_message_in_a_durable_queue_is_confirmed(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(durable=True)
    ch.select_confirms()
    for mode in (1, 2):
        ch.publish("", q, b"m", delivery_mode=mode)
        ch.confirms()


@behaviour("confirms")
def message_for_several_queues_is_confirmed_once(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange("x", "fanout")
    for label in ("one", "two", "three"):
        ch.bind(ch.queue(label, durable=True), x)
    ch.select_confirms()
    ch.publish(x, "", b"m", delivery_mode=2)
    ch.confirms()
    ch.nothing()


@behaviour("confirms")
def unroutable_mandatory_message_is_returned_and_then_confirmed(s: Session) -> None:
    ch = s.channel()
    ch.select_confirms()
    ch.publish("amq.direct", s.name("nowhere"), b"body", mandatory=True, headers={"a": 1}, content_type="text/plain")
    ch.read(2)


@behaviour("confirms")
def returned_messages_come_in_order(s: Session) -> None:
    ch = s.channel()
    ch.select_confirms()
    for number in range(5):
        ch.publish("amq.direct", s.name("nowhere"), b"%d" % number, mandatory=True)
    ch.returns(5)
    ch.confirms()


@behaviour("confirms")
def mandatory_message_is_returned_without_confirms_too(s: Session) -> None:
    ch = s.channel()
    ch.publish("amq.direct", s.name("nowhere"), b"body", mandatory=True)
    ch.read()


@behaviour("confirms")
def empty_mandatory_message_is_returned_empty(s: Session) -> None:
    ch = s.channel()
    ch.publish("amq.direct", s.name("nowhere"), b"", mandatory=True)
    ch.read()


@behaviour("confirms")
def routed_mandatory_message_is_not_returned(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish("", q, b"m", mandatory=True)
    ch.confirms()
    ch.nothing()


@behaviour("confirms")
def message_that_is_not_mandatory_vanishes_silently(s: Session) -> None:
    ch = s.channel()
    ch.publish("amq.direct", s.name("nowhere"), b"m")
    ch.nothing()


@behaviour("confirms")
def queue_that_is_gone_makes_a_message_unroutable(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"first", mandatory=True)
    ch.call("queue.delete", queue=q)
    ch.publish("", q, b"second", mandatory=True)
    ch.read()


@behaviour("confirms")
def publish_to_a_missing_exchange_is_not_confirmed(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish("", q, b"a")
    ch.confirms()
    ch.publish(s.name("missing"), "key", b"b")
    ch.read()


@behaviour("confirms")
def immediate_is_540(s: Session) -> None:
    ch = s.channel()
    ch.publish("", s.name("missing"), b"m", immediate=True)
    ch.read()


@behaviour("confirms")
def immediate_is_refused_though_a_consumer_waits(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.publish("", q, b"m", mandatory=True, immediate=True)
    ch.read()


@behaviour("confirms")
def confirms_count_per_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue()
    one.select_confirms()
    two.select_confirms()
    one.publish_each(q, b"a", b"b")
    two.publish("", q, b"c")
    one.confirms()
    two.confirms()


@behaviour("confirms")
def confirms_begin_anew_on_a_channel_opened_again(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.close()
    ch.open()
    ch.publish("", q, b"not confirmed")
    ch.nothing()
    ch.select_confirms()
    ch.publish("", q, b"c")
    ch.confirms()


@behaviour("confirms")
def confirm_comes_also_when_the_queue_was_purged_or_deleted(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(durable=True)
    ch.select_confirms()
    ch.publish("", q, b"a", delivery_mode=2)
    ch.call("queue.purge", queue=q)
    ch.publish("", q, b"b", delivery_mode=2)
    ch.call("queue.delete", queue=q)
    ch.confirms()


@behaviour("confirms")
def confirm_does_not_wait_for_the_consumers_ack(s: Session) -> None:
    ch, consumer = s.channel(), s.channel()
    q = ch.queue(durable=True)
    consumer.consume(q, "tag")
    ch.select_confirms()
    ch.publish("", q, b"m", delivery_mode=2)
    ch.confirms()
    consumer.read()


@behaviour("confirms")
def acks_of_deliveries_and_confirms_do_not_mix(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.consume(q, "tag")
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    ch.read(2)
    ch.ack(2, multiple=True)
    ch.sync()
    ch.counts(q, 0)


@behaviour("confirms")
def confirm_on_a_transactional_channel_is_406(s: Session) -> None:
    ch = s.channel()
    ch.call("tx.select")
    ch.call("confirm.select")


@behaviour("confirms")
def transaction_on_a_confirming_channel_is_406(s: Session) -> None:
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("tx.select")


@behaviour("confirms")
def big_and_small_messages_are_confirmed_alike(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(durable=True)
    ch.select_confirms()
    for size in (0, 1, 4095, 4096, 300_000):
        ch.publish("", q, bytes(size), delivery_mode=2)
    ch.confirms()
    ch.drain(q)
