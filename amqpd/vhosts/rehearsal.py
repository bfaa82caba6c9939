"""A copy of one vhost in which declares and binds are tried: by the rules of the vhost itself, and without a trace.

Owns how the copy is made. Its exchanges are its own; queues that exist are the vhost's, and are only looked at. What
is declared in it logs, stores and says nothing to anybody. It has no policies, for they refuse nothing.
"""

from __future__ import annotations

from amqpd.base.limits import Limits
from amqpd.exchanges.registry import create
from amqpd.queues.agenda import Agenda
from amqpd.store.log import Log, fresh_start
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.vhost import VHost


def rehearsal_of(vhost: VHost, limits: Limits) -> VHost:
    """Takes as long as there are exchanges, queues and bindings."""
    copy = VHost(vhost.name, limits, Agenda(Log(fresh_start(1))), Changes(1))
    for each in vhost.exchanges.values():
        copy.restore_exchange(
            create(each.type_name, each.name, each.durable, each.auto_delete, each.internal, each.arguments)
        )
    for queue in vhost.queues.values():
        copy.restore_queue(queue)
    for exchange in vhost.exchanges.values():
        for binding in exchange.bindings.values():
            copy.restore_binding(binding)
    return copy
