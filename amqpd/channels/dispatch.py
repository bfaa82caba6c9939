"""Which handler a channel's method goes to, commonest first.

Owns nothing but the choice. basic.publish, and ack, nack and reject are handled before a method object is ever made:
see `connections/connection.py`.
"""

from __future__ import annotations

from pamqp import commands
from pamqp.base import Frame

from amqpd.base.errors import ChannelFault, CommandInvalid
from amqpd.channels.channel import Channel
from amqpd.channels.on_basic import (
    on_basic_cancel,
    on_basic_consume,
    on_basic_get,
    on_basic_qos,
    on_basic_recover,
)
from amqpd.channels.on_channel import on_channel_flow, on_confirm_select
from amqpd.channels.on_exchange import on_exchange_bind, on_exchange_declare, on_exchange_delete, on_exchange_unbind
from amqpd.channels.on_queue import (
    on_queue_bind,
    on_queue_declare,
    on_queue_delete,
    on_queue_purge,
    on_queue_unbind,
)
from amqpd.channels.on_tx import on_tx_commit, on_tx_rollback, on_tx_select
from amqpd.wire.methods import AccessRequest, AccessRequestOk, encode_method, new_method


def dispatch(channel: Channel, method: Frame) -> None:
    if isinstance(method, commands.Basic.Get):
        on_basic_get(channel, method)
    elif isinstance(method, commands.Queue.Declare):
        on_queue_declare(channel, method)
    elif isinstance(method, commands.Queue.Bind):
        on_queue_bind(channel, method)
    elif isinstance(method, commands.Basic.Consume):
        on_basic_consume(channel, method)
    elif isinstance(method, commands.Basic.Cancel):
        on_basic_cancel(channel, method)
    elif isinstance(method, commands.Basic.Qos):
        on_basic_qos(channel, method)
    elif isinstance(method, commands.Exchange.Declare):
        on_exchange_declare(channel, method)
    elif isinstance(method, commands.Confirm.Select):
        on_confirm_select(channel, method)
    elif isinstance(method, commands.Queue.Delete):
        on_queue_delete(channel, method)
    elif isinstance(method, commands.Queue.Purge):
        on_queue_purge(channel, method)
    elif isinstance(method, commands.Queue.Unbind):
        on_queue_unbind(channel, method)
    elif isinstance(method, commands.Exchange.Delete):
        on_exchange_delete(channel, method)
    elif isinstance(method, commands.Exchange.Bind):
        on_exchange_bind(channel, method)
    elif isinstance(method, commands.Exchange.Unbind):
        on_exchange_unbind(channel, method)
    else:
        _dispatch_rare(channel, method)


def _dispatch_rare(channel: Channel, method: Frame) -> None:
    if isinstance(method, commands.Tx.Commit):
        on_tx_commit(channel)
    elif isinstance(method, commands.Tx.Rollback):
        on_tx_rollback(channel)
    elif isinstance(method, commands.Tx.Select):
        on_tx_select(channel)
    elif isinstance(method, commands.Basic.Recover):
        on_basic_recover(channel, method.requeue, False)
    elif isinstance(method, commands.Basic.RecoverAsync):
        on_basic_recover(channel, method.requeue, True)
    elif isinstance(method, commands.Channel.Flow):
        on_channel_flow(channel, method)
    elif isinstance(method, commands.Channel.Open):
        raise ChannelFault("second 'channel.open' seen")
    elif isinstance(method, AccessRequest):
        channel.session.reply(channel.number, encode_method(new_method(AccessRequestOk, ticket=1)))
    else:
        raise CommandInvalid("unimplemented method")
