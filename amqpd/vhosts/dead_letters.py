"""Where dead letters go: routed, put into their queues and taken out of the old one, all inside one turn.

The log records of one turn are one batch, so after any crash a message is in its old queue or in the new ones, never in
both and never in none. Owns the routing of dead letters. Does not own why (queues) nor the headers (dead_letter.py).
A target that refuses (x-overflow) keeps the message where it was; it is tried again a second later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.message import Message
from amqpd.base.timers import Timer
from amqpd.queues.agenda import Agenda
from amqpd.queues.dead_letter import REJECTED, DeadLetter, dead_header, is_cycle
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.vhosts.routing import Route, copies, find_route, join_route_key, split_route_key
from amqpd.wire.field_table import without
from amqpd.wire.properties import headers, is_persistent, with_headers

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost

RETRY_MS: Final = 1000


@final
@mypyc_attr(acyclic=True)
class RetryTimer(Timer):
    """Refused dead letters are tried again when it fires."""

    def __init__(self, letters: DeadLetters, due_ms: i64) -> None:
        self.due_ms = due_ms
        self._letters = letters

    def fire(self) -> None:
        self._letters.retry()

    def is_done(self) -> bool:
        return False


@final
class DeathNotice:
    """What the headers of a dead letter become, and by which keys it goes on."""

    def __init__(self, queue: Queue, message: Message, reason: str, time_s: i64) -> None:
        self._queue_id = queue.queue_id
        self._options = queue.options
        self._reason = reason
        self._time_s = time_s
        self._old_header = message.header
        self._old_route_key = message.route_key
        old_exchange, old_key = split_route_key(message.route_key)
        old_table = headers(message.header)
        copied = copies(old_table, "CC")
        override = queue.options.dead_letter_routing_key
        self.keys = [override] if override is not None else [old_key, *copied, *copies(old_table, "BCC")]
        exchange = queue.options.dead_letter_exchange
        assert exchange is not None
        self.route_key = join_route_key(exchange, self.keys[0])
        died_by = [old_key, *copied]
        is_override = override is not None
        # As it is routed; BCC stands in it still.
        self.header = dead_header(message.header, queue.name, reason, old_exchange, died_by, time_s, is_override)
        self.table = headers(self.header)
        # Where it goes, as long as exchanges and bindings stay as they are.
        self.route: Route | None = None
        self.generation: i64 = 0
        self.sent_header = self.header
        if self.table is not None and self.table.has("BCC"):
            self.sent_header = with_headers(self.header, without(self.table, "BCC"))

    def fits(self, queue: Queue, message: Message, reason: str, time_s: i64) -> bool:
        """True if that death gives the same."""
        return (
            self._queue_id == queue.queue_id
            and self._options is queue.options
            and self._time_s == time_s
            and self._reason == reason
            and self._old_header == message.header
            and self._old_route_key == message.route_key
        )

    def is_cycle(self, name: str) -> bool:
        return self._reason != REJECTED and is_cycle(self.table, name)


@final
class DeadLetters:
    def __init__(self, vhost: VHost, agenda: Agenda) -> None:
        self._vhost = vhost
        self._agenda = agenda
        # Dead letters that nobody wanted, since the start.
        self.unroutable_count: i64 = 0
        # Dead letters that a target would not have: still in their old queues as far as the log knows.
        self.refused: list[DeadLetter] = []
        # When many die at once they mostly have the same headers, so the last ones are kept.
        self._last_notice: DeathNotice | None = None

    def retry(self) -> None:
        self._agenda.dead_letters.extend(self.refused)
        self.refused = []

    def deliver(self, letter: DeadLetter) -> None:
        """Take the message out of its queue and into wherever it belongs now."""
        entry = letter.entry
        queue = entry.queue
        exchange = queue.options.dead_letter_exchange
        if exchange is None or queue.is_deleted or exchange not in self._vhost.exchanges:
            if exchange is not None and not queue.is_deleted:
                self._drop(queue, f"exchange '{exchange}' does not exist")
            queue.bury(entry)
            return
        if not self._send(queue, entry, letter.reason):
            if len(self.refused) == 0:
                self._agenda.wheel.add(RetryTimer(self, self._agenda.monotonic_ms + RETRY_MS))
            self.refused.append(letter)

    def _send(self, queue: Queue, entry: Entry, reason: str) -> bool:
        if queue.options.is_delay:
            # No dead letter, but it leaves in the same way: its x-delay is over.
            return self._vhost.delays.release(entry)
        return self.publish(queue, entry.message, reason, entry)

    def publish(self, queue: Queue, message: Message, reason: str, entry: Entry | None) -> bool:
        """False if a target refused. `entry` is the message's place in `queue`, None if it never got in."""
        vhost = self._vhost
        agenda = self._agenda
        exchange = queue.options.dead_letter_exchange
        assert exchange is not None
        notice = self._notice(queue, message, reason)
        route = notice.route
        if route is None or notice.generation != vhost.routes.generation:
            route = self._route(queue, exchange, notice)
        if route.may_be_refused:
            for target in route.queues:
                if target.refuses(len(message.body)):
                    return False
        header = notice.sent_header
        if len(route.queues) == 0:
            self._drop(queue, f"exchange '{exchange}' has no route for it")
        dead = Message(agenda.log.next_message_id(), notice.route_key, header, message.body)
        if len(route.stored_ids) > 0 and is_persistent(header):
            agenda.log.append_message(dead, route.stored_ids, agenda.wall_ms)
        for target in route.queues:
            target.publish(dead)
        if entry is not None:
            queue.bury(entry)
        return True

    def _route(self, queue: Queue, exchange: str, notice: DeathNotice) -> Route:
        """Where it goes, without the queues that it has been in by itself all the way."""
        vhost = self._vhost
        # What was taken once is no duplicate of itself, wherever it goes from there.
        route = find_route(vhost, exchange, notice.keys, notice.table, notice.header, False)
        targets = [each for each in route.queues if not notice.is_cycle(each.name)]
        if len(targets) < len(route.queues):
            self._agenda.warn(f"a dead letter of queue '{queue.name}' has come round in a cycle and is dropped")
            return Route(route.exchange, route.routing_key, targets, False)
        if route.by_key_only:
            notice.route = route
            notice.generation = vhost.routes.generation
        return route

    def _notice(self, queue: Queue, message: Message, reason: str) -> DeathNotice:
        time_s = self._agenda.wall_ms // 1000
        last = self._last_notice
        if last is None or not last.fits(queue, message, reason, time_s):
            last = DeathNotice(queue, message, reason, time_s)
            self._last_notice = last
        return last

    def _drop(self, queue: Queue, why: str) -> None:
        self.unroutable_count += 1
        if self.unroutable_count == 1 or self.unroutable_count % 10_000 == 0:
            self._agenda.warn(
                f"a dead letter of queue '{queue.name}' is dropped: {why} ({int(self.unroutable_count)} so far in this vhost)"
            )
