"""From what was stored to vhosts with exchanges, queues, bindings and messages, at start.

Owns the order in which it is put together and what a first start creates. Stored rows are trusted: they were checked when
they were declared. Nothing here is logged again.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.registry import create
from amqpd.queues.agenda import Agenda
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.queues.restart import restore, settle_down
from amqpd.store.page import Page
from amqpd.store.record import PARKED_MS
from amqpd.store.recovered import Recovered, RecoveredEntry
from amqpd.store.topology import QueueRow, Topology
from amqpd.vhosts.access import Access
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.declare import queue_in
from amqpd.vhosts.deduplication import is_window
from amqpd.vhosts.delays import delay_options, is_hidden
from amqpd.vhosts.policies import OPERATOR_POLICY, policy_from_row
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import FieldTable

DEFAULT_USER: Final = "guest"
SALT_BYTES: Final = 4


def resident_queue_ids(topology: Topology) -> list[int]:
    """Queues whose place in the order, or whose time, is in the messages themselves: they need them in memory."""
    return [
        int(row.queue_id)
        for row in topology.queues
        if is_hidden(row.name) or FieldTable(row.arguments).has("x-max-priority")
    ]


def restore_vhosts(
    topology: Topology,
    recovered: Recovered,
    limits: Limits,
    agenda: Agenda,
    changes: Changes,
) -> dict[str, VHost]:
    """Every vhost as it was; the default one is created where there is none yet."""
    vhosts: dict[str, VHost] = {}
    for row in topology.vhosts:
        vhosts[row.name] = VHost(row.name, limits, agenda, changes)
    if len(vhosts) == 0:
        vhosts[limits.default_vhost] = VHost(limits.default_vhost, limits, agenda, changes)
        changes.put_vhost(limits.default_vhost)
    _restore_policies(topology, vhosts)
    for exchange in topology.exchanges:
        vhost = vhosts.get(exchange.vhost)
        if vhost is not None:
            arguments = FieldTable(exchange.arguments)
            vhost.restore_exchange(
                create(exchange.type_name, exchange.name, True, exchange.auto_delete, exchange.internal, arguments)
            )
    for queue_row in topology.queues:
        vhost = vhosts.get(queue_row.vhost)
        if vhost is not None:
            _restore_queue(queue_row, vhost, recovered, agenda)
    for binding in topology.bindings:
        vhost = vhosts.get(binding.vhost)
        if vhost is not None:
            vhost.restore_binding(
                Binding(
                    binding.source,
                    binding.destination,
                    binding.to_exchange,
                    binding.routing_key,
                    FieldTable(binding.arguments),
                )
            )
    for vhost in vhosts.values():
        vhost.apply_to_exchanges()
    return vhosts


def _restore_queue(row: QueueRow, vhost: VHost, recovered: Recovered, agenda: Agenda) -> None:
    queue_id = int(row.queue_id)
    ids = recovered.dedup_ids.pop(queue_id, [])
    if is_window(row.name):
        vhost.deduplications.restore(row.name, queue_id, ids)
        return
    arguments = FieldTable(row.arguments)
    if is_hidden(row.name):
        options = delay_options()
    else:
        options = vhost.policies.queue_options(row.name, arguments, queue_in(row.name, vhost.name))
    queue = Queue(row.queue_id, vhost.name, row.name, True, row.auto_delete, 0, arguments, options, agenda)
    if options.is_delay:
        vhost.delays.restore(queue)
    else:
        vhost.restore_queue(queue)
    queue.delivered_to = recovered.delivered_to.get(queue_id, 0)
    if queue.dedup is not None:
        queue.dedup.restore(ids)
    entries = _without_parked(queue, recovered.queues.pop(queue_id, []), agenda)
    pages = recovered.pages.pop(queue_id, [])
    if len(pages) == 0:
        _restore_messages(queue, entries, agenda)
    else:
        _restore_deep(queue, entries, pages)


def _without_parked(queue: Queue, entries: list[RecoveredEntry], agenda: Agenda) -> list[RecoveredEntry]:
    """What is parked goes back there; the others, which have an order, are returned."""
    parked = [entry for entry in entries if entry.ready_at_ms == PARKED_MS]
    if len(parked) == 0:
        return entries
    for entry in parked:
        restore(queue, entry.message, entry.delivery_count, True, PARKED_MS)
    agenda.warn(f"{queue.title} has {len(parked)} parked messages, which nobody gets: see amqpd log parked")
    return [entry for entry in entries if entry.ready_at_ms != PARKED_MS]


def _restore_one(queue: Queue, entry: RecoveredEntry, is_returned: bool = False) -> None:
    """A message that can't be restored is parked: the others are."""
    try:
        restore(queue, entry.message, entry.delivery_count, entry.redelivered, entry.ready_at_ms, is_returned)
    except Exception as error:
        queue.entry_failed(Entry(entry.message, queue), error)


def _restore_messages(queue: Queue, entries: list[RecoveredEntry], agenda: Agenda) -> None:
    waits_to: i64 = 0
    for entry in entries:
        if entry.ready_at_ms > agenda.wall_ms:
            waits_to = entry.message.message_id
    for entry in entries:
        # What is older than some message that waits comes back like that one will, or it would be behind it then.
        is_returned = entry.message.message_id < waits_to
        _restore_one(queue, entry, is_returned)


def _restore_deep(queue: Queue, entries: list[RecoveredEntry], pages: list[Page]) -> None:
    """What is on disk only, and in its place what is in memory; nothing waits here."""
    at: i64 = 0
    for page in pages:
        while at < len(entries) and entries[at].message.message_id < page.first_id:
            _restore_one(queue, entries[at])
            at += 1
        queue.ready.append_page(page)
    for entry in entries[at:]:
        _restore_one(queue, entry)
    settle_down(queue)


def _restore_policies(topology: Topology, vhosts: dict[str, VHost]) -> None:
    rows = [*topology.policies, *[row for row in topology.parameters if row["component"] == OPERATOR_POLICY]]
    for row in rows:
        vhost = vhosts.get(str(row["vhost"]))
        if vhost is not None:
            vhost.policies.put(policy_from_row(row))


def restore_access(topology: Topology, limits: Limits, changes: Changes, entropy: Entropy) -> Access:
    """Users and permissions as they were; a first start has guest, who may only come from the same machine."""
    access = Access(limits.loopback_users)
    access.load(topology.users, topology.permissions)
    if len(topology.users) == 0:
        user = access.add_user(DEFAULT_USER, b"guest", entropy.token(SALT_BYTES), ("administrator",))
        permission = access.set_permissions(DEFAULT_USER, limits.default_vhost, ".*", ".*", ".*")
        changes.put_user(user.row())
        changes.put_permission(permission.row())
    return access
