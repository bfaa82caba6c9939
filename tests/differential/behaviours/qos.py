"""basic.qos: how many unacked messages a consumer, or all consumers of a channel, may hold."""

from __future__ import annotations

from ..channel import Channel
from ..registry import behaviour
from ..session import Session


def _full(s: Session, count: int = 8) -> tuple[Channel, str]:
    """A channel, and a queue with more messages than anyone may hold."""
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, *(b"%d" % number for number in range(1, count + 1)))
    ch.sync()
    return ch, q


def _qos(ch: Channel, count: int, *, is_global: bool = False) -> None:
    ch.call("basic.qos", prefetch_count=count, **({"global": True} if is_global else {}))


@behaviour("qos")
def qos_is_answered(s: Session) -> None:
    ch = s.channel()
    _qos(ch, 10)
    _qos(ch, 0)
    _qos(ch, 65535, is_global=True)


@behaviour("qos")
def prefetch_size_is_540(s: Session) -> None:
    s.channel().call("basic.qos", prefetch_size=4096, prefetch_count=1)


@behaviour("qos")
def consumer_holds_no_more_than_its_prefetch(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 2)
    ch.consume(q, "tag")
    ch.read(2)
    ch.nothing()
    ch.ack(1)
    ch.read()
    ch.nothing()


@behaviour("qos")
def ack_with_multiple_frees_as_much_as_it_settles(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 3)
    ch.consume(q, "tag")
    ch.read(3)
    ch.ack(2, multiple=True)
    ch.read(2)
    ch.nothing()


@behaviour("qos")
def nack_and_reject_free_the_prefetch_too(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1)
    ch.consume(q, "tag")
    ch.read()
    ch.nack(1, requeue=False)
    ch.read()
    ch.reject(2, requeue=False)
    ch.read()
    ch.nothing()


@behaviour("qos")
def prefetch_holds_for_consumers_started_later(s: Session) -> None:
    ch, q = _full(s)
    ch.consume(q, "early")
    ch.read(8)
    _qos(ch, 1)
    ch.publish_each(q, b"x", b"y")
    ch.read(2)
    ch.call("basic.cancel", consumer_tag="early")
    ch.consume(q, "late")
    ch.publish_each(q, b"z", b"zz")
    ch.read()
    ch.nothing()


@behaviour("qos")
def each_consumer_has_the_prefetch_of_its_start(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1)
    ch.consume(q, "one")
    ch.read()
    _qos(ch, 2)
    ch.consume(q, "two")
    ch.read(2)
    ch.nothing()


@behaviour("qos")
def prefetch_0_is_unlimited(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1)
    _qos(ch, 0)
    ch.consume(q, "tag")
    ch.read(8)


@behaviour("qos")
def no_ack_consumers_do_not_count(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1)
    _qos(ch, 1, is_global=True)
    ch.consume(q, "tag", no_ack=True)
    ch.read(8)


@behaviour("qos")
def got_messages_do_not_count_for_a_consumer(s: Session) -> None:
    ch, q = _full(s)
    ch.get(q)
    ch.get(q)
    _qos(ch, 1)
    ch.consume(q, "tag")
    ch.read()
    ch.nothing()


@behaviour("qos")
def global_prefetch_is_shared_by_the_consumers_of_a_channel(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 3, is_global=True)
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.read(3)
    ch.nothing()
    ch.ack(3, multiple=True)
    ch.read(3)
    ch.nothing()


@behaviour("qos")
def global_prefetch_holds_for_consumers_already_there(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    _qos(ch, 2, is_global=True)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.read(2)
    ch.nothing()


@behaviour("qos")
def global_prefetch_spans_queues(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one"), ch.queue("two")
    _qos(ch, 1, is_global=True)
    ch.consume(one, "one")
    ch.consume(two, "two")
    ch.publish("", one, b"a")
    ch.read()
    ch.publish("", two, b"b")
    ch.nothing()
    ch.ack(1)
    ch.read()


@behaviour("qos")
def both_kinds_of_prefetch_hold_at_once(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 2)
    _qos(ch, 3, is_global=True)
    ch.consume(q, "one")
    ch.read(2)
    ch.nothing()
    ch.consume(q, "two")
    ch.read()
    ch.nothing()


@behaviour("qos")
def lower_of_both_prefetches_wins_for_one_consumer(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 4)
    _qos(ch, 1, is_global=True)
    ch.consume(q, "tag")
    ch.read()
    ch.nothing()


@behaviour("qos")
def lowering_the_global_prefetch_waits_for_acks(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 3, is_global=True)
    ch.consume(q, "tag")
    ch.read(3)
    _qos(ch, 1, is_global=True)
    ch.ack(1)
    ch.ack(2)
    ch.nothing()
    ch.ack(3)
    ch.read()
    ch.nothing()


@behaviour("qos")
def raising_the_global_prefetch_delivers_at_once(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1, is_global=True)
    ch.consume(q, "tag")
    ch.read()
    _qos(ch, 3, is_global=True)
    ch.read(2)
    ch.nothing()


@behaviour("qos")
def lifting_the_global_prefetch_delivers_everything(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1, is_global=True)
    ch.consume(q, "tag")
    ch.read()
    _qos(ch, 0, is_global=True)
    ch.read(7)


@behaviour("qos")
def prefetch_belongs_to_its_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue()
    _qos(one, 1)
    _qos(one, 1, is_global=True)
    two.consume(q, "tag")
    one.publish_each(q, b"a", b"b", b"c")
    two.read(3)


@behaviour("qos")
def prefetch_is_forgotten_with_the_channel(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1)
    _qos(ch, 1, is_global=True)
    ch.close()
    ch.open()
    ch.consume(q, "tag")
    ch.read(8)


@behaviour("qos")
def messages_of_a_cancelled_consumer_count_for_the_channel(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 2, is_global=True)
    ch.consume(q, "one")
    ch.read(2)
    ch.call("basic.cancel", consumer_tag="one")
    ch.consume(q, "two")
    ch.nothing()
    ch.ack(1)
    ch.read()
    ch.nothing()


@behaviour("qos")
def messages_of_a_cancelled_consumer_do_not_count_for_the_next(s: Session) -> None:
    ch, q = _full(s)
    _qos(ch, 1)
    ch.consume(q, "one")
    ch.read()
    ch.call("basic.cancel", consumer_tag="one")
    ch.consume(q, "two")
    ch.read()
    ch.nothing()


@behaviour("qos")
def prefetch_spreads_a_backlog_over_consumers(s: Session) -> None:
    one, q = _full(s)
    two = s.channel()
    _qos(one, 2)
    _qos(two, 2)
    one.consume(q, "one")
    one.read(2)
    two.consume(q, "two")
    two.read(2)
    one.ack(2, multiple=True)
    one.read(2)
    two.nothing()
