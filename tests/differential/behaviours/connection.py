"""An open connection: close from both sides, heartbeats, update-secret, what does not belong on channel 0."""

from __future__ import annotations

import time

from .. import codec
from ..registry import behaviour
from ..session import Session


@behaviour("connection")
def close_is_answered_and_takes_the_channels_along(s: Session) -> None:
    c = s.connect()
    c.channel()
    c.channel()
    c.call("connection.close", reply_code=200, reply_text="bye")


@behaviour("connection")
def close_with_an_error_code_is_answered(s: Session) -> None:
    s.connect().call("connection.close", reply_code=541, reply_text="something broke", class_id=60, method_id=40)


@behaviour("connection")
def publishes_before_the_close_arrive(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    c.call("connection.close", reply_code=200)
    s.channel().counts(q, 3)


@behaviour("connection")
def what_follows_a_connection_error_is_ignored(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    q = ch.queue()
    ch.send("basic.qos", prefetch_size=1)
    ch.publish("", q, b"too late")
    ch.read()
    s.channel().drain(q)


@behaviour("connection")
def connection_errors_close_all_channels_but_not_other_connections(s: Session) -> None:
    c, other = s.connect(), s.channel()
    ch = c.channel()
    q = ch.queue("mine", exclusive=True)
    ch.call("basic.qos", prefetch_size=1)
    s.queue_exists(q, False)
    other.call("basic.qos", prefetch_count=1)


@behaviour("connection")
def heartbeats_arrive_when_negotiated(s: Session) -> None:
    c = s.connect(heartbeat=1)
    for _ in range(3):
        c.client.write(codec.frame(codec.FRAME_HEARTBEAT, 0, b""))
        c.client.next_event(0, wait_s=0.6)
    c.log("< heartbeats" if c.client.heartbeats_received else "< no heartbeat")
    c.call("connection.close", reply_code=200)


@behaviour("connection")
def silent_client_is_dropped_after_its_heartbeats_are_missed(s: Session) -> None:
    c = s.connect(heartbeat=1)
    begun = time.monotonic()
    c.end()
    seconds = time.monotonic() - begun
    c.log("= after at least 1.5 s" if seconds > 1.5 else "= too soon")


@behaviour("connection")
def any_traffic_counts_as_a_heartbeat(s: Session) -> None:
    ch = s.channel(heartbeat=1)
    for _ in range(9):
        time.sleep(0.4)
        ch.sync()
    ch.call("basic.qos", prefetch_count=1)


@behaviour("connection")
def heartbeats_are_fine_without_being_negotiated(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    c.send_frame(codec.FRAME_HEARTBEAT, b"", note="heartbeat")
    ch.call("basic.qos", prefetch_count=1)


@behaviour("connection")
def update_secret_is_answered(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    c.call("connection.update-secret", new_secret="guest", reason="a new token")
    ch.call("basic.qos", prefetch_count=1)


@behaviour("connection")
def update_secret_with_another_password_is_answered_too(s: Session) -> None:
    c = s.connect()
    c.call("connection.update-secret", new_secret="anything", reason="")
    c.channel().call("basic.qos", prefetch_count=1)


@behaviour("connection")
def connection_methods_on_another_channel_end_the_connection(s: Session) -> None:
    c = s.connect()
    c.channel().call("connection.close", reply_code=200)


@behaviour("connection")
def channel_methods_on_channel_0_end_the_connection(s: Session) -> None:
    s.connect().call("channel.open")


@behaviour("connection")
def queue_methods_on_channel_0_end_the_connection(s: Session) -> None:
    s.connect().call("queue.declare", queue="x", passive=True)


@behaviour("connection")
def close_ok_without_a_close_ends_the_connection(s: Session) -> None:
    s.connect().call("connection.close-ok")


@behaviour("connection")
def methods_that_only_a_server_sends_end_the_connection(s: Session) -> None:
    s.connect().call("connection.tune", channel_max=1, frame_max=4096, heartbeat=0)
    s.connect().call("connection.start")
    s.connect().call("connection.open-ok")


@behaviour("connection")
def blocked_from_a_client_ends_the_connection(s: Session) -> None:
    s.connect().call("connection.blocked", reason="me too")


@behaviour("connection")
def socket_dropped_without_a_close_returns_unacked_messages(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b")
    ch.get(q)
    c.drop()
    other = s.channel()
    other.counts(q, 2)
    other.drain(q)


@behaviour("connection")
def socket_dropped_inside_a_content_publishes_nothing(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    q = ch.queue()
    ch.publish("", q, b"whole")
    ch.sync()
    ch.send("basic.publish", exchange="", routing_key=q)
    ch.send_header(10)
    ch.send_body(b"half ")
    c.drop()
    s.channel().counts(q, 1)
