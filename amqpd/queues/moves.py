"""Messages of one queue leave the log segments that should go.

Which segments these are is decided by store/reclaim.py; when there is time for it, by caretaker.py.
"""

from __future__ import annotations

from mypy_extensions import i64

from amqpd.queues.queue import Queue


def move_leaving(queue: Queue, position_max: i64) -> bool:
    """Copy to the log's end what is in segments that should go, until the log is so long; True if that was all.

    What is on disk only has to be read first: it moves when it comes. Unacked messages are moved by who knows of them.
    """
    if not queue.is_stored:
        # The log has of it only what left memory while that was short.
        return queue.ready.move_leaving()
    log = queue.agenda.log
    for entry in [*queue.ready.entries(), *queue.waiting.entries(), *queue.held_entries(), *queue.parked]:
        segment = entry.message.segment
        if segment is not None and segment.is_leaving:
            if log.position_gathered >= position_max:
                return False
            entry.message = log.append_move(queue.queue_id, entry.message)
    return queue.ready.move_leaving()
