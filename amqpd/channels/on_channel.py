"""channel.flow and confirm.select."""

from __future__ import annotations

from pamqp import commands

from amqpd.base.errors import PreconditionFailed
from amqpd.channels.channel import Channel
from amqpd.channels.confirms import Confirms
from amqpd.wire.methods import encode_method, new_method


def on_channel_flow(channel: Channel, method: commands.Channel.Flow) -> None:
    """The client stops or restarts deliveries. RabbitMQ refuses active=false with 540; we obey the specification."""
    channel.shared_credit.is_flowing = bool(method.active)
    if method.active:
        channel.wake_queues()
    channel.session.reply(channel.number, encode_method(new_method(commands.Channel.FlowOk, active=method.active)))


def on_confirm_select(channel: Channel, method: commands.Confirm.Select) -> None:
    if channel.transaction is not None:
        raise PreconditionFailed("cannot switch from tx to confirm mode")
    if channel.confirms is None:
        channel.confirms = Confirms(channel.outbox, channel.number, channel.session.commits)
    if not method.nowait:
        channel.session.reply(channel.number, encode_method(new_method(commands.Confirm.SelectOk)))
