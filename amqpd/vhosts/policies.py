"""Policies of one vhost: which applies to which queue or exchange, and what a queue acts on by all its say-so.

A policy names queues and exchanges by a pattern, and sets for them what arguments set at declare, but later, for many,
and again. To one name applies one policy: the one with the highest priority; of equals, the one first in the alphabet.
Beside it applies one operator policy, by the same rule. Where several set one thing (RabbitMQ's rule):

    policy and operator policy     numbers: the lower one; anything else: the operator's
    that and the argument          numbers: the lower one; anything else: the argument's

Owns the policies and both rules. Does not own their keys (policy_keys.py), when they are applied (vhost.py), nor what
becomes of messages that are there already (Queue.apply). Invariant: a policy is never changed, only replaced.
"""

from __future__ import annotations

import json
from typing import Final, final

from amqpd.base.errors import PreconditionFailed
from amqpd.queues.arguments import FOREIGN, KNOWN, QueueOptions, read_options
from amqpd.vhosts.patterns import Pattern
from amqpd.vhosts.policy_keys import ALTERNATE_EXCHANGE, DELAYED_MESSAGE, definition_fault, is_number, lower, shown
from amqpd.wire.field_table import FieldTable, with_value, without

# The component under which parameters hold operator policies, in definitions and in the topology store.
OPERATOR_POLICY: Final = "operator_policy"

ALL: Final = "all"
QUEUES: Final = "queues"
EXCHANGES: Final = "exchanges"
APPLY_TO: Final = (ALL, QUEUES, EXCHANGES, "classic_queues", "quorum_queues", "streams")

NAME_BYTES_MAX: Final = 255
PRIORITY_MAX: Final = 0x7FFFFFFF


@final
class Policy:
    """One policy, or one operator policy. Raises ValueError for a pattern that can't be compiled."""

    def __init__(
        self,
        vhost: str,
        name: str,
        pattern: str,
        priority: int,
        apply_to: str,
        definition: dict[str, object],
        is_operator: bool,
    ) -> None:
        self.vhost = vhost
        self.name = name
        self.pattern = pattern
        self.priority = priority
        self.apply_to = apply_to
        self.definition = definition
        self.is_operator = is_operator
        self._pattern = Pattern(pattern)

    def covers_queue(self, name: str, queue_type: str) -> bool:
        apply_to = self.apply_to
        if apply_to not in (ALL, QUEUES) and apply_to != f"{queue_type}_queues":
            return False
        return self._pattern.matches(name)

    def covers_exchange(self, name: str) -> bool:
        return self.apply_to in (ALL, EXCHANGES) and self._pattern.matches(name)

    def same_as(self, other: Policy) -> bool:
        return self.row() == other.row()

    def row(self) -> dict[str, object]:
        """Of the table of policies; of an operator policy, of the table of parameters."""
        if self.is_operator:
            value = {
                "pattern": self.pattern,
                "definition": self.definition,
                "priority": self.priority,
                "apply-to": self.apply_to,
            }
            return {
                "vhost": self.vhost,
                "component": OPERATOR_POLICY,
                "name": self.name,
                "value": json.dumps(value, sort_keys=True),
            }
        return {
            "vhost": self.vhost,
            "name": self.name,
            "pattern": self.pattern,
            "apply_to": self.apply_to,
            "priority": self.priority,
            "definition": json.dumps(self.definition, sort_keys=True),
        }


def policy_from_row(row: dict[str, object]) -> Policy:
    """A row that `Policy.row` gave."""
    if "component" not in row:
        definition = json.loads(str(row["definition"]))
        priority = int(str(row["priority"]))
        pattern, apply_to = str(row["pattern"]), str(row["apply_to"])
        return Policy(str(row["vhost"]), str(row["name"]), pattern, priority, apply_to, definition, False)
    value: dict[str, object] = json.loads(str(row["value"]))
    inner = value["definition"]
    assert isinstance(inner, dict)
    priority = int(str(value["priority"]))
    pattern, apply_to = str(value["pattern"]), str(value["apply-to"])
    return Policy(str(row["vhost"]), str(row["name"]), pattern, priority, apply_to, inner, True)


def checked_policy(
    vhost: str,
    name: str,
    pattern: object,
    priority: object,
    apply_to: object,
    definition: object,
    is_operator: bool,
) -> Policy:
    """A policy from somebody's input: ValueError with one sentence that names it and says what is wrong."""
    kind = "operator policy" if is_operator else "policy"
    where = f"{kind} '{name}' in vhost '{vhost}'"
    if name == "" or len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES_MAX:
        raise ValueError(f"{where}: a policy's name has 1 to {NAME_BYTES_MAX} bytes")
    if not isinstance(pattern, str):
        raise ValueError(f"{where}: pattern should be binary, actually was {shown(pattern)}")
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > PRIORITY_MAX:
        raise ValueError(f"{where}: priority should be a number, actually was {shown(priority)}")
    if not isinstance(apply_to, str) or apply_to not in APPLY_TO:
        raise ValueError(f"{where}: apply-to {shown(apply_to)} unrecognised; should be one of {', '.join(APPLY_TO)}")
    if not isinstance(definition, dict):
        raise ValueError(f"{where}: definition should be a dictionary, actually was {shown(definition)}")
    fault = definition_fault(definition, is_operator)
    if fault != "":
        raise ValueError(f"{where}: {fault}")
    try:
        return Policy(vhost, name, pattern, priority, apply_to, dict(definition), is_operator)
    except ValueError as error:
        raise ValueError(f"{where}: pattern should be regular expression but is invalid: {error}") from error


