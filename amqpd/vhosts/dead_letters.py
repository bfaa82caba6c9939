"""Where dead letters go: routed, put into their queues and taken out of the old one, all inside one turn.

The log records of one turn are one batch, so after any crash a message is in its old queue or in the new ones, never in
both and never in none. Owns the routing of dead letters. Does not own why (queues) nor the headers (dead_letter.py).
A target that refuses (x-overflow) keeps the message where it was: held back (queues/refused.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.dead_letter import MAXLEN, REJECTED, dead_header, queues_since_publish
from amqpd.queues.departure import Departure
from amqpd.queues.queue import Queue
from amqpd.vhosts.publish import REFUSED, put, refusing
from amqpd.vhosts.routing import Route, copies, find_route, join_route_key, split_route_key
from amqpd.wire.field_table import without
from amqpd.wire.properties import headers, with_headers

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost


# What of a turn it takes to write another x-death: some, and by the bytes of the headers that are there already.
NOTICE_COST: Final = 16
NOTICE_BYTES_SHIFT: Final = 4


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
        # Where it must not come back to.
        self.been_in = queues_since_publish(self.table) if reason != REJECTED else {}
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


@final
class DeadLetters:
    def __init__(self, vhost: VHost, agenda: Agenda) -> None:
        self._vhost = vhost
        self._agenda = agenda
        # Dead letters that nobody wanted, since the start.
        self.unroutable_count: i64 = 0
        # When many die at once they mostly have the same headers, so the last ones are kept.
        self._last_notice: DeathNotice | None = None

    def send(self, departure: Departure) -> Queue | None:
        """Take a dead letter out of its queue and into wherever it belongs now; or the queue that has no room for it."""
        entry = departure.entry
        queue = entry.queue
        full = self._publish(queue, entry.message, departure.reason)
        if full is None:
            queue.bury(entry)
        return full

    def send_refused(self, queue: Queue, message: Message) -> None:
        """x-overflow reject-publish-dlx: what a full queue would not have. Full there too, it is dropped (RabbitMQ)."""
        full = self._publish(queue, message, MAXLEN)
        if full is not None:
            self._drop(queue, f"queue '{full.name}' is full")

    def _publish(self, queue: Queue, message: Message, reason: str) -> Queue | None:
        """None if it is where it goes, which may be nowhere; else the queue that refused it, and nobody has it."""
        vhost = self._vhost
        agenda = self._agenda
        exchange = queue.options.dead_letter_exchange
        if exchange is None:
            return None
        if exchange not in vhost.exchanges:
            self._drop(queue, f"exchange '{exchange}' does not exist")
            return None
        notice = self._notice(queue, message, reason)
        route = notice.route
        if route is None or notice.generation != vhost.routes.generation:
            route = self._route(queue, exchange, notice)
        if len(route.queues) == 0:
            self._drop(queue, f"exchange '{exchange}' has no route for it")
            return None
        dead = Message(agenda.log.next_message_id(), notice.route_key, notice.sent_header, message.body)
        if put(route, dead, agenda) == REFUSED:
            return refusing(route, len(message.body))
        return None

    def _route(self, queue: Queue, exchange: str, notice: DeathNotice) -> Route:
        """Where it goes, without the queues that it has been in by itself all the way."""
        vhost = self._vhost
        # What was taken once is no duplicate of itself, wherever it goes from there.
        route = find_route(vhost, exchange, notice.keys, notice.table, notice.header, False)
        targets = [each for each in route.queues if each.name not in notice.been_in]
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
            self._agenda.budget -= NOTICE_COST + (len(message.header) >> NOTICE_BYTES_SHIFT)
        return last

    def _drop(self, queue: Queue, why: str) -> None:
        self.unroutable_count += 1
        if self.unroutable_count == 1 or self.unroutable_count % 10_000 == 0:
            self._agenda.warn(
                f"a dead letter of queue '{queue.name}' is dropped: {why} ({int(self.unroutable_count)} so far in this vhost)"
            )
