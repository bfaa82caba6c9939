"""One queue: publish, get, settle, requeue, purge.

Owns which messages are ready, how many are unacked, and the log records that tell of them. Does not own names,
permissions or equivalence (vhosts), what a delivery looks like (consumers), the order of leaving (order, ready, priorities),
restarts (restart), new options (new_options), nor the verdicts on length (overflow) and age (expiry): it acts on them. A
plain queue pays one look at a flag for all of that.
Dead letters are only noted here, on the agenda; until the end of the turn, when the vhost routes them, they are neither
ready nor unacked, and the log still has them in this queue.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.back_off import RETURNED
from amqpd.queues.backlog import Getter
from amqpd.queues.consumers import Consumer, Consumers
from amqpd.queues.dead_letter import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED, DeadLetter
from amqpd.queues.dedup_window import DedupWindow, window_of
from amqpd.queues.entry import Entry
from amqpd.queues.expiry import HeadTimer, expire_overdue, forget_head, note_deadline, set_deadline, time_to_stay_ms
from amqpd.queues.losses import Losses
from amqpd.queues.measured import MeasuredReady
from amqpd.queues.order import new_order
from amqpd.queues.overflow import DROP_HEAD, is_too_long
from amqpd.queues.ready import ReadyOrder
from amqpd.queues.retime import retime_unacked
from amqpd.queues.waiting import Waiting
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.wire.field_table import FieldTable

# What a settled entry holds in the place of its message.
NOTHING: Final = Message(0, b"", b"", b"")


@final
class Queue:
    def __init__(
        self,
        queue_id: i64,
        vhost_name: str,
        name: str,
        durable: bool,
        auto_delete: bool,
        owner: i64,
        arguments: FieldTable,
        options: QueueOptions,
        agenda: Agenda,
    ) -> None:
        self.queue_id = queue_id
        self.vhost_name = vhost_name
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        # Number of the connection that an exclusive queue belongs to; 0 for all other queues.
        self.owner = owner
        self.arguments = arguments
        self.options = options
        # An exclusive queue never outlives its connection, so nothing of it is worth a log record.
        self.is_stored = durable and owner == 0
        self.consumers = Consumers(options.single_active_consumer)
        self.unacked_count: i64 = 0
        # What came back and waits for its next try.
        self.waiting = Waiting(agenda)
        # Deliveries that a consumer timeout has brought back.
        self.lapsed_count: i64 = 0
        self.is_active = False
        self.is_deleted = False
        self.last_used_ms = agenda.monotonic_ms
        self.agenda = agenda
        self.ready: ReadyOrder = new_order(self)
        self._log = agenda.log
        # Messages up to this id may have been delivered (that is what the log knows of `redelivered`).
        self.delivered_to: i64 = 0
        self._is_moved = False
        self.is_plain = options.is_plain
        self.head_timer: HeadTimer | None = None
        # True once the queue's TTL changed: what was delivered before has a deadline by an older one.
        self.is_retimed = False
        # Who waits for the next message to be read from the disk.
        self._getters: list[Getter] = []
        # What it could not read of itself; most never know of any.
        self.losses: Losses | None = None
        # The ids of what it has taken lately. Only who publishes looks at them; `publish` takes everything.
        self.dedup: DedupWindow | None = None
        self.dedup = window_of(self)

    # Messages in

    def publish(self, message: Message) -> None:
        """Take a message; it goes straight to a consumer if nothing stands before it and one has credit."""
        if self.ready.count == 0:
            consumer = self.consumers.next()
            if consumer is not None:
                self._hand_over_new(message, consumer)
                return
        entry = Entry(message, self)
        if self.is_plain and message.ttl_ms < 0:
            self.ready.append(entry)
        else:
            self._append_by_rules(entry)

    def refuses(self, size_bytes: i64, coming: i64 = 0) -> bool:
        """x-overflow reject-publish: True if a message of this size may not come in now, or after `coming` others."""
        options = self.options
        if not options.refuses:
            return False
        return is_too_long(
            self.ready.count + coming + 1,
            self._ready_bytes() + size_bytes,
            options.max_length,
            options.max_length_bytes,
        )

    def _append_by_rules(self, entry: Entry) -> None:
        options = self.options
        ttl_ms = time_to_stay_ms(options, entry.message)
        if ttl_ms == 0:
            # It could not be delivered at once.
            self.leave(entry, EXPIRED)
            return
        if ttl_ms > 0:
            set_deadline(self, entry, self.agenda.monotonic_ms + ttl_ms)
        self.ready.append(entry)
        if options.max_length >= 0 or options.max_length_bytes >= 0:
            self.drop_surplus()

    def drop_surplus(self) -> None:
        """RabbitMQ's drop-head: what leaves is dead-lettered with reason maxlen."""
        options = self.options
        if options.overflow != DROP_HEAD:
            return
        while self.ready.count > 0 and is_too_long(
            self.ready.count, self._ready_bytes(), options.max_length, options.max_length_bytes
        ):
            if self.ready.is_surplus_waiting():
                # It leaves when it is in memory.
                return
            self.leave(self.ready.pop_surplus(), MAXLEN)

    def _ready_bytes(self) -> i64:
        ready = self.ready
        return ready.ready_bytes if isinstance(ready, MeasuredReady) else 0

    # Messages out

    def _hand_over_new(self, message: Message, consumer: Consumer) -> None:
        if consumer.no_ack:
            if self.is_stored and message.segment is not None:
                self._log.append_settle(self.queue_id, message)
            consumer.send(message, False)
        else:
            entry = Entry(message, self)
            self._note_delivered(message)
            if message.ttl_ms >= 0 or not self.is_plain:
                note_deadline(self, entry)
            entry.consumer = consumer
            self.unacked_count += 1
            consumer.deliver(entry)

    def _hand_over(self, entry: Entry, consumer: Consumer) -> None:
        message = entry.message
        if consumer.no_ack:
            self._finish(entry)
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
            if consumer is None or ready.is_waiting():
                return
            entry = ready.pop()
            if entry.due_ms != 0 and entry.due_ms <= self.agenda.monotonic_ms:
                self.leave(entry, EXPIRED)
            else:
                self._hand_over(entry, consumer)

    def wake(self) -> None:
        """Something changed that may let messages out: look again at the end of this turn."""
        if not self.is_active and self.ready.count > 0 and len(self.consumers.all) > 0:
            self.is_active = True
            self.agenda.active.append(self)

    def get(self, no_ack: bool) -> Entry | None:
        """basic.get: the oldest ready message, unacked from now on unless `no_ack`.

        While `is_waiting` there may be one, and None is not the answer.
        """
        self.last_used_ms = self.agenda.monotonic_ms
        while self.ready.count > 0 and not self.ready.is_waiting():
            entry = self.ready.pop()
            if entry.due_ms != 0 and entry.due_ms <= self.agenda.monotonic_ms:
                self.leave(entry, EXPIRED)
                continue
            if no_ack:
                self._finish(entry)
            else:
                self._note_delivered(entry.message)
                self.unacked_count += 1
            return entry
        return None

    def _note_delivered(self, message: Message) -> None:
        if message.segment is not None and message.message_id > self.delivered_to and self.is_stored:
            self.delivered_to = message.message_id
            if not self._is_moved:
                self._is_moved = True
                self.agenda.moved.append(self)

    def log_watermark(self) -> None:
        self._is_moved = False
        if not self.is_deleted:
            self._log.append_delivered(self.queue_id, self.delivered_to)

    # Messages that were on disk only

    @property
    def is_waiting(self) -> bool:
        """Is the next message on its way from the disk?"""
        return self.ready.is_waiting()

    def back_in_memory(self) -> None:
        """Something was read: go on with whatever waited for it."""
        if self.options.message_ttl_ms >= 0:
            expire_overdue(self)
        if not self.is_plain:
            self.drop_surplus()
        self._tell_getters()
        self.wake()

    def _tell_getters(self) -> None:
        """The next message is in memory, or there is none: they look again."""
        for getter in self._getters:
            getter.back_in_memory()
        self._getters.clear()

    def wait(self, getter: Getter) -> None:
        """Call it when the next message has been read."""
        self._getters.append(getter)

    # Unacked messages

    def settle(self, entry: Entry) -> None:
        """An unacked message is done with."""
        assert not entry.is_settled
        self.unacked_count -= 1
        self._finish(entry)
        if entry.is_timed:
            # The timing wheel keeps the entry until it is swept or due; it need not keep the body.
            entry.message = NOTHING

    def reject(self, entry: Entry) -> None:
        """An unacked message is not wanted back: it is a dead letter."""
        assert not entry.is_settled
        self.unacked_count -= 1
        self.leave(entry, REJECTED)

    def requeue(self, entry: Entry, why: int = RETURNED) -> None:
        """An unacked message comes back to its original place, marked as redelivered; with a back-off, after a while.

        `why` is FAILED if a client did not want it, RETURNED if nobody said anything about it.
        """
        assert not entry.is_settled
        self.unacked_count -= 1
        entry.consumer = None
        entry.redelivered = True
        entry.delivery_count += 1
        options = self.options
        if self.is_retimed:
            retime_unacked(entry, self.agenda)
        if self.is_deleted:
            self._finish(entry)
        elif options.delivery_limit >= 0 and entry.delivery_count > options.delivery_limit:
            self.leave(entry, DELIVERY_LIMIT)
        elif entry.due_ms != 0 and entry.due_ms <= self.agenda.monotonic_ms:
            self.leave(entry, EXPIRED)
        elif options.back_off is not None:
            message_id = entry.message.message_id
            self._put_off(entry, options.back_off.delay_ms(why, message_id, entry.delivery_count))
        else:
            self._come_back(entry)

    def _come_back(self, entry: Entry) -> None:
        if self.is_stored and entry.message.segment is not None:
            self._log.append_requeue(self.queue_id, entry.message, entry.delivery_count)
            self._list(entry)
        self._put_back(entry)

    def _list(self, entry: Entry) -> CheckpointBuilder | None:
        """Let a checkpoint that is being made know of what comes back: nobody may have had it when it was looked for."""
        checkpoint = self.agenda.checkpoint
        if checkpoint is not None:
            checkpoint.add(self.queue_id, entry.message, entry.delivery_count, True)
        return checkpoint

    def _put_back(self, entry: Entry) -> None:
        self.ready.put_back(entry)
        if entry.due_ms != 0 and not entry.is_timed:
            set_deadline(self, entry, entry.due_ms)
        if not self.is_plain:
            self.drop_surplus()
        self.wake()

    # Messages that wait

    def _put_off(self, entry: Entry, delay_ms: i64) -> None:
        if delay_ms <= 0:
            self._come_back(entry)
            return
        agenda = self.agenda
        if self.is_stored and entry.message.segment is not None:
            ready_at_ms = agenda.wall_ms + delay_ms
            self._log.append_retry(self.queue_id, entry.message, entry.delivery_count, ready_at_ms)
            checkpoint = self._list(entry)
            if checkpoint is not None:
                checkpoint.add_waiting(self.queue_id, entry.message, ready_at_ms)
        self.waiting.add(entry, agenda.monotonic_ms + delay_ms)

    def try_again(self, entry: Entry) -> None:
        """A wait is over, or the message's own time is. The log knows already when: no record is needed."""
        self.waiting.remove(entry)
        if entry.due_ms != 0 and entry.due_ms <= self.agenda.monotonic_ms:
            self.leave(entry, EXPIRED)
        else:
            self._put_back(entry)

    # Messages that leave by themselves

    def expire(self, entry: Entry) -> None:
        """A ready message's own time is over, unless policies have given it another since."""
        if entry.due_ms == 0 or entry.due_ms > self.agenda.monotonic_ms:
            return
        self.ready.discard(entry)
        self.leave(entry, EXPIRED)

    def withdraw(self, entry: Entry) -> None:
        """A ready message leaves for good, from wherever it stands."""
        self.ready.discard(entry)
        self._finish(entry)

    def leave(self, entry: Entry, reason: str) -> None:
        """Out of the queue: into the void, or as a dead letter at the end of this turn."""
        if self.options.dead_letter_exchange is None or self.is_deleted:
            self._finish(entry)
            return
        entry.is_settled = True
        if entry.is_timed:
            self.agenda.wheel.done()
        self.agenda.dead_letters.append(DeadLetter(entry, reason))

    def bury(self, entry: Entry) -> None:
        """A dead letter has arrived wherever it goes, or nowhere: the log may forget it here."""
        self._log_settle(entry)
        if entry.is_timed:
            entry.message = NOTHING

    def _finish(self, entry: Entry) -> None:
        entry.is_settled = True
        if entry.is_timed:
            self.agenda.wheel.done()
        if self.is_stored and entry.message.segment is not None:
            self._log_settle(entry)

    def _log_settle(self, entry: Entry) -> None:
        if self.is_stored and entry.message.segment is not None:
            if self.is_deleted:
                self._log.release(entry.message)
            else:
                self._log.append_settle(self.queue_id, entry.message)

    # The whole queue

    def purge(self) -> int:
        """Settle every message that is ready or waits; unacked ones stay. Returns how many there were."""
        return self._empty()

    def delete(self) -> int:
        """Drop everything and cancel all consumers. Returns how many messages were ready or waited.

        No settle is logged: once the definition is gone, recovery drops what belonged to this queue_id. What the log
        segments hold for it is given back here.
        """
        self.is_deleted = True
        count = self._empty()
        forget_head(self)
        if self.dedup is not None:
            self.dedup.close()
        consumers = self.consumers.all
        self.consumers.all = []
        for consumer in consumers:
            consumer.cancel()
        return count

    def _empty(self) -> int:
        """Everything that is ready or waits is done with, in memory or not."""
        count: i64 = self.ready.count
        entries = self.ready.entries()
        pages = self.ready.pages()
        self.ready.clear()
        for each in self.waiting.clear():
            entries.append(each.entry)
            count += 1
        for entry in entries:
            self._finish(entry)
        for page in pages:
            if self.is_deleted:
                self._log.release_page(page)
            else:
                self._log.settle_page(self.queue_id, page, self.options.max_priority < 0)
        # What they wait for does not come any more.
        self._tell_getters()
        return int(count)

    # Consumers

    def add_consumer(self, consumer: Consumer) -> None:
        self.consumers.add(consumer)
        self.wake()

    def remove_consumer(self, consumer: Consumer) -> bool:
        """True if this was the last one, which an auto-delete queue does not survive."""
        if not self.consumers.remove(consumer):
            return False
        self.last_used_ms = self.agenda.monotonic_ms
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
        return self.agenda.monotonic_ms - self.last_used_ms >= expires_ms

    def touch(self) -> None:
        self.last_used_ms = self.agenda.monotonic_ms
