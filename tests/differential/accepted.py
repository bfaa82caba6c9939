"""Where amqpd differs from RabbitMQ 3.10 on purpose, and why.

An entry holds the exact lines that differ, RabbitMQ's with `-` and ours with `+`, as the runner prints them with
`--changes`. So a difference that changes fails like a new one, and so does an entry that is no longer needed.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Accepted(NamedTuple):
    reason: str
    changes: tuple[str, ...]


ACCEPTED: Final[dict[str, Accepted]] = {}
