"""Direct reply-to: answers that go straight to the channel that asked."""

from __future__ import annotations

from ..channel import Channel
from ..registry import behaviour
from ..session import Session

PSEUDO_QUEUE = "amq.rabbitmq.reply-to"


def _requesting(s: Session) -> tuple[Channel, str]:
    """A channel that consumes replies, and a queue for its requests."""
    ch = s.channel()
    q = ch.queue()
    ch.consume(PSEUDO_QUEUE, "replies", no_ack=True)
    return ch, q


@behaviour("reply-to")
def reply_comes_to_the_requesting_channel(s: Session) -> None:
    ch, q = _requesting(s)
    server = s.channel()
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE, correlation_id="7")
    ch.sync()
    request = server.get(q)
    server.publish("", request.properties["reply_to"], b"answer", correlation_id="7")
    ch.read()
    ch.nothing()


@behaviour("reply-to")
def several_replies_come_in_order(s: Session) -> None:
    ch, q = _requesting(s)
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    ch.sync()
    server = s.channel()
    address = server.get(q).properties["reply_to"]
    for body in (b"one", b"two", b"three"):
        server.publish("", address, body)
    ch.read(3)


@behaviour("reply-to")
def reply_address_is_the_same_for_every_request(s: Session) -> None:
    ch, q = _requesting(s)
    for body in (b"one", b"two"):
        ch.publish("", q, body, reply_to=PSEUDO_QUEUE)
    ch.get(q)
    ch.get(q)


@behaviour("reply-to")
def consuming_replies_with_acks_is_406(s: Session) -> None:
    s.channel().consume(PSEUDO_QUEUE, "replies")


@behaviour("reply-to")
def second_reply_consumer_is_406(s: Session) -> None:
    ch, _ = _requesting(s)
    ch.consume(PSEUDO_QUEUE, "more replies", no_ack=True)


@behaviour("reply-to")
def reply_consumer_with_a_tag_in_use_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.consume(ch.queue(), "tag")
    ch.consume(PSEUDO_QUEUE, "tag", no_ack=True)


@behaviour("reply-to")
def reply_consumer_may_leave_its_tag_to_the_server(s: Session) -> None:
    s.channel().consume(PSEUDO_QUEUE, "", no_ack=True)


@behaviour("reply-to")
def request_without_a_reply_consumer_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    ch.read()


@behaviour("reply-to")
def request_on_another_channel_is_406(s: Session) -> None:
    ch, q = _requesting(s)
    other = ch.connection.channel()
    other.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    other.read()


@behaviour("reply-to")
def other_reply_addresses_are_left_alone(s: Session) -> None:
    ch, q = _requesting(s)
    ch.publish("", q, b"question", reply_to="my own queue")
    ch.get(q)


@behaviour("reply-to")
def cancelled_reply_consumer_is_gone(s: Session) -> None:
    ch, q = _requesting(s)
    ch.call("basic.cancel", consumer_tag="replies")
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    ch.read()


@behaviour("reply-to")
def reply_consumer_may_be_started_again(s: Session) -> None:
    ch, q = _requesting(s)
    ch.call("basic.cancel", consumer_tag="replies")
    ch.consume(PSEUDO_QUEUE, "replies", no_ack=True)
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    address = ch.get(q, no_ack=True).properties["reply_to"]
    ch.publish("", address, b"answer")
    ch.read()


@behaviour("reply-to")
def reply_to_a_closed_channel_is_dropped(s: Session) -> None:
    ch, q = _requesting(s)
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    server = s.channel()
    server.counts(q, 1)
    address = server.get(q).properties["reply_to"]
    ch.close()
    server.select_confirms()
    server.publish("", address, b"too late")
    server.confirms()


@behaviour("reply-to")
def mandatory_reply_to_a_closed_channel_is_returned(s: Session) -> None:
    ch, q = _requesting(s)
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    server = s.channel()
    server.counts(q, 1)
    address = server.get(q).properties["reply_to"]
    ch.close()
    server.select_confirms()
    server.publish("", address, b"too late", mandatory=True)
    server.read(2)


@behaviour("reply-to")
def mandatory_reply_to_a_living_channel_arrives_and_is_returned(s: Session) -> None:
    ch, q = _requesting(s)
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    server = s.channel()
    server.counts(q, 1)
    address = server.get(q).properties["reply_to"]
    server.select_confirms()
    server.publish("", address, b"answer", mandatory=True)
    ch.read()
    server.confirms()
    server.perhaps()


@behaviour("reply-to")
def passive_declare_of_an_address_tells_whether_it_lives(s: Session) -> None:
    ch, q = _requesting(s)
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    server = s.channel()
    server.counts(q, 1)
    address = server.get(q).properties["reply_to"]
    server.call("queue.declare", queue=address, passive=True)
    server.call("queue.declare", queue=address)
    ch.close()
    server.call("queue.declare", queue=address, passive=True)


@behaviour("reply-to")
def passive_declare_of_the_pseudo_queue_is_answered(s: Session) -> None:
    ch = s.channel()
    ch.call("queue.declare", queue=PSEUDO_QUEUE, passive=True)
    ch.call("queue.declare", queue=PSEUDO_QUEUE)


@behaviour("reply-to")
def made_up_addresses_are_404(s: Session) -> None:
    ch = s.channel()
    ch.call("queue.declare", queue=PSEUDO_QUEUE + ".abcdefg", passive=True)


@behaviour("reply-to")
def reply_to_a_made_up_address_is_returned(s: Session) -> None:
    ch = s.channel()
    ch.publish("", PSEUDO_QUEUE + ".abcdefg", b"m", mandatory=True)
    ch.read()


@behaviour("reply-to")
def pseudo_queue_cannot_be_bound_or_got_from(s: Session) -> None:
    ch = s.channel()
    ch.bind(PSEUDO_QUEUE, "amq.direct", "key")
    ch.open()
    ch.get(PSEUDO_QUEUE)
    ch.open()
    ch.call("queue.purge", queue=PSEUDO_QUEUE)


@behaviour("reply-to")
def publishing_to_the_pseudo_queue_itself_is_unroutable(s: Session) -> None:
    ch, _ = _requesting(s)
    ch.publish("", PSEUDO_QUEUE, b"m", mandatory=True)
    ch.read()


@behaviour("reply-to")
def reply_in_a_transaction_does_not_wait_for_the_commit(s: Session) -> None:
    ch, q = _requesting(s)
    server = s.channel()
    server.call("tx.select")
    ch.publish("", q, b"question", reply_to=PSEUDO_QUEUE)
    server.counts(q, 1)
    address = server.get(q).properties["reply_to"]
    server.publish("", address, b"answer")
    ch.perhaps()
    server.call("tx.commit")
    ch.nothing()


@behaviour("reply-to")
def request_keeps_its_other_properties(s: Session) -> None:
    ch, q = _requesting(s)
    ch.publish(
        "",
        q,
        b"question",
        content_type="text/plain",
        headers={"a": [1, None]},
        delivery_mode=1,
        correlation_id="id",
        reply_to=PSEUDO_QUEUE,
        message_id="m",
        type="request",
    )
    ch.get(q)
