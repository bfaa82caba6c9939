"""What every exchange is, and the bindings that lead away from it.

Owns: a binding's identity, the set of an exchange's bindings in bind order, and what makes two declares the same. Does
not own matching (one small file per type), names (the vhost) or the walk from exchange to exchange (vhosts/routing).
Invariants: no two bindings of an exchange have one key; a type's own index holds exactly the bindings in `bindings`.

A new type is one file with a subclass, and one line in registry.py. It overrides `route`, and `on_bound` and
`on_unbound` if it keeps an index; the `check_` hooks and `compared_arguments` if it takes arguments of its own.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import DEFAULTS, Limits
from amqpd.exchanges.canonical import canonical_table
from amqpd.wire.field_table import FieldTable, Timestamp, same_value, type_name

ALTERNATE_EXCHANGE: Final = "alternate-exchange"


@final
class Binding:
    """A way from an exchange to a queue or to another exchange.

    Two bindings are the same if source, destination, its kind, routing key and arguments are: arguments by value and
    in any order. (RabbitMQ tells 1 as a short from 1 as a long; nothing can be gained from that at an unbind.)
    """

    def __init__(
        self, source: str, destination: str, to_exchange: bool, routing_key: str, arguments: FieldTable
    ) -> None:
        self.source = source
        self.destination = destination
        # What the destination names: an exchange if True, else a queue.
        self.to_exchange = to_exchange
        self.routing_key = routing_key
        self.arguments = arguments
        # Identity among the bindings of one source.
        self.key = _binding_key(destination, to_exchange, routing_key, arguments)

    def same_as(self, other: Binding) -> bool:
        return self.source == other.source and self.key == other.key


def _binding_key(destination: str, to_exchange: bool, routing_key: str, arguments: FieldTable) -> bytes:
    name = destination.encode("utf-8", "surrogateescape")
    words = routing_key.encode("utf-8", "surrogateescape")
    # The sizes keep ("a", "bc") and ("ab", "c") apart.
    kind = b"x" if to_exchange else b"q"
    return b"%s%d:%s%d:%s%s" % (kind, len(name), name, len(words), words, canonical_table(arguments))


@final
class Difference:
    """What a redeclare has otherwise; the values are rendered as RabbitMQ's texts show them."""

    def __init__(self, argument: str, received: str, current: str) -> None:
        self.argument = argument
        self.received = received
        self.current = current

    def text(self, where: str) -> str:
        """`where` is `exchange 'x' in vhost '/'`."""
        return f"inequivalent arg '{self.argument}' for {where}: received {self.received} but current is {self.current}"


@mypyc_attr(allow_interpreted_subclasses=True)
class Exchange:
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        self.type_name = type_name
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = arguments
        # Where messages go that match no binding; a policy may set it too.
        self.alternate: str | None = alternate_argument(arguments)
        # True: `route` looks at nothing but the routing key and the bindings, so its answer may be kept.
        self.by_key_only = True
        # False: a message goes the same way whatever further routing keys it has (CC, BCC).
        self.tries_each_key = False
        # True: a message with a header x-delay waits for that long before it is routed here (vhosts/delays.py).
        self.delays = False
        # True: a message with a header x-deduplication-header is routed here once (vhosts/deduplication.py).
        self.deduplicates = False
        # Steps that the last `route` took, beside what it found; 0 where they are few. For who bounds the work of a turn.
        self.last_cost: i64 = 0
        # In bind order.
        self.bindings: dict[bytes, Binding] = {}
        # An auto-delete exchange that was never bound lives on.
        self.was_bound = False

    def bind(self, binding: Binding) -> bool:
        """False if it was there, then nothing changes."""
        if binding.key in self.bindings:
            return False
        self.bindings[binding.key] = binding
        self.was_bound = True
        self.on_bound(binding)
        return True

    def unbind(self, binding: Binding) -> bool:
        """Remove the binding that is the same as this one. False if there is none."""
        known = self.bindings.pop(binding.key, None)
        if known is None:
            return False
        self.on_unbound(known)
        return True

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        """All bindings that match, in an order that only depends on the binds so far.

        One destination may come several times. The list is the caller's.
        """
        raise NotImplementedError

    def route_message(self, routing_key: str, headers: FieldTable | None, header: bytes) -> list[Binding]:
        """What the walk asks; `header` is the content header, for types that look at other properties than headers."""
        return self.route(routing_key, headers)

    def on_bound(self, binding: Binding) -> None:
        """A binding was added to `bindings`: index it."""

    def on_unbound(self, binding: Binding) -> None:
        """This very binding was taken out of `bindings`: forget it, and all that was kept for it."""

    def check_binding(self, binding: Binding, limits: Limits = DEFAULTS) -> None:
        """Raise PreconditionFailed for a binding that this type can't hold. For clients' binds, not for recovery."""

    def check_arguments(self, where: str) -> None:
        """Raise PreconditionFailed for wrong arguments. For a declare that creates; `where` as in Difference.text."""
        tag = self.arguments.tag(ALTERNATE_EXCHANGE)
        if tag not in ("", "S"):
            raise PreconditionFailed(f"invalid type '{type_name(tag)}' for arg '{ALTERNATE_EXCHANGE}' in {where}")

    def compared_arguments(self) -> list[str]:
        """The arguments that must be the same in a redeclare; all others are kept but not compared, as in RabbitMQ."""
        return [ALTERNATE_EXCHANGE]

    def difference(
        self, type_name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> Difference | None:
        """The first thing that differs, in RabbitMQ's order; None if this is the same exchange."""
        if type_name != self.type_name:
            return Difference("type", f"'{type_name}'", f"'{self.type_name}'")
        if durable != self.durable:
            return differing_flag("durable", durable)
        if auto_delete != self.auto_delete:
            return differing_flag("auto_delete", auto_delete)
        if internal != self.internal:
            return differing_flag("internal", internal)
        for key in self.compared_arguments():
            difference = differing_argument(key, arguments, self.arguments)
            if difference is not None:
                return difference
        return None


def alternate_argument(arguments: FieldTable) -> str | None:
    value = arguments.get(ALTERNATE_EXCHANGE)
    return value if isinstance(value, str) else None


def differing_flag(argument: str, received: bool) -> Difference:
    return Difference(argument, "'true'", "'false'") if received else Difference(argument, "'false'", "'true'")


def differing_argument(key: str, received: FieldTable, current: FieldTable) -> Difference | None:
    has_received = received.has(key)
    has_current = current.has(key)
    if has_received != has_current:
        return Difference(key, _shown_alone(received, key), _shown_alone(current, key))
    if not has_received or same_value(received.get(key), current.get(key), received.tag(key), current.tag(key)):
        return None
    return Difference(key, _shown(received.get(key)), _shown(current.get(key)))


def _shown_alone(table: FieldTable, key: str) -> str:
    """RabbitMQ names the type only where the other side has no value at all."""
    if not table.has(key):
        return "none"
    value = table.get(key)
    shown = "'undefined'" if value is None else _shown(value)
    return f"the value {shown} of type '{type_name(table.tag(key))}'"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "'true'" if value else "'false'"
    if isinstance(value, Timestamp):
        return f"'{value.seconds}'"
    if isinstance(value, bytes):
        return f"'{value.decode('utf-8', 'surrogateescape')}'"
    if isinstance(value, FieldTable):
        # RabbitMQ writes Erlang here, which nobody reads.
        return f"'{value.to_dict()}'"
    return f"'{value}'"
