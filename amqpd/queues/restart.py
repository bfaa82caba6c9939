"""A queue across a restart: what of it is written into a checkpoint, and how it takes back what recovery found.

Owns neither the checkpoint's format (store/checkpoint.py) nor the order in which a broker is put together
(vhosts/restore.py). Who holds unacked messages describes them; the queue does not know where they are. Nothing is logged.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.queues.entry import Entry
from amqpd.queues.expiry import expire_overdue, own_ttl_ms, set_deadline, time_to_stay_ms
from amqpd.queues.queue import Queue
from amqpd.queues.walk import Walk
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.record import PARKED_MS


@final
class Description:
    """What of one queue a restart needs to know, except unacked messages: as it is at the beginning, told a part at a time.

    The log behind the checkpoint's position has the last word about what left meanwhile, and what comes back says so itself
    (`Agenda.checkpoint`); so nothing is missing, and what is told twice is the same message.
    """

    def __init__(self, queue: Queue, checkpoint: CheckpointBuilder) -> None:
        self._queue = queue
        self._checkpoint = checkpoint
        self._walk = Walk(queue.ready)
        self._tries = queue.waiting.copy()
        queue_id = queue.queue_id
        checkpoint.add_delivered(queue_id, queue.delivered_to)
        if queue.dedup is not None:
            queue.dedup.describe_to(checkpoint)
        for entry in queue.parked:
            checkpoint.add(queue_id, entry.message, entry.delivery_count, True)
            checkpoint.add_waiting(queue_id, entry.message, PARKED_MS)
        # What is on disk only may be in memory later: the log has it where the page says.
        for page in queue.ready.pages():
            if not page.is_spilled:
                checkpoint.add_page(queue_id, page)

    def go_on(self, count_max: i64) -> bool:
        """Look at so many messages more; True once that was all."""
        queue = self._queue
        if queue.is_deleted:
            return True
        checkpoint = self._checkpoint
        queue_id = queue.queue_id
        walk = self._walk
        looked = -walk.looked
        for entry in walk.next(count_max):
            checkpoint.add(queue_id, entry.message, entry.delivery_count, entry.redelivered)
        looked += walk.looked
        while walk.is_over and len(self._tries) > 0 and looked < count_max:
            looked += 1
            each = self._tries.pop()
            if each.entry.is_settled:
                continue
            # Its wait may be over: then it is in the order, or with somebody.
            checkpoint.add(queue_id, each.entry.message, each.entry.delivery_count, True)
            if not each.is_over:
                checkpoint.add_waiting(queue_id, each.entry.message, queue.waiting.ready_at_wall_ms(each))
        return walk.is_over and len(self._tries) == 0


def restore(
    queue: Queue,
    message: Message,
    delivery_count: i64,
    redelivered: bool,
    ready_at_ms: i64 = 0,
    is_returned: bool = False,
) -> None:
    """Put back what recovery found; called in message_id order, before any consumer.

    Time went on while the broker was down: what is overdue leaves at once, by order of its due times. `ready_at_ms`, by
    the wall clock, is when a wait ends. `is_returned`: it is older than some message that waits.
    """
    entry = Entry(message, queue)
    entry.delivery_count = delivery_count
    entry.redelivered = redelivered
    if ready_at_ms == PARKED_MS:
        entry.is_settled = True
        queue.parked.append(entry)
        return
    message.ttl_ms = own_ttl_ms(message.header)
    agenda = queue.agenda
    ttl_ms = time_to_stay_ms(queue.options, message)
    due_ms = message.enqueued_ms + ttl_ms - agenda.wall_ms + agenda.monotonic_ms
    if due_ms == 0:
        # That would be never; -1 is long ago.
        due_ms = -1
    if ready_at_ms > agenda.wall_ms:
        if ttl_ms >= 0:
            entry.due_ms = due_ms
        queue.waiting.add(entry, agenda.monotonic_ms + ready_at_ms - agenda.wall_ms)
        return
    if ttl_ms >= 0:
        set_deadline(queue, entry, due_ms)
    if is_returned:
        queue.ready.put_back(entry)
    else:
        queue.ready.append(entry)


def settle_down(queue: Queue) -> None:
    """Restored, with some of it on disk only: the oldest has to be in memory if it is going to expire."""
    if queue.options.message_ttl_ms >= 0:
        expire_overdue(queue)
