"""exchange.declare, delete, bind, unbind: permissions, then the vhost."""

from __future__ import annotations

from pamqp import commands

from amqpd.base.errors import AccessRefused
from amqpd.channels.channel import Channel
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.registry import check_type
from amqpd.vhosts.routing import DEFAULT_EXCHANGE
from amqpd.wire.methods import encode_method, new_method, table_of


def refuse_default_exchange(name: str) -> None:
    if name == DEFAULT_EXCHANGE:
        raise AccessRefused("operation not permitted on the default exchange")


def on_exchange_declare(channel: Channel, method: commands.Exchange.Declare) -> None:
    session = channel.session
    vhost = session.vhost
    name = one_line(method.exchange)
    if not method.passive:
        check_type(method.exchange_type)
    refuse_default_exchange(name)
    if method.passive:
        session.check_passive("exchange", name)
        vhost.find_exchange(name)
    else:
        session.check("configure", "exchange", name)
        arguments = table_of(method)
        alternate = arguments.get("alternate-exchange")
        if isinstance(alternate, str):
            session.check("read", "exchange", name)
            session.check("write", "exchange", alternate)
        vhost.declare_exchange(
            name, method.exchange_type, method.durable, method.auto_delete, method.internal, arguments
        )
    if method.nowait:
        return
    reply = encode_method(new_method(commands.Exchange.DeclareOk))
    if method.passive:
        session.reply(channel.number, reply)
    else:
        session.reply_when_declared(channel.number, reply)


def on_exchange_delete(channel: Channel, method: commands.Exchange.Delete) -> None:
    session = channel.session
    name = one_line(method.exchange)
    refuse_default_exchange(name)
    session.check("configure", "exchange", name)
    session.vhost.delete_exchange(name, method.if_unused)
    if not method.nowait:
        session.reply_when_declared(channel.number, encode_method(new_method(commands.Exchange.DeleteOk)))


def on_exchange_bind(channel: Channel, method: commands.Exchange.Bind) -> None:
    binding = _binding(channel, method.source, method.destination, method.routing_key, method)
    channel.session.vhost.bind(binding)
    if not method.nowait:
        channel.session.reply_when_declared(channel.number, encode_method(new_method(commands.Exchange.BindOk)))


def on_exchange_unbind(channel: Channel, method: commands.Exchange.Unbind) -> None:
    binding = _binding(channel, method.source, method.destination, method.routing_key, method)
    channel.session.vhost.unbind(binding)
    if not method.nowait:
        channel.session.reply_when_declared(channel.number, encode_method(new_method(commands.Exchange.UnbindOk)))


def _binding(
    channel: Channel,
    source: str,
    destination: str,
    routing_key: str,
    method: commands.Exchange.Bind | commands.Exchange.Unbind,
) -> Binding:
    session = channel.session
    source = one_line(source)
    destination = one_line(destination)
    session.check("write", "exchange", destination)
    refuse_default_exchange(destination)
    refuse_default_exchange(source)
    session.check("read", "exchange", source)
    return Binding(source, destination, True, routing_key, table_of(method))


def one_line(name: str) -> str:
    """RabbitMQ removes carriage returns and line feeds from names."""
    return name.replace("\r", "").replace("\n", "")
