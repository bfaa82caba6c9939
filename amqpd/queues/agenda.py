"""What a turn still has to do, and the time it happens at: shared by all queues of a broker.

Owns the turn's budget and the works that share it, the lists of queues that wait for the end of the turn, and of reads
that the shell is to do; owns no queue.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.notice import ERROR, INFO, WARNING, Notice
from amqpd.base.timers import TimingWheel
from amqpd.queues.backlog import Backlog
from amqpd.queues.chunk import Depth, PageRead
from amqpd.queues.work import Works
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.log import Log
from amqpd.store.lost import Lost

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue

# What a turn may spend on long work, all of it together: units of about a microsecond of compiled work.
TURN_BUDGET: Final = 2000


@final
class Agenda:
    def __init__(self, log: Log, monotonic_ms: i64 = 0, wall_ms: i64 = 0, depth: Depth | None = None) -> None:
        self.log = log
        self.depth = depth if depth is not None else Depth()
        self.monotonic_ms = monotonic_ms
        self.wall_ms = wall_ms
        # What is left of TURN_BUDGET; below 0 is none. Whoever finds none does one step, so that all get on, and goes on later.
        self.budget: i64 = TURN_BUDGET
        # Queues that have ready messages and a consumer that might take some.
        self.active: list[Queue] = []
        # Durable queues whose delivered-up-to watermark moved since the last batch.
        self.moved: list[Queue] = []
        # Queues that messages leave by themselves, to be routed before the turn ends, or in the next ones if they are many.
        self.departing: list[Queue] = []
        # What deep queues want back from the log; the shell reads it.
        self.reads: list[PageRead] = []
        # What was given up, for the shell to list; never later than the batch that says so.
        self.lost: list[Lost] = []
        # Who wants to read what the disk does not have yet.
        self.unsynced: list[Backlog] = []
        # How many orders are deep, that is have a backlog.
        self.deep_count: i64 = 0
        # While all queues are being described, one after the other: who comes back meanwhile has to be listed too.
        self.checkpoint: CheckpointBuilder | None = None
        # What takes more than a turn.
        self.works = Works(self)
        # Everything that expires.
        self.wheel = TimingWheel(monotonic_ms)
        # Some queue's consumer timeout has changed: who holds its messages is to hear of it at the next tick.
        self.has_new_timeouts = False
        # Deliveries that consumer timeouts have ended, and when the log was last told of one.
        self.lapsed_count: i64 = 0
        self.lapse_noticed_ms: i64 = -(1 << 40)
        # So much memory is used that what can leave it should; publishers are stopped later.
        self.is_memory_short = False
        # While memory or disk is short: the reason, as connection.blocked gives it.
        self.alarm_reason = ""
        # For the operator's log; the shell writes it, the core does not.
        self.notices: list[Notice] = []

    def notice(self, line: str) -> None:
        """Worth knowing."""
        self.notices.append(Notice(INFO, line))

    def warn(self, line: str) -> None:
        """Somebody should look at it: something is short, refused or dropped."""
        self.notices.append(Notice(WARNING, line))

    def alert(self, line: str) -> None:
        """Something is damaged, or this program is wrong."""
        self.notices.append(Notice(ERROR, line))

    def failed(self, what: str, error: Exception) -> None:
        """This program is wrong about one thing; whoever calls has seen to it that it ends nothing else."""
        lines = "".join(traceback.format_exception(error))
        self.alert(f"internal error in {what}:\n{lines}")

    @property
    def lines(self) -> list[str]:
        """What has been said and not been taken, without the levels."""
        return [notice.text for notice in self.notices]

    def drain_active(self) -> None:
        """Deliver what can be delivered now; what the turn has no room for stays active, behind those that wait for longer."""
        active = self.active
        if len(active) == 0:
            return
        # Draining makes a queue active again if it has not come to its end; an auto-delete cascade may, too.
        at: i64 = 0
        while at < len(active) and (at == 0 or self.budget > 0):
            queue = active[at]
            at += 1
            queue.is_active = False
            queue.drain()
        del active[:at]

    def synced(self) -> None:
        if len(self.unsynced) > 0:
            unsynced = self.unsynced
            self.unsynced = []
            for backlog in unsynced:
                backlog.synced()

    def log_watermarks(self) -> None:
        """Just before a batch is sealed: let it tell how far each queue was delivered."""
        if len(self.moved) == 0:
            return
        for queue in self.moved:
            queue.log_watermark()
        self.moved.clear()
