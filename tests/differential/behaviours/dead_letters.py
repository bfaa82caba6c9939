"""Dead letters: why and how a message leaves its queue, in what order; what a queue says to odd arguments."""

from __future__ import annotations

from ..letters import bodies, letter, letters, reject_next, source
from ..registry import behaviour
from ..session import Session

# Reasons


@behaviour("dead-letters")
def rejected_message_goes_to_the_dead_letter_exchange(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def nacked_message_goes_to_the_dead_letter_exchange(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.nack(1, requeue=False)
    letter(ch, dead)


@behaviour("dead-letters")
def requeued_and_acked_messages_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b")
    reject_next(ch, q, requeue=True)
    ch.get(q)
    ch.ack(2)
    ch.get(q)
    ch.ack(3)
    ch.sync()
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def message_expired_by_the_queue_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=50)
    ch.publish("", q, b"a")
    letter(ch, dead)


@behaviour("dead-letters")
def message_expired_by_its_own_expiration_is_dead_lettered_without_it(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", expiration="50")
    letter(ch, dead)


@behaviour("dead-letters")
def original_expiration_is_told_though_the_queue_was_sooner(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=50)
    ch.publish("", q, b"a", expiration="0060000")
    letter(ch, dead)


@behaviour("dead-letters")
def original_expiration_is_told_of_a_rejected_message(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", expiration="60000")
    reject_next(ch, q)
    letter(ch, dead)


@behaviour("dead-letters")
def message_over_the_length_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=2)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    letters(ch, dead, 2)
    ch.drain(q)


@behaviour("dead-letters")
def message_over_the_octets_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length_bytes=10)
    ch.publish_each(q, b"aaaa", b"bbbb", b"cccc")
    letter(ch, dead)
    ch.drain(q)


@behaviour("dead-letters")
def message_refused_with_reject_publish_dlx_is_dead_lettered(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=1, overflow="reject-publish-dlx")
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b")
    ch.confirms()
    letter(ch, dead)
    ch.drain(q)


@behaviour("dead-letters")
def message_with_ttl_0_is_dead_lettered_at_once(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=0)
    ch.publish("", q, b"a")
    letter(ch, dead)


@behaviour("dead-letters")
def message_with_expiration_0_is_dead_lettered_at_once(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a", expiration="0")
    letter(ch, dead)


@behaviour("dead-letters")
def message_requeued_after_its_time_is_dead_lettered_as_expired(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=100)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(300)
    ch.nack(1)
    letter(ch, dead)


@behaviour("dead-letters")
def message_rejected_after_its_time_is_dead_lettered_as_rejected(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=100)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(300)
    ch.reject(1, requeue=False)
    letter(ch, dead)


@behaviour("dead-letters")
def purged_messages_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    ch.call("queue.purge", queue=q)
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def messages_of_a_deleted_queue_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b")
    ch.sync()
    ch.call("queue.delete", queue=q)
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def messages_of_an_expired_queue_are_no_dead_letters(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, expires=100)
    ch.publish_each(q, b"a", b"b")
    s.pause(400)
    s.queue_exists(q, False)
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def no_ack_delivery_is_no_dead_letter(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q, no_ack=True)
    ch.close()
    ch.open()
    bodies(ch, dead, 0)


@behaviour("dead-letters")
def unacked_message_of_a_deleted_queue_is_no_dead_letter(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.call("queue.delete", queue=q)
    ch.reject(1, requeue=False)
    ch.sync()
    bodies(ch, dead, 0)


# Orders and methods


@behaviour("dead-letters")
def messages_nacked_with_multiple_arrive_in_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    for _ in range(4):
        ch.get(q)
    ch.nack(3, multiple=True, requeue=False)
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def messages_nacked_one_by_one_arrive_in_that_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b", b"c")
    for _ in range(3):
        ch.get(q)
    for tag in (2, 3, 1):
        ch.nack(tag, requeue=False)
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def nack_of_everything_sends_everything(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish_each(q, b"a", b"b", b"c")
    ch.consume(q, "tag")
    ch.read(3)
    ch.nack(0, multiple=True, requeue=False)
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def expired_messages_arrive_in_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, message_ttl=50)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    bodies(ch, dead, 4)


@behaviour("dead-letters")
def dropped_messages_arrive_in_order(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch, max_length=1)
    ch.publish_each(q, b"a", b"b", b"c", b"d")
    bodies(ch, dead, 3)


@behaviour("dead-letters")
def rejection_in_a_transaction_waits_for_the_commit(s: Session) -> None:
    ch = s.channel()
    other = ch.connection.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.call("tx.select")
    ch.get(q)
    ch.reject(1, requeue=False)
    ch.sync()
    other.counts(dead, 0)
    ch.call("tx.commit")
    letter(other, dead)


@behaviour("dead-letters")
def rolled_back_rejection_is_no_death(s: Session) -> None:
    ch = s.channel()
    other = ch.connection.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.call("tx.select")
    ch.get(q)
    ch.reject(1, requeue=False)
    ch.call("tx.rollback")
    ch.close()
    bodies(other, q, 1)
    other.drain(dead)


@behaviour("dead-letters")
def dead_letters_of_a_closed_channel_are_none(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.publish("", q, b"a")
    ch.get(q)
    ch.close()
    ch.open()
    bodies(ch, q, 1)
    ch.drain(dead)


@behaviour("dead-letters")
def consumer_gets_the_dead_letter(s: Session) -> None:
    ch = s.channel()
    q, dead = source(ch)
    ch.consume(dead, "dead", no_ack=True)
    ch.consume(q, "work")
    ch.publish("", q, b"a")
    ch.read()
    ch.reject(1, requeue=False)
    event = ch.read_unwritten()
    ch.log(f"= {event['consumer_tag']} tag {event['delivery_tag']} {event['exchange']!r} {event.body!r}")


@behaviour("dead-letters")
def dead_letter_expires_in_its_new_queue_by_that_queues_ttl(s: Session) -> None:
    ch = s.channel()
    end = ch.queue("end")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": end, "x-message-ttl": 50}
    middle = ch.queue("middle", arguments=arguments)
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": middle})
    ch.publish("", q, b"a", expiration="50")
    letter(ch, end)


@behaviour("dead-letters")
def full_target_with_drop_head_drops_its_oldest(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead", arguments={"x-max-length": 1})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.publish("", dead, b"old")
    ch.publish("", q, b"new")
    reject_next(ch, q)
    s.pause(100)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def full_target_with_reject_publish(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.publish("", dead, b"old")
    ch.publish("", q, b"new")
    reject_next(ch, q)
    s.pause(100)
    bodies(ch, dead, 1)


@behaviour("dead-letters")
def dead_letter_that_was_refused_arrives_when_there_is_room(s: Session) -> None:
    ch = s.channel()
    dead = ch.queue("dead", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.publish("", dead, b"old")
    ch.publish("", q, b"new")
    reject_next(ch, q)
    s.pause(100)
    ch.drain(dead)
    ch.counts(dead, 1)


# Declaring


@behaviour("dead-letters")
def dead_letter_routing_key_without_an_exchange_is_406(s: Session) -> None:
    s.channel().queue("q", arguments={"x-dead-letter-routing-key": "key"})


@behaviour("dead-letters")
def each_odd_value_of_x_dead_letter_exchange_is_406(s: Session) -> None:
    ch = s.channel()
    for value in (1, True, None, 2.5, ["x"], {"x": "x"}, b"octets"):
        ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-dead-letter-exchange": value})


@behaviour("dead-letters")
def each_odd_value_of_x_dead_letter_routing_key_is_406(s: Session) -> None:
    ch = s.channel()
    for value in (1, True, None, 2.5, ["x"], b"octets"):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": value}
        ch.attempt("queue.declare", queue=s.name("q"), arguments=arguments)


@behaviour("dead-letters")
def another_dead_letter_exchange_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-dead-letter-exchange": "x", "x-dead-letter-routing-key": "key"})
    same = {"x-dead-letter-exchange": "x", "x-dead-letter-routing-key": "key"}
    for change in ({}, {"x-dead-letter-exchange": "y"}, {"x-dead-letter-routing-key": "other"}):
        ch.attempt("queue.declare", queue=q, arguments=same | change)
    ch.attempt("queue.declare", queue=q, arguments={"x-dead-letter-exchange": "x"})
    ch.attempt("queue.declare", queue=q)
