"""Many deliveries of one channel are settled, rejected or given back, a slice at a time.

Owns what is left of them. They are not the channel's any more, but their queues still count them as unacked. A queue to
which some come back hands out nothing before they all are: what is older goes first, as if it had been done in one go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.queues.work import STEPS_MIN, Work

if TYPE_CHECKING:
    from amqpd.channels.channel import Channel

ACK: Final = 0
REJECT: Final = 1
REQUEUE: Final = 2
GIVE_BACK: Final = 3

# Departures of one queue beyond which no more are brought before those have gone.
BROUGHT_COUNT_MAX: Final = 4096


@final
class Settling(Work):
    def __init__(self, channel: Channel, entries: list[Entry], verdict: i64) -> None:
        """`entries` in the order in which they are settled."""
        self._channel = channel
        self._entries = entries
        self._verdict = verdict
        self._done: i64 = 0
        # Queues that wait for the rest.
        self._paused: dict[int, Queue] = {}
        # Whether the connection waits for the end of it.
        self.is_awaited = False

    def go_on(self) -> bool:
        channel = self._channel
        agenda = channel.session.agenda
        entries = self._entries
        size: i64 = len(entries)
        at = self._done
        steps: i64 = 0
        while at < size:
            if steps >= STEPS_MIN and (agenda.budget <= steps or self._must_wait(entries[at])):
                break
            # Before it is settled: one that goes wrong is not tried again.
            self._done = at + 1
            self._settle(channel, entries[at])
            at += 1
            steps += 1
        agenda.budget -= steps
        if at < size:
            self._pause()
            return False
        self._end()
        return True

    def _must_wait(self, entry: Entry) -> bool:
        return self._verdict == REJECT and entry.queue.departing.count > BROUGHT_COUNT_MAX

    def _settle(self, channel: Channel, entry: Entry) -> None:
        verdict = self._verdict
        if verdict == ACK:
            channel.give_credit_back(entry)
            entry.queue.settle(entry)
        elif verdict == GIVE_BACK:
            channel.give_back(entry)
        else:
            channel.reject(entry, verdict == REQUEUE)

    def _pause(self) -> None:
        """At the end of the first slice: let the queues wait for what still comes back."""
        if len(self._paused) > 0 or (self._verdict != REQUEUE and self._verdict != GIVE_BACK):
            return
        for entry in self._entries[self._done :]:
            queue = entry.queue
            if int(queue.queue_id) not in self._paused:
                self._paused[int(queue.queue_id)] = queue
                queue.pause()

    def _end(self) -> None:
        for queue in self._paused.values():
            queue.resume()
        self._paused = {}
        if self.is_awaited:
            self._channel.session.end_work()

    def entries(self) -> list[Entry]:
        return self._entries[self._done :]

    def failed(self) -> None:
        self._end()


def settle_all(channel: Channel, entries: list[Entry], verdict: i64) -> None:
    """Nothing more of the connection is handled before it is done."""
    settling = Settling(channel, entries, verdict)
    session = channel.session
    if not session.agenda.works.start(settling):
        settling.is_awaited = True
        session.hold_work()
