"""Alternate exchanges: who gets what nobody was bound for."""

from __future__ import annotations

from ..channel import Channel
from ..registry import behaviour
from ..session import Session


def _with_alternate(ch: Channel, label: str, alternate: str, kind: str = "direct") -> str:
    return ch.exchange(label, kind, arguments={"alternate-exchange": alternate})


@behaviour("alternate")
def alternate_exchange_gets_what_was_not_routed(s: Session) -> None:
    ch = s.channel()
    spare, q, rest = ch.exchange("spare", "fanout"), ch.queue(), ch.queue("rest")
    x = _with_alternate(ch, "x", spare)
    ch.bind(q, x, "a")
    ch.bind(rest, spare)
    ch.publish(x, "a", b"routed")
    ch.publish(x, "b", b"not routed")
    ch.drain(q, rest)


@behaviour("alternate")
def message_keeps_its_exchange_and_key_on_the_way(s: Session) -> None:
    ch = s.channel()
    spare, rest = ch.exchange("spare", "fanout"), ch.queue("rest")
    x = _with_alternate(ch, "x", spare)
    ch.bind(rest, spare)
    ch.publish(x, "b", b"m")
    ch.get(rest)


@behaviour("alternate")
def alternate_exchanges_form_a_chain(s: Session) -> None:
    ch = s.channel()
    last, rest = ch.exchange("last", "fanout"), ch.queue("rest")
    middle = _with_alternate(ch, "middle", last)
    x = _with_alternate(ch, "x", middle)
    ch.bind(rest, last)
    ch.publish(x, "b", b"m")
    ch.drain(rest)


@behaviour("alternate")
def chain_stops_at_the_first_exchange_that_routes(s: Session) -> None:
    ch = s.channel()
    last, q, rest = ch.exchange("last", "fanout"), ch.queue(), ch.queue("rest")
    middle = _with_alternate(ch, "middle", last, "fanout")
    x = _with_alternate(ch, "x", middle)
    ch.bind(q, middle)
    ch.bind(rest, last)
    ch.publish(x, "b", b"m")
    ch.drain(q, rest)


@behaviour("alternate")
def circle_of_alternate_exchanges_ends(s: Session) -> None:
    ch = s.channel()
    one = _with_alternate(ch, "one", s.name("two"))
    two = _with_alternate(ch, "two", s.name("one"))
    ch.select_confirms()
    ch.publish(one, "a", b"m", mandatory=True)
    ch.read(2)
    ch.publish(two, "a", b"m")
    ch.confirms()


@behaviour("alternate")
def exchange_that_is_its_own_alternate_is_harmless(s: Session) -> None:
    ch = s.channel()
    x = _with_alternate(ch, "x", s.name("x"))
    ch.publish(x, "a", b"m", mandatory=True)
    ch.read()


@behaviour("alternate")
def missing_alternate_exchange_drops_the_message(s: Session) -> None:
    ch = s.channel()
    x = _with_alternate(ch, "x", s.name("missing"))
    ch.select_confirms()
    ch.publish(x, "a", b"m")
    ch.confirms()
    ch.publish(x, "a", b"m", mandatory=True)
    ch.read(2)


