"""Delayed messages: published now, routed when their x-delay is over.

    publish --> exchange that delays --> hidden queue amq.delayed.EXCHANGE --when it is due--> the exchange's bindings

The hidden queue is a queue like all others, durable if its exchange is, with a message's x-delay in the place of its TTL:
so a delayed message is in the log, in checkpoints and in transactions like any other, a confirm means the same, and a
restart finds it again with a deadline of when it was logged plus its delay. When it is due it departs: out of the hidden
queue and into its targets in one turn, hence in one batch of the log.

Owns the hidden queues, which no client can name, and who may look at them: `Delayed`. Does not own which exchanges delay
(`Exchange.delays`). Invariant: every exchange that delays has its hidden queue, as durable as itself, for as long as it
lives; an exchange that ceases to delay keeps it until it is deleted, for what is still in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.message import Message
from amqpd.exchanges.delayed import DelayedExchange
from amqpd.exchanges.exchange import Exchange
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.delay import DELAY_MS_MAX, with_delay, with_spent_delay
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.queues.ready import Ready
from amqpd.store.topology import DELAY
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.deduplication import unseen
from amqpd.vhosts.publish import REFUSED, put, refusing
from amqpd.vhosts.routing import DEFAULT_EXCHANGE, Route, copies, find_route, split_route_key
from amqpd.wire.field_table import EMPTY_TABLE, without
from amqpd.wire.properties import headers, with_headers

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost

# For people only: what the row of a hidden queue is, its kind says (store/topology.py), and it stands among no other queues.
HIDDEN_PREFIX: Final = "amq.delayed."


def delay_options() -> QueueOptions:
    options = QueueOptions()
    options.is_delay = True
    return options


@final
class DelayedMessage:
    """One line of a list. `message_id` is the broker's number, the property message-id stands in `header`."""

    def __init__(self, message: Message, due_wall_ms: i64) -> None:
        self.message_id = message.message_id
        self.exchange, self.routing_key = split_route_key(message.route_key)
        self.header = message.header
        self.size_bytes: i64 = len(message.body)
        self.due_wall_ms = due_wall_ms


@final
class Delayed:
    """What waits at one exchange: to look at, cancel and put off. Each change is durable with the turn's batch."""

    def __init__(self, exchange_name: str, queue: Queue, agenda: Agenda, way_in: Route) -> None:
        """`way_in`: a route that nobody had to find, straight into the hidden queue."""
        self.exchange_name = exchange_name
        self.queue = queue
        self._agenda = agenda
        order = queue.ready
        assert isinstance(order, Ready), "nothing is delivered from a hidden queue, nor has it priorities"
        self._order = order
        self._way_in = way_in

    @property
    def count(self) -> int:
        return int(self.queue.ready.count)

    def page(self, offset: int, count: int) -> list[DelayedMessage]:
        """In the order of arrival."""
        agenda = self._agenda
        return [
            DelayedMessage(entry.message, agenda.wall_ms + entry.due_ms - agenda.monotonic_ms)
            for entry in self._order.page(offset, count)
        ]

    def cancel(self, message_id: int) -> bool:
        """It will never be routed. False if it does not wait here (any more)."""
        entry = self._order.find(message_id)
        if entry is None:
            return False
        self.queue.withdraw(entry)
        return True

    def reschedule(self, message_id: int, delay_ms: int) -> int:
        """Let it wait for this long from now on; returns its new number, 0 if it does not wait here (any more).

        It is stored once more with another x-delay, for the log knows no other way to say when it is due; the number
        changes because a queue's messages stand in the order of their numbers.
        """
        entry = self._order.find(message_id)
        if entry is None:
            return 0
        agenda = self._agenda
        queue = self.queue
        old = entry.message
        header = with_delay(old.header, min(max(delay_ms, 0), DELAY_MS_MAX))
        new = Message(agenda.log.next_message_id(), old.route_key, header, old.body)
        new.ttl_ms = old.ttl_ms
        queue.withdraw(entry)
        mark = put(self._way_in, new, agenda)
        assert mark != REFUSED, "a hidden queue has room for everything"
        return int(new.message_id)


