"""Message TTL: of the queue, of the message, of both; what counts as expired, and what never does.

Messages expire at the head of the queue only in RabbitMQ, so behaviours do not depend on what stands behind a longer TTL,
but for the one that shows it.
"""

from __future__ import annotations

from ..channel import Channel
from ..codec import Typed
from ..registry import behaviour
from ..session import Session

# Long enough for a slow machine, short enough to wait for.
SOON = 100
AFTER_SOON = 300
LATE = 60000


def _queue(s: Session, ttl_ms: int) -> tuple[Channel, str]:
    ch = s.channel()
    return ch, ch.queue("q", arguments={"x-message-ttl": ttl_ms})


def _left(s: Session, ch: Channel, q: str, count: int) -> None:
    """Wait until what is to expire soon has expired, then look what is left."""
    s.pause(AFTER_SOON)
    ch.counts(q, count)
    ch.drain(q)


@behaviour("ttl")
def messages_are_gone_after_the_ttl_of_their_queue(s: Session) -> None:
    ch, q = _queue(s, SOON)
    ch.publish_each(q, b"a", b"b")
    _left(s, ch, q, 0)


@behaviour("ttl")
def message_is_gone_after_its_own_expiration(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration=str(SOON))
    _left(s, ch, q, 0)


@behaviour("ttl")
def expiration_below_the_ttl_of_the_queue_counts(s: Session) -> None:
    ch, q = _queue(s, LATE)
    ch.publish("", q, b"a", expiration=str(SOON))
    _left(s, ch, q, 0)


@behaviour("ttl")
def ttl_of_the_queue_below_the_expiration_counts(s: Session) -> None:
    ch, q = _queue(s, SOON)
    ch.publish("", q, b"a", expiration=str(LATE))
    _left(s, ch, q, 0)


@behaviour("ttl")
def message_without_a_ttl_behind_an_expired_one_stays(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration=str(SOON))
    ch.publish("", q, b"b")
    _left(s, ch, q, 1)


@behaviour("ttl")
def messages_expire_one_after_the_other(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for body, expiration in ((b"a", 50), (b"b", 100), (b"c", 150), (b"d", LATE)):
        ch.publish("", q, body, expiration=str(expiration))
    _left(s, ch, q, 1)


@behaviour("ttl")
def message_expires_wherever_it_stands_in_the_queue(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration=str(LATE))
    ch.publish("", q, b"b", expiration=str(SOON))
    s.pause(AFTER_SOON)
    ch.counts(q, 1)


@behaviour("ttl")
def expired_message_behind_a_living_one_is_not_delivered(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration=str(LATE))
    ch.publish("", q, b"b", expiration=str(SOON))
    ch.publish("", q, b"c")
    s.pause(AFTER_SOON)
    ch.consume(q, "tag", no_ack=True)
    ch.read(2)
    ch.nothing()


@behaviour("ttl")
def expiration_is_kept_while_the_message_lives(s: Session) -> None:
    ch, q = _queue(s, LATE)
    ch.publish("", q, b"a", expiration="0050000")
    ch.get(q)


@behaviour("ttl")
def ttl_of_the_queue_is_not_written_into_the_message(s: Session) -> None:
    ch, q = _queue(s, LATE)
    ch.publish("", q, b"a")
    ch.get(q)


@behaviour("ttl")
def each_copy_expires_by_the_ttl_of_its_own_queue(s: Session) -> None:
    ch, soon = _queue(s, SOON)
    late = ch.queue("late", arguments={"x-message-ttl": LATE})
    x = ch.exchange("x", "fanout")
    ch.bind(soon, x)
    ch.bind(late, x)
    ch.publish(x, "", b"a")
    _left(s, ch, soon, 0)
    ch.drain(late)


@behaviour("ttl")
def ttl_0_reaches_a_waiting_consumer(s: Session) -> None:
    ch, q = _queue(s, 0)
    ch.consume(q, "tag", no_ack=True)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.read(3)


@behaviour("ttl")
def ttl_0_without_a_consumer_is_gone_at_once(s: Session) -> None:
    ch, q = _queue(s, 0)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.counts(q, 0)


@behaviour("ttl")
def ttl_0_and_a_consumer_at_its_prefetch_limit(s: Session) -> None:
    ch, q = _queue(s, 0)
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "tag")
    ch.publish_each(q, b"a", b"b")
    ch.read()
    ch.counts(q, 0)
    ch.ack(1)
    ch.nothing()


@behaviour("ttl")
def ttl_0_takes_a_requeued_message_only_with_a_consumer_that_may_have_it(s: Session) -> None:
    ch, q = _queue(s, 0)
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "tag")
    ch.publish("", q, b"a")
    ch.read()
    ch.call("basic.cancel", consumer_tag="tag")
    ch.nack(1)
    ch.get(q)


