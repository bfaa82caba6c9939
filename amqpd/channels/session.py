"""What all channels of one connection share: who it is, what it may, where its bytes go.

Owns the connection's reasons to stop reading. Does not own the socket, the handshake or the channels.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64
from pamqp import commands

from amqpd.base.errors import ResourceFault
from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.channels.commits import Commits, CommitWaiter
from amqpd.queues.agenda import Agenda
from amqpd.vhosts.access import Access
from amqpd.vhosts.vhost import VHost
from amqpd.wire.hot_methods import send_method
from amqpd.wire.methods import encode_method, new_method
from amqpd.wire.outbox import Outbox

# Why nothing more of a connection is handled for now.
FOR_DISK: Final = 1
FOR_READ: Final = 2
FOR_WORK: Final = 4
FOR_TURN: Final = 8
FOR_PEER: Final = 16

# Longer than this between two ticks, and who knows what a client has sent meanwhile.
STALL_MS: Final = 1000
# How long a client has then, to be heard.
GRACE_MS: Final = 1000


@final
class Session(CommitWaiter):
    def __init__(
        self,
        number: i64,
        outbox: Outbox,
        vhost: VHost,
        user: str,
        access: Access,
        limits: Limits,
        entropy: Entropy,
        agenda: Agenda,
        commits: Commits,
        released: list[Session],
        resting: list[Session],
    ) -> None:
        super().__init__()
        self.number = number
        self.outbox = outbox
        self.vhost = vhost
        self.user = user
        self.access = access
        self.limits = limits
        self.entropy = entropy
        self.agenda = agenda
        self.commits = commits
        # Client capabilities that the server acts on.
        self.wants_cancel_notify = False
        self.wants_blocked = False
        # For people: where from, and who.
        self.peer = ""
        # What messages take whose content has not fully arrived, and what routes take that channels remember.
        self.partial_bytes: i64 = 0
        self.route_bytes: i64 = 0
        # Of all channels: consumers, and deliveries that were not settled in time (leases.py).
        self.consumer_count: i64 = 0
        self.late_count: i64 = 0
        # A resource alarm stops whoever publishes, until it is over.
        self.is_blocked = False
        # While it waits for anything nothing more of this connection is handled, so order is kept.
        self.is_held = False
        self._holds: i64 = 0
        # Works of its own that are not done.
        self._work_count: i64 = 0
        self._held_mark: i64 = 0
        # The method that was handled last is to be handled again, when the hold is over.
        self.is_repeating = False
        # RabbitMQ sends the basic.cancel of a deleted queue's consumers after the queue.delete-ok.
        self.is_postponing = False
        self.postponed: list[tuple[int, bytes]] = []
        self._held_replies: list[tuple[int, bytes]] = []
        # True once a delivery had to be settled in time (leases.py).
        self.has_leases = False
        self._looked_ms: i64 = 0
        self._lapse_from_ms: i64 = 0
        # Set by whoever ends a hold: the connection goes on with what it has buffered.
        self.released = released
        # Who has had enough of this turn, and goes on in the next one.
        self.resting = resting

    def check(self, access: str, kind: str, name: str) -> None:
        """Raise AccessRefused unless this user has `access` (configure, write, read) to a queue or exchange."""
        self.access.check(self.user, self.vhost.name, access, kind, name)

    def check_passive(self, kind: str, name: str) -> None:
        """Raise AccessRefused where even a passive declare needs a permission."""
        if self.limits.passive_declare_permissions == "any":
            self.access.check_any(self.user, self.vhost.name, kind, name)

    def count_partial(self, size_bytes: i64) -> None:
        """Many channels, each with a big message that never ends, must not fill the memory."""
        self.partial_bytes += size_bytes
        if size_bytes > 0 and self.partial_bytes > self.limits.partial_bytes_max:
            raise ResourceFault(f"more than {self.limits.partial_bytes_max} bytes of unfinished messages")

    # Replies that wait for the disk

    def reply(self, channel_number: i64, payload: bytes) -> None:
        send_method(self.outbox, channel_number, payload)

    def reply_when_durable(self, channel_number: i64, payload: bytes) -> None:
        """Answer once everything logged so far is on disk; with nothing to wait for, at once."""
        log = self.agenda.log
        # A batch that is sealed and not yet synced counts too.
        mark = log.mark if log.dirty or self.vhost.changes.pending else log.mark - 1
        self._reply_at(mark, channel_number, payload)

    def reply_when_declared(self, channel_number: i64, payload: bytes) -> None:
        """Answer once what exists now, and what is gone, is so on disk too, whoever declared it.

        Messages on their way there are not waited for: the disk may be full.
        """
        changes = self.vhost.changes
        mark = self.agenda.log.mark if changes.pending else changes.taken_mark
        self._reply_at(mark, channel_number, payload)

    def _reply_at(self, mark: i64, channel_number: i64, payload: bytes) -> None:
        if mark <= self.commits.mark:
            self.reply(channel_number, payload)
            return
        self._held_replies.append((channel_number, payload))
        self.hold_until(mark)

    def send_postponed(self) -> None:
        """What had to wait for a reply to go first, behind that reply."""
        postponed = self.postponed
        self.postponed = []
        self.is_postponing = False
        for channel_number, payload in postponed:
            if self.is_held:
                self._held_replies.append((channel_number, payload))
            else:
                self.reply(channel_number, payload)

    def hold_until(self, mark: i64) -> None:
        """Handle nothing more of this connection until `mark` is committed."""
        self._hold(FOR_DISK)
        self._held_mark = mark
        self.commits.wait(self)

    # Other reasons to wait

    def _hold(self, reason: i64) -> None:
        self._holds |= reason
        self.is_held = True

    def _end_hold(self, reason: i64) -> None:
        if self._holds & reason == 0:
            return
        self._holds &= ~reason
        if self._holds == 0:
            self.is_held = False
            self.released.append(self)

    def repeat_later(self) -> None:
        """The method at hand can't be answered yet: it is handled again once somebody calls `release`."""
        self._hold(FOR_READ)
        self.is_repeating = True

    def release(self) -> None:
        self._end_hold(FOR_READ)

    def hold_work(self) -> None:
        """Something that this connection has asked for takes more than a turn: it says `end_work`."""
        self._work_count += 1
        self._hold(FOR_WORK)

    def end_work(self) -> None:
        self._work_count -= 1
        if self._work_count == 0:
            self._end_hold(FOR_WORK)

    def charge(self, cost: i64) -> None:
        """So much of the turn has gone into something that this connection has asked for."""
        if cost > 0:
            agenda = self.agenda
            agenda.budget -= cost
            if agenda.budget <= 0:
                self.rest()

    def rest(self) -> None:
        """The turn's budget is used up: whatever else has come in is for the next one."""
        if self._holds & FOR_TURN == 0:
            self._hold(FOR_TURN)
            self.resting.append(self)

    def repeat_next_turn(self) -> None:
        """The method at hand comes too early: it is handled again in the next turn."""
        self.is_repeating = True
        self.rest()

    @property
    def is_resting(self) -> bool:
        return self._holds & FOR_TURN != 0

    def end_rest(self) -> None:
        self._end_hold(FOR_TURN)

    def hold_for_peer(self) -> None:
        """It does not read what it has been told: it is told nothing more until it does."""
        self._hold(FOR_PEER)

    def end_hold_for_peer(self) -> None:
        self._end_hold(FOR_PEER)

    def committed(self, mark: i64) -> bool:
        if mark < self._held_mark:
            return True
        replies = self._held_replies
        self._held_replies = []
        for channel_number, payload in replies:
            self.reply(channel_number, payload)
        self._end_hold(FOR_DISK)
        return False

    def let_go(self) -> None:
        """The connection is being closed: only the peer's close-ok is of interest, and nothing keeps that waiting."""
        self._holds = 0
        self.is_held = False
        self.is_repeating = False
        self.is_blocked = False
        self._held_replies.clear()
        self.released.append(self)

    # Consumer timeouts

    def expect_leases(self) -> None:
        self.has_leases = True
        self._looked_ms = self.agenda.monotonic_ms

    def may_lapse(self, now_ms: i64, is_reading: bool) -> bool:
        """False while acks may have come that nobody has read: of a connection that is blocked, or after a stall of ours."""
        if not is_reading or now_ms - self._looked_ms > STALL_MS:
            self._lapse_from_ms = now_ms + GRACE_MS
        self._looked_ms = now_ms
        return now_ms >= self._lapse_from_ms and not self.is_held

    # Resource alarms

    def block(self) -> None:
        """A publish came in while memory or disk is short: read nothing more from this connection for now."""
        if self.is_blocked:
            return
        self.is_blocked = True
        if self.wants_blocked:
            blocked = new_method(commands.Connection.Blocked, reason=self.agenda.alarm_reason)
            self.reply(0, encode_method(blocked))

    def unblock(self) -> None:
        if not self.is_blocked:
            return
        self.is_blocked = False
        if self.wants_blocked:
            self.reply(0, encode_method(new_method(commands.Connection.Unblocked)))
        self.released.append(self)