@behaviour("alternate")
def alternate_exchange_declared_later_counts(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    x = _with_alternate(ch, "x", s.name("later"))
    ch.publish(x, "a", b"too early")
    later = ch.exchange("later", "fanout")
    ch.bind(q, later)
    ch.publish(x, "a", b"in time")
    ch.drain(q)


@behaviour("alternate")
def message_saved_by_the_alternate_is_not_returned(s: Session) -> None:
    ch = s.channel()
    spare, rest = ch.exchange("spare", "fanout"), ch.queue("rest")
    x = _with_alternate(ch, "x", spare)
    ch.bind(rest, spare)
    ch.select_confirms()
    ch.publish(x, "b", b"m", mandatory=True)
    ch.confirms()
    ch.nothing()
    ch.drain(rest)


@behaviour("alternate")
def message_that_the_alternate_cannot_route_is_returned(s: Session) -> None:
    ch = s.channel()
    x = _with_alternate(ch, "x", ch.exchange("spare", "fanout"))
    ch.select_confirms()
    ch.publish(x, "b", b"m", mandatory=True)
    ch.read(2)


@behaviour("alternate")
def internal_exchange_may_be_the_alternate(s: Session) -> None:
    ch = s.channel()
    spare, rest = ch.exchange("spare", "fanout", internal=True), ch.queue("rest")
    x = _with_alternate(ch, "x", spare)
    ch.bind(rest, spare)
    ch.publish(x, "b", b"m")
    ch.drain(rest)


@behaviour("alternate")
def predeclared_exchange_may_be_the_alternate(s: Session) -> None:
    ch = s.channel()
    rest, key = ch.queue("rest"), s.name("key")
    x = _with_alternate(ch, "x", "amq.topic")
    ch.bind(rest, "amq.topic", key)
    ch.publish(x, key, b"m")
    ch.drain(rest)


@behaviour("alternate")
def alternate_of_a_bound_exchange_counts_for_it_alone(s: Session) -> None:
    ch = s.channel()
    spare, rest, q = ch.exchange("spare", "fanout"), ch.queue("rest"), ch.queue()
    source = ch.exchange("source", "fanout")
    target = _with_alternate(ch, "target", spare)
    ch.call("exchange.bind", destination=target, source=source)
    ch.bind(rest, spare)
    ch.publish(source, "a", b"target does not route")
    ch.bind(q, source)
    ch.publish(source, "a", b"source routes, target does not")
    ch.drain(rest, q)


@behaviour("alternate")
def default_exchange_is_no_alternate(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    x = _with_alternate(ch, "x", "")
    ch.publish(x, q, b"m")
    ch.drain(q)


@behaviour("alternate")
def headers_exchange_hands_over_what_does_not_match(s: Session) -> None:
    ch = s.channel()
    spare, q, rest = ch.exchange("spare", "fanout"), ch.queue(), ch.queue("rest")
    x = _with_alternate(ch, "x", spare, "headers")
    ch.bind(q, x, arguments={"a": 1})
    ch.bind(rest, spare)
    ch.publish(x, "", b"matches", headers={"a": 1})
    ch.publish(x, "", b"does not", headers={"a": 2})
    ch.publish(x, "", b"has none")
    ch.drain(q, rest)


@behaviour("alternate")
def queue_and_its_alternate_get_one_copy_with_cc(s: Session) -> None:
    ch = s.channel()
    spare, q = ch.exchange("spare", "fanout"), ch.queue()
    x = _with_alternate(ch, "x", spare)
    ch.bind(q, x, "a")
    ch.bind(q, spare)
    ch.publish(x, "b", b"m", headers={"CC": ["a"]})
    ch.drain(q)


@behaviour("alternate")
def alternate_gets_nothing_while_any_key_matches(s: Session) -> None:
    ch = s.channel()
    spare, q, rest = ch.exchange("spare", "fanout"), ch.queue(), ch.queue("rest")
    x = _with_alternate(ch, "x", spare)
    ch.bind(q, x, "a")
    ch.bind(rest, spare)
    ch.publish(x, "a", b"first", headers={"CC": ["b"]})
    ch.publish(x, "b", b"second", headers={"CC": ["a"]})
    ch.publish(x, "b", b"third", headers={"BCC": ["c", "a"]})
    ch.publish(x, "b", b"none", headers={"CC": ["c"]})
    ch.drain(q, rest)


@behaviour("cc")
def all_keys_go_on_through_a_binding_between_exchanges(s: Session) -> None:
    ch = s.channel()
    direct, topic, q = ch.exchange("direct", "direct"), ch.exchange("topic", "topic"), ch.queue()
    ch.call("exchange.bind", destination=topic, source=direct, routing_key="k1")
    ch.bind(q, topic, "k2")
    ch.publish(direct, "k1", b"cc", headers={"CC": ["k2"]})
    ch.publish(direct, "k1", b"bcc", headers={"BCC": ["k2"]})
    ch.publish(direct, "none", b"both", headers={"CC": ["k1"], "BCC": ["k2"]})
    ch.publish(direct, "k2", b"neither")
    ch.publish(direct, "k1", b"first only")
    ch.drain(q)
