"""A queue's consumer that writes basic.deliver to its channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.channels.delivery_count import with_delivery_count
from amqpd.channels.leases import lease_ms
from amqpd.queues.consumers import Consumer
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.wire.hot_methods import deliver_prefix, send_basic_deliver

if TYPE_CHECKING:
    from amqpd.channels.channel import Channel


@final
class ChannelConsumer(Consumer):
    def __init__(
        self, channel: Channel, queue: Queue, consumer_tag: str, no_ack: bool, exclusive: bool, credit: i64
    ) -> None:
        super().__init__(queue, consumer_tag, no_ack, exclusive, credit, channel.shared_credit, channel.outbox)
        self._channel = channel
        self._prefix = deliver_prefix(consumer_tag.encode("utf-8", "surrogateescape"))
        # How long a delivery may stay unacked; 0 for ever, and until `find_lease` has asked.
        self._lease_ms: i64 = 0

    def find_lease(self) -> None:
        """Ask again which consumer timeout holds: its own, or one of the queue or the server has changed."""
        self._lease_ms = lease_ms(self.timeout_ms, self.queue, self._channel.session.limits)

    def send(self, message: Message, redelivered: bool) -> None:
        channel = self._channel
        delivery_tag = channel.next_delivery_tag
        channel.next_delivery_tag = delivery_tag + 1
        send_basic_deliver(
            self.outbox,
            channel.number,
            self._prefix,
            delivery_tag,
            redelivered,
            message.route_key,
            message.header,
            message.body,
        )
        if not self.outbox.is_open:
            self.took_last()

    def deliver(self, entry: Entry) -> None:
        channel = self._channel
        message = entry.message
        # What may go wrong first: then nothing has happened yet.
        header = message.header
        if entry.delivery_count > 0 and entry.queue.options.tells_delivery_count:
            header = with_delivery_count(header, entry.delivery_count)
        delivery_tag = channel.next_delivery_tag
        channel.next_delivery_tag = delivery_tag + 1
        self.credit -= 1
        shared = self.shared
        shared.remaining -= 1
        self.unacked_count += 1
        channel.unacked.add(delivery_tag, entry)
        if self._lease_ms > 0:
            channel.leases.begin(delivery_tag, self._lease_ms)
        send_basic_deliver(
            self.outbox,
            channel.number,
            self._prefix,
            delivery_tag,
            entry.redelivered,
            message.route_key,
            header,
            message.body,
        )
        if shared.remaining == 0 or not self.outbox.is_open:
            self.took_last()

    def took_last(self) -> None:
        self._channel.comes_last(self)

    def cancel(self) -> None:
        self._channel.consumer_cancelled(self)
