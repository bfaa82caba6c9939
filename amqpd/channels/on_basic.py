"""The rarer basic methods: qos, consume, cancel, get, recover. Publish and the settles are in channel.py."""

from __future__ import annotations

from typing import final

from pamqp import commands

from amqpd.base.errors import AccessRefused, NotAllowed, NotImplementedFault, PreconditionFailed, ResourceLocked
from amqpd.channels.channel import Channel
from amqpd.channels.consumer import ChannelConsumer
from amqpd.channels.delivery_count import with_delivery_count
from amqpd.channels.on_queue import actual_name, generated_name
from amqpd.channels.session import Session
from amqpd.channels.settling import GIVE_BACK, settle_all
from amqpd.queues.arguments import QueueOptions, read_consumer_timeout
from amqpd.queues.backlog import Getter
from amqpd.queues.consumers import UNLIMITED
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.vhosts.declare import queue_in
from amqpd.vhosts.routing import REPLY_TO, REPLY_TO_PREFIX
from amqpd.wire.field_table import EMPTY_TABLE, type_name
from amqpd.wire.hot_methods import send_basic_get_ok
from amqpd.wire.methods import encode_method, new_method, table_of


def on_basic_qos(channel: Channel, method: commands.Basic.Qos) -> None:
    if method.prefetch_size != 0:
        raise NotImplementedFault(f"prefetch_size!=0 ({method.prefetch_size})")
    count = method.prefetch_count
    if method.global_:
        old = channel.global_prefetch_count
        shared = channel.shared_credit
        used = (old if old > 0 else UNLIMITED) - shared.remaining
        channel.global_prefetch_count = count
        # What is unacked already counts; a smaller limit only waits until enough of it is settled.
        shared.remaining = (count if count > 0 else UNLIMITED) - used
        channel.wake_queues()
    else:
        channel.prefetch_count = count
    channel.session.reply(channel.number, encode_method(new_method(commands.Basic.QosOk)))


def on_basic_consume(channel: Channel, method: commands.Basic.Consume) -> None:
    session = channel.session
    if method.queue == REPLY_TO:
        _consume_replies(channel, method)
        return
    name = actual_name(channel, method.queue)
    session.check("read", "queue", name)
    queue = session.vhost.find_queue(name, session.number)
    consumer_tag = _new_tag(channel, method.consumer_tag)
    consumers = queue.consumers
    is_single_active = queue.options.single_active_consumer
    if (
        consumers.has_exclusive
        or (method.exclusive and is_single_active)
        or (method.exclusive and len(consumers.all) > 0)
    ):
        raise AccessRefused(f"{queue_in(name, session.vhost.name)} in exclusive use")
    if len(consumers.all) >= session.limits.consumers_per_queue_max:
        limit = session.limits.consumers_per_queue_max
        raise PreconditionFailed(f"{queue_in(name, session.vhost.name)} has {limit} consumers, the most it may have")
    arguments = table_of(method)
    priority = arguments.get("x-priority")
    failover_tag = arguments.tag("x-cancel-on-ha-failover")
    if failover_tag not in ("", "t"):
        raise PreconditionFailed(
            f"invalid arg 'x-cancel-on-ha-failover' for {queue_in(name, session.vhost.name)}: "
            f"{{unacceptable_type,{type_name(failover_tag)}}}"
        )
    if arguments.tag("x-priority") != "" and (not isinstance(priority, int) or isinstance(priority, bool)):
        kind = type_name(arguments.tag("x-priority"))
        raise PreconditionFailed(
            f"invalid arg 'x-priority' for {queue_in(name, session.vhost.name)}: \"expected integer, got {kind}\""
        )
    timeout_ms = read_consumer_timeout(arguments, queue_in(name, session.vhost.name))
    credit = channel.prefetch_count if channel.prefetch_count > 0 and not method.no_ack else UNLIMITED
    consumer = ChannelConsumer(channel, queue, consumer_tag, method.no_ack, method.exclusive, credit)
    if isinstance(priority, int):
        consumer.priority = priority
    consumer.timeout_ms = timeout_ms
    consumer.find_lease()
    channel.keep_consumer(consumer)
    if not method.nowait:
        reply = new_method(commands.Basic.ConsumeOk, consumer_tag=consumer_tag)
        session.reply(channel.number, encode_method(reply))
    queue.add_consumer(consumer)


def _new_tag(channel: Channel, wanted: str) -> str:
    """For one consumer more, if there may be one."""
    session = channel.session
    if len(channel.consumers) >= session.limits.consumers_per_channel_max:
        limit = session.limits.consumers_per_channel_max
        raise NotAllowed(f"reached maximum ({limit}) of consumers per channel")
    if session.consumer_count >= session.limits.consumers_per_connection_max:
        limit = session.limits.consumers_per_connection_max
        raise NotAllowed(f"reached maximum ({limit}) of consumers per connection")
    if wanted == "":
        return generated_name(channel, "amq.ctag-")
    if wanted in channel.consumers:
        raise NotAllowed(f"attempt to reuse consumer tag '{wanted}'")
    return wanted


