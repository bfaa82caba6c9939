"""One AMQP channel: content assembly, publish and settle.

Owns the channel's state and its parts (unacked, leases, confirms, transaction, consumers, credit). Does not own the rare
methods (`on_*.py`), the frames (connections) or what a queue does with a message.

Content arrives as three kinds of frame in strict order (AMQP 0-9-1 4.2.6), `_content` says which is next:

    METHOD --basic.publish--> HEADER --content header--> BODY (body frames until the declared size) --> METHOD
                                                 \\------ body size 0 ------------------------------> METHOD
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import read_i64_be
from mypy_extensions import i64
from pamqp import commands

from amqpd.base.errors import (
    AccessRefused,
    FrameError,
    NotImplementedFault,
    PreconditionFailed,
    SyntaxFault,
    UnexpectedFrame,
)
from amqpd.base.message import Message
from amqpd.channels.confirms import Confirms
from amqpd.channels.consumer import ChannelConsumer
from amqpd.channels.leases import Leases
from amqpd.channels.partial import Partial
from amqpd.channels.publishing import Inspected, header_to_keep, inspect
from amqpd.channels.session import Session
from amqpd.channels.settling import ACK, GIVE_BACK, REJECT, REQUEUE, settle_all
from amqpd.channels.tx import HeldPublish, HeldSettle, Transaction
from amqpd.channels.unacked import Unacked
from amqpd.queues.back_off import FAILED, RETURNED
from amqpd.queues.consumers import Consumer, SharedCredit
from amqpd.queues.entry import Entry
from amqpd.queues.overflow import REJECT_PUBLISH_DLX
from amqpd.queues.queue import Queue
from amqpd.vhosts.publish import first_time, put
from amqpd.vhosts.routing import Route, find_route, split_route_key
from amqpd.wire.field_table import FieldTable
from amqpd.wire.frames import BASIC_ACK, BASIC_PUBLISH
from amqpd.wire.hot_methods import send_basic_return
from amqpd.wire.methods import encode_method, new_method
from amqpd.wire.properties import NEEDS_A_LOOK, check_header, peek, read_delivery_mode

CONTENT_NONE: Final = 0
CONTENT_HEADER: Final = 1
CONTENT_BODY: Final = 2

MANDATORY: Final = 1
IMMEDIATE: Final = 2

# A channel that uses more routing keys than this forgets its routes and asks the vhost again.
ROUTES_MAX: Final = 4096
# A longer header is counted with unfinished content.
SHORT_HEADER_BYTES: Final = 4096


@final
class Channel:
    def __init__(self, number: i64, session: Session) -> None:
        self.number = number
        self.session = session
        self.outbox = session.outbox
        # After channel.close was sent everything but close-ok is ignored.
        self.is_closing = False
        # The method that an error is about.
        self.method_index: i64 = 0
        self.next_delivery_tag: i64 = 1
        self.unacked = Unacked()
        self.leases = Leases(session, self.unacked)
        # Whose turn is next stands first.
        self.consumers: dict[str, ChannelConsumer] = {}
        self.shared_credit = SharedCredit()
        self.global_prefetch_count: i64 = 0
        # basic.qos global=false: for consumers that start later.
        self.prefetch_count: i64 = 0
        self.confirms: Confirms | None = None
        self.transaction: Transaction | None = None
        # The name that '' stands for.
        self.last_queue_name = ""
        self.reply_queue: Queue | None = None

        self._agenda = session.agenda
        self._log_pending_bytes_max: i64 = session.limits.unconfirmed_bytes_max
        self._log = session.agenda.log
        self._message_bytes_max: i64 = session.limits.message_bytes_max
        self._content: i64 = CONTENT_NONE
        self._route_key = b""
        self._route: Route | None = None
        # Routes that this channel may use: found, and permission checked, before. A stale one is looked for again.
        self._routes: dict[bytes, Route] = {}
        self._route_bytes: i64 = 0
        self._flags: i64 = 0
        self._header = b""
        self._body_left: i64 = 0
        # The body as far as it has come, if it takes several frames.
        self._partial: Partial | None = None
        self._counted_header_bytes: i64 = 0

    # Content, as frames bring it

    def expect_method(self) -> None:
        if self._content == CONTENT_HEADER:
            raise UnexpectedFrame("expected content header for class 60, got non content header frame instead", True)
        if self._content == CONTENT_BODY:
            raise UnexpectedFrame("expected content body, got non content body frame instead", True)

    def on_basic_publish(self, data: bytes, at: i64, end: i64) -> None:
        """`at` is the first octet after the method id, `end` the frame end octet."""
        if self._content != CONTENT_NONE:
            self.expect_method()
        self.method_index = BASIC_PUBLISH
        start = at + 2
        if start >= end:
            raise SyntaxFault("basic.publish is cut short")
        middle = start + 1 + data[start]
        if middle >= end:
            raise SyntaxFault("basic.publish is cut short")
        stop = middle + 1 + data[middle]
        if stop + 1 != end:
            raise SyntaxFault("basic.publish is malformed")
        self._flags = data[stop]
        route_key = data[start:stop]
        if route_key != self._route_key:
            self._route_key = route_key
            self._route = self._routes.get(route_key)
        self._content = CONTENT_HEADER
        if self._agenda.alarm_reason != "" and not self._is_refused_under_alarm():
            # As in RabbitMQ the message that is begun waits too.
            self.session.block()

    def on_content_header(self, data: bytes, at: i64, end: i64) -> None:
        if self._content != CONTENT_HEADER:
            if self._content == CONTENT_BODY:
                self.expect_method()
            raise UnexpectedFrame("expected method frame, got non method frame instead")
        header = data[at:end]
        check_header(header)
        size = read_i64_be(header, 4)
        if size > self._message_bytes_max or size < 0:
            self._content = CONTENT_NONE
            shown = int(size) if size >= 0 else int(size) + (1 << 64)
            limit = int(self._message_bytes_max)
            raise PreconditionFailed(f"message size {shown} is larger than configured max size {limit}")
        self._header = header
        if len(header) > SHORT_HEADER_BYTES or self._counted_header_bytes > 0:
            self._count_header(len(header))
        if size == 0:
            self._complete(b"")
            return
        self._body_left = size
        self._content = CONTENT_BODY

    def on_content_body(self, data: bytes, at: i64, end: i64) -> None:
        if self._content != CONTENT_BODY:
            self.expect_method()
            raise UnexpectedFrame("expected method frame, got non method frame instead")
        left = self._body_left - (end - at)
        if left < 0:
            raise FrameError("content body is larger than its header said", True)
        self._body_left = left
        partial = self._partial
        if left > 0:
            self._gather(data[at:end])
        elif partial is None:
            self._complete(data[at:end])
        else:
            self._partial = None
            body = partial.take(data[at:end])
            if partial.is_refused:
                self._refuse()
            else:
                self._complete(body)

    def _gather(self, piece: bytes) -> None:
        """One of several body frames. An empty one says nothing, and costs nothing."""
        if len(piece) == 0:
            return
        partial = self._partial
        if partial is None:
            route = self._route
            if route is None or route.is_stale:
                # Before anything is kept for somebody who may not publish it.
                self._check_publish()
            partial = Partial(self.session)
            self._partial = partial
        if self._agenda.alarm_reason != "":
            if self._is_refused_under_alarm():
                partial.refuse()
            else:
                self.session.block()
        partial.add(piece)

    def _refuse(self) -> None:
        self._content = CONTENT_NONE
        confirms = self.confirms
        assert confirms is not None
        confirms.refused()

    def _count_header(self, size: i64) -> None:
        """A channel keeps its last header, so it counts until the next one comes."""
        counted: i64 = size if size > SHORT_HEADER_BYTES else 0
        more = counted - self._counted_header_bytes
        self._counted_header_bytes = counted
        self.session.count_partial(more)

    def _drop_partial(self) -> None:
        partial = self._partial
        if partial is not None:
            self._partial = None
            partial.drop()
        self._header = b""
        self._count_header(0)

    # Publish

    def _complete(self, body: bytes) -> None:
        self._content = CONTENT_NONE
        header = self._header
        mode = read_delivery_mode(header)
        if mode == 0 or mode > 2:
            raise PreconditionFailed(f"invalid message: {{delivery_mode_unknown,{int(mode)}}}")
        if peek(header) & NEEDS_A_LOOK != 0 or self._flags & IMMEDIATE != 0 or self.transaction is not None:
            self._publish_with_care(header, body)
            return
        route = self._route
        if route is None or route.is_stale:
            self._check_publish()
            route = self._find_route(None, [])
        elif not route.by_key_only:
            route = self._find_route(None, [])
        self._publish(route, self._route_key, header, body, -1, (self._flags & MANDATORY) != 0)

    def _publish(
        self, route: Route, route_key: bytes, header: bytes, body: bytes, ttl_ms: i64, mandatory: bool
    ) -> bool:
        """Into every queue of the route, and a confirm for it. False if none has it, and the publisher is told so."""
        log = self._log
        agenda = self._agenda
        if agenda.alarm_reason != "" and self._is_refused_under_alarm():
            self._refuse()
            return False
        message = Message(log.next_message_id(), route_key, header, body)
        message.ttl_ms = ttl_ms
        mark = put(route, message, agenda)
        if mark < 0:
            self._refused(route, message)
            return False
        if mark > 0 and log.pending_bytes > self._log_pending_bytes_max:
            # The disk can't follow: this publisher waits for it, or memory would fill.
            self.session.hold_until(mark)
        if mandatory and route.only is None and len(route.queues) == 0 and not route.is_duplicate:
            if self.confirms is not None:
                self.confirms.returning()
            send_basic_return(self.outbox, self.number, 312, b"NO_ROUTE", route_key, header, body)
            if not self.outbox.is_open:
                self.session.hold_for_peer()
        confirms = self.confirms
        if confirms is not None:
            confirms.published(mark)
        if agenda.budget <= 0:
            self.session.rest()
        return True

    def publish_inspected(self, route: Route, route_key: bytes, body: bytes, seen: Inspected, mandatory: bool) -> bool:
        """As `_publish`, for what had to be looked at. Raises PreconditionFailed for a dedup id that is none."""
        header = header_to_keep(seen, route)
        return self._publish(first_time(route, seen.headers), route_key, header, body, seen.ttl_ms, mandatory)

    def _is_refused_under_alarm(self) -> bool:
        """Memory or disk is short: who waits for a confirm need not wait until it is not."""
        return self.confirms is not None and self.session.limits.alarm_action == "nack"

    def _refused(self, route: Route, message: Message) -> None:
        """Some queue is full and says so: the publisher is told by basic.nack."""
        for queue in route.queues:
            if queue.options.overflow == REJECT_PUBLISH_DLX and queue.refuses(len(message.body)):
                self.session.vhost.dead_letters.send_refused(queue, message)
        if self.confirms is not None:
            self.confirms.refused()

    def _publish_with_care(self, header: bytes, body: bytes) -> None:
        """Whatever has a property that the broker acts on, and everything inside a transaction."""
        if self._flags & IMMEDIATE != 0:
            raise NotImplementedFault("immediate=true")
        route = self._route
        if route is None or route.is_stale:
            self._check_publish()
        seen = inspect(self, header)
        mandatory = (self._flags & MANDATORY) != 0
        if self.transaction is not None:
            self.transaction.hold_publish(HeldPublish(self._route_key, body, seen, mandatory))
            return
        if len(seen.extra_routing_keys) > 0 or route is None or route.is_stale or not route.by_key_only:
            route = self._find_route(seen.headers, seen.extra_routing_keys)
        self.publish_inspected(route, self._route_key, body, seen, mandatory)

    def _find_route(self, headers: FieldTable | None, extra_routing_keys: list[str]) -> Route:
        """The route of the message at hand; remembered unless it is this one message's own."""
        route_key = self._route_key
        vhost = self.session.vhost
        is_own = len(extra_routing_keys) > 0
        known = None if is_own else vhost.routes.get(route_key)
        route = known
        if route is None or not route.by_key_only:
            exchange_name, routing_key = split_route_key(route_key)
            route = find_route(vhost, exchange_name, [routing_key, *extra_routing_keys], headers, self._header)
        if is_own:
            return route
        if known is None:
            vhost.routes.put(route_key, route)
            known = route
        # All channels remember the one in the vhost's cache, which becomes stale with it: where headers have a say it
        # stands for no more than that this channel may publish by this key.
        if known is not self._route:
            self._route = known
            self._remember(route_key, known)
        return route

    def _remember(self, route_key: bytes, route: Route) -> None:
        session = self.session
        old = self._routes.get(route_key)
        if old is not None:
            self._count_routes(-old.size_bytes)
        elif len(self._routes) >= ROUTES_MAX:
            self._forget_routes()
        if session.route_bytes + route.size_bytes > session.limits.routes_per_connection_bytes_max:
            self._forget_routes()
        else:
            self._routes[route_key] = route
            self._count_routes(route.size_bytes)

    def _count_routes(self, size_bytes: i64) -> None:
        self._route_bytes += size_bytes
        self.session.route_bytes += size_bytes

    def _forget_routes(self) -> None:
        self._routes.clear()
        self._count_routes(-self._route_bytes)

    def _check_publish(self) -> None:
        session = self.session
        exchange_name, _ = split_route_key(self._route_key)
        session.check("write", "exchange", exchange_name)
        exchange = session.vhost.find_exchange(exchange_name)
        if exchange.internal:
            raise AccessRefused(
                f"cannot publish to internal exchange '{exchange_name}' in vhost '{session.vhost.name}'"
            )

    # Settle

    def on_basic_ack(self, delivery_tag: i64, multiple: bool) -> None:
        if self._content != CONTENT_NONE:
            self.expect_method()
        self.method_index = BASIC_ACK
        if self.transaction is not None:
            self._hold_settles(delivery_tag, multiple, ACK)
            return
        if multiple:
            settle_all(self, self._take(delivery_tag, multiple), ACK)
            return
        taken = self.unacked.take(delivery_tag)
        if taken is None:
            self._check_late(delivery_tag)
            return
        self.give_credit_back(taken)
        taken.queue.settle(taken)

    def on_basic_reject(self, delivery_tag: i64, multiple: bool, requeue: bool) -> None:
        """basic.nack, and basic.reject as its single form."""
        self.expect_method()
        if self.transaction is not None:
            self._hold_settles(delivery_tag, multiple, REQUEUE if requeue else REJECT)
            return
        settle_all(self, self._take(delivery_tag, multiple), REQUEUE if requeue else REJECT)

    def reject(self, entry: Entry, requeue: bool) -> None:
        self.give_credit_back(entry)
        if requeue:
            entry.queue.requeue(entry, FAILED)
        else:
            entry.queue.reject(entry)

    def give_back(self, entry: Entry) -> None:
        """Nobody says anything against it: its channel ends, or the client wants to begin anew."""
        self.give_credit_back(entry)
        entry.queue.requeue(entry, RETURNED)

    def redeliver(self, entry: Entry, consumer: Consumer) -> None:
        """Once more to the same consumer, under a new tag."""
        self.give_credit_back(entry)
        entry.redelivered = True
        entry.delivery_count += 1
        entry.consumer = consumer
        consumer.deliver(entry)

    def _take(self, delivery_tag: i64, multiple: bool) -> list[Entry]:
        if not multiple:
            taken = self.unacked.take(delivery_tag)
            if taken is not None:
                return [taken]
            self._check_late(delivery_tag)
            return []
        # AMQP 0-9-1 basic.ack: "If the multiple field is 1, and the delivery tag is zero, this indicates
        # acknowledgement of all outstanding messages."
        if delivery_tag == 0:
            return self.unacked.take_all()
        self._check_tag(delivery_tag)
        return self.unacked.take_through(delivery_tag)

    def _check_tag(self, delivery_tag: i64) -> None:
        """RabbitMQ: the tag itself must be unacked, also for `multiple` while older ones are."""
        if not self.unacked.has(delivery_tag):
            self._check_late(delivery_tag)

    def _check_late(self, delivery_tag: i64) -> None:
        """What is not unacked may not be settled; unless its consumer timeout has taken it away, then that is ignored."""
        if not self.leases.take_late(delivery_tag):
            raise unknown_tag(delivery_tag)

    def give_credit_back(self, entry: Entry) -> None:
        consumer = entry.consumer
        if consumer is not None:
            entry.consumer = None
            consumer.unacked_count -= 1
            consumer.credit += 1
            if consumer.is_hung:
                consumer.queue.consumers.settled(consumer)
            shared = consumer.shared
            shared.remaining += 1
            if shared.remaining == 1:
                self.wake_queues()
            if consumer.queue.ready.count > 0:
                consumer.queue.wake()

    def wake_queues(self) -> None:
        """Any consumer of this channel may take messages again; who has taken longest ago comes first."""
        for consumer in self.consumers.values():
            consumer.queue.wake()

    def comes_last(self, consumer: ChannelConsumer) -> None:
        """It took the last of what all consumers share: the others come first when there is more."""
        found = self.consumers.pop(consumer.consumer_tag, None)
        if found is not None:
            self.consumers[consumer.consumer_tag] = found
        self.outbox.filled_by = self.number

    def rotate(self) -> None:
        """Whoever comes first comes last."""
        for consumer in self.consumers.values():
            self.comes_last(consumer)
            return

    def timeouts_changed(self) -> None:
        """Policies have changed the consumer timeout of some queue."""
        for consumer in self.consumers.values():
            consumer.find_lease()
        self.leases.renew()

    # Transactions

    def _hold_settles(self, delivery_tag: i64, multiple: bool, verdict: i64) -> None:
        """AMQP 0-9-1 tx: acknowledgements take effect at the commit; until then what they are about stays unacked."""
        transaction = self.transaction
        assert transaction is not None
        unacked = self.unacked
        if delivery_tag != 0 or not multiple:
            entry = unacked.find(delivery_tag)
            if entry is None or entry.is_held:
                self._check_late(delivery_tag)
                return
            if not multiple:
                transaction.hold_settle(HeldSettle(delivery_tag, entry, verdict))
                return
        for tag, entry in unacked.free_through(delivery_tag if delivery_tag != 0 else unacked.last_tag()):
            transaction.hold_settle(HeldSettle(tag, entry, verdict))

    # Consumers

    def keep_consumer(self, consumer: ChannelConsumer) -> None:
        self.consumers[consumer.consumer_tag] = consumer
        self.session.consumer_count += 1

    def forget_consumer(self, consumer_tag: str) -> ChannelConsumer | None:
        consumer = self.consumers.pop(consumer_tag, None)
        if consumer is not None:
            self.session.consumer_count -= 1
        return consumer

    def consumer_cancelled(self, consumer: Consumer) -> None:
        """The queue went away under a consumer. RabbitMQ tells those clients that announced consumer_cancel_notify."""
        self.forget_consumer(consumer.consumer_tag)
        if self.session.wants_cancel_notify and not self.is_closing:
            cancel = new_method(commands.Basic.Cancel, consumer_tag=consumer.consumer_tag, nowait=True)
            session = self.session
            if session.is_postponing:
                session.postponed.append((int(self.number), encode_method(cancel)))
            else:
                session.reply(self.number, encode_method(cancel))

    def cancel_consumers(self) -> None:
        """First step of an end: nobody of this channel gets anything any more."""
        consumers = list(self.consumers.values())
        self.session.consumer_count -= len(consumers)
        self.consumers.clear()
        for consumer in consumers:
            queue = consumer.queue
            if queue.remove_consumer(consumer) and queue.auto_delete:
                self.session.vhost.delete_queue(queue)
        reply_queue = self.reply_queue
        if reply_queue is not None:
            self.reply_queue = None
            self.session.vhost.remove_reply_queue(reply_queue)

    def release(self) -> None:
        """Second step: everything unacked goes back to its place, and nothing more is confirmed."""
        if self.transaction is not None:
            self.transaction.clear()
            self.transaction = None
        settle_all(self, self.unacked.take_all(), GIVE_BACK)
        if self.confirms is not None:
            self.confirms.is_closed = True
        self._drop_partial()
        self._content = CONTENT_NONE
        self._forget_routes()
        self.leases.forget_late()

    def close(self) -> None:
        self.cancel_consumers()
        self.release()


def unknown_tag(delivery_tag: i64) -> PreconditionFailed:
    # Tags are unsigned on the wire; from 2^63 on they read as negative numbers here.
    return PreconditionFailed(f"unknown delivery tag {int(delivery_tag) & 0xFFFFFFFFFFFFFFFF}")
