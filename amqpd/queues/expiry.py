"""Message TTL: when a message is due, the timer that watches the head of a queue, and what is overdue there.

Effective TTL is the lower of the queue's and the message's, counted from the arrival in this queue; a requeue keeps the
deadline (behaviour of RabbitMQ). Messages with a TTL of their own stand in the timing wheel one by one, so they expire on
time wherever they are in the queue. Those that only have the queue's expire in order: one timer for the oldest is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.message import Message
from amqpd.base.timers import Timer
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.dead_letter import EXPIRED
from amqpd.queues.delay import message_delay_ms
from amqpd.wire.properties import expiration

if TYPE_CHECKING:
    from amqpd.queues.agenda import Agenda
    from amqpd.queues.entry import Entry
    from amqpd.queues.queue import Queue

# When the head of a queue is looked at again after that went wrong.
AGAIN_MS: Final = 1000


def effective_ttl_ms(queue_ttl_ms: i64, message_ttl_ms: i64) -> i64:
    """The lower of two; below 0 is none."""
    if queue_ttl_ms < 0:
        return message_ttl_ms
    if message_ttl_ms < 0 or queue_ttl_ms < message_ttl_ms:
        return queue_ttl_ms
    return message_ttl_ms


def time_to_stay_ms(options: QueueOptions, message: Message) -> i64:
    """How long a message may stay ready; below 0 for ever."""
    if options.is_delay:
        return message_delay_ms(message.header)
    return effective_ttl_ms(options.message_ttl_ms, message.ttl_ms)


def own_ttl_ms(header: bytes) -> i64:
    """The property expiration of a message that was accepted before; -1 without one."""
    raw = expiration(header)
    return int(raw) if raw is not None else -1


@final
@mypyc_attr(acyclic=True)
class HeadTimer(Timer):
    """Looks at the oldest ready message of a queue when that should be due."""

    def __init__(self, queue: Queue) -> None:
        self.due_ms = 0
        self.is_armed = False
        self._queue = queue

    def fire(self) -> None:
        self.is_armed = False
        expire_overdue(self._queue)

    def failed(self, error: Exception) -> None:
        queue = self._queue
        queue.agenda.failed(f"the expiry of {queue.title}", error)
        _watch_head(queue, queue.agenda.monotonic_ms + AGAIN_MS)

    def is_done(self) -> bool:
        return self._queue.is_deleted


def is_timed_alone(queue: Queue, entry: Entry) -> bool:
    """Has it a timer of its own? Those that only have their queue's TTL are due in the order of the queue."""
    return entry.message.ttl_ms >= 0 or queue.options.max_priority >= 0 or queue.options.is_delay


def set_deadline(queue: Queue, entry: Entry, due_ms: i64) -> None:
    """An entry that comes into the queue's order is due then. Said before it does: what is timed stays in memory."""
    entry.due_ms = due_ms
    if is_timed_alone(queue, entry):
        entry.is_timed = True
        queue.agenda.wheel.add(entry)
    else:
        _watch_head(queue, due_ms)


def note_deadline(queue: Queue, entry: Entry) -> None:
    """It never stood in the queue, but it may come back, and then it is as old as it is."""
    ttl_ms = effective_ttl_ms(queue.options.message_ttl_ms, entry.message.ttl_ms)
    if ttl_ms >= 0:
        entry.due_ms = queue.agenda.monotonic_ms + ttl_ms


def deadline_of_logged(queue_ttl_ms: i64, message: Message, agenda: Agenda) -> i64:
    """The deadline that a message had before it was on disk only: one with a TTL of its own never leaves memory."""
    if queue_ttl_ms < 0:
        return 0
    due_ms = message.enqueued_ms + queue_ttl_ms - agenda.wall_ms + agenda.monotonic_ms
    # 0 is never, -1 long ago.
    return due_ms if due_ms != 0 else -1


def arrived_wall_ms(queue_ttl_ms: i64, entry: Entry, agenda: Agenda) -> i64:
    """When a message that goes to the disk came, as far as can be told: `deadline_of_logged` finds its deadline by it."""
    if queue_ttl_ms >= 0 and entry.due_ms != 0:
        return entry.due_ms - queue_ttl_ms - agenda.monotonic_ms + agenda.wall_ms
    logged_ms = entry.message.enqueued_ms
    return logged_ms if logged_ms != 0 else agenda.wall_ms


def _watch_head(queue: Queue, due_ms: i64) -> None:
    timer = queue.head_timer
    if timer is not None and timer.is_armed and timer.due_ms <= due_ms:
        return
    queue.agenda.wheel.add(_arm(queue, due_ms))


def _arm(queue: Queue, due_ms: i64) -> HeadTimer:
    timer = queue.head_timer
    if timer is None or timer.is_armed:
        # One that stands in the wheel can't be moved: it will look too late, and find nothing to do.
        timer = HeadTimer(queue)
        queue.head_timer = timer
    timer.is_armed = True
    timer.due_ms = due_ms
    return timer


def forget_head(queue: Queue) -> None:
    """The queue is gone. Timer and queue know each other, and compiled no garbage collector would see that."""
    timer = queue.head_timer
    if timer is not None:
        if timer.is_armed:
            queue.agenda.wheel.done()
        queue.head_timer = None


def expire_overdue(queue: Queue) -> None:
    """What is overdue at the head leaves, as far as the turn has room for it, at least one; the rest in the next turns."""
    agenda = queue.agenda
    now_ms = agenda.monotonic_ms
    ready = queue.ready
    entry = ready.oldest()
    if entry is not None and entry.due_ms != 0 and entry.due_ms <= now_ms:
        while True:
            queue.leave(ready.pop(), EXPIRED)
            agenda.budget -= 1
            entry = ready.oldest()
            if entry is None or entry.due_ms == 0 or entry.due_ms > now_ms:
                break
            if agenda.budget <= 0:
                _go_on_later(queue, entry.due_ms)
                return
    if entry is not None and entry.due_ms != 0:
        _watch_head(queue, entry.due_ms)


def _go_on_later(queue: Queue, due_ms: i64) -> None:
    timer = queue.head_timer
    if timer is None or not timer.is_armed or timer.due_ms > due_ms:
        queue.agenda.wheel.put_off(_arm(queue, due_ms))
