"""From exchange and routing key to queues.

Owns the walk over exchange-to-exchange bindings and alternate exchanges, and the cache of what it found. Does not own
how one exchange matches (exchanges/).
Invariants: a queue stands in a route once, however many ways lead to it; an exchange is visited once, with all routing
keys (CC and BCC are some), so cycles end, and its alternate exchange gets only what none of them leads anywhere; a cached
route is exact, because any change of exchanges, queues or bindings drops the whole cache and marks what was handed out as
stale, and so does a change of permissions, which whoever remembers a route had asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.errors import NotFound
from amqpd.exchanges.exchange import Exchange
from amqpd.queues.dedup_window import Note
from amqpd.queues.delay import check_delay, delay_ms
from amqpd.queues.queue import Queue
from amqpd.store.record import queue_id_bytes
from amqpd.wire.field_table import FieldTable
from amqpd.wire.properties import NO_PROPERTIES

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost

DEFAULT_EXCHANGE: Final = ""
REPLY_TO: Final = "amq.rabbitmq.reply-to"
REPLY_TO_PREFIX: Final = "amq.rabbitmq.reply-to."


# What a remembered route takes beside its two keys, and for each queue in it.
ROUTE_BYTES: Final = 512
ROUTE_QUEUE_BYTES: Final = 16


@final
class Route:
    """Where messages with one exchange and routing key go, until `is_stale`."""

    def __init__(self, exchange: Exchange, routing_key: str, queues: list[Queue], by_key_only: bool) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.queues = queues
        # The common case without a loop: exactly one queue.
        self.only: Queue | None = queues[0] if len(queues) == 1 else None
        # queue_ids of the queues that keep persistent messages, as a log record holds them.
        self.stored_ids = b"".join([queue_id_bytes(queue.queue_id) for queue in queues if queue.is_stored])
        # True: a queue may say no, so it is asked before anything is stored.
        self.may_be_refused = len([queue for queue in queues if queue.options.refuses]) > 0
        # True: on the way is an exchange where the message has to wait first.
        self.is_delayed = len([queue for queue in queues if queue.options.is_delay]) > 0
        # False: some exchange on the way looks at headers, so each message is routed by itself.
        self.by_key_only = by_key_only
        # What exchanges and queues on the way will remember of this very message, and whether some have seen it before.
        self.notes: list[Note] = []
        self.is_duplicate = False
        # True if either says something.
        self.is_noted = False
        self.has_windows = len([queue for queue in queues if queue.dedup is not None]) > 0
        self.is_stale = False
        # Steps that it took to find it, for who bounds the work of a turn.
        self.cost: i64 = len(queues)
        # About what it costs to remember it.
        self.size_bytes: i64 = ROUTE_BYTES + 2 * len(routing_key) + ROUTE_QUEUE_BYTES * len(queues)

    @property
    def deduplicates(self) -> bool:
        """True if a message with headers must be looked at before it is published by this route."""
        return self.has_windows or self.is_noted

    def note(self, notes: list[Note], is_duplicate: bool) -> None:
        self.notes = notes
        self.is_duplicate = is_duplicate
        self.is_noted = is_duplicate or len(notes) > 0


@final
class RouteCache:
    def __init__(self, entries_max: i64, bytes_max: i64) -> None:
        # Grows with every drop: a route that was found before is good for as long as it stands.
        self.generation: i64 = 0
        self._routes: dict[bytes, Route] = {}
        self._size_bytes: i64 = 0
        self._entries_max = entries_max
        self._bytes_max = bytes_max

    def get(self, route_key: bytes) -> Route | None:
        return self._routes.get(route_key)

    def put(self, route_key: bytes, route: Route) -> None:
        old = self._routes.get(route_key)
        if old is not None:
            self._size_bytes -= old.size_bytes
        if len(self._routes) >= self._entries_max or self._size_bytes + route.size_bytes > self._bytes_max:
            self.drop()
        self._routes[route_key] = route
        self._size_bytes += route.size_bytes

    def drop(self) -> None:
        """Names or bindings changed: nothing that was found before may be used again."""
        self.generation += 1
        if len(self._routes) == 0:
            return
        for route in self._routes.values():
            route.is_stale = True
        self._routes = {}
        self._size_bytes = 0


def split_route_key(route_key: bytes) -> tuple[str, str]:
    """Exchange name and routing key of two short strings."""
    size = route_key[0]
    exchange = route_key[1 : 1 + size]
    routing_key = route_key[2 + size :]
    return exchange.decode("utf-8", "surrogateescape"), routing_key.decode("utf-8", "surrogateescape")


def join_route_key(exchange: str, routing_key: str) -> bytes:
    """The reverse of `split_route_key`."""
    name = exchange.encode("utf-8", "surrogateescape")
    key = routing_key.encode("utf-8", "surrogateescape")[:255]
    return bytes([len(name)]) + name + bytes([len(key)]) + key


def copies(table: FieldTable | None, key: str) -> list[str]:
    """The further routing keys that a CC or BCC header holds (RabbitMQ's sender-selected distribution)."""
    value = table.get(key) if table is not None else None
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, str)]


