"""Headers exchanges: how binding arguments match message headers."""

from __future__ import annotations

from typing import Any

from ..codec import Typed
from ..registry import behaviour
from ..session import Session

Table = dict[str, Any] | list[tuple[str, Any]]


def _matches(s: Session, bindings: list[Table], messages: list[Table | None]) -> None:
    """One queue per binding; the body is the number of the message."""
    ch = s.channel()
    x = ch.exchange("x", "headers")
    queues = []
    for number, arguments in enumerate(bindings):
        queue = ch.queue(f"q{number}")
        ch.bind(queue, x, arguments=arguments)
        queues.append(queue)
    for number, headers in enumerate(messages):
        properties: dict[str, Any] = {} if headers is None else {"headers": headers}
        ch.publish(x, "", b"%d" % number, **properties)
    ch.drain(*queues)


@behaviour("headers")
def all_needs_every_header(s: Session) -> None:
    _matches(
        s,
        [{"x-match": "all", "a": 1, "b": "two"}],
        [{"a": 1, "b": "two"}, {"b": "two", "c": 3, "a": 1}, {"a": 1}, {"a": 1, "b": "three"}, {}, None],
    )


@behaviour("headers")
def any_needs_one_header(s: Session) -> None:
    _matches(
        s,
        [{"x-match": "any", "a": 1, "b": "two"}],
        [{"a": 1, "b": "two"}, {"a": 1}, {"b": "two", "a": 2}, {"a": 2, "b": "three"}, {"c": 1}, None],
    )


@behaviour("headers")
def all_is_what_holds_without_x_match(s: Session) -> None:
    _matches(s, [{"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"a": 1}, {"b": 2}, None])


@behaviour("headers")
def binding_without_arguments_matches_everything(s: Session) -> None:
    _matches(s, [{}, {"x-match": "all"}], [{"a": 1}, {}, None])


@behaviour("headers")
def any_without_arguments_matches_nothing(s: Session) -> None:
    _matches(s, [{"x-match": "any"}], [{"a": 1}, {"x-match": "any"}, {}, None])


@behaviour("headers")
def keys_beginning_with_x_are_skipped(s: Session) -> None:
    _matches(
        s,
        [{"x-a": 1, "b": 2}, {"x-match": "any", "x-a": 1, "b": 2}, {"x-a": 1}, {"x-match": "any", "x-a": 1}],
        [{"b": 2}, {"x-a": 1}, {"x-a": 1, "b": 2}, None],
    )


@behaviour("headers")
def with_x_looks_at_keys_beginning_with_x(s: Session) -> None:
    _matches(
        s,
        [{"x-match": "all-with-x", "x-a": 1, "b": 2}, {"x-match": "any-with-x", "x-a": 1, "b": 2}],
        [{"b": 2}, {"x-a": 1}, {"x-a": 1, "b": 2}, {"x-a": 2, "b": 3}, None],
    )


@behaviour("headers")
def void_asks_for_the_key_only(s: Session) -> None:
    _matches(s, [{"a": None}], [{"a": 1}, {"a": "text"}, {"a": None}, {"b": 1}, None])


@behaviour("headers")
def integers_of_every_width_are_equal(s: Session) -> None:
    tags = ("b", "s", "I", "l", "B", "u", "i")
    _matches(s, [{"a": 7}, {"a": Typed("b", 7)}, {"a": Typed("l", 7)}], [{"a": Typed(tag, 7)} for tag in tags])


@behaviour("headers")
def numbers_strings_and_booleans_are_told_apart(s: Session) -> None:
    values = (1, "1", True, 1.0, b"1", Typed("T", 1), None)
    _matches(s, [{"a": value} for value in values if value is not None], [{"a": value} for value in values])


@behaviour("headers")
def floats_and_doubles_are_compared_by_value(s: Session) -> None:
    _matches(s, [{"a": 2.5}, {"a": Typed("f", 2.5)}], [{"a": 2.5}, {"a": Typed("f", 2.5)}, {"a": 2}])


@behaviour("headers")
def text_and_octets_are_equal(s: Session) -> None:
    _matches(s, [{"a": "text"}, {"a": b"text"}], [{"a": "text"}, {"a": b"text"}, {"a": "Text"}, {"a": ""}])


@behaviour("headers")
def tables_and_arrays_are_compared_whole(s: Session) -> None:
    _matches(
        s,
        [{"a": {"b": 1, "c": 2}}, {"a": [1, "two"]}],
        [{"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": [1, "two"]}, {"a": ["two", 1]}],
    )


@behaviour("headers")
def booleans_and_times_match_themselves(s: Session) -> None:
    _matches(
        s,
        [{"a": True}, {"a": False}, {"a": Typed("T", 1700000000)}],
        [{"a": True}, {"a": False}, {"a": Typed("T", 1700000000)}, {"a": Typed("T", 1)}],
    )


@behaviour("headers")
def decimals_match_themselves(s: Session) -> None:
    _matches(s, [{"a": Typed("D", (2, 314))}], [{"a": Typed("D", (2, 314))}, {"a": Typed("D", (3, 3140))}, {"a": 3.14}])


@behaviour("headers")
def header_named_twice_counts_with_its_first_value(s: Session) -> None:
    _matches(s, [{"a": 1}, {"a": 2}], [[("a", 1), ("a", 2)], [("a", 2), ("a", 1)]])


@behaviour("headers")
def keys_are_told_apart_by_case(s: Session) -> None:
    _matches(s, [{"Key": 1}], [{"Key": 1}, {"key": 1}, {"KEY": 1}])


@behaviour("headers")
def unknown_x_match_is_406(s: Session) -> None:
    ch = s.channel()
    ch.bind(ch.queue(), ch.exchange("x", "headers"), arguments={"x-match": "some"})


@behaviour("headers")
def x_match_that_is_no_string_is_406(s: Session) -> None:
    ch = s.channel()
    ch.bind(ch.queue(), ch.exchange("x", "headers"), arguments={"x-match": True})


@behaviour("headers")
def x_match_is_looked_at_by_headers_exchanges_only(s: Session) -> None:
    ch = s.channel()
    ch.bind(ch.queue(), ch.exchange("x", "direct"), "a", arguments={"x-match": "some"})


@behaviour("headers")
def queue_with_several_matching_bindings_gets_one_copy(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "headers"), ch.queue()
    for arguments in ({"a": 1}, {"b": 1}, {"x-match": "any", "a": 1, "b": 1}):
        ch.bind(q, x, arguments=arguments)
    ch.publish(x, "", b"once", headers={"a": 1, "b": 1})
    ch.drain(q)


@behaviour("headers")
def routing_key_is_ignored_by_headers_exchanges(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "headers"), ch.queue()
    ch.bind(q, x, "key", arguments={"a": 1})
    ch.publish(x, "other", b"m", headers={"a": 1})
    ch.get(q)


@behaviour("headers")
def amq_match_and_amq_headers_are_headers_exchanges(s: Session) -> None:
    ch = s.channel()
    q = ch.queue()
    for name in ("amq.match", "amq.headers"):
        ch.bind(q, name, arguments={"id": s.name("id")})
        ch.publish(name, "", name.encode(), headers={"id": s.name("id")})
    ch.drain(q)
