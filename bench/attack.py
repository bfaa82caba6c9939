"""What an attack is: a name, a sentence for the table, a play on a stage, and the most that a neighbour may feel of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from staging import Stage

LIMIT_MS = 20.0


@dataclass(frozen=True)
class Attack:
    name: str
    title: str
    play: Callable[[Stage], None]
    limit_ms: float = LIMIT_MS
    # Settings of amqpd without which the thing would not happen in a run of seconds.
    flags: tuple[str, ...] = ()
    # RabbitMQ has it.
    is_common: bool = True
