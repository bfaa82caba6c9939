"""Transactions: nothing published or settled counts before the commit."""

from __future__ import annotations

from ..channel import Channel
from ..registry import behaviour
from ..session import Session


def _transactional(s: Session) -> tuple[Channel, str, Channel]:
    """A transactional channel, a queue, and another channel to look from."""
    c = s.connect()
    ch, other = c.channel(), c.channel()
    q = ch.queue()
    ch.call("tx.select")
    return ch, q, other


@behaviour("tx")
def published_messages_wait_for_the_commit(s: Session) -> None:
    ch, q, other = _transactional(s)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    other.counts(q, 0)
    ch.call("tx.commit")
    other.counts(q, 2)
    other.drain(q)


@behaviour("tx")
def rollback_drops_published_messages(s: Session) -> None:
    ch, q, other = _transactional(s)
    ch.publish_each(q, b"a", b"b")
    ch.call("tx.rollback")
    ch.publish("", q, b"c")
    ch.call("tx.commit")
    other.counts(q, 1)
    other.drain(q)


@behaviour("tx")
def commit_begins_the_next_transaction(s: Session) -> None:
    ch, q, other = _transactional(s)
    for body in (b"a", b"b"):
        ch.publish("", q, body)
        ch.call("tx.commit")
    ch.publish("", q, b"c")
    ch.sync()
    other.counts(q, 2)
    other.drain(q)


@behaviour("tx")
def empty_commit_and_rollback_are_answered(s: Session) -> None:
    ch = s.channel()
    ch.call("tx.select")
    ch.call("tx.commit")
    ch.call("tx.rollback")
    ch.call("tx.commit")


@behaviour("tx")
def select_may_be_sent_again(s: Session) -> None:
    ch, q, other = _transactional(s)
    ch.publish("", q, b"a")
    ch.call("tx.select")
    ch.call("tx.commit")
    other.counts(q, 1)


@behaviour("tx")
def commit_without_select_is_406(s: Session) -> None:
    s.channel().call("tx.commit")


@behaviour("tx")
def rollback_without_select_is_406(s: Session) -> None:
    s.channel().call("tx.rollback")


@behaviour("tx")
def closing_the_channel_drops_the_transaction(s: Session) -> None:
    ch, q, other = _transactional(s)
    ch.publish("", q, b"a")
    ch.close()
    other.counts(q, 0)
    other.drain(q)


@behaviour("tx")
def dropping_the_connection_drops_the_transaction(s: Session) -> None:
    ch, q, _ = _transactional(s)
    ch.publish("", q, b"a")
    ch.sync()
    ch.connection.drop()
    s.channel().drain(q)


@behaviour("tx")
def acks_wait_for_the_commit(s: Session) -> None:
    ch, q, other = _transactional(s)
    other.publish_each(q, b"a", b"b")
    other.sync()
    ch.get(q)
    ch.get(q)
    ch.ack(1)
    ch.call("tx.commit")
    ch.ack(2)
    ch.close()
    other.drain(q)


@behaviour("tx")
def rollback_leaves_messages_unacked(s: Session) -> None:
    ch, q, other = _transactional(s)
    other.publish_each(q, b"a", b"b")
    other.sync()
    ch.get(q)
    ch.get(q)
    ch.ack(2, multiple=True)
    ch.call("tx.rollback")
    other.counts(q, 0)
    ch.ack(1)
    ch.call("tx.commit")
    ch.close()
    other.drain(q)


@behaviour("tx")
def tag_acked_twice_in_a_transaction_is_406(s: Session) -> None:
    ch, q, other = _transactional(s)
    other.publish("", q, b"a")
    other.sync()
    ch.get(q)
    ch.ack(1)
    ch.ack(1)
    ch.read()


@behaviour("tx")
def unknown_tag_fails_at_once(s: Session) -> None:
    ch, _, _ = _transactional(s)
    ch.ack(7)
    ch.read()


