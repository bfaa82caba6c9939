"""headers: a binding's arguments name headers that a message must have; the routing key has no say.

    x-match          matches when                            looks at
    all (default)    every argument is matched               arguments that don't start with `x-`
    any              at least one is                         the same
    all-with-x       every argument is matched               all but `x-match` itself
    any-with-x       at least one is                         the same

An argument is matched by a header of the same name with the same value, see canonical.match_form; a void argument by
any header of that name. Without arguments to look at, `all` matches everything and `any` nothing.

Owns each binding's condition, worked out once when it is bound. Cost: one look at each binding per message.
"""

from __future__ import annotations

from typing import Final, final

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import DEFAULTS, Limits
from amqpd.exchanges.canonical import VOID_FORM, match_form
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable, Timestamp, type_name

X_MATCH: Final = "x-match"
X_MATCHES: Final = ("all", "any", "all-with-x", "any-with-x")


@final
class Condition:
    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        x_match = binding.arguments.get(X_MATCH)
        self.any_is_enough = x_match in ("any", "any-with-x")
        with_x = x_match in ("all-with-x", "any-with-x")
        # Header name to the form that its value must have; VOID_FORM: any value.
        self.wanted: dict[str, bytes] = {}
        for key, form in header_forms(binding.arguments).items():
            if key != X_MATCH and (with_x or not key.startswith("x-")):
                self.wanted[key] = form

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
        self._conditions: dict[bytes, Condition] = {}

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
        return [condition.binding for condition in self._conditions.values() if condition.is_met(forms)]

    def on_bound(self, binding: Binding) -> None:
        self._conditions[binding.key] = Condition(binding)

    def on_unbound(self, binding: Binding) -> None:
        del self._conditions[binding.key]


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
