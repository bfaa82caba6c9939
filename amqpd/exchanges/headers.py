"""headers: a binding's arguments name headers that a message must have; the routing key has no say.

    x-match          matches when                            looks at
    all (default)    every argument is matched               arguments that don't start with `x-`
    any              at least one is                         the same
    all-with-x       every argument is matched               all but `x-match` itself
    any-with-x       at least one is                         the same

An argument is matched by a header of the same name with the same value, see canonical.match_form; a void argument by
any header of that name. Without arguments to look at, `all` matches everything and `any` nothing.

Owns each binding's condition, worked out once when it is bound, and the index that says which are worth a look:

    x-match all: under one of its arguments, the one that fewest bindings have when it is bound; `any`: under each

so a message costs a look at each of its headers, and at what is indexed under it with this value, or with any.
Invariant: what the index leaves out can't match; the bindings found come in bind order, as from a walk over all.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import DEFAULTS, Limits
from amqpd.exchanges.canonical import VOID_FORM, match_form
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable, Timestamp, type_name

X_MATCH: Final = "x-match"
# More than there are bindings.
ANY_VALUE_COST: Final = 1 << 40
X_MATCHES: Final = ("all", "any", "all-with-x", "any-with-x")


@final
class Condition:
    def __init__(self, binding: Binding, number: int) -> None:
        self.binding = binding
        # Its place in the order of binds.
        self.number = number
        x_match = binding.arguments.get(X_MATCH)
        self.any_is_enough = x_match in ("any", "any-with-x")
        with_x = x_match in ("all-with-x", "any-with-x")
        # Header name to the form that its value must have; VOID_FORM: any value.
        self.wanted: dict[str, bytes] = {}
        for key, form in header_forms(binding.arguments).items():
            if key != X_MATCH and (with_x or not key.startswith("x-")):
                self.wanted[key] = form
        # Where it stands in the index; nowhere if it matches everything, or nothing.
        self.places: list[tuple[str, bytes]] = []

    def is_met(self, forms: dict[str, bytes]) -> bool:
        for key, wanted in self.wanted.items():
            form = forms.get(key)
            matched = form is not None and (form == wanted or wanted == VOID_FORM)
            if matched == self.any_is_enough:
                return matched
        return not self.any_is_enough


@final
class HeadersExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        self.by_key_only = False
        # By the binding's key.
        self._conditions: dict[bytes, Condition] = {}
        # By header name and form, then as above.
        self._index: dict[str, dict[bytes, dict[bytes, Condition]]] = {}
        # `all` without arguments.
        self._always: dict[bytes, Condition] = {}
        self._bound_count = 0

    def check_binding(self, binding: Binding, limits: Limits = DEFAULTS) -> None:
        arguments = binding.arguments
        tag = arguments.tag(X_MATCH)
        value = arguments.get(X_MATCH)
        if tag not in ("", "S"):
            raise PreconditionFailed(
                f"Invalid x-match field type {type_name(tag)} (value {erlang_term(value)}); expected longstr"
            )
        if tag == "S" and value not in X_MATCHES:
            raise PreconditionFailed(
                f"Invalid x-match field value {erlang_term(value)}; expected all, any, all-with-x, or any-with-x"
            )
        count = len(arguments.entries())
        if count > limits.headers_arguments_max:
            raise PreconditionFailed(
                f"headers binding has {count} arguments, the most it may have is {limits.headers_arguments_max}"
            )

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        if len(self._conditions) == 0:
            return []
        forms: dict[str, bytes] = {} if headers is None else header_forms(headers)
        # By number.
        found: dict[int, Binding] = {}
        for condition in self._always.values():
            found[condition.number] = condition.binding
        cost: i64 = len(forms)
        for name, form in forms.items():
            by_form = self._index.get(name)
            if by_form is None:
                continue
            cost += _look_at(by_form.get(form), forms, found)
            if form != VOID_FORM:
                cost += _look_at(by_form.get(VOID_FORM), forms, found)
        self.last_cost = cost
        return [found[number] for number in sorted(found)]

    def on_bound(self, binding: Binding) -> None:
        self._bound_count += 1
        condition = Condition(binding, self._bound_count)
        self._conditions[binding.key] = condition
        if condition.any_is_enough:
            condition.places = list(condition.wanted.items())
        elif len(condition.wanted) > 0:
            condition.places = [self._rarest(condition.wanted)]
        else:
            self._always[binding.key] = condition
        for name, form in condition.places:
            self._index.setdefault(name, {}).setdefault(form, {})[binding.key] = condition

    def on_unbound(self, binding: Binding) -> None:
        condition = self._conditions.pop(binding.key)
        self._always.pop(binding.key, None)
        for name, form in condition.places:
            by_form = self._index[name]
            del by_form[form][binding.key]
            if len(by_form[form]) == 0:
                del by_form[form]
                if len(by_form) == 0:
                    del self._index[name]

    def _rarest(self, wanted: dict[str, bytes]) -> tuple[str, bytes]:
        """Where fewest stand so far; last of all under an argument that any value will do for."""
        best: tuple[str, bytes] | None = None
        lowest: i64 = 0
        for name, form in wanted.items():
            count: i64 = len(self._index.get(name, {}).get(form, {}))
            if form == VOID_FORM:
                count += ANY_VALUE_COST
            if best is None or count < lowest:
                best = (name, form)
                lowest = count
        assert best is not None
        return best


def _look_at(candidates: dict[bytes, Condition] | None, forms: dict[str, bytes], found: dict[int, Binding]) -> i64:
    """Add those that are met; returns how many there were to look at."""
    if candidates is None:
        return 0
    for condition in candidates.values():
        # One match is enough for `any`, and it stands here for one.
        if condition.any_is_enough or condition.is_met(forms):
            found[condition.number] = condition.binding
    return len(candidates)


def header_forms(headers: FieldTable) -> dict[str, bytes]:
    """Name to form; of two headers with one name the first counts."""
    forms: dict[str, bytes] = {}
    for key, _, value in headers.entries():
        if key not in forms:
            forms[key] = match_form(value)
    return forms


def erlang_term(value: object) -> str:
    """A value as RabbitMQ's texts show it: written in Erlang. Arrays, tables and decimals are not imitated."""
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _erlang_binary(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bytes):
        return _erlang_binary(value)
    if isinstance(value, Timestamp):
        return str(value.seconds)
    return str(value)


def _erlang_binary(raw: bytes) -> str:
    if len(raw) == 0:
        return "<<>>"
    text = raw.decode("latin-1")
    if not text.isprintable() or not text.isascii():
        return "<<" + ",".join([str(octet) for octet in raw]) + ">>"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'<<"{escaped}">>'
