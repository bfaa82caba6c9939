"""One vhost: names to exchanges, queues and bindings.

Owns declare, delete and bind, what follows from them (auto-delete cascades, lost bindings, dropped routes), and which of
it the topology store hears of. Does not own permissions (access), equivalence rules (declare) or routing (routing).
Invariant: a binding's source exists, its destination exists, and it stands both at its source and under its destination.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.errors import NotFound, PreconditionFailed
from amqpd.base.limits import Limits
from amqpd.exchanges.delayed import X_DELAYED_MESSAGE
from amqpd.exchanges.exchange import Binding, Exchange, alternate_argument
from amqpd.exchanges.registry import PREDECLARED, check_type, create
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import unknown_arguments
from amqpd.queues.new_options import apply_options
from amqpd.queues.queue import Queue
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.dead_letters import DeadLetters
from amqpd.vhosts.declare import (
    check_deletable_exchange,
    check_new_exchange_name,
    check_new_queue_name,
    check_properties_of_type,
    check_queue_owner,
    check_same_queue,
    exchange_in,
    queue_in,
)
from amqpd.vhosts.deduplication import Deduplications
from amqpd.vhosts.delays import Delays
from amqpd.vhosts.policies import Policies, Policy
from amqpd.vhosts.policy_change import PolicyChange
from amqpd.vhosts.routing import DEFAULT_EXCHANGE, REPLY_TO_PREFIX, RouteCache
from amqpd.vhosts.stored_options import stored_options
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable


@final
class VHost:
    def __init__(self, name: str, limits: Limits, agenda: Agenda, changes: Changes) -> None:
        self.name = name
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        self.routes = RouteCache(limits.route_cache_entries_max, limits.route_cache_bytes_max)
        self._reply_queues: dict[str, Queue] = {}
        # Bindings by where they lead: (is an exchange, name) -> bindings by their key.
        self._bindings_to: dict[tuple[bool, str], dict[tuple[str, bytes], Binding]] = {}
        self.binding_count: i64 = 0
        # Queues with x-expires, looked at on every tick.
        self._expiring: dict[str, Queue] = {}
        self._doomed: dict[str, Queue] = {}
        self._limits = limits
        self._agenda = agenda
        self.dead_letters = DeadLetters(self, agenda)
        self.changes = changes
        self.policies = Policies()
        self._policy_change = PolicyChange(self, agenda)
        # RabbitMQ refuses a redeclare with other arguments; here the queue may simply stay as it is.
        self._keeps_arguments = name in limits.redeclare_keep or "*" in limits.redeclare_keep
        self.delays = Delays(self, agenda, changes)
        self.deduplications = Deduplications(self, agenda, changes)
        for exchange_name, type_name in PREDECLARED:
            internal = exchange_name == "amq.rabbitmq.trace"
            self.exchanges[exchange_name] = create(type_name, exchange_name, True, False, internal, EMPTY_TABLE)

    # Look up

    def find_exchange(self, name: str) -> Exchange:
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise NotFound(f"no {exchange_in(name, self.name)}")
        return exchange

    def find_queue(self, name: str, connection_number: int) -> Queue:
        """For anything but publishing: an exclusive queue is locked to all but its owner."""
        queue = self.queues.get(name)
        if queue is None:
            raise NotFound(f"no {queue_in(name, self.name)}")
        check_queue_owner(queue, connection_number, self.name)
        return queue

    def find_queue_or_reply(self, name: str) -> Queue | None:
        """For the default exchange, which also reaches the hidden queues of direct reply-to."""
        queue = self.queues.get(name)
        if queue is None and name.startswith(REPLY_TO_PREFIX):
            return self._reply_queues.get(name)
        return queue

    def all_queues(self) -> list[Queue]:
        """The hidden ones too, in which messages wait for their x-delay."""
        return [*self.queues.values(), *self.delays.queues()]

    # Exchanges

    def declare_exchange(
        self, name: str, type_name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> Exchange:
        existing = self.exchanges.get(name)
        check_type(type_name)
        if existing is None:
            check_new_exchange_name(name)
            if len(self.exchanges) >= self._limits.exchanges_max:
                raise PreconditionFailed(
                    f"vhost '{self.name}' has {len(self.exchanges)} exchanges, the most it may have"
                )
        exchange = create(type_name, name, durable, auto_delete, internal, arguments)
        if existing is not None:
            difference = existing.difference(type_name, durable, auto_delete, internal, arguments)
            if difference is not None:
                raise PreconditionFailed(difference.text(exchange_in(name, self.name)))
            return existing
        exchange.check_arguments(exchange_in(name, self.name))
        self.exchanges[name] = exchange
        self.routes.drop()
        if durable:
            self.changes.put_exchange(self.name, exchange)
        if exchange.delays:
            self.delays.begin(exchange)
        if exchange.deduplicates:
            self.deduplications.begin(exchange)
        self._apply_to_exchange(exchange)
        return exchange

    def restore_exchange(self, exchange: Exchange) -> None:
        self.exchanges[exchange.name] = exchange

    def delete_exchange(self, name: str, if_unused: bool) -> None:
        """Idempotent, as RabbitMQ's: a missing exchange is fine."""
        check_deletable_exchange(name, self.name)
        exchange = self.exchanges.get(name)
        if exchange is None:
            return
        if if_unused and len(exchange.bindings) > 0:
            raise PreconditionFailed(f"{exchange_in(name, self.name)} in use")
        self._remove_exchange(exchange)

    def _remove_exchange(self, exchange: Exchange) -> None:
        """Remove it, its bindings at both ends, and every auto-delete exchange that thereby lost its last binding."""
        todo = [exchange]
        while len(todo) > 0:
            gone = todo.pop()
            if self.exchanges.pop(gone.name, None) is None:
                continue
            for binding in list(gone.bindings.values()):
                self._forget_target(binding)
            todo.extend(self._drop_bindings_to(True, gone.name))
            self.delays.forget(gone.name)
            self.deduplications.forget(gone.name)
            if gone.durable:
                self.changes.delete_exchange(self.name, gone.name)
        self.routes.drop()

    # Queues

    def declare_queue(
        self,
        name: str,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        connection_number: int,
        arguments: FieldTable,
        is_server_named: bool,
    ) -> Queue:
        where = queue_in(name, self.name)
        # RabbitMQ looks at the name first: what it named itself can be declared again only passively.
        if not is_server_named:
            check_new_queue_name(name)
        # Nor does an exclusive queue outlive anything.
        durable = durable and not exclusive
        existing = self.queues.get(name)
        if existing is not None:
            check_same_queue(
                existing,
                self.name,
                durable,
                exclusive,
                auto_delete,
                connection_number,
                existing.arguments if self._keeps_arguments else arguments,
            )
            existing.touch()
            return existing
        options = self.policies.queue_options(name, arguments, where)
        check_properties_of_type(options.queue_type, where, durable, exclusive, auto_delete, is_server_named)
        if len(self.queues) >= self._limits.queues_max:
            raise PreconditionFailed(f"vhost '{self.name}' has {len(self.queues)} queues, the most it may have")
        unknown = unknown_arguments(arguments)
        if len(unknown) > 0:
            # One line, however many there are.
            others = f" and {len(unknown) - 1} others" if len(unknown) > 1 else ""
            self._agenda.notice(
                f"{where} was declared with the unknown argument '{unknown[0]}'{others}, kept and ignored"
            )
        owner = connection_number if exclusive else 0
        queue_id = self.changes.next_queue_id()
        queue = Queue(queue_id, self.name, name, durable, auto_delete, owner, arguments, options, self._agenda)
        self.restore_queue(queue)
        self.routes.drop()
        if queue.is_stored:
            self.changes.put_queue(self.name, queue_id, name, auto_delete, arguments)
        return queue

    def restore_queue(self, queue: Queue) -> None:
        self.queues[queue.name] = queue
        if queue.options.expires_ms >= 0:
            self._expiring[queue.name] = queue

    def delete_queue(self, queue: Queue) -> int:
        """Remove it with its bindings and messages; returns how many it held.

        A durable one from which messages depart goes when they have, in one of the next ticks: or a crash in between would
        leave them nowhere. Who has asked for it waits for that beforehand (channels/on_queue.py).
        """
        if queue.is_deleted:
            return 0
        if queue.is_stored and queue.departing.count > 0:
            self._doomed[queue.name] = queue
            return 0
        self.queues.pop(queue.name, None)
        self._expiring.pop(queue.name, None)
        self.routes.drop()
        if queue.is_stored:
            self.changes.delete_queue(self.name, queue.queue_id, queue.name)
        count = queue.delete()
        for exchange in self._drop_bindings_to(False, queue.name):
            self._remove_exchange(exchange)
        return count

    def delete_queues_of(self, connection_number: int) -> None:
        """Exclusive queues end with their connection."""
        for queue in [each for each in self.queues.values() if each.owner == connection_number]:
            self.delete_queue(queue)

    def expire_queues(self) -> None:
        """Delete what x-expires says, and what could not go before; called on every tick."""
        if len(self._doomed) > 0:
            doomed = self._doomed
            self._doomed = {}
            for queue in doomed.values():
                # Whoever consumes from it since has saved it.
                if len(queue.consumers.all) == 0:
                    self.delete_queue(queue)
        if len(self._expiring) == 0:
            return
        for queue in [each for each in self._expiring.values() if each.is_expired]:
            self.delete_queue(queue)

    def add_reply_queue(self, queue: Queue) -> None:
        self._reply_queues[queue.name] = queue
        self.routes.drop()

    def remove_reply_queue(self, queue: Queue) -> None:
        self._reply_queues.pop(queue.name, None)
        self.routes.drop()
        queue.delete()

    # Policies

    def set_policy(self, policy: Policy) -> None:
        """Add it, or replace the one of its name; live at once."""
        if self.put_policy(policy):
            self.apply_policies()

    def delete_policy(self, name: str, is_operator: bool) -> bool:
        """False if there was none."""
        deleted = self.policies.delete(name, is_operator)
        if deleted is None:
            return False
        self.changes.delete_policy(deleted)
        self.apply_policies()
        return True

    def put_policy(self, policy: Policy) -> bool:
        """As `set_policy`, but whoever puts several calls `apply_policies` after the last. False if nothing changed."""
        if not self.policies.put(policy):
            return False
        self.changes.put_policy(policy)
        return True

    def apply_policies(self) -> None:
        """Let every queue and exchange act on the policies as they are now, in this turn or the next ones."""
        self._policy_change.begin()

    def apply_to_queue(self, name: str) -> None:
        """By the policies as they are now; nothing if it is gone."""
        queue = self.queues.get(name)
        if queue is None:
            return
        options, _ = stored_options(self.policies, name, queue.arguments, queue_in(name, self.name))
        apply_options(queue, options)
        if options.expires_ms >= 0:
            self._expiring[name] = queue
        else:
            self._expiring.pop(name, None)

    def apply_to_exchange(self, name: str) -> None:
        exchange = self.exchanges.get(name)
        if exchange is not None:
            self._apply_to_exchange(exchange)

    def apply_to_exchanges(self) -> None:
        for exchange in self.exchanges.values():
            self._apply_to_exchange(exchange)
        self.routes.drop()

    def _apply_to_exchange(self, exchange: Exchange) -> None:
        exchange.alternate = self.policies.alternate_of(exchange.name, alternate_argument(exchange.arguments))
        if exchange.type_name == X_DELAYED_MESSAGE or exchange.name == DEFAULT_EXCHANGE:
            return
        if self.policies.delays(exchange.name):
            self.delays.begin(exchange)
        elif exchange.delays:
            self.delays.end(exchange)

    # Bindings

    def bind(self, binding: Binding, connection_number: i64 = 0) -> None:
        """Idempotent. Raises NotFound, what the exchange's type has against it, ResourceLocked, then PreconditionFailed."""
        source = self.find_exchange(binding.source)
        queue: Queue | None = None
        if binding.to_exchange:
            self.find_exchange(binding.destination)
        else:
            queue = self.queues.get(binding.destination)
            if queue is None:
                raise NotFound(f"no {queue_in(binding.destination, self.name)}")
        source.check_binding(binding, self._limits)
        if queue is not None:
            check_queue_owner(queue, connection_number, self.name)
        if binding.key in source.bindings:
            return
        self._check_room_for(binding)
        self.restore_binding(binding)
        self.routes.drop()
        if self._is_stored(binding):
            self.changes.put_binding(self.name, binding)

    def _check_room_for(self, binding: Binding) -> None:
        limits = self._limits
        name = binding.destination
        if not binding.to_exchange and len(self._bindings_to.get((False, name), {})) >= limits.bindings_per_queue_max:
            raise PreconditionFailed(f"{queue_in(name, self.name)} has the most bindings it may have")
        if self.binding_count >= limits.bindings_max:
            raise PreconditionFailed(
                f"vhost '{self.name}' has {int(self.binding_count)} bindings, the most it may have"
            )

    def restore_binding(self, binding: Binding) -> bool:
        """False if it was there."""
        source = self.exchanges.get(binding.source)
        if source is None or not source.bind(binding):
            return False
        target = (binding.to_exchange, binding.destination)
        self._bindings_to.setdefault(target, {})[(binding.source, binding.key)] = binding
        self.binding_count += 1
        return True

    def unbind(self, binding: Binding, connection_number: i64 = 0) -> None:
        """Idempotent: what is not bound, whatever the reason, needs no unbinding."""
        source = self.exchanges.get(binding.source)
        known = source.bindings.get(binding.key) if source is not None else None
        if source is None or known is None:
            return
        if not binding.to_exchange:
            check_queue_owner(self.queues[binding.destination], connection_number, self.name)
        # Its arguments may have come in another order, and the store knows them as they were.
        binding = known
        source.unbind(binding)
        self._forget_target(binding)
        self.routes.drop()
        if self._is_stored(binding):
            self.changes.delete_binding(self.name, binding)
        if source.auto_delete and len(source.bindings) == 0:
            self._remove_exchange(source)

    def bindings_to(self, to_exchange: bool, name: str) -> list[Binding]:
        return list(self._bindings_to.get((to_exchange, name), {}).values())

    def _forget_target(self, binding: Binding) -> None:
        target = (binding.to_exchange, binding.destination)
        bindings = self._bindings_to.get(target)
        if bindings is None:
            return
        if bindings.pop((binding.source, binding.key), None) is not None:
            self.binding_count -= 1
        if len(bindings) == 0:
            self._bindings_to.pop(target, None)

    def _drop_bindings_to(self, to_exchange: bool, name: str) -> list[Exchange]:
        """Remove every binding that leads to a name that is gone. Returns auto-delete exchanges left without one."""
        unused: dict[str, Exchange] = {}
        bindings = self._bindings_to.pop((to_exchange, name), {})
        self.binding_count -= len(bindings)
        for binding in bindings.values():
            source = self.exchanges.get(binding.source)
            if source is None:
                continue
            source.unbind(binding)
            if source.auto_delete and len(source.bindings) == 0:
                unused[source.name] = source
        return list(unused.values())

    def _is_stored(self, binding: Binding) -> bool:
        """A binding is as durable as both its ends."""
        if not self.exchanges[binding.source].durable:
            return False
        if binding.to_exchange:
            target = self.exchanges.get(binding.destination)
            return target is not None and target.durable
        queue = self.queues.get(binding.destination)
        return queue is not None and queue.is_stored
