"""Binding and unbinding queues and exchanges, and where messages go then: direct, fanout, default, exchange to exchange."""

from __future__ import annotations

from ..registry import behaviour
from ..session import Session


@behaviour("bindings")
def default_exchange_routes_by_queue_name(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one"), ch.queue("two")
    ch.publish("", one, b"to one")
    ch.publish("", two, b"to two")
    ch.publish("", s.name("missing"), b"to nobody")
    ch.drain(one, two)


@behaviour("bindings")
def nothing_can_be_bound_to_the_default_exchange(s: Session) -> None:
    ch = s.channel()
    ch.bind(ch.queue(), "", "key")


@behaviour("bindings")
def nothing_can_be_unbound_from_the_default_exchange(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.call("queue.unbind", queue=q, exchange="", routing_key=q)


@behaviour("bindings")
def binding_to_a_missing_exchange_is_404(s: Session) -> None:
    ch = s.channel()
    ch.bind(ch.queue(), s.name("missing"))


@behaviour("bindings")
def binding_a_missing_queue_is_404(s: Session) -> None:
    ch = s.channel()
    ch.bind(s.name("missing"), "amq.direct")


@behaviour("bindings")
def exchange_is_looked_for_before_the_queue(s: Session) -> None:
    s.channel().bind(s.name("missing-queue"), s.name("missing-exchange"))


@behaviour("bindings")
def unbinding_what_is_not_bound_is_fine(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue()
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="never bound")


@behaviour("bindings")
def unbinding_a_missing_queue_or_exchange_is_fine(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue()
    ch.call("queue.unbind", queue=s.name("missing"), exchange=x)
    ch.call("queue.unbind", queue=q, exchange=s.name("missing"))


@behaviour("bindings")
def same_binding_twice_is_one(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue()
    ch.bind(q, x, "a")
    ch.bind(q, x, "a")
    ch.publish(x, "a", b"once")
    ch.drain(q)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a")
    ch.publish(x, "a", b"never")
    ch.drain(q)


@behaviour("bindings")
def bindings_with_other_arguments_are_others(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue()
    ch.bind(q, x, "a", arguments={"n": 1})
    ch.bind(q, x, "a", arguments={"n": 2})
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a", arguments={"n": 1})
    ch.publish(x, "a", b"still bound")
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a")
    ch.publish(x, "a", b"bound yet")
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a", arguments={"n": 2})
    ch.publish(x, "a", b"unbound")
    ch.drain(q)


@behaviour("bindings")
def arguments_match_at_unbind_in_any_order(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "headers"), ch.queue()
    ch.bind(q, x, arguments={"a": 1, "b": "two", "x-match": "any"})
    ch.call("queue.unbind", queue=q, exchange=x, arguments={"x-match": "any", "b": "two", "a": 1})
    ch.publish(x, "", b"unbound", headers={"a": 1})
    ch.drain(q)


@behaviour("bindings")
def direct_exchange_compares_whole_keys(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue()
    for key in ("a", "a.*", ""):
        ch.bind(q, x, key)
    for key in ("a", "A", "a.b", "a.*", "", "a "):
        ch.publish(x, key, key.encode() or b"(empty)")
    ch.drain(q)


@behaviour("bindings")
def direct_exchange_copies_to_every_queue_with_the_key(s: Session) -> None:
    ch = s.channel()
    x, one, two, three = ch.exchange(), ch.queue("one"), ch.queue("two"), ch.queue("three")
    for queue in (one, two):
        ch.bind(queue, x, "a")
    ch.bind(three, x, "b")
    ch.publish(x, "a", b"for two")
    ch.drain(one, two, three)


@behaviour("bindings")
def fanout_ignores_the_key_and_copies_once(s: Session) -> None:
    ch = s.channel()
    x, one, two = ch.exchange("x", "fanout"), ch.queue("one"), ch.queue("two")
    ch.bind(one, x, "a")
    ch.bind(one, x, "b")
    ch.bind(two, x, "")
    ch.publish(x, "whatever", b"m")
    ch.drain(one, two)


@behaviour("bindings")
def delivery_tells_the_publishers_exchange_and_key(s: Session) -> None:
    ch = s.channel()
    source, target = ch.exchange("source", "topic"), ch.exchange("target", "fanout")
    q = ch.queue()
    ch.call("exchange.bind", destination=target, source=source, routing_key="a.#")
    ch.bind(q, target, "other")
    ch.publish(source, "a.b.c", b"m")
    ch.get(q)


@behaviour("bindings")
def routing_keys_may_be_255_octets_of_anything(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange(), ch.queue()
    for key in ("k" * 255, "naïve ☃", "\x00\x01"):
        ch.bind(q, x, key)
        ch.publish(x, key, b"m")
        ch.get(q, no_ack=True)


@behaviour("bindings")
def routing_key_need_not_be_utf_8(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "fanout"), ch.queue()
    ch.bind(q, x)
    ch.publish(x, "\udcff\udcfe", b"m")
    ch.get(q)


# Exchange to exchange


@behaviour("bindings")
def exchange_bound_to_an_exchange_gets_its_messages(s: Session) -> None:
    ch = s.channel()
    source, target, q = ch.exchange("source", "direct"), ch.exchange("target", "topic"), ch.queue()
    ch.call("exchange.bind", destination=target, source=source, routing_key="a.b")
    ch.bind(q, target, "a.*")
    ch.publish(source, "a.b", b"both match")
    ch.publish(source, "a.c", b"source does not")
    ch.call("exchange.unbind", destination=target, source=source, routing_key="a.b")
    ch.publish(source, "a.b", b"unbound")
    ch.drain(q)


@behaviour("bindings")
def internal_exchange_gets_messages_through_a_binding(s: Session) -> None:
    ch = s.channel()
    source, target, q = ch.exchange("source", "fanout"), ch.exchange("target", "fanout", internal=True), ch.queue()
    ch.call("exchange.bind", destination=target, source=source)
    ch.bind(q, target)
    ch.publish(source, "", b"m")
    ch.drain(q)


@behaviour("bindings")
def queue_reached_on_several_ways_gets_one_copy(s: Session) -> None:
    ch = s.channel()
    source, left, right = ch.exchange("source", "fanout"), ch.exchange("left", "fanout"), ch.exchange("right", "fanout")
    q = ch.queue()
    for target in (left, right):
        ch.call("exchange.bind", destination=target, source=source)
        ch.bind(q, target)
    ch.bind(q, source)
    ch.publish(source, "", b"once")
    ch.drain(q)


@behaviour("bindings")
def circle_of_exchanges_ends(s: Session) -> None:
    ch = s.channel()
    names = [ch.exchange(label, "fanout") for label in ("one", "two", "three")]
    q = ch.queue()
    for source, target in zip(names, names[1:] + names[:1], strict=True):
        ch.call("exchange.bind", destination=target, source=source)
    ch.bind(q, names[2])
    for name in names:
        ch.publish(name, "", b"m")
    ch.drain(q)


@behaviour("bindings")
def exchange_bound_to_itself_is_harmless(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "fanout"), ch.queue()
    ch.call("exchange.bind", destination=x, source=x)
    ch.bind(q, x)
    ch.publish(x, "", b"once")
    ch.drain(q)


@behaviour("bindings")
def exchange_bind_with_a_missing_end_is_404(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange()
    ch.call("exchange.bind", destination=x, source=s.name("missing"))
    ch.open()
    ch.call("exchange.bind", destination=s.name("missing"), source=x)


@behaviour("bindings")
def exchange_bind_with_both_ends_missing_is_404(s: Session) -> None:
    s.channel().call("exchange.bind", destination=s.name("no-target"), source=s.name("no-source"))


@behaviour("bindings")
def exchange_bind_with_the_default_exchange_is_403(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange()
    ch.call("exchange.bind", destination=x, source="")
    ch.open()
    ch.call("exchange.bind", destination="", source=x)
    ch.open()
    ch.call("exchange.unbind", destination=x, source="")


@behaviour("bindings")
def exchange_unbind_of_what_is_not_bound_is_fine(s: Session) -> None:
    ch = s.channel()
    one, two = ch.exchange("one"), ch.exchange("two")
    ch.call("exchange.unbind", destination=one, source=two, routing_key="never")


@behaviour("bindings")
def deleting_the_exchange_in_the_middle_ends_the_way(s: Session) -> None:
    ch = s.channel()
    source, middle, q = ch.exchange("source", "fanout"), ch.exchange("middle", "fanout"), ch.queue()
    ch.call("exchange.bind", destination=middle, source=source)
    ch.bind(q, middle)
    ch.publish(source, "", b"before")
    ch.call("exchange.delete", exchange=middle)
    ch.publish(source, "", b"after")
    ch.exchange("middle", "fanout")
    ch.publish(source, "", b"after it was declared again")
    ch.drain(q)


@behaviour("bindings")
def deleted_and_declared_queue_has_no_bindings(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "fanout"), ch.queue()
    ch.bind(q, x)
    ch.publish(x, "", b"before")
    ch.call("queue.delete", queue=q)
    ch.queue()
    ch.publish(x, "", b"after")
    ch.publish("", q, b"by name")
    ch.drain(q)


@behaviour("bindings")
def another_connections_exclusive_queue_cannot_be_bound(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue(exclusive=True)
    other.bind(q, "amq.direct", q)
    other.open()
    other.call("queue.unbind", queue=q, exchange="amq.direct", routing_key=q)


# Sender-selected distribution


@behaviour("cc")
def cc_adds_routing_keys_and_stays_in_the_message(s: Session) -> None:
    ch = s.channel()
    one, two, three = ch.queue("one"), ch.queue("two"), ch.queue("three")
    ch.publish("", one, b"m", headers={"CC": [two, three], "n": 1})
    for queue in (one, two, three):
        ch.get(queue)


@behaviour("cc")
def bcc_adds_routing_keys_and_is_taken_off(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one"), ch.queue("two")
    ch.publish("", one, b"m", headers={"BCC": [two], "n": 1})
    ch.get(one)
    ch.get(two)


@behaviour("cc")
def bcc_as_the_only_header_leaves_an_empty_table(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one"), ch.queue("two")
    ch.publish("", one, b"m", headers={"BCC": [two]})
    ch.get(one)
    ch.get(two)


@behaviour("cc")
def cc_and_bcc_work_together(s: Session) -> None:
    ch = s.channel()
    queues = [ch.queue(label) for label in ("one", "two", "three")]
    ch.publish("", queues[0], b"m", headers={"CC": [queues[1]], "BCC": [queues[2]]})
    ch.drain(*queues)


@behaviour("cc")
def queue_named_twice_by_cc_gets_one_copy(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one"), ch.queue("two")
    ch.publish("", one, b"m", headers={"CC": [one, two, two], "BCC": [two]})
    ch.drain(one, two)


@behaviour("cc")
def cc_works_on_topic_exchanges(s: Session) -> None:
    ch = s.channel()
    x, one, two = ch.exchange("x", "topic"), ch.queue("one"), ch.queue("two")
    ch.bind(one, x, "a.*")
    ch.bind(two, x, "#.c")
    ch.publish(x, "nowhere", b"m", headers={"CC": ["a.b", "b.c"]})
    ch.drain(one, two)


@behaviour("cc")
def cc_that_is_no_array_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", headers={"CC": q})
    ch.read()


@behaviour("cc")
def bcc_that_is_no_array_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m", headers={"BCC": 7})
    ch.read()


@behaviour("cc")
def cc_entries_that_are_no_strings_are_overlooked(s: Session) -> None:
    ch = s.channel()
    one, two = ch.queue("one"), ch.queue("two")
    ch.publish("", one, b"m", headers={"CC": [7, two, True]})
    ch.drain(one, two)


@behaviour("cc")
def cc_saves_a_mandatory_message_from_being_returned(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.select_confirms()
    ch.publish("", s.name("missing"), b"m", mandatory=True, headers={"CC": [q]})
    ch.confirms()
    ch.nothing()
    ch.drain(q)
