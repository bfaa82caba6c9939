"""Three threads in front of the disk, so that the event loop never waits for it.

    amqpd-log     writes each batch, syncs it, commits its topology changes, then reports its mark
    amqpd-house   writes checkpoints and deletes segments, which the log must not wait for
    amqpd-reader  reads back what deep queues have on disk only

Owns the threads, and what happens when the disk says no: where something is lacking (room, descriptors, memory, a lock) the same
batch is tried again until it is there, and nobody has been told that it is safe; where it is room, what is kept for settles
is given up first. Any other error of a write means that this log is never touched again. What can't be read goes back to
whoever asked. Does not own the order of effects of one batch (store/segment.py). The callbacks of `DiskEvents` run in these
threads.
Invariant: the next batch is written only when the one before it is durable, topology included.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from amqpd.base.notice import ERROR, WARNING
from amqpd.queues.chunk import PageRead
from amqpd.runtime.lost import line_of
from amqpd.store.batch import Batch
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.disk import FAILED, ROOM, Disk, DiskFull, NotNow, lack_of, not_now
from amqpd.store.lost import Lost
from amqpd.store.page_reader import PageReader
from amqpd.store.segment import SegmentWriter
from amqpd.store.topology import TopologyStore

# How long a batch that found no room waits before it is tried again.
RETRY_S: Final = 0.25
# How often it says that it waits.
SAY_S: Final = 10.0
# Pages are read together up to so many bytes of messages, or one page.
READ_BYTES_MAX: Final = 32 << 20


class DiskEvents:
    """What the threads report; each is called in a thread of its own, never in the loop's."""

    def synced(self, mark: int) -> None:
        """Everything up to `mark` is durable."""

    def failed(self, error: Exception) -> None:
        """The disk may not be trusted any more; reported once. Nothing is written after it."""

    def full(self) -> None:
        """A batch found no room; it will be tried again by itself."""

    def has_room(self) -> None:
        """The batch that found no room has been written."""

    def reserve(self, is_kept: bool) -> None:
        """The room for settles is kept; or it is in use, or there is not enough for it."""

    def no_reserve(self, error: OSError) -> None:
        """Room for settles can't be kept here or now, though there may be some."""

    def checkpoint_written(self, checkpoint: Checkpoint) -> None:
        pass

    def checkpoint_failed(self, checkpoint: Checkpoint) -> None:
        """No room for it; nothing is lost, it may be tried again later."""

    def reads_done(self, reads: list[PageRead]) -> None:
        """Their pieces are filled, as far as they can be read now."""

    def say(self, level: int, text: str) -> None:
        """For the operator's log; levels as in base/notice.py."""


