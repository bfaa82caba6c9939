"""Consumers: tags, cancel from both sides, exclusive ones, who gets what."""

from __future__ import annotations

from ..codec import Typed
from ..registry import behaviour
from ..session import CAPABILITIES, Session


@behaviour("consume")
def consume_ok_comes_before_the_first_delivery(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.send("basic.consume", queue=q, consumer_tag="tag")
    ch.read(3)


@behaviour("consume")
def server_makes_up_consumer_tags(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    one, two = ch.consume(q)["consumer_tag"], ch.consume(q)["consumer_tag"]
    ch.log(f"= {one.startswith('amq.ctag-')} {two.startswith('amq.ctag-')} {one != two}")
    ch.call("basic.cancel", consumer_tag=one)


@behaviour("consume")
def consumer_tag_used_twice_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.consume(q, "tag")


@behaviour("consume")
def consumer_tag_used_twice_for_another_queue_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one"), ch.queue("two")
    ch.consume(one, "tag")
    ch.consume(two, "tag")


@behaviour("consume")
def consumer_tags_belong_to_their_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue()
    one.consume(q, "tag")
    two.consume(q, "tag")


@behaviour("consume")
def cancelled_tag_may_be_used_again(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for _ in range(2):
        ch.consume(q, "tag")
        ch.call("basic.cancel", consumer_tag="tag")


@behaviour("consume")
def consumer_tag_may_be_anything(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for tag in ("with space", "naïve ☃", "t" * 255, "amq.mine"):
        ch.consume(q, tag)
        ch.call("basic.cancel", consumer_tag=tag)


@behaviour("consume")
def consuming_from_a_missing_queue_is_404(s: Session) -> None:
    ch = s.channel()
    ch.consume(s.name("missing"), "tag")


@behaviour("consume")
def missing_queue_is_seen_before_the_tag_is_taken(s: Session) -> None:
    ch = s.channel()
    ch.consume(s.name("missing"), "tag")
    ch.open()
    ch.consume(ch.queue(), "tag")


@behaviour("consume")
def consumer_gets_what_was_there_and_what_comes(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.consume(q, "tag")
    ch.read(2)
    ch.publish_each(q, b"c", b"d")
    ch.read(2)


@behaviour("consume")
def no_ack_deliveries_are_gone_at_once(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue()
    ch.consume(q, "tag", no_ack=True)
    ch.publish_each(q, b"a", b"b")
    ch.read(2)
    ch.connection.drop()
    other.counts(q, 0, consumers=0)
    other.drain(q)


@behaviour("consume")
def no_local_is_ignored(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag", no_local=True)
    ch.publish("", q, b"mine")
    ch.read()


@behaviour("consume")
def cancel_is_answered_and_ends_deliveries(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.call("basic.cancel", consumer_tag="tag")
    ch.publish("", q, b"m")
    ch.nothing()
    ch.drain(q)


@behaviour("consume")
def cancel_of_an_unknown_tag_is_fine(s: Session) -> None:
    ch = s.channel()
    ch.call("basic.cancel", consumer_tag="no such tag")
    ch.call("basic.cancel", consumer_tag="")


@behaviour("consume")
def cancel_keeps_unacked_messages_with_the_channel(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.consume(q, "tag")
    ch.read(2)
    ch.call("basic.cancel", consumer_tag="tag")
    ch.counts(q, 0, consumers=0)
    ch.ack(1)
    ch.nack(2)
    ch.drain(q)


# Who gets what


@behaviour("consume")
def consumers_of_one_channel_take_turns(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.consume(q, "three")
    ch.publish_each(q, b"a", b"b", b"c", b"d", b"e", b"f")
    ch.read(6)


@behaviour("consume")
def consumers_of_two_connections_take_turns(s: Session) -> None:
    one, two = s.channel(), s.channel()
    q = one.queue()
    one.consume(q, "one")
    two.consume(q, "two")
    one.publish_each(q, b"a", b"b", b"c", b"d")
    one.read(2)
    two.read(2)


@behaviour("consume")
def consumer_without_credit_is_passed_over(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "one")
    ch.call("basic.qos", prefetch_count=0)
    ch.consume(q, "two")
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    ch.read(4)


@behaviour("consume")
def consumer_of_higher_priority_comes_first(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=2)
    ch.consume(q, "low")
    ch.consume(q, "high", arguments={"x-priority": 5})
    ch.consume(q, "lowest", arguments={"x-priority": -5})
    ch.publish_each(q, b"a", b"b", b"c", b"d", b"e")
    ch.read(5)


@behaviour("consume")
def consumer_priority_that_is_no_integer_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for value in ("5", 2.5, True):
        ch.consume(q, "tag", arguments={"x-priority": value})
        ch.open()


@behaviour("consume")
def consumer_priority_may_have_any_integer_type(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for tag in ("b", "s", "I", "l", "B", "u", "i"):
        ch.consume(q, f"tag {tag}", arguments={"x-priority": Typed(tag, 7)})


@behaviour("consume")
def unknown_consumer_arguments_are_overlooked(s: Session) -> None:
    ch = s.channel()
    ch.consume(ch.queue(), "tag", arguments={"x-mine": {"any": ["thing", None]}})


# Exclusive


@behaviour("consume")
def second_consumer_beside_an_exclusive_one_is_403(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue()
    ch.consume(q, "tag", exclusive=True)
    other.consume(q, "other")
    other.open()
    other.consume(q, "other", exclusive=True)


@behaviour("consume")
def second_consumer_on_the_same_channel_is_403_too(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag", exclusive=True)
    ch.consume(q, "other")


@behaviour("consume")
def exclusive_consumer_beside_another_is_403(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    other.consume(q, "other", exclusive=True)


@behaviour("consume")
def exclusive_consumer_leaves_the_queue_to_others_when_cancelled(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue()
    ch.consume(q, "tag", exclusive=True)
    ch.call("basic.cancel", consumer_tag="tag")
    other.consume(q, "other", exclusive=True)


@behaviour("consume")
def exclusive_consumer_leaves_the_queue_to_others_when_its_channel_closes(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue()
    ch.consume(q, "tag", exclusive=True)
    ch.close()
    other.counts(q, 0, consumers=0)
    other.consume(q, "other")


# Cancelled by the broker


@behaviour("consume")
def deleted_queue_cancels_its_consumers(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue()
    ch.consume(q, "one")
    ch.consume(q, "two")
    other.call("queue.delete", queue=q)
    ch.read(2, sort=True)


@behaviour("consume")
def consumer_is_told_when_its_own_channel_deletes_the_queue(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.call("queue.delete", queue=q)
    ch.read()


@behaviour("consume")
def cancellation_is_not_sent_to_who_did_not_announce_it(s: Session) -> None:
    ch = s.channel(capabilities=[name for name in CAPABILITIES if name != "consumer_cancel_notify"])
    other = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    other.call("queue.delete", queue=q)
    ch.nothing()
    ch.call("basic.qos", prefetch_count=1)


@behaviour("consume")
def tag_is_free_after_a_cancellation_by_the_broker(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.call("queue.delete", queue=q)
    ch.read()
    ch.queue()
    ch.consume(q, "tag")
    ch.publish("", q, b"m")
    ch.read()


@behaviour("consume")
def cancel_after_a_cancellation_by_the_broker_is_answered(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.call("queue.delete", queue=q)
    ch.read()
    ch.call("basic.cancel", consumer_tag="tag")


@behaviour("consume")
def cancel_ok_from_the_client_is_503(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.call("queue.delete", queue=q)
    ch.read()
    ch.send("basic.cancel-ok", consumer_tag="tag")
    ch.perhaps()


@behaviour("consume")
def auto_delete_queue_cancelled_by_its_consumer_sends_no_cancellation(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(auto_delete=True)
    ch.consume(q, "tag")
    ch.call("basic.cancel", consumer_tag="tag")
    s.queue_exists(q, False)
    ch.nothing()


@behaviour("consume")
def cancelled_consumers_unacked_messages_may_still_be_acked(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.publish("", q, b"m")
    ch.read()
    ch.call("queue.delete", queue=q)
    ch.read()
    ch.ack(1)
    ch.sync()
    ch.ack(1)
    ch.read()


@behaviour("consume")
def redelivered_is_set_for_another_consumer(s: Session) -> None:
    one, two = s.channel(), s.channel()
    q = one.queue()
    one.publish("", q, b"m")
    one.consume(q, "one")
    one.read()
    two.consume(q, "two")
    one.close()
    two.read()


@behaviour("consume")
def last_consumers_messages_wait_in_the_queue(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "tag")
    ch.publish_each(q, b"a", b"b", b"c")
    ch.read()
    ch.call("basic.cancel", consumer_tag="tag")
    ch.ack(1)
    ch.drain(q)
