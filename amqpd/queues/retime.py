"""The TTL of a queue changed by policy: what is in it gets the deadlines that it would have had all along.

RabbitMQ lets what is there keep what it had; then a TTL that is set against a flood does nothing about the flood.

When a message came is known from the deadline that it has, or else from the time at which it was logged. A message that
was never logged and never had a deadline counts as if it came when the policy did, or just before what came after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.entry import Entry
from amqpd.queues.expiry import effective_ttl_ms, set_deadline

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue


def retime(queue: Queue, old_ttl_ms: i64, agenda: Agenda) -> None:
    """Everything ready or waiting in a queue whose options are new, and whose head timer is forgotten."""
    entries = queue.ready.entries()
    in_order = queue.options.max_priority < 0
    came_ms = arrivals(entries, old_ttl_ms, in_order, agenda.monotonic_ms, agenda.wall_ms)
    for index, entry in enumerate(entries):
        _move_deadline(entry, came_ms[index], agenda)
    if queue.waiting.count > 0:
        for entry in queue.waiting.entries():
            retime_unacked(entry, agenda)
        queue.waiting.rearm()


def retime_unacked(entry: Entry, agenda: Agenda) -> None:
    """A message that was delivered while its queue may have had another TTL, and comes back or waits.

    One that was never logged keeps a deadline that it has: which TTL it got that from is forgotten.
    """
    message = entry.message
    stays = effective_ttl_ms(entry.queue.options.message_ttl_ms, message.ttl_ms) < 0
    if stays or message.enqueued_ms != 0 or entry.due_ms == 0:
        _move_deadline(entry, arrived_ms(entry.message, agenda.monotonic_ms, agenda.wall_ms), agenda)


def _move_deadline(entry: Entry, came_ms: i64, agenda: Agenda) -> None:
    queue = entry.queue
    ttl_ms = effective_ttl_ms(queue.options.message_ttl_ms, entry.message.ttl_ms)
    # 0 is never, -1 long ago.
    due_ms: i64 = 0
    if ttl_ms >= 0:
        due_ms = came_ms + ttl_ms if came_ms + ttl_ms != 0 else -1
    if entry.is_timed:
        if due_ms >= entry.due_ms:
            # What is later than it stands in the timing wheel comes round again.
            entry.due_ms = due_ms
            return
        # Sooner, or never: where it stands it is of no use.
        entry.is_timed = False
        agenda.wheel.done()
    entry.due_ms = due_ms
    if due_ms != 0 and entry.is_ready:
        set_deadline(queue, entry, due_ms)


def arrived_ms(message: Message, monotonic_ms: i64, wall_ms: i64) -> i64:
    """When a message came, on the clock of deadlines, as far as the log knows; now, if it does not."""
    if message.enqueued_ms == 0 or message.enqueued_ms > wall_ms:
        return monotonic_ms
    return monotonic_ms - (wall_ms - message.enqueued_ms)


def arrivals(entries: list[Entry], queue_ttl_ms: i64, in_order: bool, monotonic_ms: i64, wall_ms: i64) -> list[int]:
    """When each entry came, by the deadline that it got from this queue TTL, else by the log.

    `in_order`: the entries stand as they came, so that what came before something known is no younger than that.
    """
    found: list[int] = []
    latest_ms = monotonic_ms
    for entry in reversed(entries):
        ttl_ms = effective_ttl_ms(queue_ttl_ms, entry.message.ttl_ms)
        if entry.due_ms != 0 and ttl_ms >= 0:
            came_ms = entry.due_ms - ttl_ms
        else:
            came_ms = arrived_ms(entry.message, monotonic_ms, wall_ms)
        if in_order:
            if came_ms > latest_ms:
                came_ms = latest_ms
            latest_ms = came_ms
        found.append(int(came_ms))
    found.reverse()
    return found
