"""One queue: publish, get, settle, requeue, purge.

Owns which messages are ready, how many are unacked, and the log records that tell of them. Does not own names,
permissions or equivalence (vhosts), nor what a delivery looks like (consumers), nor any policy such as limits or expiry:
those are files of their own that a queue without them never calls.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.consumers import Consumer, Consumers
from amqpd.queues.entry import Entry
from amqpd.queues.ready import Ready
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.wire.field_table import FieldTable


@final
class Queue:
    def __init__(
        self,
        queue_id: i64,
        name: str,
        durable: bool,
        auto_delete: bool,
        owner: i64,
        arguments: FieldTable,
        options: QueueOptions,
        agenda: Agenda,
    ) -> None:
        self.queue_id = queue_id
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        # Number of the connection that an exclusive queue belongs to; 0 for all other queues.
        self.owner = owner
        self.arguments = arguments
        self.options = options
        # An exclusive queue never outlives its connection, so nothing of it is worth a log record.
        self.is_stored = durable and owner == 0
        self.ready = Ready()
        self.consumers = Consumers()
        self.unacked_count: i64 = 0
        self.is_active = False
        self.is_deleted = False
        self.last_used_ms = agenda.monotonic_ms
        self._agenda = agenda
        self._log = agenda.log
        # Messages up to this id may have been delivered (that is what the log knows of `redelivered`).
        self._delivered_to: i64 = 0
        self._is_moved = False

    # Messages in

    def publish(self, message: Message) -> None:
        """Take a message; it goes straight to a consumer if nothing stands before it and one has credit."""
        if self.ready.count == 0:
            consumer = self.consumers.next()
            if consumer is not None:
                self._hand_over_new(message, consumer)
                return
        self.ready.append(Entry(message, self))

    def describe_to(self, checkpoint: CheckpointBuilder) -> None:
        """What of this queue a restart needs to know; unacked messages are described by who has them."""
        checkpoint.add_delivered(self.queue_id, self._delivered_to)
        for entry in self.ready.entries():
            checkpoint.add(self.queue_id, entry.message, entry.delivery_count, entry.redelivered)

    def restore(self, message: Message, delivery_count: i64, redelivered: bool) -> None:
        """Put back what recovery found; called in message_id order, before any consumer."""
        entry = Entry(message, self)
        entry.delivery_count = delivery_count
        entry.redelivered = redelivered
        self.ready.append(entry)

    def restore_watermark(self, delivered_to: i64) -> None:
        self._delivered_to = delivered_to

    # Messages out

    def _hand_over_new(self, message: Message, consumer: Consumer) -> None:
        if consumer.no_ack:
            if self.is_stored and message.segment is not None:
                self._log.append_settle(self.queue_id, message)
            consumer.send(message, False)
        else:
            entry = Entry(message, self)
            self._note_delivered(message)
            entry.consumer = consumer
            self.unacked_count += 1
            consumer.deliver(entry)

    def _hand_over(self, entry: Entry, consumer: Consumer) -> None:
        message = entry.message
        if consumer.no_ack:
            entry.is_settled = True
            if self.is_stored and message.segment is not None:
                self._log.append_settle(self.queue_id, message)
            consumer.send(message, entry.redelivered)
        else:
            self._note_delivered(message)
            entry.consumer = consumer
            self.unacked_count += 1
            consumer.deliver(entry)

    def drain(self) -> None:
        """Deliver ready messages for as long as a consumer can take one."""
        ready = self.ready
        consumers = self.consumers
        while ready.count > 0:
            consumer = consumers.next()
            if consumer is None:
                return
            self._hand_over(ready.pop(), consumer)

    def wake(self) -> None:
        """Something changed that may let messages out: look again at the end of this turn."""
        if not self.is_active and self.ready.count > 0 and len(self.consumers.all) > 0:
            self.is_active = True
            self._agenda.active.append(self)

    def get(self, no_ack: bool) -> Entry | None:
        """basic.get: the oldest ready message, unacked from now on unless `no_ack`."""
        self.last_used_ms = self._agenda.monotonic_ms
        if self.ready.count == 0:
            return None
        entry = self.ready.pop()
        if no_ack:
            entry.is_settled = True
            self._log_settle(entry)
        else:
            self._note_delivered(entry.message)
            self.unacked_count += 1
        return entry

    def _note_delivered(self, message: Message) -> None:
        if message.segment is not None and message.message_id > self._delivered_to and self.is_stored:
            self._delivered_to = message.message_id
            if not self._is_moved:
                self._is_moved = True
                self._agenda.moved.append(self)

    def log_watermark(self) -> None:
        self._is_moved = False
        if not self.is_deleted:
            self._log.append_delivered(self.queue_id, self._delivered_to)

    # Unacked messages

    def settle(self, entry: Entry) -> None:
        """An unacked message is done with: acked, or rejected without requeue."""
        assert not entry.is_settled
        entry.is_settled = True
        self.unacked_count -= 1
        if self.is_stored and entry.message.segment is not None:
            self._log_settle(entry)

    def requeue(self, entry: Entry) -> None:
        """An unacked message comes back to its original place, marked as redelivered."""
        assert not entry.is_settled
        self.unacked_count -= 1
        entry.consumer = None
        entry.redelivered = True
        entry.delivery_count += 1
        if self.is_deleted:
            entry.is_settled = True
            self._log_settle(entry)
            return
        if self.is_stored and entry.message.segment is not None:
            self._log.append_requeue(self.queue_id, entry.message, entry.delivery_count)
        self.ready.put_back(entry)
        self.wake()

    def _log_settle(self, entry: Entry) -> None:
        if self.is_stored and entry.message.segment is not None:
            if self.is_deleted:
                self._log.release(entry.message)
            else:
                self._log.append_settle(self.queue_id, entry.message)

    # The whole queue

    def purge(self) -> int:
        """Settle every ready message; unacked ones stay. Returns how many there were."""
        entries = self.ready.entries()
        self.ready.clear()
        for entry in entries:
            entry.is_settled = True
            self._log_settle(entry)
        return len(entries)

    def delete(self) -> int:
        """Drop everything and cancel all consumers. Returns how many messages were ready.

        No settle is logged: once the definition is gone, recovery drops what belonged to this queue_id. What the log
        segments hold for it is given back here.
        """
        self.is_deleted = True
        count: i64 = self.ready.count
        for entry in self.ready.entries():
            entry.is_settled = True
            self._log_settle(entry)
        self.ready.clear()
        consumers = self.consumers.all
        self.consumers.all = []
        for consumer in consumers:
            consumer.cancel()
        return count

    # Consumers

    def add_consumer(self, consumer: Consumer) -> None:
        self.consumers.add(consumer)
        self.wake()

    def remove_consumer(self, consumer: Consumer) -> bool:
        """True if this was the last one, which an auto-delete queue does not survive."""
        if not self.consumers.remove(consumer):
            return False
        self.last_used_ms = self._agenda.monotonic_ms
        return len(self.consumers.all) == 0

    @property
    def is_exclusive(self) -> bool:
        return self.owner != 0

    @property
    def is_expired(self) -> bool:
        """x-expires: unused, that is without consumer, redeclare or get, for that long."""
        expires_ms = self.options.expires_ms
        if expires_ms < 0 or len(self.consumers.all) > 0:
            return False
        return self._agenda.monotonic_ms - self.last_used_ms >= expires_ms

    def touch(self) -> None:
        self.last_used_ms = self._agenda.monotonic_ms
