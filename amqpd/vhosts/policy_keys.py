"""What a policy can set: every key, the values it takes, and RabbitMQ's sentence for a wrong one.

Owns the keys. Does not own which policy applies to what (policies.py), nor what a value does (queues, exchanges). Keys
that RabbitMQ has and this broker has no use for are checked and kept, so that a definitions file of RabbitMQ's loads.
"""

from __future__ import annotations

import json
from typing import Final

from amqpd.queues.arguments import EXPIRY_MS_MAX
from amqpd.queues.back_off import TYPES, is_multiplier
from amqpd.queues.overflow import OVERFLOWS

ALTERNATE_EXCHANGE: Final = "alternate-exchange"
DELAYED_MESSAGE: Final = "delayed-message"

NUMBER_MAX: Final = 0x7FFFFFFFFFFFFFFF
TEXT_BYTES_MAX: Final = 255

_NAME: Final = "name"
_NUMBER: Final = "number"
_EXPIRY: Final = "expiry"
_POSITIVE_EXPIRY: Final = "positive expiry"
_POSITIVE: Final = "positive"
_LIMIT: Final = "limit"
_BOOL: Final = "bool"
_ANY: Final = "any"
_WORD: Final = "word"
_MULTIPLIER: Final = "multiplier"
_PERCENT: Final = "percent"

# Key -> rule, and what RabbitMQ calls the thing.
KEYS: Final[dict[str, tuple[str, str]]] = {
    "alternate-exchange": (_NAME, "alternate exchange name"),
    "consumer-timeout": (_POSITIVE, "consumer timeout"),
    "dead-letter-exchange": (_NAME, "dead letter exchange name"),
    "dead-letter-routing-key": (_NAME, "dead letter routing key"),
    "dead-letter-strategy": (_WORD, "dead letter strategy"),
    "dedup-ids-max": (_POSITIVE, "maximum number of deduplication ids"),
    "dedup-window-ms": (_POSITIVE_EXPIRY, "deduplication window"),
    "delayed-message": (_BOOL, "delayed-message value"),
    "delayed-retry-max": (_EXPIRY, "delayed retry time"),
    "delayed-retry-min": (_EXPIRY, "delayed retry time"),
    "delayed-retry-type": (_WORD, "delayed retry type"),
    "delivery-limit": (_LIMIT, "delivery limit"),
    "expires": (_POSITIVE_EXPIRY, "queue expiry"),
    "federation-upstream": (_NAME, "federation upstream"),
    "federation-upstream-set": (_NAME, "federation upstream set"),
    "ha-mode": (_WORD, "ha-mode value"),
    "ha-params": (_ANY, "ha-params value"),
    "ha-promote-on-failure": (_WORD, "ha-promote-on-failure value"),
    "ha-promote-on-shutdown": (_WORD, "ha-promote-on-shutdown value"),
    "ha-sync-batch-size": (_POSITIVE, "ha-sync-batch-size value"),
    "ha-sync-mode": (_WORD, "ha-sync-mode value"),
    "initial-cluster-size": (_POSITIVE, "cluster size"),
    "max-age": (_NAME, "max age"),
    "max-in-memory-bytes": (_NUMBER, "maximum memory in bytes"),
    "max-in-memory-length": (_NUMBER, "maximum memory in bytes"),
    "max-length": (_NUMBER, "maximum length"),
    "max-length-bytes": (_NUMBER, "maximum length in bytes"),
    "message-ttl": (_EXPIRY, "message TTL"),
    "overflow": (_WORD, "overflow value"),
    "queue-leader-locator": (_WORD, "queue leader locator value"),
    "queue-master-locator": (_WORD, "queue-master-locator value"),
    "queue-mode": (_WORD, "queue-mode value"),
    "queue-version": (_ANY, "queue-version value"),
    "retry-initial-ms": (_POSITIVE_EXPIRY, "retry delay"),
    "retry-jitter-percent": (_PERCENT, "retry jitter"),
    "retry-max-ms": (_POSITIVE_EXPIRY, "retry delay"),
    "retry-multiplier": (_MULTIPLIER, "retry multiplier"),
    "stream-max-segment-size-bytes": (_POSITIVE, "segment size"),
    "target-group-size": (_POSITIVE, "target group size"),
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "dead-letter-strategy": ("at-most-once", "at-least-once"),
    "delayed-retry-type": tuple(TYPES),
    "ha-mode": ("all", "exactly", "nodes"),
    "ha-promote-on-failure": ("always", "when-synced"),
    "ha-promote-on-shutdown": ("always", "when-synced"),
    "ha-sync-mode": ("manual", "automatic"),
    "overflow": tuple(OVERFLOWS),
    "queue-leader-locator": ("client-local", "balanced", "random", "least-leaders"),
    "queue-master-locator": ("min-masters", "client-local", "random"),
    "queue-mode": ("default", "lazy"),
}

# RabbitMQ 4's, wider than 3.10's: limits that whoever runs the broker lays on whoever uses it.
OPERATOR_KEYS: Final[tuple[str, ...]] = (
    "dedup-ids-max",
    "delayed-retry-max",
    "delayed-retry-min",
    "delayed-retry-type",
    "delivery-limit",
    "expires",
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
    "queue-version",
    "retry-initial-ms",
    "retry-jitter-percent",
    "retry-max-ms",
    "retry-multiplier",
    "target-group-size",
)


def definition_fault(definition: dict[str, object], is_operator: bool) -> str:
    """What is wrong with the keys and values of a policy, in RabbitMQ's words; nothing if all is well."""
    if len(definition) == 0:
        return "no policy provided"
    unknown = [key for key in definition if key not in KEYS or (is_operator and key not in OPERATOR_KEYS)]
    if len(unknown) > 0:
        return f"{shown(unknown)} are not recognised policy settings"
    for key, value in definition.items():
        rule, thing = KEYS[key]
        if not _is_valid(key, rule, value):
            return f"{shown(value)} is not a valid {thing}"
    return ""


def is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def lower(a: int, b: int) -> int:
    """The stricter of two limits. Below 0 is none, which only delivery-limit can spell."""
    if a < 0 or b < 0:
        return max(a, b)
    return min(a, b)


def shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _is_valid(key: str, rule: str, value: object) -> bool:
    if rule == _NAME:
        return isinstance(value, str) and len(value.encode("utf-8", "surrogateescape")) <= TEXT_BYTES_MAX
    if rule == _WORD:
        return isinstance(value, str) and value in WORDS[key]
    if rule == _BOOL:
        return isinstance(value, bool)
    if rule == _ANY:
        return key != "queue-version" or value in (1, 2)
    if rule == _MULTIPLIER:
        return is_multiplier(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    if rule == _PERCENT:
        return 0 <= value <= 100
    if rule == _EXPIRY:
        return 0 <= value <= EXPIRY_MS_MAX
    if rule == _POSITIVE_EXPIRY:
        return 1 <= value <= EXPIRY_MS_MAX
    lowest = -1 if rule == _LIMIT else (1 if rule == _POSITIVE else 0)
    return lowest <= value <= NUMBER_MAX
