"""Publisher confirms of one channel.

Owns: publishes not yet confirmed, in publish order. Does not own durability: it waits on commit marks.
Invariant: sequences are paid strictly in order, so `multiple` is always legal. A publish that is refused or returned has an
answer of its own: RabbitMQ merges neither, and there are clients that count.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.channels.commits import Commits, CommitWaiter
from amqpd.wire.hot_methods import send_basic_ack, send_basic_nack
from amqpd.wire.outbox import Outbox


@final
class Confirms(CommitWaiter):
    def __init__(self, outbox: Outbox, channel_number: i64, commits: Commits) -> None:
        super().__init__()
        self._outbox = outbox
        self._channel_number = channel_number
        self._commits = commits
        self._sequence: i64 = 0
        self._paid: i64 = 0
        # The newest run of publishes, all payable at the same mark; older runs wait in the lists, oldest first.
        self._mark: i64 = 0
        self._older_marks: list[int] = []
        self._older_ends: list[int] = []
        # Sequences that are answered alone, in publish order: by an ack if above zero, else by a nack.
        self._alone: list[int] = []
        self.is_closed = False

    def published(self, mark: i64) -> None:
        """Owe one confirm, payable once `mark` is committed (0: at the end of this turn)."""
        if mark > self._mark:
            if self._sequence > self._paid:
                self._older_marks.append(self._mark)
                self._older_ends.append(self._sequence)
            self._mark = mark
        self._sequence += 1
        if not self.is_waiting:
            self._commits.wait(self)

    def refused(self) -> None:
        """Owe one basic.nack: a queue would not have the message, so none has it."""
        self.published(0)
        self._alone.append(-self._sequence)

    def returning(self) -> None:
        """The next publish goes back by basic.return: what may be paid before it is paid now."""
        self._pay_through(self._commits.mark)
        self._alone.append(self._sequence + 1)

    def committed(self, mark: i64) -> bool:
        # One ack pays for the whole run: batching emerges while the disk syncs.
        if self.is_closed:
            return False
        self._pay_through(mark)
        return self._paid < self._sequence

    def _pay_through(self, mark: i64) -> None:
        payable = self._paid
        older = self._older_marks
        done = 0
        while done < len(older) and older[done] <= mark:
            payable = self._older_ends[done]
            done += 1
        if done > 0:
            del self._older_marks[:done]
            del self._older_ends[:done]
        if len(self._older_marks) == 0 and self._mark <= mark:
            payable = self._sequence
        if payable > self._paid:
            self._pay(payable)

    def _pay(self, through: i64) -> None:
        alone = self._alone
        done = 0
        while done < len(alone) and abs(alone[done]) <= through:
            sequence: i64 = abs(alone[done])
            self._pay_run(sequence - 1)
            if alone[done] < 0:
                send_basic_nack(self._outbox, self._channel_number, sequence, False)
            else:
                send_basic_ack(self._outbox, self._channel_number, sequence, False)
            self._paid = sequence
            done += 1
        if done > 0:
            del alone[:done]
        self._pay_run(through)

    def _pay_run(self, through: i64) -> None:
        if through > self._paid:
            send_basic_ack(self._outbox, self._channel_number, through, through - 1 > self._paid)
            self._paid = through
