"""x-arguments of a queue: checked once at declare, and what of them the queue acts on.

Owns which arguments exist, what values they take and the text of a refusal (RabbitMQ's: `invalid arg 'x-expires' for
queue 'q' in vhost '/': ...`, 406). Does not own equivalence of a redeclare (vhosts/declare.py).
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.queues.back_off import MULTIPLIER_MAX, TYPES, BackOff, is_multiplier, read_back_off
from amqpd.queues.overflow import DROP_HEAD, OVERFLOWS
from amqpd.wire.field_table import FieldTable, type_name

# RabbitMQ's ?MAX_EXPIRY_TIMER: ten years.
EXPIRY_MS_MAX: Final = 315_360_000_000
PRIORITY_MAX: Final = 255
CLASSIC: Final = "classic"
QUORUM: Final = "quorum"

INTEGER_TAGS: Final = "bBsuIilL"
STRING_TAGS: Final = "S"

_EXPIRY: Final = "expiry"
_POSITIVE_EXPIRY: Final = "positive expiry"
_COUNT: Final = "count"
_STRING: Final = "string"
_BOOL: Final = "bool"
_PRIORITY: Final = "priority"
_OVERFLOW: Final = "overflow"
_DELIVERY_LIMIT: Final = "delivery limit"
_POSITIVE_COUNT: Final = "positive count"
_QUEUE_TYPE: Final = "queue type"
_QUEUE_MODE: Final = "queue mode"
_QUEUE_VERSION: Final = "queue version"
_ROUTING_KEY: Final = "dead letter routing key"
_DEAD_LETTER_STRATEGY: Final = "dead letter strategy"
_LEADER_LOCATOR: Final = "leader locator"
_RETRY_TYPE: Final = "retry type"
_MULTIPLIER: Final = "multiplier"
_PERCENT: Final = "percent"

# Every argument that some queue type knows, in the order in which RabbitMQ checks and compares them.
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
    "x-queue-version": _QUEUE_VERSION,
    "x-single-active-consumer": _BOOL,
    "x-queue-type": _QUEUE_TYPE,
    "x-queue-master-locator": _STRING,
    "x-delivery-limit": _DELIVERY_LIMIT,
    "x-dead-letter-strategy": _DEAD_LETTER_STRATEGY,
    "x-max-in-memory-length": _COUNT,
    "x-max-in-memory-bytes": _COUNT,
    "x-quorum-initial-group-size": _POSITIVE_COUNT,
    "x-queue-leader-locator": _LEADER_LOCATOR,
    # RabbitMQ 4.3's, there for quorum queues only.
    "x-delayed-retry-type": _RETRY_TYPE,
    "x-delayed-retry-min": _EXPIRY,
    "x-delayed-retry-max": _EXPIRY,
    # Our own.
    "x-retry-initial-ms": _POSITIVE_EXPIRY,
    "x-retry-multiplier": _MULTIPLIER,
    "x-retry-max-ms": _POSITIVE_EXPIRY,
    "x-retry-jitter-percent": _PERCENT,
    "x-consumer-timeout": _COUNT,
    # Ours: RabbitMQ knows and refuses neither.
    "x-dedup-window-ms": _POSITIVE_EXPIRY,
    "x-dedup-ids-max": _POSITIVE_COUNT,
}

# What a type does not know and RabbitMQ refuses there. RabbitMQ 3.10 also refuses x-delivery-limit and
# x-queue-leader-locator for classic queues, and x-max-priority for quorum queues: here every queue counts deliveries and
# has priorities, and newer RabbitMQs take the locator.
_STREAM_ARGUMENTS: Final = ("x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size")
FOREIGN: Final[dict[str, tuple[str, ...]]] = {
    CLASSIC: (
        "x-dead-letter-strategy",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-quorum-initial-group-size",
        *_STREAM_ARGUMENTS,
    ),
    QUORUM: ("x-queue-mode", "x-queue-version", "x-queue-master-locator", *_STREAM_ARGUMENTS),
}


@final
class QueueOptions:
    """What a queue acts on; -1 or None where it is absent."""

    def __init__(self) -> None:
        self.queue_type = CLASSIC
        self.expires_ms: i64 = -1
        self.message_ttl_ms: i64 = -1
        self.dead_letter_exchange: str | None = None
        self.dead_letter_routing_key: str | None = None
        self.max_length: i64 = -1
        self.max_length_bytes: i64 = -1
        self.overflow: i64 = DROP_HEAD
        self.max_priority: i64 = -1
        self.delivery_limit: i64 = -1
        # 0: none, whatever the server's is.
        self.consumer_timeout_ms: i64 = -1
        self.single_active_consumer = False
        # How long a message that comes back waits; None if it does not.
        self.back_off: BackOff | None = None
        self.dedup_window_ms: i64 = -1
        self.dedup_ids_max: i64 = -1
        # True only for the hidden queues in which messages wait for their x-delay.
        self.is_delay = False

    @property
    def is_plain(self) -> bool:
        """True if publishing to the queue needs no look at any of this."""
        return self.message_ttl_ms < 0 and self.max_length < 0 and self.max_length_bytes < 0 and not self.is_delay

    @property
    def tells_delivery_count(self) -> bool:
        """True if a redelivery carries x-delivery-count."""
        return self.delivery_limit >= 0 or self.back_off is not None

    @property
    def refuses(self) -> bool:
        """True if a publish may have to be refused."""
        return self.overflow != DROP_HEAD and (self.max_length >= 0 or self.max_length_bytes >= 0)


def read_options(arguments: FieldTable, where: str) -> QueueOptions:
    """Check every known argument; raises PreconditionFailed that names the first bad one in `where` (a queue in a vhost)."""
    options = QueueOptions()
    # RabbitMQ's channel looks at this one for its permissions, before its queues look at any.
    tag = arguments.tag("x-dead-letter-exchange")
    if tag not in ("", "S"):
        raise PreconditionFailed(f"invalid type '{type_name(tag)}' for arg 'x-dead-letter-exchange' in {where}")
    _check(arguments, "x-queue-type", _QUEUE_TYPE, where)
    options.queue_type = _string(arguments, "x-queue-type") or CLASSIC
    foreign = FOREIGN[options.queue_type]
    for key, rule in KNOWN.items():
        if key not in foreign:
            _check(arguments, key, rule, where)
    for key in arguments.to_dict():
        if key in foreign:
            raise PreconditionFailed(f"invalid arg '{key}' for {where} of queue type rabbit_{options.queue_type}_queue")
    options.expires_ms = _integer(arguments, "x-expires")
    options.message_ttl_ms = _integer(arguments, "x-message-ttl")
    options.max_length = _integer(arguments, "x-max-length")
    options.max_length_bytes = _integer(arguments, "x-max-length-bytes")
    options.max_priority = _integer(arguments, "x-max-priority")
    options.delivery_limit = _integer(arguments, "x-delivery-limit")
    options.consumer_timeout_ms = _integer(arguments, "x-consumer-timeout")
    options.dedup_window_ms = _integer(arguments, "x-dedup-window-ms")
    options.dedup_ids_max = _integer(arguments, "x-dedup-ids-max")
    options.dead_letter_exchange = _string(arguments, "x-dead-letter-exchange")
    options.dead_letter_routing_key = _string(arguments, "x-dead-letter-routing-key")
    options.single_active_consumer = arguments.is_true("x-single-active-consumer")
    options.back_off = read_back_off(arguments)
    options.overflow = OVERFLOWS[_string(arguments, "x-overflow") or "drop-head"]
    return options


def read_consumer_timeout(arguments: FieldTable, where: str) -> i64:
    """The one that a consumer has for itself, by the same rule; -1 where it has none."""
    _check(arguments, "x-consumer-timeout", _COUNT, where)
    return _integer(arguments, "x-consumer-timeout")


def _check(arguments: FieldTable, key: str, rule: str, where: str) -> None:
    if arguments.has(key):
        fault = _fault(rule, arguments.tag(key), arguments.get(key), arguments)
        if fault != "":
            raise PreconditionFailed(f"invalid arg '{key}' for {where}: {fault}")


def _integer(arguments: FieldTable, key: str) -> i64:
    value = arguments.get(key)
    return value if isinstance(value, int) else -1


def _string(arguments: FieldTable, key: str) -> str | None:
    value = arguments.get(key)
    return value if isinstance(value, str) else None


def unknown_arguments(arguments: FieldTable) -> list[str]:
    """Arguments that no queue type knows: kept, not compared, worth a warning."""
    return [key for key in arguments.to_dict() if key.startswith("x-") and key not in KNOWN]


def _fault(rule: str, tag: str, value: object, arguments: FieldTable) -> str:
    """RabbitMQ's term for what is wrong with one argument, or nothing."""
    if rule in (
        _EXPIRY,
        _POSITIVE_EXPIRY,
        _COUNT,
        _POSITIVE_COUNT,
        _PRIORITY,
        _QUEUE_VERSION,
        _DELIVERY_LIMIT,
        _PERCENT,
    ):
        if not isinstance(value, int) or tag not in INTEGER_TAGS:
            return f'"expected integer, got {type_name(tag)}"'
        return _number_fault(rule, value)
    if rule == _MULTIPLIER:
        return "" if is_multiplier(value) else f'"expected a number from 1 to {MULTIPLIER_MAX}"'
    if rule == _BOOL:
        return "" if tag == "t" else f"{{unacceptable_type,{type_name(tag)}}}"
    if not isinstance(value, str) or tag not in STRING_TAGS:
        return f"{{unacceptable_type,{type_name(tag)}}}"
    if rule == _OVERFLOW and value not in OVERFLOWS:
        return "invalid_overflow"
    if rule == _QUEUE_MODE and value not in ("default", "lazy"):
        return f"\"unsupported queue mode '{value}'\""
    if rule == _QUEUE_TYPE and value not in (CLASSIC, QUORUM):
        return f"\"unsupported queue type '{value}'\""
    if rule == _ROUTING_KEY and not arguments.has("x-dead-letter-exchange"):
        return "routing_key_but_no_dlx_defined"
    if rule == _DEAD_LETTER_STRATEGY and value not in ("at-most-once", "at-least-once"):
        return "invalid_dlx_strategy"
    if rule == _LEADER_LOCATOR and value not in ("client-local", "balanced", "random", "least-leaders"):
        return "invalid_queue_locator_arg"
    if rule == _RETRY_TYPE and value not in TYPES:
        return "invalid_delayed_retry_type"
    return ""


def _number_fault(rule: str, value: int) -> str:
    if value == -1 and rule == _DELIVERY_LIMIT:
        return ""
    if value < 0:
        return f"{{value_negative,{value}}}"
    if rule in (_POSITIVE_EXPIRY, _POSITIVE_COUNT) and value == 0:
        return "{value_zero,0}"
    if rule in (_EXPIRY, _POSITIVE_EXPIRY) and value > EXPIRY_MS_MAX:
        return f"{{value_too_large,{value}}}"
    if rule == _PRIORITY and value > PRIORITY_MAX:
        return f"{{max_value_exceeded,{value}}}"
    if rule == _PERCENT and value > 100:
        return f"{{max_value_exceeded,{value}}}"
    if rule == _QUEUE_VERSION and value not in (1, 2):
        return f"\"unsupported queue version '{value}'\""
    return ""
