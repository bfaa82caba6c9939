"""What recovery hands to the broker: the queues' messages, where the log goes on, and what had to be cut or given up.

Owns no reading (recovery.py does that).
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.store.log import LogStart
from amqpd.store.lost import Lost
from amqpd.store.page import Page


@final
class RecoveredEntry:
    """One message in one queue; when it was logged is `message.enqueued_ms`."""

    def __init__(self, message: Message) -> None:
        self.message = message
        # Are its bytes there? Otherwise only where they are. And are they needed, or may it stay on disk?
        self.is_here = False
        self.is_needed = False
        self.body_bytes: i64 = 0
        self.delivery_count: i64 = 0
        self.redelivered = False
        # When it is ready, by the wall clock; 0 or a time that has passed is at once.
        self.ready_at_ms: i64 = 0


@final
class RecoveredId:
    """A deduplication id that was noted; `ttl_ms` is -1 where its window says how long it counts."""

    def __init__(self, dedup_id: bytes, noted_ms: i64, ttl_ms: i64) -> None:
        self.dedup_id = dedup_id
        self.noted_ms = noted_ms
        self.ttl_ms = ttl_ms


@final
class RecoveryReport:
    """What was found. `damage` holds one sentence per loss that a torn tail does not explain."""

    def __init__(self) -> None:
        self.segment_count = 0
        self.batch_count = 0
        self.record_count = 0
        self.read_bytes = 0
        self.entry_count = 0
        self.checkpoint_generation = 0
        # The unfinished write of a crash: never confirmed, nothing was promised.
        self.torn_bytes = 0
        # Records that found nothing to apply to: usual after a fuzzy checkpoint or a deleted queue.
        self.unknown_settle_count = 0
        self.unknown_queue_count = 0
        # Messages that the checkpoint knows and no intact batch has any more, by queue_id.
        self.missing_counts: dict[int, int] = {}
        # The same, one by one.
        self.lost_messages: list[Lost] = []
        # What people call them.
        self.queue_names: dict[int, str] = {}
        # Lines for the operator: what is usual, and what is not.
        self.notices: list[str] = []
        self.damage: list[str] = []

    def lost(self) -> list[str]:
        """One sentence for each queue that misses messages."""
        return [
            f"{self.queue_names.get(queue_id, f'queue_id {queue_id}')}: {count}"
            f" {'message is' if count == 1 else 'messages are'} lost"
            for queue_id, count in self.missing_counts.items()
        ]


@final
class Recovered:
    def __init__(self, start: LogStart) -> None:
        # By queue_id, every known queue, in message_id order: what is in memory, and what is on disk only.
        self.queues: dict[int, list[RecoveredEntry]] = {}
        self.pages: dict[int, list[Page]] = {}
        self.start = start
        # Greater than every queue_id that the log has ever seen: never give out less, or a new queue would inherit
        # the records of one whose declaration was lost.
        self.next_queue_id = 1
        # Every message of the queue up to this id may have been delivered.
        self.delivered_to: dict[int, int] = {}
        # By queue_id, only where there are any: ids that were noted, oldest first.
        self.dedup_ids: dict[int, list[RecoveredId]] = {}
        # Where the newest checkpoint's replay begins (0: there is none), and what the next one is called.
        self.checkpoint_segment: i64 = 0
        self.next_generation = 1
        self.report = RecoveryReport()
