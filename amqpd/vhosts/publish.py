"""The one way into queues: whatever is published, by whomever, goes in here.

    a client's publish, or a transaction's at its commit    `first_time`, then `put`
    what has waited for its x-delay                         `unseen`, then `put`
    a dead letter, a delay that is put off                  `put`

Owns the order of it: room first, in messages and in bytes, then the log once, then every queue, then what those who
deduplicate will remember. What can be wrong with a message is said before any of it: x-delay where a route is found
(routing.py), the dedup id in `first_time`. Does not own who may publish (channels), nor where a message goes (routing).
Invariant: every queue of the route has the message, or none has; nobody may go on as if it had who was told REFUSED.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.dedup_id import check_dedup_id
from amqpd.queues.queue import Queue
from amqpd.vhosts.deduplication import note_all, unseen
from amqpd.vhosts.routing import Route
from amqpd.wire.field_table import FieldTable
from amqpd.wire.properties import is_persistent

# In the place of a mark: some queue of the route is full, so none has the message.
REFUSED: Final = -1


def put(route: Route, message: Message, agenda: Agenda) -> i64:
    """The mark whose commit makes the message durable, 0 if it waits for nothing; or REFUSED."""
    if route.may_be_refused and refusing(route, len(message.body)) is not None:
        return REFUSED
    mark: i64 = 0
    if len(route.stored_ids) > 0 and is_persistent(message.header):
        log = agenda.log
        log.append_message(message, route.stored_ids, agenda.wall_ms)
        mark = log.mark
    queue = route.only
    if queue is not None:
        queue.publish(message)
    else:
        queues = route.queues
        for each in queues:
            each.publish(message)
        agenda.budget -= len(queues)
    if route.is_noted:
        note_all(route, message.header)
        if route.is_duplicate:
            # The confirm is a promise for the first one too, which may be on its way to the disk.
            mark = agenda.log.gathered_mark
    return mark


def refusing(route: Route, size_bytes: i64) -> Queue | None:
    """The first queue that has no room for a body of this size, x-overflow being reject-publish."""
    for queue in route.queues:
        if queue.refuses(size_bytes):
            return queue
    return None


def first_time(route: Route, headers: FieldTable | None) -> Route:
    """The route without the queues that have seen this message; raises PreconditionFailed for an id that is none."""
    if not route.deduplicates:
        return route
    check_dedup_id(headers)
    return unseen(route, headers)


@final
class Room:
    """Whether several messages will be taken, one after the other, with nothing in between: asked before the first."""

    def __init__(self) -> None:
        self._counts: dict[int, i64] = {}
        self._bytes: dict[int, i64] = {}

    def takes(self, route: Route, size_bytes: i64) -> bool:
        """Counted from then on, if every queue of the route has room for it behind those that were counted before."""
        if not route.may_be_refused:
            # What takes everything takes it by dropping something else.
            return True
        for queue in route.queues:
            number = int(queue.queue_id)
            if queue.refuses(size_bytes, self._counts.get(number, 0), self._bytes.get(number, 0)):
                return False
        for queue in route.queues:
            number = int(queue.queue_id)
            self._counts[number] = self._counts.get(number, 0) + 1
            self._bytes[number] = self._bytes.get(number, 0) + size_bytes
        return True
