"""Is a redeclare the same thing? The rules, and RabbitMQ's texts for a no.

Owns equivalence of queues and who may touch an exclusive one. Exchanges bring their own differences
(exchanges/exchange.py). A passive declare compares nothing. Unknown arguments and policies are not compared.
"""

from __future__ import annotations

from amqpd.base.errors import AccessRefused, PreconditionFailed, ResourceLocked
from amqpd.exchanges.exchange import differing_argument, differing_flag
from amqpd.queues.arguments import CLASSIC, KNOWN, QUORUM
from amqpd.queues.queue import Queue
from amqpd.wire.field_table import FieldTable

RESERVED_PREFIX = "amq."


def queue_in(name: str, vhost: str) -> str:
    return f"queue '{name}' in vhost '{vhost}'"


def exchange_in(name: str, vhost: str) -> str:
    return f"exchange '{name}' in vhost '{vhost}'"


def check_queue_owner(queue: Queue, connection_number: int, vhost: str) -> None:
    """AMQP 0-9-1 queue.declare: "Exclusive queues may only be accessed by the current connection"."""
    if queue.owner != 0 and queue.owner != connection_number:
        raise _locked(queue.name, vhost)


def _locked(name: str, vhost: str) -> ResourceLocked:
    return ResourceLocked(
        f"cannot obtain exclusive access to locked {queue_in(name, vhost)}. It could be originally declared on another "
        "connection or the exclusive property value does not match that of the original declaration."
    )


def check_new_queue_name(name: str) -> None:
    if name.startswith(RESERVED_PREFIX):
        raise AccessRefused(f"queue name '{name}' contains reserved prefix 'amq.*'")


def check_new_exchange_name(name: str) -> None:
    if name.startswith(RESERVED_PREFIX):
        raise AccessRefused(f"exchange name '{name}' contains reserved prefix 'amq.*'")


def check_deletable_exchange(name: str, vhost: str) -> None:
    """Whether it exists or not, as in RabbitMQ."""
    if name.startswith(RESERVED_PREFIX):
        raise AccessRefused(f"deletion of system {exchange_in(name, vhost)} not allowed")


def check_properties_of_type(
    queue_type: str, where: str, durable: bool, exclusive: bool, auto_delete: bool, is_server_named: bool
) -> None:
    """A quorum queue is there to stay."""
    if queue_type != QUORUM:
        return
    if is_server_named:
        raise PreconditionFailed(f"Cannot declare a server-named queue for type rabbit_{queue_type}_queue")
    if auto_delete:
        raise PreconditionFailed(f"invalid property 'auto-delete' for {where}")
    if exclusive:
        raise PreconditionFailed(f"invalid property 'exclusive-owner' for {where}")
    if not durable:
        raise PreconditionFailed(f"invalid property 'non-durable' for {where}")


def check_same_queue(
    queue: Queue, vhost: str, durable: bool, exclusive: bool, auto_delete: bool, owner: int, arguments: FieldTable
) -> None:
    """Raise ResourceLocked where exclusiveness differs, else PreconditionFailed for the first difference."""
    where = queue_in(queue.name, vhost)
    if queue.owner != (owner if exclusive else 0):
        raise _locked(queue.name, vhost)
    if queue.durable != durable:
        raise PreconditionFailed(differing_flag("durable", durable).text(where))
    if queue.auto_delete != auto_delete:
        raise PreconditionFailed(differing_flag("auto_delete", auto_delete).text(where))
    for key in KNOWN:
        if key == "x-queue-type" and _are_both_classic(arguments, queue.arguments):
            continue
        difference = differing_argument(key, arguments, queue.arguments)
        if difference is not None:
            raise PreconditionFailed(difference.text(where))


def _are_both_classic(received: FieldTable, current: FieldTable) -> bool:
    """An absent x-queue-type is a classic queue."""
    return _is_classic(received) and _is_classic(current)


def _is_classic(arguments: FieldTable) -> bool:
    tag = arguments.tag("x-queue-type")
    return tag == "" or (tag == "S" and arguments.get("x-queue-type") == CLASSIC)
