"""What a queue that is stored acts on: its arguments, as far as this version understands them.

Owns the leniency that whoever declares does not get: a check that became stricter since must not keep a node from starting, nor a
queue from being there. Does not own the checks (queues/arguments.py). The queue keeps its arguments as they are.
"""

from __future__ import annotations

from amqpd.base.errors import AmqpError
from amqpd.queues.arguments import QueueOptions
from amqpd.vhosts.policies import Policies
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, without


def understood_arguments(raw: bytes) -> FieldTable:
    """Empty if these bytes are no field table."""
    try:
        table = FieldTable(raw)
        table.to_dict()
    except (AmqpError, ValueError, IndexError):
        return EMPTY_TABLE
    return table


def stored_options(policies: Policies, name: str, arguments: FieldTable, where: str) -> tuple[QueueOptions, list[str]]:
    """Never raises; also says which arguments had to be left out."""
    try:
        return policies.queue_options(name, arguments, where), []
    except AmqpError:
        pass
    left_out = sorted(set(arguments.keys()))
    was_left_out: list[str] = []
    # One argument may be right only beside another one.
    while len(left_out) != len(was_left_out):
        was_left_out = left_out
        for key in was_left_out:
            others = [each for each in left_out if each != key]
            if _is_right(policies, name, _without_all(arguments, others), where):
                left_out = others
    return policies.queue_options(name, _without_all(arguments, left_out), where), left_out


def _without_all(arguments: FieldTable, keys: list[str]) -> FieldTable:
    for key in keys:
        arguments = without(arguments, key)
    return arguments


def _is_right(policies: Policies, name: str, arguments: FieldTable, where: str) -> bool:
    try:
        policies.queue_options(name, arguments, where)
    except AmqpError:
        return False
    return True
