"""From what was stored to vhosts with exchanges, queues, bindings and messages, at start.

Owns the order in which it is put together and what a first start creates. Stored rows were checked when they were declared, and are
not checked again; but one that makes no sense is left alone, or restored as far as it can be, with a line for the operator: a
directory can always be opened. Nothing here is logged again, except what an older version did not say (`QueueRow.kind`).
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
from amqpd.store.topology import DEDUP, DELAY, PLAIN, UNDECIDED, BindingRow, ExchangeRow, QueueRow, Topology
from amqpd.vhosts.access import Access
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.declare import exchange_in, queue_in
from amqpd.vhosts.deduplication import HIDDEN_PREFIX as DEDUP_PREFIX
from amqpd.vhosts.delays import HIDDEN_PREFIX as DELAY_PREFIX
from amqpd.vhosts.delays import delay_options
from amqpd.vhosts.policies import OPERATOR_POLICY, policy_from_row
from amqpd.vhosts.stored_options import stored_options, understood_arguments
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import FieldTable

DEFAULT_USER: Final = "guest"
SALT_BYTES: Final = 4


def resident_queue_ids(topology: Topology) -> list[int]:
    """Queues whose place in the order, or whose time, is in the messages themselves: they need them in memory."""
    return [
        int(row.queue_id)
        for row in topology.queues
        if row.kind == DELAY
        or (row.kind == UNDECIDED and row.name.startswith(DELAY_PREFIX))
        or understood_arguments(row.arguments).has("x-max-priority")
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
    for line in topology.set_aside:
        agenda.alert(line)
    for row in topology.vhosts:
        vhosts[row.name] = VHost(row.name, limits, agenda, changes)
    if len(vhosts) == 0:
        vhosts[limits.default_vhost] = VHost(limits.default_vhost, limits, agenda, changes)
        changes.put_vhost(limits.default_vhost)
    _restore_policies(topology, vhosts, agenda)
    for exchange in topology.exchanges:
        _restore_exchange(exchange, vhosts, agenda)
    for queue_row in topology.queues:
        vhost = vhosts.get(queue_row.vhost)
        queue_id = int(queue_row.queue_id)
        if vhost is None and len(recovered.queues.get(queue_id, [])) == 0 and queue_id not in recovered.pages:
            continue
        if vhost is None:
            agenda.alert(f"{queue_in(queue_row.name, queue_row.vhost)} is in a vhost that is gone, which is made again")
            vhost = VHost(queue_row.vhost, limits, agenda, changes)
            vhosts[queue_row.vhost] = vhost
            changes.put_vhost(queue_row.vhost)
        _restore_queue(queue_row, vhost, recovered, agenda)
    for binding in topology.bindings:
        _restore_binding(binding, vhosts, agenda)
    for vhost in vhosts.values():
        vhost.apply_to_exchanges()
    return vhosts


def _left_alone(what: str, error: Exception, agenda: Agenda) -> None:
    """A row that can't be restored stays in the store, and the node starts."""
    agenda.alert(f"{what} can't be restored and is left alone in topology.sqlite: {error}")


def _restore_exchange(row: ExchangeRow, vhosts: dict[str, VHost], agenda: Agenda) -> None:
    try:
        arguments = FieldTable(row.arguments)
        arguments.to_dict()
        exchange = create(row.type_name, row.name, True, row.auto_delete, row.internal, arguments)
        vhosts[row.vhost].restore_exchange(exchange)
    except Exception as error:  # whatever it is, it is about this row only
        _left_alone(exchange_in(row.name, row.vhost), error, agenda)


def _restore_binding(row: BindingRow, vhosts: dict[str, VHost], agenda: Agenda) -> None:
    try:
        arguments = FieldTable(row.arguments)
        arguments.to_dict()
        vhosts[row.vhost].restore_binding(
            Binding(row.source, row.destination, row.to_exchange, row.routing_key, arguments)
        )
    except Exception as error:  # whatever it is, it is about this row only
        _left_alone(f"the binding of '{row.destination}' to {exchange_in(row.source, row.vhost)}", error, agenda)


