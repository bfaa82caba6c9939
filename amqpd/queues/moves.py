"""Messages of one queue leave the log segments that should go.

Which segments these are is decided by store/reclaim.py; when there is time for it, by caretaker.py.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.queues.waiting import NextTry
from amqpd.queues.walk import Walk

# So many places are looked at for what has to move before that is moved.
MOVED_COUNT_STEP: Final = 256


@final
class Moving:
    """Copies to the log's end what one queue has in segments that should go, a part at a time.

    What is on disk only has to be read first: it moves when it comes. Unacked messages are moved by who knows of them, and
    what comes back behind its back in the next round.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._walk: Walk | None = None
        self._tries: list[NextTry] = []
        # Looked at, and not moved yet.
        self._left: list[Entry] = []
        if queue.is_stored:
            # Of others the log has only what left memory while that was short.
            self._walk = Walk(queue.ready)
            self._tries = queue.waiting.copy()

    def go_on(self, position_max: i64, count_max: i64) -> bool:
        """Until the log is so long, or so many were looked at; True if that was all."""
        queue = self.queue
        if queue.is_deleted:
            return True
        walk = self._walk
        left = self._left
        tries = self._tries
        while walk is not None:
            while len(left) > 0:
                # One that went to the disk, or to a consumer, since it was looked at is not ours any more.
                if left[len(left) - 1].is_ready and not self._move(left[len(left) - 1], position_max):
                    return False
                left.pop()
            if count_max <= 0:
                return False
            if walk.is_over:
                break
            step: i64 = count_max if count_max < MOVED_COUNT_STEP else MOVED_COUNT_STEP
            left.extend(walk.next(step))
            count_max -= step
        while len(tries) > 0:
            if count_max <= 0:
                return False
            if not tries[len(tries) - 1].is_over and not self._move(tries[len(tries) - 1].entry, position_max):
                return False
            tries.pop()
            count_max -= 1
        return queue.ready.move_leaving()

    def _move(self, entry: Entry, position_max: i64) -> bool:
        """False if it has to, and the log is long enough."""
        segment = entry.message.segment
        if segment is not None and segment.is_leaving:
            log = self.queue.agenda.log
            if log.position_gathered >= position_max:
                return False
            entry.message = log.append_move(self.queue.queue_id, entry.message)
        return True