def _consume_replies(channel: Channel, method: commands.Basic.Consume) -> None:
    """Direct reply-to (RabbitMQ): a hidden queue of this channel's own, which lives as long as the consumer."""
    session = channel.session
    if not method.no_ack:
        raise PreconditionFailed("reply consumer cannot acknowledge")
    if channel.reply_queue is not None:
        raise PreconditionFailed("reply consumer already set")
    consumer_tag = _new_tag(channel, method.consumer_tag)
    name = generated_name(channel, REPLY_TO_PREFIX)
    queue = Queue(
        0, session.vhost.name, name, False, False, session.number, EMPTY_TABLE, QueueOptions(), session.agenda
    )
    consumer = ChannelConsumer(channel, queue, consumer_tag, True, False, UNLIMITED)
    channel.keep_consumer(consumer)
    channel.reply_queue = queue
    session.vhost.add_reply_queue(queue)
    if not method.nowait:
        session.reply(channel.number, encode_method(new_method(commands.Basic.ConsumeOk, consumer_tag=consumer_tag)))
    queue.add_consumer(consumer)


def on_basic_cancel(channel: Channel, method: commands.Basic.Cancel) -> None:
    """Idempotent; what the consumer has unacked stays unacked on the channel."""
    consumer_tag = method.consumer_tag or ""
    consumer = channel.forget_consumer(consumer_tag)
    session = channel.session
    if not method.nowait:
        reply = new_method(commands.Basic.CancelOk, consumer_tag=consumer_tag)
        session.reply(channel.number, encode_method(reply))
    if consumer is None:
        return
    queue = consumer.queue
    was_last = queue.remove_consumer(consumer)
    if queue is channel.reply_queue:
        channel.reply_queue = None
        session.vhost.remove_reply_queue(queue)
    elif was_last and queue.auto_delete:
        session.vhost.delete_queue(queue)


@final
class HeldGet(Getter):
    """A basic.get whose message is on its way from the disk."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def back_in_memory(self) -> None:
        self._session.release()


def on_basic_get(channel: Channel, method: commands.Basic.Get) -> None:
    session = channel.session
    name = actual_name(channel, method.queue)
    session.check("read", "queue", name)
    queue = session.vhost.find_queue(name, session.number)
    if queue.options.single_active_consumer:
        raise ResourceLocked(
            f"cannot obtain access to {queue_in(name, session.vhost.name)}. "
            "basic.get operation not supported by queues with single active consumer"
        )
    entry = queue.get(method.no_ack)
    if entry is None and queue.is_waiting:
        queue.wait(HeldGet(session))
        session.repeat_later()
        return
    if entry is None:
        session.reply(channel.number, encode_method(new_method(commands.Basic.GetEmpty)))
        return
    delivery_tag = channel.next_delivery_tag
    channel.next_delivery_tag = delivery_tag + 1
    if not method.no_ack:
        channel.unacked.add(delivery_tag, entry)
        channel.leases.begin_for(delivery_tag, entry)
    message = entry.message
    header = message.header
    if entry.delivery_count > 0 and queue.options.tells_delivery_count:
        header = with_delivery_count(header, entry.delivery_count)
    send_basic_get_ok(
        channel.outbox,
        channel.number,
        delivery_tag,
        entry.redelivered,
        message.route_key,
        queue.ready.count,
        header,
        message.body,
    )


def _take_free(channel: Channel) -> list[Entry]:
    """Everything unacked, but for what a transaction holds: that is settled, or not, with it."""
    unacked = channel.unacked
    if channel.transaction is None:
        return unacked.take_all()
    taken: list[Entry] = []
    for tag, entry in unacked.free_through(unacked.last_tag()):
        unacked.take(tag)
        taken.append(entry)
    return taken


def on_basic_recover(channel: Channel, requeue: bool, is_async: bool) -> None:
    """Unacked messages go back to their queues, or with requeue=false once more to the consumers that have them.

    RabbitMQ refuses requeue=false with 540; the specification and LavinMQ have both.
    """
    returned: list[Entry] = []
    for entry in _take_free(channel):
        consumer = entry.consumer
        is_gone = consumer is None or consumer.consumer_tag not in channel.consumers
        if requeue or consumer is None or is_gone or not channel.outbox.is_open:
            # Who does not read gets it when there is room, like everybody.
            returned.append(entry)
        else:
            channel.redeliver(entry, consumer)
    settle_all(channel, returned, GIVE_BACK)
    if not is_async:
        channel.session.reply(channel.number, encode_method(new_method(commands.Basic.RecoverOk)))
