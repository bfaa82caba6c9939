"""How long a message that comes back waits before its next try: x-delayed-retry-* and x-retry-*.

Owns the arguments and the arithmetic. Does not own their checking (arguments.py), nor the waiting (waiting.py).

    x-delayed-retry-min, -max (RabbitMQ 4.3)    min x count, at most max
    x-retry-initial-ms, ...                     initial x multiplier ^ (count - 1), at most max, then less some jitter

`count` is how often the message has come back, this time included. Jitter shortens: so many percent at most, as message_id
and count say. The core has no dice: a replay waits as long as the run that it replays, and neighbours wait differently.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.exchanges.hashing import mix32
from amqpd.wire.field_table import FieldTable

# Why a message comes back; a back-off is for some of these.
FAILED: Final = 1
RETURNED: Final = 2

TYPES: Final[dict[str, int]] = {"disabled": 0, "all": FAILED | RETURNED, "failed": FAILED, "returned": RETURNED}

# RabbitMQ's longest expiry, ten years.
DELAY_MS_MAX: Final = 315_360_000_000
MULTIPLIER_MAX: Final = 1000
LINEAR_MIN_MS: Final = 1000
EXPONENTIAL_MAX_MS: Final = 3_600_000
EXPONENTIAL_MULTIPLIER: Final = 2.0
# From this try on the delay grows no more, whatever the multiplier: a bound on the arithmetic.
STEPS_MAX: Final = 10_000


@final
class BackOff:
    def __init__(
        self, kinds: int, first_ms: i64, max_ms: i64, is_linear: bool, multiplier: float, jitter_percent: i64
    ) -> None:
        # Which of FAILED and RETURNED wait.
        self.kinds = kinds
        self.first_ms = first_ms
        self.max_ms = max_ms
        self.is_linear = is_linear
        self.multiplier = multiplier
        self.jitter_percent = jitter_percent

    def delay_ms(self, why: int, message_id: i64, delivery_count: i64) -> i64:
        """0 for a message that comes back for this reason and does not wait."""
        if self.kinds & why == 0:
            return 0
        if self.is_linear:
            return self._linear_ms(delivery_count)
        delay_ms = self._exponential_ms(delivery_count)
        jitter = mix32(mix32(message_id) + delivery_count) % 1000
        return delay_ms - delay_ms * self.jitter_percent * jitter // 100_000

    def _linear_ms(self, delivery_count: i64) -> i64:
        first_ms = self.first_ms
        # Before it is multiplied: the product need not fit into 64 bits.
        if first_ms > 0 and delivery_count > self.max_ms // first_ms:
            return self.max_ms
        return first_ms * delivery_count

    def _exponential_ms(self, delivery_count: i64) -> i64:
        delay_ms = float(self.first_ms)
        max_ms = float(self.max_ms)
        steps = min(delivery_count - 1, STEPS_MAX)
        while steps > 0 and delay_ms < max_ms:
            delay_ms *= self.multiplier
            steps -= 1
        return int(min(delay_ms, max_ms))


def read_back_off(arguments: FieldTable) -> BackOff | None:
    """What these arguments, checked before, say; None if nothing ever waits."""
    initial_ms = _integer(arguments, "x-retry-initial-ms", -1)
    # Who asks for a back-off alone means what fails: RabbitMQ's type is there to say otherwise.
    kinds = FAILED if initial_ms > 0 else 0
    name = arguments.get("x-delayed-retry-type")
    if isinstance(name, str):
        kinds = TYPES[name]
    if kinds == 0:
        return None
    if initial_ms < 0:
        first_ms = _integer(arguments, "x-delayed-retry-min", LINEAR_MIN_MS)
        max_ms = _integer(arguments, "x-delayed-retry-max", DELAY_MS_MAX)
        return BackOff(kinds, first_ms, max_ms, True, 1.0, 0)
    multiplier = arguments.get("x-retry-multiplier")
    factor = float(multiplier) if isinstance(multiplier, (int, float)) else EXPONENTIAL_MULTIPLIER
    max_ms = _integer(arguments, "x-retry-max-ms", EXPONENTIAL_MAX_MS)
    return BackOff(kinds, initial_ms, max_ms, False, factor, _integer(arguments, "x-retry-jitter-percent", 0))


def is_multiplier(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # What is no number at all is not between two either.
    return 1 <= value <= MULTIPLIER_MAX


def _integer(arguments: FieldTable, key: str, absent: i64) -> i64:
    value = arguments.get(key)
    return value if isinstance(value, int) else absent
