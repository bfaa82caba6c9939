"""When to send a heartbeat, and when to give a peer up.

Owns two instants. AMQP 0-9-1 4.2.7: any traffic counts; a peer that is silent for two intervals is gone. We send at half
the interval, as RabbitMQ does.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64


@final
class Heartbeats:
    def __init__(self, interval_s: i64, now_ms: i64) -> None:
        self._interval_ms = interval_s * 1000
        self._received_ms = now_ms
        self._sent_ms = now_ms
        self._sent_bytes: i64 = -1

    def received(self, now_ms: i64) -> None:
        self._received_ms = now_ms

    def is_due(self, now_ms: i64, written_bytes: i64) -> bool:
        """True if nothing was written for half an interval."""
        if self._interval_ms == 0:
            return False
        if written_bytes != self._sent_bytes:
            self._sent_bytes = written_bytes
            self._sent_ms = now_ms
            return False
        return now_ms - self._sent_ms >= self._interval_ms // 2

    def is_dead(self, now_ms: i64) -> bool:
        """True if the peer was silent for two intervals and the check's own grain."""
        return self._interval_ms > 0 and now_ms - self._received_ms > 2 * self._interval_ms
