"""x-max-length, x-max-length-bytes and x-overflow: is there room, and what goes if not.

Verdicts: the queue acts on them, at the latest when the timer says so that is here too. What is ready counts (RabbitMQ) and what is
held back (queue.py), not what is unacked; of bytes, only those of bodies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.timers import Timer

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue

DROP_HEAD: Final = 0
REJECT_PUBLISH: Final = 1
REJECT_PUBLISH_DLX: Final = 2

OVERFLOWS: Final[dict[str, int]] = {
    "drop-head": DROP_HEAD,
    "reject-publish": REJECT_PUBLISH,
    "reject-publish-dlx": REJECT_PUBLISH_DLX,
}


def is_too_long(count: i64, size_bytes: i64, count_max: i64, bytes_max: i64) -> bool:
    """Limits below 0 do not exist."""
    if count_max >= 0 and count > count_max:
        return True
    return bytes_max >= 0 and size_bytes > bytes_max


@final
@mypyc_attr(acyclic=True)
class SurplusTimer(Timer):
    """A turn had no room for all that has to be dropped from a queue: the next one goes on."""

    def __init__(self, queue: Queue) -> None:
        self.due_ms = queue.agenda.monotonic_ms
        self._queue = queue

    def fire(self) -> None:
        self._queue.has_surplus_timer = False
        self._queue.drop_surplus()

    def is_done(self) -> bool:
        return self._queue.is_deleted
