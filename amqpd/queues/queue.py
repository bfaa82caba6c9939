"""One queue: publish, get, settle, requeue, purge.

Owns which messages are ready, how many are unacked, and the log records that tell of them. Does not own names,
permissions or equivalence (vhosts), what a delivery looks like (consumers), the order of leaving (order, ready, priorities),
restarts (restart), new options (new_options), nor the verdicts on length (overflow) and age (expiry): it acts on them. A
plain queue pays one look at a flag for all of that.
What a queue holds is in one of these states, and every verb goes by this list:

    ready      in `ready`      delivered, counted, limited, purged
    unacked    with a channel  counted; comes back or is settled
    held back  in `waiting` (for its next try) or `refused` (a dead letter whose target is full): limited and purged like
               what is ready, not counted as ready, and an `is_empty` queue has none
    parked     in `parked`     something went wrong with this one message: kept for a person to look at; purged, not limited
    departing  in `departing`  on its way out, at the latest some turns later; the log still has it here
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, u8

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.back_off import RETURNED
from amqpd.queues.backlog import Getter
from amqpd.queues.consumers import Consumer, Consumers
from amqpd.queues.dead_letter import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED
from amqpd.queues.dedup_window import DedupWindow, window_of
from amqpd.queues.departure import DUE, Departure, DepartureLine
from amqpd.queues.discarding import Discarding
from amqpd.queues.entry import Entry
from amqpd.queues.expiry import HeadTimer, expire_overdue, forget_head, note_deadline, set_deadline, time_to_stay_ms
from amqpd.queues.losses import Losses
from amqpd.queues.measured import MeasuredReady
from amqpd.queues.order import new_order
from amqpd.queues.overflow import DROP_HEAD, SurplusTimer, is_too_long
from amqpd.queues.ready import ReadyOrder
from amqpd.queues.refused import Refused
from amqpd.queues.retime import Retiming, retime_unacked
from amqpd.queues.waiting import Waiting
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.page import Page
from amqpd.store.record import PARKED_MS
from amqpd.wire.field_table import FieldTable

# A queue that is drained delivers so many, and one that is too long drops so many, whatever else the turn has done.
DRAINED_COUNT_MIN: Final = 16
# Eight deliveries are a unit of work.
DELIVERIES_PER_UNIT_SHIFT: Final = 3
DROPPED_COUNT_MIN: Final = 64

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
        # Number of the connection that an exclusive queue belongs to; 0 for all others.
        self.owner = owner
        self.arguments = arguments
        self.options = options
        # Nothing of an exclusive queue is worth a log record.
        self.is_stored = durable and owner == 0
        self.consumers = Consumers(options.single_active_consumer)
        self.unacked_count: i64 = 0
        # Held back: what came back and waits for its next try, and dead letters whose target has no room for them.
        self.waiting = Waiting(agenda)
        self.refused = Refused(self)
        self.dropped_letter_count: i64 = 0
        self.parked: list[Entry] = []
        # What leaves by itself, and whether the agenda knows.
        self.departing = DepartureLine()
        self.is_departing = False
        # While some of its messages are on their way back nothing is handed out.
        self.is_paused = False
        self._pause_count: i64 = 0
        self.lapsed_count: i64 = 0
        self.era: u8 = 0
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
        # The queue's TTL has changed: what was delivered before has a deadline by an older one.
        self.is_retimed = False
        # While its messages get new deadlines, and while the next turns have surplus to drop.
        self.retiming: Retiming | None = None
        self.has_surplus_timer = False
        # Who waits for the next message to be read from the disk, and what can't be; most never know of any.
        self._getters: list[Getter] = []
        self.losses: Losses | None = None
        # The ids of what it has taken lately. Only who publishes looks at them; `publish` takes everything.
        self.dedup: DedupWindow | None = None
        self.dedup = window_of(self)

    # Messages in

    def publish(self, message: Message) -> None:
        """Take a message; it goes straight to a consumer if nothing stands before it and one has credit."""
        if self.ready.count == 0 and not self.is_paused:
            consumer = self.consumers.next()
            if consumer is not None:
                self._hand_over_new(message, consumer)
                return
        entry = Entry(message, self)
        if self.is_plain and message.ttl_ms < 0:
            self.ready.append(entry)
        else:
            self._append_by_rules(entry)

    def refuses(self, size_bytes: i64, coming: i64 = 0, coming_bytes: i64 = 0) -> bool:
        """x-overflow reject-publish: True if a message of this size may not come in now.

        Or not after `coming` others, with bodies of `coming_bytes`.
        """
        return self.options.refuses and self._is_too_long(coming + 1, coming_bytes + size_bytes)

    def _is_too_long(self, coming: i64, coming_bytes: i64) -> bool:
        options = self.options
        waiting = self.waiting
        refused = self.refused
        return is_too_long(
            self.ready.count + waiting.count + refused.count + coming,
            self._ready_bytes() + waiting.body_bytes + refused.body_bytes + coming_bytes,
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
        """RabbitMQ's drop-head: what leaves is dead-lettered with reason maxlen. What the turn has no room for follows."""
        if self.options.overflow != DROP_HEAD:
            return
        agenda = self.agenda
        left: i64 = agenda.budget if agenda.budget > DROPPED_COUNT_MIN else DROPPED_COUNT_MIN
        while self._is_too_long(0, 0):
            if left == 0:
                if not self.has_surplus_timer:
                    self.has_surplus_timer = True
                    agenda.wheel.put_off(SurplusTimer(self))
                return
            if self.refused.count > 0:
                # Nobody has room for it, and we have not either.
                self._finish(self.refused.take_oldest().entry)
                self._letter_dropped()
            elif self._is_surplus_held():
                self.leave(self.waiting.take_longest(), MAXLEN)
            elif self.ready.count == 0 or self.ready.is_surplus_waiting():
                # It leaves when it is in memory.
                return
            else:
                self.leave(self.ready.pop_surplus(), MAXLEN)
            left -= 1
            agenda.budget -= 1

    def _is_surplus_held(self) -> bool:
        """Does the surplus begin with what waits for its next try, as the older part of the queue?"""
        if self.waiting.count == 0:
            return False
        oldest = self.ready.oldest()
        return oldest is None or self.waiting.longest_id() < oldest.message.message_id

    def _letter_dropped(self) -> None:
        self.dropped_letter_count += 1
        if self.dropped_letter_count % 10_000 == 1:
            self.agenda.warn(
                f"{self.title} is full, and so is where its dead letters go: "
                f"{int(self.dropped_letter_count)} of them dropped so far"
            )

    def _ready_bytes(self) -> i64:
        ready = self.ready
        return ready.ready_bytes if isinstance(ready, MeasuredReady) else 0

    # Messages out

    def _hand_over_new(self, message: Message, consumer: Consumer) -> None:
        if consumer.no_ack:
            consumer.send(message, False)
            if self.is_stored and message.segment is not None:
                self._log.append_settle(self.queue_id, message)
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
            # Settled when it is sent: what can't be sent is parked, and is still in the log then.
            consumer.send(message, entry.redelivered)
            self._finish(entry)
        else:
            self._note_delivered(message)
            entry.consumer = consumer
            consumer.deliver(entry)
            self.unacked_count += 1

    def drain(self) -> None:
        """Deliver ready messages for as long as a consumer can take one, and the turn has room for it."""
        if self.is_paused:
            return
        ready = self.ready
        consumers = self.consumers
        agenda = self.agenda
        count_max = agenda.budget << DELIVERIES_PER_UNIT_SHIFT
        if count_max < DRAINED_COUNT_MIN:
            count_max = DRAINED_COUNT_MIN
        left = count_max
        consumer: Consumer | None = None
        while ready.count > 0:
            if left == 0:
                # Other queues come first now, and other consumers of that channel.
                assert consumer is not None
                consumer.took_last()
                self.wake()
                break
            consumer = consumers.next()
            if consumer is None or ready.is_waiting():
                break
            left -= 1
            entry = ready.pop()
            if entry.due_ms != 0 and entry.due_ms <= agenda.monotonic_ms:
                self.leave(entry, EXPIRED)
                continue
            try:
                self._hand_over(entry, consumer)
            except Exception as error:
                self.entry_failed(entry, error)
        agenda.budget -= (count_max - left) >> DELIVERIES_PER_UNIT_SHIFT

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
        while self.ready.count > 0 and not self.is_waiting:
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
        """Is the next message on its way, from the disk or from whoever had it?"""
        return self.is_paused or self.ready.is_waiting()

    def pause(self) -> None:
        """Hand nothing out: older messages than are here come back, and `resume` follows."""
        self._pause_count += 1
        self.is_paused = True

    def resume(self) -> None:
        self._pause_count -= 1
        if self._pause_count == 0:
            self.is_paused = False
            self._tell_getters()
            self.wake()

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
        entry.era = self.era
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

    # Messages that something went wrong with

    def entry_failed(self, entry: Entry, error: Exception) -> None:
        """This program is wrong about this one message: it is kept, out of the way, and everything else goes on."""
        self.agenda.failed(f"message {int(entry.message.message_id)} of {self.title}, which is parked", error)
        if entry.is_ready:
            self.ready.discard(entry)
        self.park(entry)

    def park(self, entry: Entry) -> None:
        """Neither ready nor unacked from now on, not even after a restart: a person looks at it, a purge takes it."""
        if self.is_deleted:
            self._finish(entry)
            return
        if entry.is_timed and not entry.is_settled:
            self.agenda.wheel.done()
        entry.is_settled = True
        entry.consumer = None
        if self.is_stored and entry.message.segment is not None:
            self._log.append_retry(self.queue_id, entry.message, entry.delivery_count, PARKED_MS)
            checkpoint = self._list(entry)
            if checkpoint is not None:
                checkpoint.add_waiting(self.queue_id, entry.message, PARKED_MS)
        self.parked.append(entry)

    # Messages that leave by themselves

    def expire(self, entry: Entry) -> None:
        """A ready message's own time is over, unless policies have given it another since."""
        if entry.due_ms == 0 or entry.due_ms > self.agenda.monotonic_ms or entry.era != self.era:
            return
        self.ready.discard(entry)
        self.leave(entry, EXPIRED)

    def withdraw(self, entry: Entry) -> None:
        """A ready message leaves for good, from wherever it stands."""
        self.ready.discard(entry)
        self._finish(entry)

    def leave(self, entry: Entry, reason: str) -> None:
        """Out of the queue: into the void, or to where the vhost routes it at the end of this turn."""
        options = self.options
        if self.is_deleted or (options.dead_letter_exchange is None and not options.is_delay):
            self._finish(entry)
            return
        entry.is_settled = True
        if entry.is_timed:
            self.agenda.wheel.done()
        self.depart(Departure(entry, DUE if options.is_delay else reason))

    def depart(self, departure: Departure) -> None:
        self.departing.add(departure)
        if not self.is_departing:
            self.is_departing = True
            self.agenda.departing.append(self)

    def hold_back(self, departure: Departure, target: Queue) -> None:
        """It could not leave, for `target` has no room."""
        if self.is_deleted:
            self._finish(departure.entry)
            return
        self.refused.add(departure, target)
        if not self.is_plain:
            self.drop_surplus()

    def bury(self, entry: Entry) -> None:
        """What departed has arrived wherever it goes, or nowhere: the log may forget it here."""
        self._log_settle(entry)
        if entry.is_timed:
            entry.message = NOTHING

    def _finish(self, entry: Entry) -> None:
        if entry.is_timed and not entry.is_settled:
            self.agenda.wheel.done()
        entry.is_settled = True
        if self.is_stored and entry.message.segment is not None:
            self._log_settle(entry)

    def _log_settle(self, entry: Entry) -> None:
        if self.is_stored and entry.message.segment is not None:
            if self.is_deleted:
                self._log.release(entry.message)
            else:
                self._log.append_settle(self.queue_id, entry.message)

    # The whole queue

    @property
    def is_empty(self) -> bool:
        """Nothing is here that a delete would lose, but for what is unacked (RabbitMQ's if-empty)."""
        held_count = self.waiting.count + self.refused.count + len(self.parked) + self.departing.count
        return self.ready.count + held_count == 0

    def purge(self) -> int:
        """Settle every message that is ready, held back or parked; unacked ones stay. Returns how many there were."""
        return self._empty()

    def held_entries(self) -> list[Entry]:
        """What is on its way out, or is held back on it: a checkpoint and moves ask."""
        found = self.refused.entries()
        found.extend(self.departing.entries())
        return found

    def delete(self) -> int:
        """Drop everything and cancel all consumers. Returns how many messages that were; what departs is not among them.

        No settle is logged: once the definition is gone, recovery drops what belonged to this queue_id. What the log
        segments hold for it is given back here.
        """
        self.is_deleted = True
        count = self._empty()
        forget_head(self)
        self.retiming = None
        if self.dedup is not None:
            self.dedup.close()
        consumers = self.consumers.all
        self.consumers.all = []
        for consumer in consumers:
            consumer.cancel()
        return count

    def _empty(self) -> int:
        """Everything that is ready, held back or parked is done with, in memory or not."""
        held = [each.entry for each in self.waiting.clear()]
        held.extend(self.refused.clear())
        held.extend(self.parked)
        self.parked = []
        for entry in held:
            # What is ready is discarded, and they are with it.
            entry.is_ready = True
        count = int(self.ready.count) + len(held)
        pages = self.ready.pages()
        runs = self.ready.dismantle()
        runs.append(held)
        if not self.agenda.works.start(Discarding(self, runs, pages)):
            self.era = u8((int(self.era) + 1) & 0xFF)
        # What they wait for does not come any more.
        self._tell_getters()
        return count

    def discard(self, entry: Entry) -> None:
        """Of what was purged, or of a deleted queue."""
        self._finish(entry)

    def discard_page(self, page: Page) -> None:
        if self.is_deleted:
            self._log.release_page(page)
        else:
            self._log.settle_page(self.queue_id, page, self.options.max_priority < 0)

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
    def title(self) -> str:
        """For people."""
        return f"queue '{self.name}' in vhost '{self.vhost_name}'"

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