@final
class Delays:
    """All hidden queues of one vhost."""

    def __init__(self, vhost: VHost, agenda: Agenda, changes: Changes) -> None:
        self._vhost = vhost
        self._agenda = agenda
        self._changes = changes
        # By the exchange's name.
        self._delayed: dict[str, Delayed] = {}
        # Messages that nothing was bound for when they were due.
        self.unroutable_count: i64 = 0

    def of(self, exchange_name: str) -> Delayed | None:
        return self._delayed.get(exchange_name)

    def queues(self) -> list[Queue]:
        return [each.queue for each in self._delayed.values()]

    def queue_for(self, exchange: Exchange) -> Queue:
        delayed = self._delayed.get(exchange.name)
        if delayed is None:
            self.begin(exchange)
            delayed = self._delayed[exchange.name]
        return delayed.queue

    def begin(self, exchange: Exchange) -> None:
        """This exchange honours x-delay from now on; its type says so, or a policy."""
        vhost = self._vhost
        if not exchange.delays:
            exchange.delays = True
            vhost.routes.drop()
        if exchange.name in self._delayed:
            return
        queue_id = self._changes.next_queue_id()
        name = HIDDEN_PREFIX + exchange.name
        queue = Queue(
            queue_id, vhost.name, name, exchange.durable, False, 0, EMPTY_TABLE, delay_options(), self._agenda
        )
        self._add(exchange.name, queue)
        if queue.is_stored:
            self._changes.put_queue(vhost.name, queue_id, name, False, EMPTY_TABLE, DELAY)

    def end(self, exchange: Exchange) -> None:
        """From now on it routes at once, unless its type is to delay; what waits goes on waiting."""
        if exchange.delays and not isinstance(exchange, DelayedExchange):
            exchange.delays = False
            self._vhost.routes.drop()

    def restore(self, queue: Queue) -> None:
        name = queue.name[len(HIDDEN_PREFIX) :]
        self._add(name, queue)

    def _add(self, exchange_name: str, queue: Queue) -> None:
        way_in = Route(self._vhost.find_exchange(DEFAULT_EXCHANGE), queue.name, [queue], False)
        self._delayed[exchange_name] = Delayed(exchange_name, queue, self._agenda, way_in)

    def forget(self, exchange_name: str) -> None:
        """The exchange is deleted, and what waits there with it, as in RabbitMQ's plugin."""
        delayed = self._delayed.pop(exchange_name, None)
        if delayed is None:
            return
        queue = delayed.queue
        if queue.is_stored:
            self._changes.delete_queue(self._vhost.name, queue.queue_id, queue.name)
        queue.delete()

    def release(self, entry: Entry) -> Queue | None:
        """Its time has come: into all its targets and out of here; or the target that has no room, and it stays."""
        vhost = self._vhost
        agenda = self._agenda
        queue = entry.queue
        message = entry.message
        _, routing_key = split_route_key(message.route_key)
        header = with_spent_delay(message.header)
        table = headers(header)
        keys = [routing_key, *copies(table, "CC"), *copies(table, "BCC")]
        route = find_route(vhost, queue.name[len(HIDDEN_PREFIX) :], keys, table, header)
        if route.deduplicates:
            route = unseen(route, table)
        if table is not None and table.has("BCC"):
            header = with_headers(header, without(table, "BCC"))
        if len(route.queues) == 0 and not route.is_duplicate:
            self.unroutable_count += 1
        # A message anew: it stands behind what its targets already have, and its TTL begins now.
        due = Message(agenda.log.next_message_id(), message.route_key, header, message.body)
        due.ttl_ms = message.ttl_ms
        if put(route, due, agenda) == REFUSED:
            return refusing(route, len(message.body))
        queue.bury(entry)
        return None
