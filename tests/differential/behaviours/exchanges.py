"""Declaring and deleting exchanges; what a publish to one may and may not do."""

from __future__ import annotations

from ..registry import behaviour
from ..session import Session


@behaviour("exchanges")
def each_standard_type_can_be_declared(s: Session) -> None:
    ch = s.channel()
    for kind in ("direct", "fanout", "topic", "headers"):
        ch.exchange(kind, kind, durable=True)


@behaviour("exchanges")
def unknown_exchange_type_ends_the_connection(s: Session) -> None:
    s.channel().exchange("x", "no-such-type")


@behaviour("exchanges")
def empty_exchange_type_ends_the_connection(s: Session) -> None:
    s.channel().exchange("x", "")


@behaviour("exchanges")
def passive_declare_of_a_missing_exchange_is_404(s: Session) -> None:
    s.channel().exchange("missing", "direct", passive=True)


@behaviour("exchanges")
def passive_declare_ignores_everything_but_the_name(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct", durable=True)
    ch.exchange("x", "fanout", passive=True, auto_delete=True, internal=True, arguments={"alternate-exchange": "y"})


@behaviour("exchanges")
def passive_declare_does_not_look_at_the_type(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct")
    ch.exchange("x", "no-such-type", passive=True)


@behaviour("exchanges")
def same_declaration_again_is_fine(s: Session) -> None:
    ch = s.channel()
    for _ in range(2):
        ch.exchange("x", "topic", durable=True, auto_delete=True, internal=True, arguments={"alternate-exchange": "y"})


@behaviour("exchanges")
def declaring_another_type_is_406(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct")
    ch.exchange("x", "topic")


@behaviour("exchanges")
def declaring_another_durability_is_406(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct")
    ch.exchange("x", "direct", durable=True)


@behaviour("exchanges")
def declaring_another_auto_delete_is_406(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct", auto_delete=True)
    ch.exchange("x", "direct")


@behaviour("exchanges")
def declaring_another_internal_is_406(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct")
    ch.exchange("x", "direct", internal=True)


@behaviour("exchanges")
def type_is_compared_before_durability(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct")
    ch.exchange("x", "fanout", durable=True, auto_delete=True, internal=True)


@behaviour("exchanges")
def declaring_another_alternate_exchange_is_406(s: Session) -> None:
    c = s.connect()
    ch = c.channel()
    ch.exchange("x", "direct", arguments={"alternate-exchange": "one"})
    ch.exchange("x", "direct", arguments={"alternate-exchange": "two"})
    ch.open()
    ch.exchange("x", "direct")
    ch.open()
    ch.exchange("plain", "direct")
    ch.exchange("plain", "direct", arguments={"alternate-exchange": "one"})


@behaviour("exchanges")
def unknown_arguments_are_not_compared(s: Session) -> None:
    ch = s.channel()
    ch.exchange("x", "direct", arguments={"x-mine": 1})
    ch.exchange("x", "direct", arguments={"x-mine": 2, "other": "y"})
    ch.exchange("x", "direct")


@behaviour("exchanges")
def alternate_exchange_that_is_no_string_is_refused(s: Session) -> None:
    s.channel().exchange("x", "direct", arguments={"alternate-exchange": 7})


@behaviour("exchanges")
def alternate_exchange_may_be_missing(s: Session) -> None:
    s.channel().exchange("x", "direct", arguments={"alternate-exchange": "no-such-exchange"})


@behaviour("exchanges")
def names_beginning_with_amq_are_reserved(s: Session) -> None:
    s.channel().call("exchange.declare", exchange="amq.mine", type="direct")


@behaviour("exchanges")
def passive_declare_of_a_missing_reserved_name_is_404(s: Session) -> None:
    s.channel().call("exchange.declare", exchange="amq.mine", type="direct", passive=True)


@behaviour("exchanges")
def predeclared_exchanges_are_there(s: Session) -> None:
    ch = s.channel()
    for name in ("direct", "fanout", "topic", "headers", "match"):
        ch.call("exchange.declare", exchange=f"amq.{name}", passive=True)


@behaviour("exchanges")
def predeclared_exchanges_have_their_types(s: Session) -> None:
    ch = s.channel()
    for name in ("direct", "fanout", "topic", "headers"):
        ch.call("exchange.declare", exchange=f"amq.{name}", type=name, durable=True)
    ch.call("exchange.declare", exchange="amq.match", type="headers", durable=True)


@behaviour("exchanges")
def predeclared_exchanges_are_durable(s: Session) -> None:
    s.channel().call("exchange.declare", exchange="amq.topic", type="topic")


@behaviour("exchanges")
def default_exchange_cannot_be_declared(s: Session) -> None:
    s.channel().call("exchange.declare", exchange="", type="direct", durable=True)


@behaviour("exchanges")
def default_exchange_cannot_be_declared_passively(s: Session) -> None:
    s.channel().call("exchange.declare", exchange="", passive=True)


@behaviour("exchanges")
def default_exchange_cannot_be_deleted(s: Session) -> None:
    s.channel().call("exchange.delete", exchange="")


@behaviour("exchanges")
def predeclared_exchange_cannot_be_deleted(s: Session) -> None:
    s.channel().call("exchange.delete", exchange="amq.direct")


@behaviour("exchanges")
def deleting_a_missing_reserved_name_is_403(s: Session) -> None:
    s.channel().call("exchange.delete", exchange="amq.mine")


@behaviour("exchanges")
def deleting_what_is_not_there_is_fine(s: Session) -> None:
    ch = s.channel()
    ch.call("exchange.delete", exchange=s.name("missing"))
    ch.call("exchange.delete", exchange=s.name("missing"), if_unused=True)


@behaviour("exchanges")
def deleted_exchange_is_gone_with_its_bindings(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "fanout"), ch.queue()
    ch.bind(q, x)
    ch.call("exchange.delete", exchange=x)
    s.exchange_exists(x, False)
    ch.exchange("x", "fanout")
    ch.publish(x, "", b"unrouted")
    ch.drain(q)


@behaviour("exchanges")
def delete_if_unused_with_a_binding_is_406(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "fanout"), ch.queue()
    ch.bind(q, x)
    ch.call("exchange.delete", exchange=x, if_unused=True)


@behaviour("exchanges")
def delete_if_unused_looks_at_bindings_from_it_only(s: Session) -> None:
    ch = s.channel()
    source, target = ch.exchange("source", "fanout"), ch.exchange("target", "fanout")
    ch.call("exchange.bind", destination=target, source=source)
    ch.call("exchange.delete", exchange=target, if_unused=True)
    s.exchange_exists(target, False)


@behaviour("exchanges")
def delete_if_unused_works_once_unbound(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "fanout"), ch.queue()
    ch.bind(q, x)
    ch.call("queue.unbind", queue=q, exchange=x)
    ch.call("exchange.delete", exchange=x, if_unused=True)
    s.exchange_exists(x, False)


@behaviour("exchanges")
def publish_to_a_missing_exchange_is_404(s: Session) -> None:
    ch = s.channel()
    ch.publish(s.name("missing"), "key", b"body")
    ch.read()


@behaviour("exchanges")
def publish_to_an_internal_exchange_is_403(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange("x", "direct", internal=True)
    ch.publish(x, "key", b"body")
    ch.read()


@behaviour("exchanges")
def names_may_hold_anything_that_is_utf_8(s: Session) -> None:
    ch = s.channel()
    for label in ("with space", "naïve ☃", "tab\tand'quote", "a/b:c.d#*"):
        ch.exchange(label, "direct")


@behaviour("exchanges")
def line_ends_are_taken_out_of_exchange_names_when_declared(s: Session) -> None:
    ch = s.channel()
    name = "line\r\nend-" + s.token
    s.remember("lineend-" + s.token)
    s.remember(name)
    ch.call("exchange.declare", exchange=name, type="direct")
    s.exchange_exists("lineend-" + s.token, True)
    ch.publish(name, "", b"")
    ch.sync()


# Auto-delete


@behaviour("exchanges")
def auto_delete_exchange_goes_with_its_last_binding(s: Session) -> None:
    ch = s.channel()
    x, one, two = ch.exchange("x", "fanout", auto_delete=True), ch.queue("one"), ch.queue("two")
    ch.bind(one, x)
    ch.bind(two, x)
    ch.call("queue.unbind", queue=one, exchange=x)
    s.exchange_exists(x, True)
    ch.call("queue.unbind", queue=two, exchange=x)
    s.exchange_exists(x, False)


@behaviour("exchanges")
def auto_delete_exchange_that_was_never_bound_stays(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "fanout", auto_delete=True), ch.queue()
    ch.call("queue.unbind", queue=q, exchange=x)
    s.exchange_exists(x, True)


@behaviour("exchanges")
def auto_delete_exchange_goes_when_its_queue_is_deleted(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "direct", auto_delete=True), ch.queue()
    ch.bind(q, x, "a")
    ch.bind(q, x, "b")
    ch.call("queue.delete", queue=q)
    s.exchange_exists(x, False)


@behaviour("exchanges")
def auto_delete_exchange_goes_when_its_exclusive_queue_does(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    x = ch.exchange("x", "direct", auto_delete=True)
    q = other.queue("q", exclusive=True)
    other.bind(q, x, "a")
    other.connection.close()
    s.exchange_exists(x, False)


@behaviour("exchanges")
def auto_delete_cascades_from_target_to_source(s: Session) -> None:
    ch = s.channel()
    source, middle = (
        ch.exchange("source", "fanout", auto_delete=True),
        ch.exchange("middle", "fanout", auto_delete=True),
    )
    q = ch.queue()
    ch.call("exchange.bind", destination=middle, source=source)
    ch.bind(q, middle)
    ch.call("queue.delete", queue=q)
    s.exchange_exists(middle, False)
    s.exchange_exists(source, False)


@behaviour("exchanges")
def binding_to_an_auto_delete_exchange_does_not_keep_it(s: Session) -> None:
    ch = s.channel()
    source, target = ch.exchange("source", "fanout"), ch.exchange("target", "fanout", auto_delete=True)
    q = ch.queue()
    ch.call("exchange.bind", destination=target, source=source)
    ch.bind(q, target)
    ch.call("queue.unbind", queue=q, exchange=target)
    s.exchange_exists(target, False)
    s.exchange_exists(source, True)


@behaviour("exchanges")
def auto_delete_source_goes_when_its_target_is_deleted(s: Session) -> None:
    ch = s.channel()
    source, target = ch.exchange("source", "fanout", auto_delete=True), ch.exchange("target", "fanout")
    ch.call("exchange.bind", destination=target, source=source)
    ch.call("exchange.delete", exchange=target)
    s.exchange_exists(source, False)