@behaviour("ttl")
def expiration_0_reaches_a_waiting_consumer(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag", no_ack=True)
    ch.publish("", q, b"a", expiration="0")
    ch.read()


@behaviour("ttl")
def expiration_0_without_a_consumer_is_gone_at_once(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration="0")
    ch.get(q)


@behaviour("ttl")
def expired_message_is_confirmed(s: Session) -> None:
    ch, q = _queue(s, 0)
    ch.select_confirms()
    ch.publish("", q, b"a")
    ch.publish("", q, b"b", mandatory=True)
    ch.confirms()
    ch.nothing()


@behaviour("ttl")
def persistent_message_that_expires_is_confirmed(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", durable=True, arguments={"x-message-ttl": SOON})
    ch.select_confirms()
    ch.publish("", q, b"a", delivery_mode=2)
    ch.confirms()
    _left(s, ch, q, 0)


@behaviour("ttl")
def unacked_message_does_not_expire(s: Session) -> None:
    ch, q = _queue(s, SOON)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(AFTER_SOON)
    ch.ack(1)
    ch.sync()
    ch.counts(q, 0)


@behaviour("ttl")
def message_requeued_after_its_time_is_gone(s: Session) -> None:
    ch, q = _queue(s, SOON)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(AFTER_SOON)
    ch.nack(1)
    ch.sync()
    ch.get(q)


@behaviour("ttl")
def message_requeued_after_its_time_is_not_delivered_again(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.publish("", q, b"a", expiration=str(SOON))
    ch.read()
    s.pause(AFTER_SOON)
    ch.reject(1)
    ch.nothing()


@behaviour("ttl")
def message_requeued_in_time_is_delivered_again(s: Session) -> None:
    ch, q = _queue(s, LATE)
    ch.publish("", q, b"a", expiration=str(LATE))
    ch.get(q)
    ch.nack(1)
    ch.get(q)


@behaviour("ttl")
def requeue_keeps_the_deadline(s: Session) -> None:
    ch, q = _queue(s, 1200)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(900)
    ch.nack(1)
    s.pause(500)
    ch.get(q)


@behaviour("ttl")
def recover_after_the_time_is_over_brings_nothing(s: Session) -> None:
    ch, q = _queue(s, SOON)
    ch.publish_each(q, b"a", b"b")
    ch.get(q)
    ch.get(q)
    s.pause(AFTER_SOON)
    ch.call("basic.recover", requeue=True)
    ch.sync()
    ch.get(q)


@behaviour("ttl")
def closing_the_channel_after_the_time_is_over_brings_nothing(s: Session) -> None:
    ch, q = _queue(s, SOON)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(AFTER_SOON)
    ch.close()
    ch.open()
    ch.sync()
    ch.get(q)


@behaviour("ttl")
def later_consumer_gets_only_what_lives(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration=str(SOON))
    ch.publish("", q, b"b", expiration=str(LATE))
    s.pause(AFTER_SOON)
    ch.consume(q, "tag", no_ack=True)
    ch.read()
    ch.nothing()


@behaviour("ttl")
def purge_counts_only_what_lives(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration=str(SOON))
    ch.publish_each(q, b"b", b"c")
    s.pause(AFTER_SOON)
    ch.counts(q, 2)
    ch.call("queue.purge", queue=q)


@behaviour("ttl")
def get_counts_only_what_lives(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a", expiration=str(SOON))
    ch.publish_each(q, b"b", b"c")
    s.pause(AFTER_SOON)
    ch.counts(q, 2)
    ch.get(q)


@behaviour("ttl")
def queue_whose_messages_expired_is_empty_to_delete(s: Session) -> None:
    ch, q = _queue(s, SOON)
    ch.publish("", q, b"a")
    s.pause(AFTER_SOON)
    ch.counts(q, 0)
    ch.call("queue.delete", queue=q, if_empty=True)


@behaviour("ttl")
def time_runs_from_the_commit_of_a_transaction(s: Session) -> None:
    ch, q = _queue(s, 500)
    ch.call("tx.select")
    ch.publish("", q, b"a")
    s.pause(700)
    ch.call("tx.commit")
    ch.get(q)


@behaviour("ttl")
def returned_message_keeps_its_expiration(s: Session) -> None:
    ch = s.channel()
    ch.publish("", s.name("nowhere"), b"a", mandatory=True, expiration="0")
    ch.read()


@behaviour("ttl")
def each_odd_value_of_x_message_ttl_is_406(s: Session) -> None:
    ch = s.channel()
    values = ("100", -1, 2.5, True, None, [1], {"a": 1}, b"7", Typed("T", 5), Typed("D", (0, 5)))
    for value in (*values, Typed("l", 315360000001), Typed("f", 1.0), Typed("b", -1)):
        ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-message-ttl": value})


@behaviour("ttl")
def x_message_ttl_may_have_any_integer_type(s: Session) -> None:
    ch = s.channel()
    for tag in "bBsuIilL":
        q = ch.queue(f"q {tag}", arguments={"x-message-ttl": Typed(tag, 0)})
        ch.publish("", q, b"a")
        ch.get(q)


@behaviour("ttl")
def x_message_ttl_may_be_0_or_ten_years(s: Session) -> None:
    ch = s.channel()
    ch.queue("none", arguments={"x-message-ttl": 0})
    q = ch.queue("long", arguments={"x-message-ttl": Typed("l", 315360000000)})
    ch.publish("", q, b"a", expiration="315360000000")
    ch.get(q)


@behaviour("ttl")
def another_x_message_ttl_is_406(s: Session) -> None:
    ch, q = _queue(s, LATE)
    for arguments in ({"x-message-ttl": Typed("l", LATE)}, {"x-message-ttl": LATE + 1}, {}, {"x-message-ttl": "60000"}):
        ch.attempt("queue.declare", queue=q, arguments=arguments)