def find_route(
    vhost: VHost,
    exchange_name: str,
    routing_keys: list[str],
    headers: FieldTable | None,
    header: bytes = NO_PROPERTIES,
    is_first_time: bool = True,
) -> Route:
    """Walk from one exchange; several routing keys (CC, BCC) go all the way together, the message's own first.

    Raises NotFound for a missing exchange.

    `header` is the content header, for exchanges that look at properties; `headers` are the headers in it.
    `is_first_time`: exchanges that deduplicate have a say, which they have not in where a dead letter goes; and raises
    PreconditionFailed for an x-delay that can't be honoured, which a message that was taken once may keep.
    """
    exchange = vhost.exchanges.get(exchange_name)
    if exchange is None:
        raise NotFound(f"no exchange '{exchange_name}' in vhost '{vhost.name}'")
    found = _Found(headers, header, is_first_time)
    if exchange_name == DEFAULT_EXCHANGE:
        for routing_key in routing_keys:
            queue = vhost.find_queue_or_reply(routing_key)
            if queue is not None:
                found.queues[routing_key] = queue
    else:
        _walk(vhost, exchange, routing_keys, found)
    route = Route(exchange, routing_keys[0], list(found.queues.values()), found.by_key_only)
    route.cost += found.cost
    if not found.by_key_only:
        route.note(found.notes, found.is_duplicate)
    return route


@final
class _Found:
    """What the walk for one message asks, and has found so far."""

    def __init__(self, headers: FieldTable | None, header: bytes, is_first_time: bool) -> None:
        self.headers = headers
        self.header = header
        self.is_first_time = is_first_time
        self.queues: dict[str, Queue] = {}
        # False once headers had a say.
        self.by_key_only = True
        self.notes: list[Note] = []
        self.is_duplicate = False
        self.cost: i64 = 0


def _walk(vhost: VHost, start: Exchange, routing_keys: list[str], found: _Found) -> None:
    """Add the queues that `start` leads to."""
    headers = found.headers
    visited: dict[str, None] = {start.name: None}
    todo: list[Exchange] = [start]
    while len(todo) > 0:
        exchange = todo.pop()
        found.by_key_only = found.by_key_only and exchange.by_key_only and not exchange.delays
        if exchange.delays and found.is_first_time:
            check_delay(headers)
        if exchange.delays and delay_ms(headers) > 0:
            waiting = vhost.delays.queue_for(exchange)
            found.queues[waiting.name] = waiting
            continue
        note: Note | None = None
        if exchange.deduplicates and headers is not None and found.is_first_time:
            note = vhost.deduplications.note_for(exchange, headers)
            if note is not None and note.is_known:
                found.is_duplicate = True
                continue
        bindings = exchange.route_message(routing_keys[0], headers, found.header)
        found.cost += 1 + exchange.last_cost
        if len(routing_keys) > 1 and exchange.tries_each_key:
            for routing_key in routing_keys[1:]:
                bindings.extend(exchange.route_message(routing_key, headers, found.header))
                found.cost += 1 + exchange.last_cost
        found.cost += len(bindings)
        if note is not None and len(bindings) > 0:
            found.notes.append(note)
        for binding in bindings:
            if binding.to_exchange:
                _visit(vhost, binding.destination, visited, todo)
            elif binding.destination not in found.queues:
                queue = vhost.queues.get(binding.destination)
                if queue is not None:
                    found.queues[binding.destination] = queue
        if len(bindings) == 0 and exchange.alternate is not None:
            _visit(vhost, exchange.alternate, visited, todo)


def _visit(vhost: VHost, name: str, visited: dict[str, None], todo: list[Exchange]) -> None:
    if name in visited:
        return
    visited[name] = None
    exchange = vhost.exchanges.get(name)
    if exchange is not None:
        todo.append(exchange)
