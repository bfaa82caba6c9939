"""What a queue has on disk and can't read for now, and what it had to give up: each told, and neither told too often.

    could not be read     whatever the error: it is asked for again, 50 ms later, then 100, up to every 5 s, for as long as it
                          takes. One line when it begins and one when it is over
    is not what was       given up, listed (store/lost.py), and counted. One line at once, and then at most one a minute
    written

Owns those lines and times, and the counts. Does not own what is read (backlog.py), nor how damage is recognised
(store/log_reader.py, store/page.py). Invariant: nothing is given up that was not read.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.timers import Timer
from amqpd.store.lost import Lost
from amqpd.store.page import Page

if TYPE_CHECKING:
    from amqpd.queues.chunk import PageRead
    from amqpd.queues.queue import Queue

BACK_OFF_MS: Final = 50
BACK_OFF_MS_MAX: Final = 5000
# The same is not said again sooner than this.
SILENCE_MS: Final = 60_000
NEVER_MS: Final = -(1 << 40)
# Something is short or in the way. Everything else says that the disk, or a file, is not as it should be.
SHORTAGES: Final = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EINTR,
    errno.EBUSY,
    errno.EACCES,
    errno.EPERM,
)


def back_off_ms(failure_count: i64) -> i64:
    """How long to wait after so many failures in a row."""
    delay_ms: i64 = BACK_OFF_MS
    while failure_count > 1 and delay_ms < BACK_OFF_MS_MAX:
        delay_ms *= 2
        failure_count -= 1
    return delay_ms if delay_ms < BACK_OFF_MS_MAX else BACK_OFF_MS_MAX


def is_shortage(error: Exception | None) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORTAGES)


def why_not(error: Exception | None) -> str:
    if isinstance(error, MemoryError):
        return "Cannot allocate memory"
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror
    return str(error) if error is not None else "no reason given"


@final
class ReadAgain(Timer):
    """A read that came to nothing, until it is asked for once more."""

    def __init__(self, read: PageRead, due_ms: i64) -> None:
        super().__init__()
        self.due_ms = due_ms
        self._read = read

    def fire(self) -> None:
        self._read.backlog.ask_again(self._read)

    def is_done(self) -> bool:
        return False


@final
class TellLosses(Timer):
    """What was given up since the last line, when it is time for another one."""

    def __init__(self, losses: Losses, due_ms: i64) -> None:
        super().__init__()
        self.due_ms = due_ms
        self._losses = losses

    def fire(self) -> None:
        self._losses.tell_now()

    def is_done(self) -> bool:
        return False


@final
class Losses:
    """Of one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        # Reads that wait for being tried again.
        self.failing_count: i64 = 0
        self.lost_count: i64 = 0
        self._is_failure_told = False
        self._failure_told_ms: i64 = NEVER_MS
        self._told_count: i64 = 0
        self._losses_told_ms: i64 = NEVER_MS
        self._is_to_tell = False
        # Where the first of what has not been told of stood.
        self._segment_number: i64 = 0
        self._offset: i64 = 0

    @property
    def _where(self) -> str:
        return f"queue '{self._queue.name}' in vhost '{self._queue.vhost_name}'"

    # What can't be read for now

    def failed(self, read: PageRead) -> None:
        """It could not be read, and will be tried again."""
        agenda = self._queue.agenda
        read.failure_count += 1
        agenda.wheel.add(ReadAgain(read, agenda.monotonic_ms + back_off_ms(read.failure_count)))
        if read.failure_count > 1:
            return
        self.failing_count += 1
        if self._is_failure_told or agenda.monotonic_ms - self._failure_told_ms < SILENCE_MS:
            return
        self._is_failure_told = True
        self._failure_told_ms = agenda.monotonic_ms
        page = read.pages[0]
        for number in range(len(read.pages)):
            if read.pieces[number] is None:
                page = read.pages[number]
                break
        line = (
            f"{self._where} waits for what it has on disk: segment {page.segment.number} can't be read at byte "
            f"{page.begin}: {why_not(read.error)}; nothing is given up, it is tried again and again"
        )
        if is_shortage(read.error):
            agenda.warn(line)
        else:
            agenda.alert(line)

    def over(self) -> None:
        """One that had failed has been read, or nobody wants it any more."""
        self.failing_count -= 1
        if self.failing_count == 0 and self._is_failure_told:
            self._is_failure_told = False
            self._queue.agenda.warn(f"{self._where} waits no longer for what it has on disk")

    # What is damaged

    def lose(self, page: Page, index: i64) -> None:
        """A message is given up."""
        queue = self._queue
        agenda = queue.agenda
        lost = Lost(queue.queue_id, page.message_id(index), page.segment.number, page.offset(index), page.size(index))
        lost.vhost = queue.vhost_name
        lost.queue = queue.name
        lost.wall_ms = agenda.wall_ms
        agenda.lost.append(lost)
        if self.lost_count == self._told_count:
            self._segment_number = lost.segment_number
            self._offset = lost.offset
        self.lost_count += 1

    def tell(self) -> None:
        """Say what was lost, now or when it is time for another line."""
        if self.lost_count == self._told_count or self._is_to_tell:
            return
        agenda = self._queue.agenda
        if agenda.monotonic_ms - self._losses_told_ms >= SILENCE_MS:
            self.tell_now()
        else:
            self._is_to_tell = True
            agenda.wheel.add(TellLosses(self, self._losses_told_ms + SILENCE_MS))

    def tell_now(self) -> None:
        agenda = self._queue.agenda
        self._is_to_tell = False
        count = "a message" if self.lost_count == 1 else f"{self.lost_count} messages"
        if self._told_count > 0:
            count += " so far"
        agenda.alert(
            f"{self._where} has lost {count}: segment {self._segment_number} is damaged at byte {self._offset}; "
            "'amqpd log lost' lists what is gone"
        )
        self._told_count = self.lost_count
        self._losses_told_ms = agenda.monotonic_ms
