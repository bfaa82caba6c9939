"""The order in which one turn of the event loop runs; everything that enters the core enters through here.

    begin     once per loop iteration, before the first thing that enters: the core learns the time
    enter     receive, lost, synced, block ...: any number of calls into the broker
    _end      scheduled by begin: seal for the idle writer, write every woken connection once, say the notices

Owns: that order, whether the writer is busy, and that an error of the core ends the process, wherever it came up. Does not
own sockets (tcp.py) nor files. Invariants: one batch is with the writer at a time; what gathers meanwhile is the next
batch, which is all there is to group commit.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amqpd.broker import Broker
    from amqpd.connections.connection import Connection
    from amqpd.queues.chunk import PageRead
    from amqpd.runtime.logs import Notices
    from amqpd.store.batch import Batch
    from amqpd.store.lost import Lost

# The core looks at heartbeats and deadlines this often; while messages expire, at them.
TICK_MS = 100
FINE_TICK_MS = 10
# Messages that come back from the disk in one turn: some milliseconds.
RETURNED_COUNT_MAX = 8 << 10


class BatchWriter(Protocol):
    def submit(self, batch: Batch) -> None: ...

    def read(self, reads: list[PageRead]) -> None: ...

    def note_lost(self, lost: list[Lost]) -> None: ...


class Flushable(Protocol):
    """The socket of one connection, as far as a turn needs it."""

    def flush(self) -> None:
        """Write what the connection has for its peer, and close the socket if the connection is done."""

    def abort(self) -> None:
        """Close the socket now, whatever waits for it."""

    def rested(self) -> None:
        """Go on reading, if the connection wants to."""


class Turn:
    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker, writer: BatchWriter, notices: Notices) -> None:
        self.broker = broker
        self.is_open = False
        # Who has a socket.
        self.peers: dict[Connection, Flushable] = {}
        # Peers that are not read again before this turn has ended.
        self.resting: list[Flushable] = []
        self._loop = loop
        self._writer = writer
        self._notices = notices
        # Read from the disk, and not in the core yet.
        self._read: deque[PageRead] = deque()
        self._is_writing = False
        self._is_stopped = False
        # Set while somebody waits for the disk to have everything.
        self._drained: asyncio.Event | None = None
        # Told what the core raised, of whatever type: it may have left anything undone.
        self.on_core_error: Callable[[Exception], None] = _raise

    # Entering

    def begin(self) -> None:
        """Open a turn; `_end` runs after everything that this loop iteration still brings."""
        if self.is_open:
            return
        self.is_open = True
        self._loop.call_soon(self._end)
        self._tick()

    def _tick(self) -> None:
        try:
            self.broker.tick(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)
        except Exception as error:
            self.on_core_error(error)

    def call(self, entry: Callable[..., object], *arguments: object) -> None:
        """Anything else that enters the core, in a turn; for whoever guards against their own errors, and not its."""
        self.begin()
        try:
            entry(*arguments)
        except Exception as error:
            self.on_core_error(error)

    def start_ticking(self) -> None:
        """From now on there is a turn at least every TICK_MS."""
        try:
            self.begin()
        finally:
            self._tick_later()

    def _tick_later(self) -> None:
        if not self._is_stopped:
            tick_ms = FINE_TICK_MS if self.broker.has_timers else TICK_MS
            self._loop.call_later(tick_ms / 1000, self.start_ticking)

    def stop_ticking(self) -> None:
        self._is_stopped = True

    def synced(self, mark: int) -> None:
        """The writer is idle again. Ends its turn at once: the disk should not wait for one more loop iteration."""
        self._is_writing = False
        if not self.is_open:
            self._tick()
        try:
            self.broker.synced(mark)
            self._finish()
        except Exception as error:
            self.on_core_error(error)

    def reads_done(self, reads: list[PageRead]) -> None:
        was_empty = not self._read
        self._read.extend(reads)
        if was_empty:
            self._take_read()

    def _take_read(self) -> None:
        """What a turn can take of what was read, and the rest in the next ones."""
        taken = []
        count = 0
        while self._read and count < RETURNED_COUNT_MAX:
            read = self._read.popleft()
            count += sum(page.count for page in read.pages)
            taken.append(read)
        self.call(self.broker.reads_done, taken)
        if self._read:
            self._loop.call_soon(self._take_read)

    # Leaving

    def _end(self) -> None:
        self.is_open = False
        try:
            self._finish()
        except Exception as error:
            self.on_core_error(error)

    def _finish(self) -> None:
        broker = self.broker
        # The disk first: it works while the sockets are written.
        self._seal()
        for connection in broker.woken():
            woken = self.peers.get(connection)
            if woken is not None:
                woken.flush()
        reads = broker.take_reads()
        if reads:
            self._writer.read(reads)
        if self.resting:
            resting = self.resting
            self.resting = []
            for peer in resting:
                peer.rested()
        if broker.has_work:
            # Deliveries that a full outbox had stopped. A turn of their own, so that others are read in between.
            self.begin()
            broker.go_on()
        if broker.agenda.notices:
            self.say()

    def say(self) -> None:
        """Write the core's lines into the log, and how many were left out."""
        notices = self.broker.agenda.notices
        self._notices.say(notices)
        notices.clear()

    def _seal(self) -> None:
        if self._is_writing:
            return
        lost = self.broker.take_lost()
        if lost:
            self._writer.note_lost(lost)
        batch = self.broker.seal() if self.broker.needs_seal else None
        if batch is not None:
            self._is_writing = True
            self._writer.submit(batch)
        elif self._drained is not None:
            self._drained.set()

    async def drained(self) -> None:
        """Wait until the disk has everything."""
        self._drained = asyncio.Event()
        self.begin()
        await self._drained.wait()
        self._drained = None


def _raise(error: Exception) -> None:
    raise error
