"""Declaring, deleting and purging queues; server-named, last declared, exclusive and auto-delete ones."""

from __future__ import annotations

from ..registry import behaviour
from ..session import Session


@behaviour("queues")
def declare_ok_tells_name_and_counts(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish_each(q, b"a", b"b", b"c")
    ch.confirms()
    ch.counts(q, 3)
    ch.get(q)
    ch.call("queue.declare", queue=q)
    ch.consume(q, "one")
    ch.read(2)
    ch.call("queue.declare", queue=q, passive=True)


@behaviour("queues")
def server_names_queues_declared_without_a_name(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("", exclusive=True), ch.queue("", exclusive=True)
    ch.log(f"= {one.startswith('amq.gen-')} {two.startswith('amq.gen-')} {one != two}")
    ch.publish("", one, b"m")
    ch.drain(one, two)


@behaviour("queues")
def server_named_queue_can_be_declared_again_passively_only(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("", exclusive=True)
    ch.call("queue.declare", queue=q, passive=True)
    ch.call("queue.declare", queue=q, exclusive=True)


@behaviour("queues")
def empty_name_is_the_last_declared_queue(s: Session) -> None:
    ch = s.channel()
    ch.queue("first", exclusive=True)
    q = ch.queue("last", exclusive=True)
    ch.publish("", q, b"a")
    ch.publish("", q, b"b")
    ch.get("", no_ack=True)
    ch.call("queue.purge", queue="")
    ch.consume("", "tag")
    ch.publish("", q, b"c")
    ch.read()
    ch.call("queue.delete", queue="")


@behaviour("queues")
def server_named_queue_becomes_the_last_declared(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("", exclusive=True)
    ch.publish("", q, b"m")
    ch.get("")


@behaviour("queues")
def passive_declare_changes_the_last_declared_queue(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one", exclusive=True), ch.queue("two", exclusive=True)
    ch.call("queue.declare", queue=one, passive=True)
    ch.publish("", one, b"to one")
    ch.publish("", two, b"to two")
    ch.get("")


@behaviour("queues")
def binding_the_last_declared_queue_without_a_key_takes_its_name_as_the_key(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue(exclusive=True)
    ch.bind("", x, "")
    ch.publish(x, q, b"by name")
    ch.publish(x, "", b"by empty key")
    ch.call("queue.unbind", queue="", exchange=x, routing_key="")
    ch.publish(x, q, b"unbound")
    ch.drain(q)


@behaviour("queues")
def binding_the_last_declared_queue_with_a_key_keeps_the_key(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue(exclusive=True)
    ch.bind("", x, "key")
    ch.publish(x, "key", b"m")
    ch.drain(q)


@behaviour("queues")
def last_declared_queue_is_forgotten_when_it_is_deleted(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("queue.delete", queue=q)
    ch.get("")


@behaviour("queues")
def each_method_without_a_previously_declared_queue_is_404(s: Session) -> None:
    c = s.connect()
    ch, x = c.channel(), "amq.direct"
    for name, arguments in (
        ("queue.bind", {"exchange": x, "routing_key": "k"}),
        ("queue.unbind", {"exchange": x, "routing_key": "k"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("basic.get", {}),
        ("basic.consume", {}),
    ):
        ch.call(name, queue="", **arguments)
        ch.open()


@behaviour("queues")
def passive_declare_without_a_previously_declared_queue_is_404(s: Session) -> None:
    s.channel().call("queue.declare", queue="", passive=True)


@behaviour("queues")
def last_declared_queue_belongs_to_its_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    one.queue(exclusive=True)
    two.get("")


@behaviour("queues")
def names_beginning_with_amq_are_reserved_for_the_server(s: Session) -> None:
    s.channel().call("queue.declare", queue="amq.mine", exclusive=True)


@behaviour("queues")
def passive_declare_of_a_missing_reserved_queue_is_404(s: Session) -> None:
    s.channel().call("queue.declare", queue="amq.mine", passive=True)


@behaviour("queues")
def passive_declare_of_a_missing_queue_is_404(s: Session) -> None:
    s.channel().call("queue.declare", queue=s.name("missing"), passive=True)


@behaviour("queues")
def passive_declare_of_a_queue_ignores_everything_but_the_name(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(durable=True)
    ch.call("queue.declare", queue=q, passive=True, exclusive=True, auto_delete=True, arguments={"x-expires": 0})


@behaviour("queues")
def name_of_255_octets_is_fine(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q" * 246, exclusive=True)
    ch.publish("", q, b"m")
    ch.get(q, no_ack=True)


@behaviour("queues")
def queue_names_may_hold_anything_that_is_utf_8(s: Session) -> None:
    ch = s.channel()
    for label in ("with space", "naïve ☃", "quote'and\ttab", "a/b:c.d#*"):
        q = ch.queue(label, exclusive=True)
        ch.publish("", q, b"m")
        ch.get(q, no_ack=True)


@behaviour("queues")
def line_ends_are_taken_out_of_queue_names(s: Session) -> None:
    ch = s.channel()
    s.remember("lineend-" + s.token)
    ch.call("queue.declare", queue="line\r\nend-" + s.token)
    s.queue_exists("lineend-" + s.token, True)


@behaviour("queues")
def durable_auto_delete_and_exclusive_go_together(s: Session) -> None:
    s.channel().queue("q", durable=True, exclusive=True, auto_delete=True)


# Delete and purge


@behaviour("queues")
def deleting_a_queue_tells_how_many_messages_went_with_it(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    ch.call("queue.delete", queue=q)
    ch.get(q)


@behaviour("queues")
def deleting_a_queue_counts_ready_messages_only(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    ch.get(q)
    ch.call("queue.delete", queue=q)


@behaviour("queues")
def deleting_a_missing_queue_is_fine(s: Session) -> None:
    ch = s.channel()
    ch.call("queue.delete", queue=s.name("missing"))
    ch.call("queue.delete", queue=s.name("missing"), if_unused=True, if_empty=True)


@behaviour("queues")
def delete_if_unused_with_a_consumer_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.consume(q, "tag")
    ch.call("queue.delete", queue=q, if_unused=True)


@behaviour("queues")
def delete_if_unused_without_a_consumer_works(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m")
    ch.call("queue.delete", queue=q, if_unused=True)


@behaviour("queues")
def delete_if_empty_with_messages_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m")
    ch.call("queue.delete", queue=q, if_empty=True)


@behaviour("queues")
def delete_if_empty_does_not_look_at_unacked_messages(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m")
    ch.get(q)
    ch.call("queue.delete", queue=q, if_empty=True)


@behaviour("queues")
def delete_with_both_conditions_looks_at_messages_first(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish("", q, b"m")
    ch.confirms()
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(q, "tag")
    ch.publish("", q, b"n")
    ch.confirms()
    ch.call("queue.delete", queue=q, if_unused=True, if_empty=True)


@behaviour("queues")
def ack_after_the_queue_is_deleted_is_fine(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m")
    ch.get(q)
    ch.call("queue.delete", queue=q)
    ch.ack(1)
    ch.sync()
    ch.call("basic.qos", prefetch_count=1)


@behaviour("queues")
def purge_tells_how_many_messages_it_took(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    ch.call("queue.purge", queue=q)
    ch.call("queue.purge", queue=q)


@behaviour("queues")
def purge_leaves_unacked_messages(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish_each(q, b"a", b"b", b"c")
    ch.get(q)
    ch.call("queue.purge", queue=q)
    ch.nack(1)
    ch.drain(q)


@behaviour("queues")
def purge_of_a_missing_queue_is_404(s: Session) -> None:
    s.channel().call("queue.purge", queue=s.name("missing"))


# Exclusive


@behaviour("queues")
def every_use_of_another_connections_exclusive_queue_is_405(s: Session) -> None:
    q = s.channel().queue(exclusive=True)
    ch = s.channel()
    for name, arguments in (
        ("queue.declare", {"exclusive": True}),
        ("queue.declare", {}),
        ("queue.declare", {"passive": True}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("queue.delete", {"if_unused": True}),
        ("basic.get", {}),
        ("basic.consume", {}),
    ):
        ch.call(name, queue=q, **arguments)
        ch.open()


@behaviour("queues")
def anyone_may_publish_to_an_exclusive_queue(s: Session) -> None:
    owner, other = s.channel(), s.channel()
    q = owner.queue(exclusive=True)
    other.select_confirms()
    other.publish("", q, b"m")
    other.confirms()
    owner.get(q)


@behaviour("queues")
def other_channels_of_the_connection_may_use_its_exclusive_queue(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue(exclusive=True)
    two.call("queue.declare", queue=q, exclusive=True)
    two.publish("", q, b"m")
    two.get(q)


@behaviour("queues")
def exclusive_queue_outlives_its_channel(s: Session) -> None:
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = one.queue(exclusive=True)
    one.close()
    two.call("queue.declare", queue=q, passive=True)


@behaviour("queues")
def exclusive_queue_is_gone_when_close_is_answered(s: Session) -> None:
    owner, other = s.channel(), s.channel()
    q = owner.queue(exclusive=True)
    owner.connection.call("connection.close", reply_code=200)
    other.call("queue.declare", queue=q, exclusive=True)


@behaviour("queues")
def exclusive_queue_is_gone_when_the_socket_is_dropped(s: Session) -> None:
    owner = s.channel()
    q = owner.queue(exclusive=True, durable=True)
    owner.connection.drop()
    s.queue_exists(q, False)


@behaviour("queues")
def exclusive_queue_redeclared_as_shared_is_405(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(exclusive=True)
    ch.call("queue.declare", queue=q)


@behaviour("queues")
def shared_queue_redeclared_as_exclusive_is_405(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("queue.declare", queue=q, exclusive=True)


# Auto-delete


@behaviour("queues")
def auto_delete_queue_goes_with_its_last_consumer(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(auto_delete=True)
    ch.consume(q, "one")
    ch.consume(q, "two")
    ch.call("basic.cancel", consumer_tag="one")
    s.queue_exists(q, True)
    ch.call("basic.cancel", consumer_tag="two")
    s.queue_exists(q, False)


@behaviour("queues")
def auto_delete_queue_that_was_never_consumed_stays(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    q = ch.queue(auto_delete=True)
    ch.publish("", q, b"m")
    ch.get(q, no_ack=True)
    ch.close()
    s.queue_exists(q, True)


@behaviour("queues")
def auto_delete_queue_goes_when_the_channel_closes(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(auto_delete=True)
    ch.consume(q, "tag")
    ch.close()
    s.queue_exists(q, False)


@behaviour("queues")
def auto_delete_queue_goes_when_the_socket_is_dropped(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(auto_delete=True)
    ch.consume(q, "tag")
    ch.connection.drop()
    s.queue_exists(q, False)


@behaviour("queues")
def auto_delete_queue_goes_with_its_messages(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(auto_delete=True)
    ch.consume(q, "tag")
    ch.publish_each(q, b"a", b"b")
    ch.read(2)
    ch.call("basic.cancel", consumer_tag="tag")
    s.queue_exists(q, False)
    ch.ack(1)
    ch.sync()
    ch.queue("q", auto_delete=True)


# Expiry of unused queues


@behaviour("queues")
def unused_queue_expires(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(arguments={"x-expires": 100})
    # Looking for it would be a use of it.
    for _ in range(5):
        ch.nothing()
    s.queue_exists(q, False)


@behaviour("queues")
def declaring_or_getting_renews_the_lease_of_a_queue(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(arguments={"x-expires": 1000})
    for _ in range(4):
        ch.nothing()
        ch.nothing()
        ch.call("queue.declare", queue=q, passive=True)
        ch.nothing()
        ch.nothing()
        ch.get(q)


@behaviour("queues")
def queue_with_a_consumer_does_not_expire(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(arguments={"x-expires": 100})
    ch.consume(q, "tag")
    for _ in range(3):
        ch.nothing()
    s.queue_exists(q, True)
    ch.call("basic.cancel", consumer_tag="tag")
    for _ in range(5):
        ch.nothing()
    ch.call("queue.declare", queue=q, passive=True)