@behaviour("tx")
def requeueing_waits_for_the_commit(s: Session) -> None:
    ch, q, other = _transactional(s)
    other.publish_each(q, b"a", b"b")
    other.sync()
    ch.get(q)
    ch.nack(1)
    ch.sync()
    other.counts(q, 1)
    ch.call("tx.commit")
    other.counts(q, 2)
    other.drain(q)


@behaviour("tx")
def reject_without_requeue_waits_for_the_commit(s: Session) -> None:
    ch, q, other = _transactional(s)
    other.publish_each(q, b"a", b"b")
    other.sync()
    ch.get(q)
    ch.get(q)
    ch.reject(1, requeue=False)
    ch.call("tx.commit")
    ch.reject(2, requeue=False)
    ch.close()
    other.counts(q, 1)
    other.drain(q)


@behaviour("tx")
def publishes_and_acks_are_committed_together(s: Session) -> None:
    ch, q, other = _transactional(s)
    target = other.queue("target")
    other.publish("", q, b"work")
    other.sync()
    ch.get(q)
    ch.publish("", target, b"result")
    ch.ack(1)
    ch.call("tx.commit")
    other.counts(target, 1)
    ch.close()
    other.drain(q, target)


@behaviour("tx")
def unroutable_mandatory_message_is_returned_at_the_commit(s: Session) -> None:
    ch, _, _ = _transactional(s)
    ch.publish("", s.name("missing"), b"m", mandatory=True)
    ch.nothing()
    ch.send("tx.commit")
    ch.read(2)


@behaviour("tx")
def rolled_back_mandatory_message_is_not_returned(s: Session) -> None:
    ch, _, _ = _transactional(s)
    ch.publish("", s.name("missing"), b"m", mandatory=True)
    ch.call("tx.rollback")
    ch.nothing()


@behaviour("tx")
def missing_exchange_fails_at_once(s: Session) -> None:
    ch, q, other = _transactional(s)
    ch.publish("", q, b"a")
    ch.publish(s.name("missing"), "", b"b")
    ch.read()
    other.drain(q)


@behaviour("tx")
def queue_is_looked_for_at_the_commit(s: Session) -> None:
    ch, q, other = _transactional(s)
    later = s.name("later")
    ch.publish("", later, b"a")
    ch.publish("", q, b"b")
    other.queue("later")
    other.call("queue.delete", queue=q)
    ch.call("tx.commit")
    other.counts(later, 1)
    other.drain(later)


@behaviour("tx")
def consumer_of_the_transactional_channel_gets_messages_after_the_commit(s: Session) -> None:
    ch, q, _ = _transactional(s)
    ch.consume(q, "tag")
    ch.publish("", q, b"m")
    ch.nothing()
    ch.call("tx.commit")
    ch.read()


@behaviour("tx")
def order_of_publishes_is_kept_by_the_commit(s: Session) -> None:
    ch, q, other = _transactional(s)
    ch.publish_each(q, b"a", b"b", b"c")
    other.publish("", q, b"outside")
    other.sync()
    ch.call("tx.commit")
    other.counts(q, 4)
    other.drain(q)


@behaviour("tx")
def recover_in_a_transaction_leaves_pending_acks_alone(s: Session) -> None:
    ch, q, other = _transactional(s)
    other.publish_each(q, b"a", b"b")
    other.sync()
    ch.get(q)
    ch.get(q)
    ch.ack(1)
    ch.call("basic.recover", requeue=True)
    ch.call("tx.commit")
    ch.sync()
    other.drain(q)


@behaviour("tx")
def persistent_messages_are_committed(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    one, two = ch.queue("one", durable=True), ch.queue("two", durable=True)
    ch.call("tx.select")
    ch.publish("", one, b"a", delivery_mode=2)
    ch.publish("", two, b"b", delivery_mode=2)
    ch.call("tx.commit")
    ch.counts(one, 1)
    ch.counts(two, 1)
