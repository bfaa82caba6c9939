"""Carries out what takes more than a turn, a little in each: describes all queues for a checkpoint, moves what is live out of
segments that should go, and while memory is short puts on disk what can leave it.

Owns how far each has come. Does not own when the first two are due nor what may be deleted (store/reclaim.py), when memory
is short (the shell), nor what of one queue is described, moved or leaves (queues/restart.py, queues/moves.py,
queues/backlog.py). A checkpoint is fuzzy: queues are described one by one while work goes on, and the log behind its
position has the last word. What is with a consumer is looked at in the end; what comes back before says so itself
(`Agenda.checkpoint`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.queues.agenda import Agenda
from amqpd.queues.entry import Entry
from amqpd.queues.moves import Moving
from amqpd.queues.queue import Queue
from amqpd.queues.restart import Description
from amqpd.store.checkpoint import Checkpoint, CheckpointBuilder
from amqpd.store.reclaim import Reclaim

if TYPE_CHECKING:
    from amqpd.connections.connection import Connection
    from amqpd.vhosts.vhost import VHost

# About a millisecond of work each.
DESCRIBED_COUNT_PER_TURN: Final = 20_000
# To begin with a queue costs as much as so many of its messages.
QUEUE_COST: Final = 20
MOVED_BYTES_PER_TURN: Final = 4 << 20
MOVE_INTERVAL_MS: Final = 1000


@final
class Caretaker:
    def __init__(
        self,
        reclaim: Reclaim,
        agenda: Agenda,
        vhosts: dict[str, VHost],
        connections: dict[int, Connection],
        described_count: i64 = DESCRIBED_COUNT_PER_TURN,
        moved_bytes: i64 = MOVED_BYTES_PER_TURN,
    ) -> None:
        """`described_count` and `moved_bytes` are what a turn does at most, about."""
        self.finished: Checkpoint | None = None
        self._reclaim = reclaim
        self._agenda = agenda
        self._vhosts = vhosts
        self._connections = connections
        self._described_count = described_count
        self._moved_bytes = moved_bytes
        self._builder: CheckpointBuilder | None = None
        # Queues that the checkpoint does not know yet, the next one last.
        self._undescribed: list[Queue] = []
        # Of the queue at hand.
        self._description: Description | None = None
        # In the end: what is not in the order of any queue.
        self._undescribed_entries: list[Entry] = []
        self._is_unsettled_known = False
        self._is_moving = False
        self._unmoved: list[Queue] = []
        self._moving: Moving | None = None
        self._moved_ms: i64 = 0
        # Queues that have not been asked to leave memory in this round.
        self._unpaged: list[Queue] = []
        self._paged_ms: i64 = 0

    def step(self) -> None:
        """One turn's share of what there is to do."""
        agenda = self._agenda
        now_ms = agenda.monotonic_ms
        if self._builder is not None:
            self._describe(self._described_count)
        elif self.finished is None and self._reclaim.is_checkpoint_due(now_ms):
            self.begin()
        self._page_out(now_ms)
        if self._is_moving:
            self._move()
        elif now_ms - self._moved_ms >= MOVE_INTERVAL_MS:
            self._moved_ms = now_ms
            if self._reclaim.mark_leaving():
                self._is_moving = True
                self._unmoved = self._queues()

    # Checkpoints

    def begin(self) -> None:
        builder = self._reclaim.begin_checkpoint(self._agenda.monotonic_ms)
        self._builder = builder
        self._agenda.checkpoint = builder
        self._undescribed = [queue for queue in self._queues() if queue.is_stored]

    def take_whole(self) -> None:
        """A checkpoint in one go: before a stop."""
        if self._builder is None:
            self.begin()
        while self._builder is not None:
            self._describe(self._described_count)

    def _describe(self, count_max: i64) -> None:
        builder = self._builder
        assert builder is not None
        enough = builder.entry_count + count_max
        while builder.entry_count < enough:
            description = self._description
            if description is None:
                if len(self._undescribed) == 0:
                    break
                queue = self._undescribed.pop()
                if queue.is_deleted:
                    continue
                description = Description(queue, builder)
                self._description = description
                enough -= QUEUE_COST
            if not description.go_on(count_max):
                return
            self._description = None
        if len(self._undescribed) > 0 or not self._describe_unsettled(builder, count_max):
            return
        for vhost in self._vhosts.values():
            vhost.deduplications.describe_to(builder)
        self._agenda.checkpoint = None
        self._builder = None
        self.finished = builder.finish()

    def _describe_unsettled(self, builder: CheckpointBuilder, count_max: i64) -> bool:
        """As they are when all queues are described; True once that was all."""
        entries = self._undescribed_entries
        if not self._is_unsettled_known:
            self._is_unsettled_known = True
            entries = self._unsettled()
            self._undescribed_entries = entries
        while len(entries) > 0 and count_max > 0:
            entry = entries.pop()
            # Whoever has it may have seen it.
            builder.add(entry.queue.queue_id, entry.message, entry.delivery_count, True)
            count_max -= 1
        if len(entries) > 0:
            return False
        self._is_unsettled_known = False
        return True

    # Moves

    def _move(self) -> None:
        enough = self._agenda.log.position_gathered + self._moved_bytes
        while len(self._unmoved) > 0:
            queue = self._unmoved[len(self._unmoved) - 1]
            moving = self._moving
            if moving is None:
                moving = Moving(queue)
                self._moving = moving
            if not moving.go_on(enough, self._described_count):
                return
            self._moving = None
            self._unmoved.pop()
        log = self._agenda.log
        entries = self._unsettled()
        for queue in self._queues():
            self._add_stored(queue.parked, entries)
        for entry in entries:
            segment = entry.message.segment
            if segment is not None and segment.is_leaving:
                if log.position_gathered >= enough:
                    return
                entry.message = log.append_move(entry.queue.queue_id, entry.message)
        self._is_moving = False

    # Memory

    def _page_out(self, now_ms: i64) -> None:
        """While memory is short, one round after the other: what can leave it does."""
        agenda = self._agenda
        if not agenda.is_memory_short:
            self._unpaged = []
            return
        if len(self._unpaged) == 0 and now_ms - self._paged_ms >= MOVE_INTERVAL_MS:
            self._paged_ms = now_ms
            self._unpaged = self._queues()
        enough = agenda.log.position_gathered + self._moved_bytes
        while len(self._unpaged) > 0:
            queue = self._unpaged[len(self._unpaged) - 1]
            if not queue.is_deleted and not queue.ready.page_out(enough):
                return
            self._unpaged.pop()

    # What there is

    def _queues(self) -> list[Queue]:
        return [queue for vhost in self._vhosts.values() for queue in vhost.all_queues()]

    def _unsettled(self) -> list[Entry]:
        """What consumers have, and what queues have beside their order."""
        found: list[Entry] = []
        for connection in self._connections.values():
            for channel in connection.channels.values():
                self._add_stored(channel.unacked.entries(), found)
        self._add_stored(self._agenda.works.entries(), found)
        for queue in self._queues():
            if queue.is_stored:
                found.extend(queue.held_entries())
        return found

    def _add_stored(self, entries: list[Entry], found: list[Entry]) -> None:
        for entry in entries:
            if entry.queue.is_stored and not entry.queue.is_deleted:
                found.append(entry)
