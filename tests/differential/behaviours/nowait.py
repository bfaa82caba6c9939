"""nowait: done, and not answered; errors are told all the same."""

from __future__ import annotations

from ..registry import behaviour
from ..session import Session


@behaviour("nowait")
def exchange_methods_without_an_answer(s: Session) -> None:
    ch = s.channel()
    x, y, q = s.name("x"), s.name("y"), ch.queue()
    ch.send("exchange.declare", exchange=x, type="fanout", nowait=True)
    ch.send("exchange.declare", exchange=y, type="fanout", nowait=True)
    ch.send("exchange.bind", destination=y, source=x, nowait=True)
    ch.send("queue.bind", queue=q, exchange=y, nowait=True)
    ch.publish(x, "", b"through both")
    ch.send("exchange.unbind", destination=y, source=x, nowait=True)
    ch.publish(x, "", b"unbound")
    ch.send("exchange.delete", exchange=y, nowait=True)
    ch.nothing()
    ch.drain(q)
    s.exchange_exists(x, True)
    s.exchange_exists(y, False)


@behaviour("nowait")
def queue_methods_without_an_answer(s: Session) -> None:
    ch = s.channel()
    q = s.name("q")
    ch.send("queue.declare", queue=q, nowait=True)
    ch.publish_each(q, b"a", b"b")
    ch.send("queue.purge", queue=q, nowait=True)
    ch.publish("", q, b"c")
    ch.drain(q)
    ch.send("queue.delete", queue=q, nowait=True)
    ch.nothing()
    s.queue_exists(q, False)


@behaviour("nowait")
def consume_and_cancel_without_an_answer(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a")
    ch.send("basic.consume", queue=q, consumer_tag="tag", nowait=True)
    ch.read()
    ch.send("basic.cancel", consumer_tag="tag", nowait=True)
    ch.publish("", q, b"b")
    ch.nothing()
    ch.drain(q)


@behaviour("nowait")
def consume_without_an_answer_and_without_a_tag(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"a")
    ch.send("basic.consume", queue=q, nowait=True)
    ch.read()


@behaviour("nowait")
def confirm_select_without_an_answer(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.send("confirm.select", nowait=True)
    ch.publish("", q, b"a")
    ch.confirms()
    ch.nothing()


@behaviour("nowait")
def errors_of_declare_are_told(s: Session) -> None:
    ch = s.channel()
    q = ch.queue(durable=True)
    ch.send("queue.declare", queue=q, nowait=True)
    ch.read()
    ch.open()
    x = ch.exchange("x", "direct")
    ch.send("exchange.declare", exchange=x, type="fanout", nowait=True)
    ch.read()


@behaviour("nowait")
def errors_of_passive_declare_are_told(s: Session) -> None:
    ch = s.channel()
    ch.send("queue.declare", queue=s.name("missing"), passive=True, nowait=True)
    ch.read()
    ch.open()
    ch.send("exchange.declare", exchange=s.name("missing"), passive=True, nowait=True)
    ch.read()


@behaviour("nowait")
def passive_declare_of_what_exists_says_nothing(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.send("queue.declare", queue=q, passive=True, nowait=True)
    ch.send("exchange.declare", exchange="amq.topic", passive=True, nowait=True)
    ch.nothing()


@behaviour("nowait")
def errors_of_bind_purge_and_delete_are_told(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.publish("", q, b"m")
    for name, arguments in (
        ("queue.bind", {"queue": q, "exchange": s.name("missing")}),
        ("queue.purge", {"queue": s.name("missing")}),
        ("queue.delete", {"queue": q, "if_empty": True}),
        ("exchange.delete", {"exchange": "amq.direct"}),
        ("exchange.bind", {"destination": s.name("missing"), "source": "amq.direct"}),
    ):
        ch.send(name, nowait=True, **arguments)
        ch.read()
        ch.open()


@behaviour("nowait")
def errors_of_consume_are_told(s: Session) -> None:
    ch = s.channel()
    ch.send("basic.consume", queue=s.name("missing"), consumer_tag="tag", nowait=True)
    ch.read()


@behaviour("nowait")
def cancel_of_an_unknown_tag_without_an_answer(s: Session) -> None:
    ch = s.channel()
    ch.send("basic.cancel", consumer_tag="no such tag", nowait=True)
    ch.nothing()


@behaviour("nowait")
def server_named_queue_without_an_answer_is_the_last_declared(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange("x", "fanout")
    ch.send("queue.declare", queue="", exclusive=True, nowait=True)
    ch.send("queue.bind", queue="", exchange=x, nowait=True)
    ch.publish(x, "", b"m")
    ch.get("")


@behaviour("nowait")
def reply_consumer_without_an_answer(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    ch.send("basic.consume", queue="amq.rabbitmq.reply-to", consumer_tag="replies", no_ack=True, nowait=True)
    ch.publish("", q, b"question", reply_to="amq.rabbitmq.reply-to")
    ch.publish("", ch.get(q).properties["reply_to"], b"answer")
    ch.read()
