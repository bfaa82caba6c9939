"""ack, nack, reject and recover; where requeued messages come back."""

from __future__ import annotations

from ..channel import Channel
from ..registry import behaviour
from ..session import Session


def _with_messages(s: Session, count: int) -> tuple[Channel, str]:
    """A channel and a queue holding a, b, c, ..."""
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, *(b"abcdefgh"[at : at + 1] for at in range(count)))
    return ch, q


def _got(s: Session, count: int) -> tuple[Channel, str]:
    """The same with all of them got and unacked: a is delivery tag 1, and so on."""
    ch, q = _with_messages(s, count)
    for _ in range(count):
        ch.get(q)
    return ch, q


def _left(ch: Channel, q: str) -> None:
    """Close the channel and look what came back from it."""
    ch.close()
    ch.open()
    ch.drain(q)


@behaviour("settle")
def ack_settles_one_message(s: Session) -> None:
    ch, q = _got(s, 3)
    ch.ack(2)
    _left(ch, q)


@behaviour("settle")
def ack_with_multiple_settles_up_to_its_tag(s: Session) -> None:
    ch, q = _got(s, 4)
    ch.ack(3, multiple=True)
    _left(ch, q)


@behaviour("settle")
def ack_of_tag_0_with_multiple_settles_all(s: Session) -> None:
    ch, q = _got(s, 3)
    ch.ack(0, multiple=True)
    _left(ch, q)


@behaviour("settle")
def ack_of_tag_0_with_multiple_and_nothing_unacked_is_fine(s: Session) -> None:
    ch = s.channel()
    ch.ack(0, multiple=True)
    ch.nack(0, multiple=True)
    ch.sync()
    ch.call("basic.qos", prefetch_count=1)


@behaviour("settle")
def ack_of_tag_0_is_406(s: Session) -> None:
    ch, _ = _got(s, 1)
    ch.ack(0)
    ch.read()


@behaviour("settle")
def ack_of_an_unknown_tag_is_406(s: Session) -> None:
    ch, _ = _got(s, 1)
    ch.ack(2)
    ch.read()


@behaviour("settle")
def ack_of_a_huge_tag_is_406(s: Session) -> None:
    ch = s.channel()
    ch.ack(2**64 - 1)
    ch.read()


@behaviour("settle")
def second_ack_of_a_tag_is_406(s: Session) -> None:
    ch, _ = _got(s, 2)
    ch.ack(1)
    ch.ack(1)
    ch.read()


@behaviour("settle")
def ack_with_multiple_of_an_unknown_tag_is_406(s: Session) -> None:
    ch, q = _got(s, 2)
    ch.ack(9, multiple=True)
    ch.read()
    ch.open()
    ch.counts(q, 2)


@behaviour("settle")
def ack_with_multiple_of_a_settled_tag_is_406(s: Session) -> None:
    ch, q = _got(s, 3)
    ch.ack(2)
    ch.ack(2, multiple=True)
    ch.read()
    ch.open()
    ch.counts(q, 2)


@behaviour("settle")
def ack_with_multiple_passes_over_settled_tags(s: Session) -> None:
    ch, q = _got(s, 4)
    ch.ack(2)
    ch.ack(3, multiple=True)
    _left(ch, q)


@behaviour("settle")
def ack_of_a_no_ack_delivery_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag", no_ack=True)
    ch.publish("", q, b"m")
    ch.read()
    ch.ack(1)
    ch.read()


@behaviour("settle")
def ack_on_another_channel_is_406(s: Session) -> None:
    ch, q = _got(s, 1)
    other = ch.connection.channel()
    other.ack(1)
    other.read()
    ch.ack(1)
    ch.sync()
    ch.drain(q)


@behaviour("settle")
def nack_without_requeue_drops_the_message(s: Session) -> None:
    ch, q = _got(s, 2)
    ch.nack(1, requeue=False)
    _left(ch, q)


@behaviour("settle")
def nack_with_multiple_and_no_requeue_drops_them_all(s: Session) -> None:
    ch, q = _got(s, 3)
    ch.nack(2, multiple=True, requeue=False)
    _left(ch, q)


@behaviour("settle")
def nack_of_an_unknown_tag_is_406(s: Session) -> None:
    ch, _ = _got(s, 1)
    ch.nack(5)
    ch.read()


@behaviour("settle")
def nack_of_tag_0_is_406(s: Session) -> None:
    ch, _ = _got(s, 1)
    ch.nack(0)
    ch.read()


@behaviour("settle")
def reject_without_requeue_drops_the_message(s: Session) -> None:
    ch, q = _got(s, 2)
    ch.reject(1, requeue=False)
    _left(ch, q)


@behaviour("settle")
def reject_of_an_unknown_tag_is_406(s: Session) -> None:
    ch, _ = _got(s, 1)
    ch.reject(5)
    ch.read()


@behaviour("settle")
def reject_of_tag_0_is_406(s: Session) -> None:
    ch, _ = _got(s, 1)
    ch.reject(0)
    ch.read()


# Where requeued messages come back


@behaviour("settle")
def rejected_message_comes_back_to_the_front(s: Session) -> None:
    ch, q = _with_messages(s, 3)
    ch.get(q)
    ch.reject(1)
    ch.drain(q)


