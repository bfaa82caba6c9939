"""queue.declare, bind, unbind, purge, delete: permissions, the name '' for the last declared one, then the vhost."""

from __future__ import annotations

import base64

from pamqp import commands

from amqpd.base.errors import NotFound, PreconditionFailed
from amqpd.channels.channel import Channel
from amqpd.channels.on_exchange import one_line, refuse_default_exchange
from amqpd.exchanges.exchange import Binding
from amqpd.queues.queue import Queue
from amqpd.vhosts.declare import queue_in
from amqpd.vhosts.routing import REPLY_TO
from amqpd.wire.methods import encode_method, new_method, table_of

GENERATED_NAME_BYTES = 16
# The name that direct reply-to is asked for by; replies go to names that begin with it.


def actual_name(channel: Channel, name: str) -> str:
    """AMQP 0-9-1: "The client MAY ask the server to ... the last declared queue" by an empty name."""
    if name != "":
        return one_line(name)
    if channel.last_queue_name == "":
        raise NotFound("no previously declared queue")
    return channel.last_queue_name


def generated_name(channel: Channel, prefix: str) -> str:
    token = channel.session.entropy.token(GENERATED_NAME_BYTES)
    return prefix + base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def on_queue_declare(channel: Channel, method: commands.Queue.Declare) -> None:
    session = channel.session
    vhost = session.vhost
    name = one_line(method.queue)
    if method.queue.startswith(REPLY_TO):
        _on_reply_queue_declare(channel, name, method.nowait)
        return
    if method.passive:
        # In RabbitMQ '' is not the last declared queue here, but no queue at all.
        session.check_passive("queue", name)
        queue = vhost.find_queue(name, session.number)
        queue.touch()
    else:
        is_server_named = name == ""
        if is_server_named:
            name = generated_name(channel, "amq.gen-")
        session.check("configure", "queue", name)
        arguments = table_of(method)
        dead_letter_exchange = arguments.get("x-dead-letter-exchange")
        if isinstance(dead_letter_exchange, str):
            session.check("read", "queue", name)
            session.check("write", "exchange", dead_letter_exchange)
        queue = vhost.declare_queue(
            name, method.durable, method.exclusive, method.auto_delete, session.number, arguments, is_server_named
        )
    channel.last_queue_name = queue.name
    if not method.nowait:
        reply = new_method(
            commands.Queue.DeclareOk,
            queue=queue.name,
            message_count=int(queue.ready.count),
            consumer_count=len(queue.consumers.all),
        )
        if queue.is_stored and not method.passive:
            session.reply_when_declared(channel.number, encode_method(reply))
        else:
            session.reply(channel.number, encode_method(reply))


def _on_reply_queue_declare(channel: Channel, name: str, nowait: bool) -> None:
    """RabbitMQ: declaring the reply-to name of a request tells whether who asked is still there.

    The name that requesters consume from is always there; passive or not makes no difference.
    """
    vhost = channel.session.vhost
    if name != REPLY_TO and vhost.find_queue_or_reply(name) is None:
        raise NotFound(f"no {queue_in(name, vhost.name)}")
    channel.last_queue_name = name
    if not nowait:
        reply = new_method(commands.Queue.DeclareOk, queue=name, message_count=0, consumer_count=1)
        channel.session.reply(channel.number, encode_method(reply))


def on_queue_bind(channel: Channel, method: commands.Queue.Bind) -> None:
    binding = _binding(channel, method.queue, method.exchange, method.routing_key, method)
    channel.session.vhost.bind(binding, channel.session.number)
    if not method.nowait:
        channel.session.reply_when_declared(channel.number, encode_method(new_method(commands.Queue.BindOk)))


def on_queue_unbind(channel: Channel, method: commands.Queue.Unbind) -> None:
    binding = _binding(channel, method.queue, method.exchange, method.routing_key, method)
    channel.session.vhost.unbind(binding, channel.session.number)
    # AMQP 0-9-1 has no nowait here.
    channel.session.reply_when_declared(channel.number, encode_method(new_method(commands.Queue.UnbindOk)))


def _binding(
    channel: Channel,
    queue_name: str,
    exchange: str,
    routing_key: str,
    method: commands.Queue.Bind | commands.Queue.Unbind,
) -> Binding:
    session = channel.session
    name = actual_name(channel, queue_name)
    if queue_name == "" and routing_key == "":
        # AMQP 0-9-1 queue.bind: "If the queue name is empty ... and the routing key is also empty, the server uses the
        # last declared queue's name as routing key".
        routing_key = name
    exchange = one_line(exchange)
    session.check("write", "queue", name)
    refuse_default_exchange(exchange)
    session.check("read", "exchange", exchange)
    return Binding(exchange, name, False, routing_key, table_of(method))


def on_queue_purge(channel: Channel, method: commands.Queue.Purge) -> None:
    session = channel.session
    name = actual_name(channel, method.queue)
    session.check("read", "queue", name)
    count = session.vhost.find_queue(name, session.number).purge()
    if not method.nowait:
        session.reply(channel.number, encode_method(new_method(commands.Queue.PurgeOk, message_count=count)))


def on_queue_delete(channel: Channel, method: commands.Queue.Delete) -> None:
    session = channel.session
    vhost = session.vhost
    name = actual_name(channel, method.queue)
    session.check("configure", "queue", name)
    count = 0
    # Idempotent, as RabbitMQ's: a missing queue held 0 messages.
    if name in vhost.queues:
        queue: Queue = vhost.find_queue(name, session.number)
        if method.if_empty and not queue.is_empty:
            raise PreconditionFailed(f"{queue_in(name, vhost.name)} not empty")
        if method.if_unused and len(queue.consumers.all) > 0:
            raise PreconditionFailed(f"{queue_in(name, vhost.name)} in use")
        if queue.is_stored and queue.departing.count > 0:
            session.repeat_next_turn()
            return
        session.is_postponing = True
        count = vhost.delete_queue(queue)
    if not method.nowait:
        reply = new_method(commands.Queue.DeleteOk, message_count=count)
        session.reply_when_declared(channel.number, encode_method(reply))
    session.send_postponed()
