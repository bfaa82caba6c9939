"""Publishes that were there before: kept away from queues and exchanges that remember them, and noted where they are new.

    find_route    an exchange that has seen the message leads nowhere; one that has not asks for a note
    unseen        queues that have seen it are left out of the route; those that have not ask for a note
    put           into what is left, if no queue refuses (publish.py)
    note_all      only then, and in the same batch of the log

Looked at are messages when they come from a client, or from waiting for their x-delay: their first arrival. Dead letters and requeued
messages are not, for what has been taken once must never be lost on its way. A duplicate counts as routed.

Owns the windows of one vhost's exchanges: `Deduplications`; a queue has its own. A durable exchange has a hidden row among
the queues for the number by which the log knows its window: one declared again under the same name begins with another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from amqpd.exchanges.exchange import Exchange
from amqpd.exchanges.message_deduplication import cache_size, cache_ttl_ms, is_in_memory
from amqpd.queues.agenda import Agenda
from amqpd.queues.dedup_id import read_cache_ttl_ms, read_dedup_id, read_deduplication_header
from amqpd.queues.dedup_window import DedupWindow, Note
from amqpd.queues.queue import Queue
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.recovered import RecoveredId
from amqpd.store.topology import DEDUP
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.routing import Route
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable
from amqpd.wire.properties import is_persistent

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost

# For people only: that the row is no queue, its kind says (store/topology.py).
HIDDEN_PREFIX: Final = "amq.dedup."


def unseen(route: Route, table: FieldTable | None) -> Route:
    """The route without the queues that have seen a message with these headers."""
    dedup_id = read_dedup_id(table)
    if dedup_id is None:
        return route
    notes = list(route.notes)
    queues: list[Queue] = []
    is_duplicate = route.is_duplicate
    for queue in route.queues:
        window = queue.dedup
        if window is not None:
            note = Note(window, dedup_id, -1)
            if note.is_known:
                is_duplicate = True
                continue
            notes.append(note)
        queues.append(queue)
    found = Route(route.exchange, route.routing_key, queues, False)
    found.note(notes, is_duplicate)
    return found


def is_overtaken(route: Route) -> bool:
    """True if what it was about to note has been noted since: the message is a duplicate now."""
    for note in route.notes:
        if note.is_known:
            return True
    return False


def note_all(route: Route, header: bytes) -> None:
    """The message was published by this route. An id is as durable as the message that it stands for."""
    if len(route.queues) == 0:
        # Nobody took it: whoever gets it back as unroutable may well publish it again.
        return
    is_durable = len(route.stored_ids) > 0 and is_persistent(header)
    for note in route.notes:
        note.window.note(note.dedup_id, note.ttl_ms, is_durable)


@final
class Deduplications:
    """The windows of all exchanges of one vhost that have one."""

    def __init__(self, vhost: VHost, agenda: Agenda, changes: Changes) -> None:
        self._vhost = vhost
        self._agenda = agenda
        self._changes = changes
        # By the exchange's name.
        self._windows: dict[str, DedupWindow] = {}

    def of(self, exchange_name: str) -> DedupWindow | None:
        return self._windows.get(exchange_name)

    def note_for(self, exchange: Exchange, table: FieldTable) -> Note | None:
        """What the exchange would note of a message with these headers; None if it has no say."""
        dedup_id = read_deduplication_header(table)
        if dedup_id is None:
            return None
        return Note(self.begin(exchange), dedup_id, read_cache_ttl_ms(table))

    def begin(self, exchange: Exchange) -> DedupWindow:
        window = self._windows.get(exchange.name)
        if window is None:
            vhost_name = self._vhost.name
            owner_id = 0
            if exchange.durable and not is_in_memory(exchange.arguments):
                owner_id = int(self._changes.next_queue_id())
                name = HIDDEN_PREFIX + exchange.name
                self._changes.put_queue(vhost_name, owner_id, name, False, EMPTY_TABLE, DEDUP)
            window = self._new_window(exchange, owner_id)
        return window

    def restore(self, queue_name: str, owner_id: int, ids: list[RecoveredId]) -> None:
        exchange = self._vhost.exchanges.get(queue_name[len(HIDDEN_PREFIX) :])
        if exchange is not None and exchange.deduplicates:
            self._new_window(exchange, owner_id).restore(ids)

    def _new_window(self, exchange: Exchange, owner_id: int) -> DedupWindow:
        owner = f"exchange '{exchange.name}' in vhost '{self._vhost.name}'"
        arguments = exchange.arguments
        window = DedupWindow(owner, owner_id, cache_ttl_ms(arguments), cache_size(arguments), self._agenda)
        self._windows[exchange.name] = window
        return window

    def forget(self, exchange_name: str) -> None:
        """The exchange is deleted."""
        window = self._windows.pop(exchange_name, None)
        if window is None:
            return
        if window.owner_id > 0:
            self._changes.delete_queue(self._vhost.name, window.owner_id, HIDDEN_PREFIX + exchange_name)
        window.close()

    def describe_to(self, checkpoint: CheckpointBuilder) -> None:
        for window in self._windows.values():
            if window.owner_id > 0:
                window.describe_to(checkpoint)