class _Worker:
    """A thread that does jobs one after the other until the first failure."""

    def __init__(self, name: str, on_failed: Callable[[Exception], None]) -> None:
        self.is_failed = False
        self._on_failed = on_failed
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """After everything that was submitted."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if self.is_failed:
                continue
            try:
                job()
            except Exception as error:  # whatever it is, this disk is not written to again
                self.is_failed = True
                self._on_failed(error)


class LogWriter:
    def __init__(self, disk: Disk, topology: TopologyStore, previous_crc: int, events: DiskEvents) -> None:
        self._disk = disk
        self._topology = topology
        self._events = events
        self._page_reader = PageReader(disk)
        self._wanted: deque[PageRead] = deque()
        self._segment_writer = SegmentWriter(disk, previous_crc)
        self._failure_lock = threading.Lock()
        self._is_failed = False
        self._is_stopping = threading.Event()
        self._log = _Worker("amqpd-log", self._fail)
        self._house = _Worker("amqpd-house", self._fail)
        self._reader = _Worker("amqpd-reader", self._fail)

    # From the loop

    def submit(self, batch: Batch) -> None:
        """Make it durable; `synced` follows. The next one may be submitted any time."""
        self._log.submit(lambda: self._commit(batch))

    def note_lost(self, lost: list[Lost]) -> None:
        """List what was given up, before the batch that says so: submit that one afterwards."""
        self._log.submit(lambda: self._note_lost(lost))

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Its mark must be durable already."""
        self._house.submit(lambda: self._write_checkpoint(checkpoint))

    def delete_segments(self, numbers: list[int]) -> None:
        self._house.submit(lambda: self._disk.delete_segments(numbers))

    def make_reserve(self) -> None:
        """Keep room for settles, if there is enough; `reserve` says how it went."""
        self._house.submit(self._make_reserve)

    def read(self, reads: list[PageRead]) -> None:
        """Fill their pieces; `reads_done` follows, once or more often."""
        self._wanted.extend(reads)
        self._reader.submit(self._read_wanted)

    def stop(self) -> None:
        """Finish what was submitted and close the files; a batch that finds no room is given up."""
        self._is_stopping.set()
        self._log.stop()
        self._house.stop()
        self._reader.stop()
        if not self._is_failed:
            self._segment_writer.close()

    @property
    def is_failed(self) -> bool:
        return self._is_failed

    # In the threads

    def _commit(self, batch: Batch) -> None:
        if len(batch.records) > 0:
            self._until_there_is_room(lambda: self._segment_writer.commit(batch))
        if len(batch.topology) > 0:
            self._until_there_is_room(lambda: self._apply(batch))
        if self._is_failed:
            # The other thread met an error meanwhile: promise nothing any more.
            return
        self._events.synced(batch.mark)

    def _apply(self, batch: Batch) -> None:
        try:
            self._topology.apply(batch.topology)
        except OSError as error:
            if lack_of(error) == FAILED:
                raise
            raise not_now(error) from error

    def _until_there_is_room(self, attempt: Callable[[], None]) -> None:
        was_full = False
        say_at_s = 0.0
        while True:
            try:
                attempt()
                break
            except NotNow as error:
                # Nothing else is tried again: a sync may report ENOSPC too (delayed allocation, a thin volume), and the
                # next one would succeed without the bytes.
                lack = error
            if isinstance(lack, DiskFull):
                if not was_full:
                    was_full = True
                    self._events.full()
                if self._give_up_reserve():
                    continue
            elif time.monotonic() >= say_at_s:
                say_at_s = time.monotonic() + SAY_S
                self._events.say(WARNING, f"the log waits, and with it every confirm: {lack}")
            if self._is_stopping.wait(RETRY_S):
                if isinstance(lack, DiskFull):
                    raise OSError(errno.ENOSPC, "the disk is full, and the last messages could not be written")
                raise OSError(errno.EAGAIN, f"{lack}, and the last messages could not be written")
        if was_full:
            self._events.has_room()
        if say_at_s > 0:
            self._events.say(WARNING, "the log goes on")

    def _make_reserve(self) -> None:
        try:
            is_kept = self._disk.make_reserve()
        except OSError as error:
            self._events.no_reserve(error)
            return
        self._events.reserve(is_kept)

    def _give_up_reserve(self) -> bool:
        """True if there is more room now."""
        if not self._disk.give_up_reserve():
            return False
        self._events.reserve(False)
        return True

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        while True:
            try:
                self._disk.write_checkpoint(checkpoint.generation, checkpoint.blocks())
                break
            except OSError as error:
                lack = lack_of(error)
                if lack == FAILED:
                    raise
            if lack != ROOM or not self._give_up_reserve():
                self._events.checkpoint_failed(checkpoint)
                return
        self._events.checkpoint_written(checkpoint)

    def _note_lost(self, lost: list[Lost]) -> None:
        """For the operator: what is given up is listed before the log says that it is."""
        lines = [line_of(each) for each in lost]
        try:
            self._until_there_is_room(lambda: self._keep_lost(lines))
            for number in sorted({int(each.segment_number) for each in lost if each.segment_number > 0}):
                self._disk.keep_aside(number)
        except OSError as error:
            # The list is a help, and not worth the end of the node.
            self._events.say(ERROR, f"what was given up can't be listed, or its segment kept aside: {error}")

    def _keep_lost(self, lines: list[bytes]) -> None:
        try:
            self._disk.keep_lost(lines)
        except OSError as error:
            if lack_of(error) == FAILED:
                raise
            raise not_now(error) from error

    def _read_wanted(self) -> None:
        """Also what was asked for since: together it costs less."""
        while self._wanted:
            reads = self._next_reads()
            pieces = iter(self._page_reader.read([page for read in reads for page in read.pages]))
            for read in reads:
                read.pieces = [next(pieces) for _ in read.pages]
                read.error = self._page_reader.error
            self._events.reads_done(reads)

    def _next_reads(self) -> list[PageRead]:
        reads: list[PageRead] = []
        size_bytes = 0
        while self._wanted and size_bytes < READ_BYTES_MAX:
            read = self._wanted.popleft()
            size_bytes += sum(int(page.size_bytes) for page in read.pages)
            reads.append(read)
        return reads

    def _fail(self, error: Exception) -> None:
        with self._failure_lock:
            if self._is_failed:
                return
            self._is_failed = True
            self._log.is_failed = True
            self._house.is_failed = True
        self._events.failed(error)
