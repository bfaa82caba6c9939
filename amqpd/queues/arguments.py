"""x-arguments of a queue: checked once at declare, and what of them the queue acts on.

Owns which arguments exist, what values they take and the text of a refusal (RabbitMQ's: `invalid arg 'x-expires' for
queue 'q' in vhost '/': ...`, 406). Does not own equivalence of a redeclare (vhosts/declare.py).
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.wire.field_table import FieldTable, type_name

# RabbitMQ's ?MAX_EXPIRY_TIMER: ten years.
EXPIRY_MS_MAX: Final = 315_360_000_000
PRIORITY_MAX: Final = 255

INTEGER_TAGS: Final = "bBsuIilL"
STRING_TAGS: Final = "S"

_EXPIRY: Final = "expiry"
_POSITIVE_EXPIRY: Final = "positive expiry"
_COUNT: Final = "count"
_STRING: Final = "string"
_BOOL: Final = "bool"
_PRIORITY: Final = "priority"
_OVERFLOW: Final = "overflow"
_QUEUE_TYPE: Final = "queue type"
_QUEUE_MODE: Final = "queue mode"
_QUEUE_VERSION: Final = "queue version"
_ROUTING_KEY: Final = "dead letter routing key"

# Every argument that classic queues know, in the order in which RabbitMQ checks them.
KNOWN: Final[dict[str, str]] = {
    "x-expires": _POSITIVE_EXPIRY,
    "x-message-ttl": _EXPIRY,
    "x-dead-letter-exchange": _STRING,
    "x-dead-letter-routing-key": _ROUTING_KEY,
    "x-max-length": _COUNT,
    "x-max-length-bytes": _COUNT,
    "x-max-priority": _PRIORITY,
    "x-overflow": _OVERFLOW,
    "x-queue-mode": _QUEUE_MODE,
    "x-single-active-consumer": _BOOL,
    "x-queue-type": _QUEUE_TYPE,
    "x-queue-version": _QUEUE_VERSION,
}

# Checked and kept, so that a redeclare compares them, but without effect in this version.
NOT_ACTED_ON: Final[tuple[str, ...]] = (
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-single-active-consumer",
)


@final
class QueueOptions:
    """What a queue acts on; -1 where an argument is absent."""

    def __init__(self) -> None:
        self.expires_ms: i64 = -1
        self.queue_type = "classic"


def read_options(arguments: FieldTable, where: str) -> QueueOptions:
    """Check every known argument; raises PreconditionFailed that names the first bad one in `where` (a queue in a vhost)."""
    options = QueueOptions()
    for key, rule in KNOWN.items():
        if not arguments.has(key):
            continue
        tag = arguments.tag(key)
        value = arguments.get(key)
        fault = _fault(rule, tag, value, arguments)
        if fault != "":
            raise PreconditionFailed(f"invalid arg '{key}' for {where}: {fault}")
    expires = arguments.get("x-expires")
    if isinstance(expires, int):
        options.expires_ms = expires
    queue_type = arguments.get("x-queue-type")
    if isinstance(queue_type, str):
        options.queue_type = queue_type
    return options


def unknown_arguments(arguments: FieldTable) -> list[str]:
    """Arguments that no queue type knows: kept, not compared, worth a warning."""
    return [key for key in arguments.to_dict() if key.startswith("x-") and key not in KNOWN]


def ineffective_arguments(arguments: FieldTable) -> list[str]:
    """Known arguments that this version only keeps."""
    return [key for key in NOT_ACTED_ON if arguments.has(key)]


def _fault(rule: str, tag: str, value: object, arguments: FieldTable) -> str:
    """RabbitMQ's term for what is wrong with one argument, or nothing."""
    if rule in (_EXPIRY, _POSITIVE_EXPIRY, _COUNT, _PRIORITY, _QUEUE_VERSION):
        if not isinstance(value, int) or tag not in INTEGER_TAGS:
            return f"{{unacceptable_type,{type_name(tag)}}}"
        return _number_fault(rule, value)
    if rule == _BOOL:
        return "" if tag == "t" else f"{{unacceptable_type,{type_name(tag)}}}"
    if not isinstance(value, str) or tag not in STRING_TAGS:
        return f"{{unacceptable_type,{type_name(tag)}}}"
    if rule == _OVERFLOW and value not in ("drop-head", "reject-publish", "reject-publish-dlx"):
        return "invalid_overflow"
    if rule == _QUEUE_MODE and value not in ("default", "lazy"):
        return "invalid_queue_mode"
    if rule == _QUEUE_TYPE and value not in ("classic", "quorum"):
        return f"<<\"unsupported queue type '{value}'\">>"
    if rule == _ROUTING_KEY and not arguments.has("x-dead-letter-exchange"):
        return "routing_key_but_no_dlx_defined"
    return ""


def _number_fault(rule: str, value: int) -> str:
    if value < 0:
        return f"{{value_negative,{value}}}"
    if rule == _POSITIVE_EXPIRY and value == 0:
        return "{value_zero,0}"
    if rule in (_EXPIRY, _POSITIVE_EXPIRY) and value > EXPIRY_MS_MAX:
        return f"{{value_too_large,{value}}}"
    if rule == _PRIORITY and value > PRIORITY_MAX:
        return f"{{max_value_exceeded,{value}}}"
    if rule == _QUEUE_VERSION and value not in (1, 2):
        return f"{{unsupported_queue_version,{value}}}"
    return ""