@behaviour("settle")
def nack_with_multiple_requeues_in_order(s: Session) -> None:
    ch, q = _with_messages(s, 4)
    ch.get(q)
    ch.get(q)
    ch.get(q)
    ch.nack(2, multiple=True)
    ch.drain(q)


@behaviour("settle")
def messages_nacked_in_any_order_come_back_in_the_first_one(s: Session) -> None:
    ch, q = _with_messages(s, 4)
    for _ in range(3):
        ch.get(q)
    for tag in (2, 3, 1):
        ch.nack(tag)
    ch.drain(q)


@behaviour("settle")
def requeued_messages_come_back_before_later_ones(s: Session) -> None:
    ch, q = _got(s, 3)
    ch.publish_each(q, b"x", b"y")
    ch.nack(2)
    ch.drain(q)
    ch.publish("", q, b"z")
    ch.nack(0, multiple=True)
    ch.drain(q)


@behaviour("settle")
def messages_left_by_several_channels_come_back_in_order(s: Session) -> None:
    c = s.connect()
    channels = [c.channel() for _ in range(3)]
    q = channels[0].queue()
    channels[0].publish_each(q, b"a", b"b", b"c", b"d", b"e", b"f")
    for ch in (*channels, *channels):
        ch.get(q)
    for ch in (channels[1], channels[2], channels[0]):
        ch.nack(0, multiple=True)
        ch.sync()
    channels[0].counts(q, 6)
    channels[0].drain(q)


@behaviour("settle")
def closing_the_connection_requeues_in_order(s: Session) -> None:
    ch, q = _got(s, 4)
    other = s.channel()
    ch.ack(2)
    ch.connection.call("connection.close", reply_code=200)
    other.counts(q, 3)
    other.drain(q)


@behaviour("settle")
def requeued_message_goes_to_the_next_consumer_in_turn(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.publish("", q, b"m")
    ch.read()
    ch.reject(1)
    ch.read()
    ch.reject(2)
    ch.read()


@behaviour("settle")
def only_consumer_gets_its_rejected_message_again(s: Session) -> None:
    ch, q = _with_messages(s, 2)
    ch.consume(q, "tag")
    ch.read(2)
    ch.reject(1)
    ch.read()
    ch.ack(3)
    ch.ack(2)
    ch.sync()
    ch.counts(q, 0, consumers=1)


@behaviour("settle")
def requeue_does_not_change_the_message(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"body", headers={"a": [1, {"b": None}]}, delivery_mode=2, expiration="60000", priority=3)
    ch.get(q)
    ch.nack(1)
    ch.get(q)


# Recover


@behaviour("settle")
def recover_requeues_everything_unacked(s: Session) -> None:
    ch, q = _got(s, 3)
    ch.ack(2)
    ch.call("basic.recover", requeue=True)
    ch.drain(q)


@behaviour("settle")
def recover_delivers_again_with_new_tags(s: Session) -> None:
    ch, q = _with_messages(s, 3)
    ch.consume(q, "tag")
    ch.read(3)
    ch.ack(1)
    ch.send("basic.recover", requeue=True)
    ch.reply()
    ch.read(2)
    ch.ack(5, multiple=True)
    ch.sync()
    ch.ack(2)
    ch.read()


@behaviour("settle")
def recover_with_nothing_unacked_is_answered(s: Session) -> None:
    ch = s.channel()
    ch.call("basic.recover", requeue=True)


@behaviour("settle")
def recover_without_requeue_is_540(s: Session) -> None:
    ch, _ = _got(s, 1)
    ch.call("basic.recover", requeue=False)


@behaviour("settle")
def recover_async_requeues_without_an_answer(s: Session) -> None:
    ch, q = _got(s, 2)
    ch.send("basic.recover-async", requeue=True)
    ch.nothing()
    ch.drain(q)


@behaviour("settle")
def recover_async_without_requeue_is_540(s: Session) -> None:
    ch = s.channel()
    ch.send("basic.recover-async", requeue=False)
    ch.perhaps()


@behaviour("settle")
def recover_frees_the_prefetch(s: Session) -> None:
    ch, q = _with_messages(s, 3)
    ch.call("basic.qos", prefetch_count=2)
    ch.consume(q, "tag")
    ch.read(2)
    ch.call("basic.recover", requeue=True)
    ch.read(2)
    ch.nothing()


@behaviour("settle")
def tags_of_recovered_messages_are_unknown(s: Session) -> None:
    ch, _ = _got(s, 2)
    ch.call("basic.recover", requeue=True)
    ch.ack(1)
    ch.read()


# Acks from a client to the server are nothing else


@behaviour("settle")
def settling_more_than_once_in_a_row_is_caught(s: Session) -> None:
    for name in ("basic.nack", "basic.reject"):
        ch, _ = _got(s, 1)
        ch.ack(1)
        ch.send(name, delivery_tag=1, requeue=True)
        ch.read()


@behaviour("settle")
def acks_may_come_in_any_order(s: Session) -> None:
    ch, q = _got(s, 5)
    for tag in (5, 1, 3):
        ch.ack(tag)
    _left(ch, q)


@behaviour("settle")
def delivery_tags_are_shared_by_get_and_consume(s: Session) -> None:
    ch, q = _with_messages(s, 2)
    ch.get(q)
    ch.consume(q, "tag")
    ch.read()
    ch.publish("", q, b"z")
    ch.read()
    ch.ack(3, multiple=True)
    ch.sync()
    ch.counts(q, 0)
