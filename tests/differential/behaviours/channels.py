"""A channel's life: open, close, errors, what happens to late frames, flow."""

from __future__ import annotations

from .. import codec
from ..registry import behaviour
from ..session import Session


@behaviour("channels")
def open_and_close_are_answered(s: Session) -> None:
    lane = s.connect().lane(1)
    lane.call("channel.open")
    lane.call("channel.close", reply_code=200, reply_text="bye")


@behaviour("channels")
def closed_number_may_be_opened_again(s: Session) -> None:
    lane = s.connect().lane(1)
    for _ in range(3):
        lane.call("channel.open")
        lane.close()


@behaviour("channels")
def number_is_free_again_after_an_error(s: Session) -> None:
    ch = s.channel()
    ch.call("queue.declare", queue=s.name("missing"), passive=True)
    ch.call("channel.open")
    ch.call("basic.qos", prefetch_count=1)


@behaviour("channels")
def error_closes_only_its_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    one.call("queue.declare", queue=s.name("missing"), passive=True)
    two.call("basic.qos", prefetch_count=1)


@behaviour("channels")
def frames_after_an_error_are_ignored_until_close_ok(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.send("queue.declare", queue=s.name("missing"), passive=True)
    ch.publish("", q, b"ignored")
    ch.send("queue.delete", queue=q)
    ch.ack(99)
    ch.send("basic.get", queue=q)
    ch.read()
    ch.call("channel.open")
    ch.get(q)


@behaviour("channels")
def contents_after_an_error_are_ignored_until_close_ok(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish(s.name("missing"), "", b"one")
    ch.publish("", q, b"two")
    ch.publish(s.name("missing"), "", b"three")
    ch.read()
    ch.call("channel.open")
    ch.get(q)


@behaviour("channels")
def client_may_close_a_channel_that_the_broker_is_closing(s: Session) -> None:
    ch = s.channel()
    ch.send("queue.declare", queue=s.name("missing"), passive=True)
    ch.send("channel.close", reply_code=200)
    ch.read()
    ch.read()
    ch.call("channel.open")


@behaviour("channels")
def late_ack_on_a_closed_channel_leaves_the_connection_open(s: Session) -> None:
    c = s.connect()
    ch, other = c.channel(), c.channel()
    q = ch.queue()
    ch.publish("", q, b"a")
    ch.get(q)
    ch.send("queue.declare", queue=s.name("missing"), passive=True)
    ch.ack(1)
    ch.nack(1)
    ch.read()
    other.call("basic.qos", prefetch_count=1)
    other.counts(q, 1)


@behaviour("channels")
def method_on_a_channel_after_its_close_ok_is_504(s: Session) -> None:
    ch = s.channel()
    ch.close()
    ch.call("basic.qos", prefetch_count=1)


@behaviour("channels")
def second_close_ends_the_connection(s: Session) -> None:
    ch = s.channel()
    ch.close()
    ch.close()


@behaviour("channels")
def close_ok_without_a_close_is_503(s: Session) -> None:
    ch = s.channel()
    ch.send("channel.close-ok")
    ch.perhaps()


@behaviour("channels")
def close_ok_on_a_channel_never_opened_ends_the_connection(s: Session) -> None:
    lane = s.connect().lane(7)
    lane.send("channel.close-ok")
    lane.perhaps()


@behaviour("channels")
def delivery_tags_begin_anew_on_each_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue()
    one.publish_each(q, b"a", b"b")
    one.get(q)
    two.get(q)
    two.close()
    two.call("channel.open")
    two.get(q)


@behaviour("channels")
def closing_a_channel_returns_its_unacked_messages(s: Session) -> None:
    c = s.connect()
    ch, other = c.channel(), c.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    ch.get(q)
    ch.get(q)
    ch.ack(1)
    ch.close()
    other.drain(q)


@behaviour("channels")
def error_on_a_channel_returns_its_unacked_messages(s: Session) -> None:
    c = s.connect()
    ch, other = c.channel(), c.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.get(q)
    ch.ack(5)
    ch.read()
    other.counts(q, 2)
    other.drain(q)


@behaviour("channels")
def closing_a_channel_cancels_its_consumers(s: Session) -> None:
    c = s.connect()
    ch, other = c.channel(), c.channel()
    q = ch.queue()
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.close()
    other.counts(q, 0, consumers=0)


@behaviour("channels")
def flow_on_is_answered(s: Session) -> None:
    s.channel().call("channel.flow", active=True)


@behaviour("channels")
def flow_off_is_540(s: Session) -> None:
    s.channel().call("channel.flow", active=False)


@behaviour("channels")
def flow_ok_nobody_asked_for_is_503(s: Session) -> None:
    ch = s.channel()
    ch.send("channel.flow-ok", active=True)
    ch.perhaps()


@behaviour("channels")
def access_request_of_old_clients_is_answered(s: Session) -> None:
    s.channel().call("access.request", realm="/data", active=True, read=True, write=True)


@behaviour("channels")
def tickets_of_old_clients_are_ignored(s: Session) -> None:
    ch = s.channel()
    ch.call("queue.declare", ticket=101, queue=s.name("q"), exclusive=True)


@behaviour("channels")
def secure_ok_on_a_channel_ends_the_connection(s: Session) -> None:
    s.channel().call("connection.secure-ok", response="x")


@behaviour("channels")
def channel_error_keeps_an_unfinished_content_of_another_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue()
    one.send("basic.publish", exchange="", routing_key=q)
    one.send_header(4)
    two.call("queue.declare", queue=s.name("missing"), passive=True)
    one.send_frame(codec.FRAME_BODY, b"body", note="body 'body'")
    one.get(q)