@final
class Policies:
    def __init__(self) -> None:
        self._policies: dict[str, Policy] = {}
        self._operator_policies: dict[str, Policy] = {}
        # The same in the order in which they are asked.
        self._ranked: list[Policy] = []
        self._operator_ranked: list[Policy] = []

    @property
    def count(self) -> int:
        return len(self._policies) + len(self._operator_policies)

    def all(self, is_operator: bool) -> list[Policy]:
        """In order of their names."""
        known = self._operator_policies if is_operator else self._policies
        return [known[name] for name in sorted(known)]

    def get(self, name: str, is_operator: bool) -> Policy | None:
        return (self._operator_policies if is_operator else self._policies).get(name)

    def put(self, policy: Policy) -> bool:
        """False if this very policy is there already."""
        known = self._operator_policies if policy.is_operator else self._policies
        old = known.get(policy.name)
        if old is not None and old.same_as(policy):
            return False
        known[policy.name] = policy
        self._rank()
        return True

    def delete(self, name: str, is_operator: bool) -> Policy | None:
        deleted = (self._operator_policies if is_operator else self._policies).pop(name, None)
        self._rank()
        return deleted

    def _rank(self) -> None:
        self._ranked = _ranked(self._policies)
        self._operator_ranked = _ranked(self._operator_policies)

    # Asking

    def of_queue(self, name: str, queue_type: str) -> Policy | None:
        return _first_for_queue(self._ranked, name, queue_type)

    def operator_of_queue(self, name: str, queue_type: str) -> Policy | None:
        return _first_for_queue(self._operator_ranked, name, queue_type)

    def of_exchange(self, name: str) -> Policy | None:
        for policy in self._ranked:
            if policy.covers_exchange(name):
                return policy
        return None

    def definition_of_queue(self, name: str, queue_type: str) -> dict[str, object]:
        """What policy and operator policy together say (RabbitMQ's effective_policy_definition)."""
        policy = self.of_queue(name, queue_type)
        operator_policy = self.operator_of_queue(name, queue_type)
        merged: dict[str, object] = {}
        if policy is not None:
            merged.update(policy.definition)
        if operator_policy is not None:
            for key, value in operator_policy.definition.items():
                merged[key] = _lower_of(merged.get(key), value, value)
        return merged

    def queue_options(self, name: str, arguments: FieldTable, where: str) -> QueueOptions:
        """What a queue with these arguments acts on; raises PreconditionFailed for wrong arguments."""
        options = read_options(arguments, where)
        if len(self._ranked) == 0 and len(self._operator_ranked) == 0:
            return options
        definition = self.definition_of_queue(name, options.queue_type)
        if len(definition) == 0:
            return options
        try:
            return read_options(effective_arguments(arguments, definition, options.queue_type), where)
        except PreconditionFailed:
            # Together they are something that a queue of this type can't be; then the arguments stand alone.
            return options

    def alternate_of(self, name: str, argument: str | None) -> str | None:
        """An exchange's alternate exchange: its argument, or else the policy's."""
        if argument is not None:
            return argument
        policy = self.of_exchange(name)
        value = policy.definition.get(ALTERNATE_EXCHANGE) if policy is not None else None
        return value if isinstance(value, str) else None

    def delays(self, name: str) -> bool:
        """True if a policy lets the exchange honour x-delay, whatever its type."""
        policy = self.of_exchange(name)
        return policy is not None and policy.definition.get(DELAYED_MESSAGE) is True


def effective_arguments(arguments: FieldTable, definition: dict[str, object], queue_type: str) -> FieldTable:
    """The arguments that would have made the queue what it is with its policies."""
    merged = arguments
    for key, value in definition.items():
        argument = f"x-{key}"
        if argument not in KNOWN or argument in FOREIGN[queue_type]:
            continue
        if not arguments.has(argument):
            merged = with_value(merged, argument, value)
            continue
        own = arguments.get(argument)
        chosen = _lower_of(own, value, own)
        if chosen != own:
            merged = with_value(merged, argument, chosen)
    if merged.has("x-dead-letter-routing-key") and not merged.has("x-dead-letter-exchange"):
        # As an argument that is refused; as a policy it waits for the exchange.
        merged = without(merged, "x-dead-letter-routing-key")
    return merged


def _lower_of(a: object, b: object, otherwise: object) -> object:
    if isinstance(a, int) and isinstance(b, int) and is_number(a) and is_number(b):
        return lower(a, b)
    return otherwise


def _first_for_queue(ranked: list[Policy], name: str, queue_type: str) -> Policy | None:
    for policy in ranked:
        if policy.covers_queue(name, queue_type):
            return policy
    return None


def _ranked(policies: dict[str, Policy]) -> list[Policy]:
    order = sorted([(-policy.priority, name) for name, policy in policies.items()])
    return [policies[name] for _, name in order]