def _decide_kind(row: QueueRow, vhost: VHost) -> str:
    """What the row is. Versions that did not say so went by names, which a definitions file may give to a queue as well."""
    kind = row.kind
    if kind not in (PLAIN, DELAY, DEDUP):
        kind = PLAIN
        if row.name.startswith(DELAY_PREFIX) and len(row.arguments) == 0:
            exchange = vhost.exchanges.get(row.name[len(DELAY_PREFIX) :])
            if exchange is not None and (exchange.delays or vhost.policies.delays(exchange.name)):
                kind = DELAY
        elif row.name.startswith(DEDUP_PREFIX) and len(row.arguments) == 0:
            exchange = vhost.exchanges.get(row.name[len(DEDUP_PREFIX) :])
            if exchange is not None and exchange.deduplicates:
                kind = DEDUP
    if kind == DELAY:
        name = row.name[len(DELAY_PREFIX) :]
        if name not in vhost.exchanges or vhost.delays.of(name) is not None:
            kind = PLAIN
    if kind != row.kind:
        vhost.changes.put_queue(
            vhost.name, row.queue_id, row.name, row.auto_delete, understood_arguments(row.arguments), kind
        )
    return kind


def _restore_queue(row: QueueRow, vhost: VHost, recovered: Recovered, agenda: Agenda) -> None:
    queue_id = int(row.queue_id)
    kind = _decide_kind(row, vhost)
    ids = recovered.dedup_ids.pop(queue_id, [])
    if kind == DEDUP:
        vhost.deduplications.restore(row.name, queue_id, ids)
        return
    queue = _new_queue(row, kind, vhost, agenda)
    if kind == DELAY:
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


def _new_queue(row: QueueRow, kind: str, vhost: VHost, agenda: Agenda) -> Queue:
    """Without the checks that are for clients: a queue that was there is there, and so are its messages."""
    name = row.name
    where = queue_in(name, vhost.name)
    arguments = understood_arguments(row.arguments)
    if len(arguments.raw) != len(row.arguments):
        agenda.alert(f"the arguments of {where} can't be read: it is restored without any")
    if kind == DELAY:
        return Queue(row.queue_id, vhost.name, name, True, row.auto_delete, 0, arguments, delay_options(), agenda)
    options, left_out = stored_options(vhost.policies, name, arguments, where)
    for key in left_out:
        agenda.warn(f"{where} is stored with an argument that this version does not take: '{key}' is ignored")
    if name in vhost.queues:
        name = f"{name} (queue_id {row.queue_id})"
        agenda.alert(f"{where} is stored twice: the second one is restored as '{name}'")
    return Queue(row.queue_id, vhost.name, name, True, row.auto_delete, 0, arguments, options, agenda)


def _restore_messages(queue: Queue, entries: list[RecoveredEntry], agenda: Agenda) -> None:
    waits_to: i64 = 0
    for entry in entries:
        if entry.ready_at_ms > agenda.wall_ms:
            waits_to = entry.message.message_id
    for entry in entries:
        # What is older than some message that waits comes back like that one will, or it would be behind it then.
        _restore_message(queue, entry, entry.message.message_id < waits_to)


def _restore_deep(queue: Queue, entries: list[RecoveredEntry], pages: list[Page]) -> None:
    """What is on disk only, and in its place what is in memory; nothing waits here."""
    at: i64 = 0
    for page in pages:
        while at < len(entries) and entries[at].message.message_id < page.first_id:
            _restore_message(queue, entries[at], False)
            at += 1
        queue.ready.append_page(page)
    for entry in entries[at:]:
        _restore_message(queue, entry, False)
    settle_down(queue)


def _restore_message(queue: Queue, entry: RecoveredEntry, is_returned: bool) -> None:
    try:
        restore(queue, entry.message, entry.delivery_count, entry.redelivered, entry.ready_at_ms, is_returned)
    except Exception as error:  # whatever it is, it is about this message only
        failed = Entry(entry.message, queue)
        failed.delivery_count = entry.delivery_count
        queue.entry_failed(failed, error)


def _restore_policies(topology: Topology, vhosts: dict[str, VHost], agenda: Agenda) -> None:
    rows = [*topology.policies, *[row for row in topology.parameters if row["component"] == OPERATOR_POLICY]]
    for row in rows:
        vhost = vhosts.get(str(row["vhost"]))
        if vhost is None:
            continue
        try:
            vhost.policies.put(policy_from_row(row))
        except Exception as error:  # whatever it is, it is about this row only
            _left_alone(f"the policy '{row['name']}' of vhost '{vhost.name}'", error, agenda)


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
