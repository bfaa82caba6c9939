"""Declaring a queue again: what is compared and how; what x-arguments may be."""

from __future__ import annotations

from typing import Any

from ..codec import Typed
from ..registry import behaviour
from ..session import Session


def _twice(s: Session, first: dict[str, Any], second: dict[str, Any]) -> None:
    ch = s.channel()
    q = ch.queue("q", **first)
    ch.call("queue.declare", queue=q, **second)


@behaviour("arguments")
def declaring_the_same_queue_again_is_fine(s: Session) -> None:
    _twice(
        s, {"durable": True, "arguments": {"x-expires": 60000}}, {"durable": True, "arguments": {"x-expires": 60000}}
    )


@behaviour("arguments")
def another_durability_is_406(s: Session) -> None:
    _twice(s, {"durable": True}, {})


@behaviour("arguments")
def another_durability_the_other_way_is_406(s: Session) -> None:
    _twice(s, {}, {"durable": True})


@behaviour("arguments")
def another_auto_delete_is_406(s: Session) -> None:
    _twice(s, {}, {"auto_delete": True})


@behaviour("arguments")
def durability_is_compared_before_auto_delete(s: Session) -> None:
    _twice(s, {"durable": True}, {"auto_delete": True, "arguments": {"x-expires": 1000}})


@behaviour("arguments")
def another_value_of_an_argument_is_406(s: Session) -> None:
    _twice(s, {"arguments": {"x-expires": 60000}}, {"arguments": {"x-expires": 70000}})


@behaviour("arguments")
def missing_argument_is_406(s: Session) -> None:
    _twice(s, {"arguments": {"x-expires": 60000}}, {})


@behaviour("arguments")
def additional_argument_is_406(s: Session) -> None:
    _twice(s, {}, {"arguments": {"x-expires": 60000}})


@behaviour("arguments")
def integers_of_other_widths_are_equal_arguments(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-expires": 60000})
    for tag in ("i", "l", "u"):
        ch.call("queue.declare", queue=q, arguments={"x-expires": Typed(tag, 60000)})


@behaviour("arguments")
def unknown_arguments_of_queues_are_not_compared(s: Session) -> None:
    _twice(s, {"arguments": {"x-mine": 1, "other": "a"}}, {"arguments": {"x-mine": 2, "x-yours": 3}})


@behaviour("arguments")
def each_odd_value_of_x_expires_is_406(s: Session) -> None:
    ch = s.channel()
    for value in ("60000", 0, -1, 2.5, True, None, [1], Typed("l", 2**40), Typed("l", 315360000001)):
        ch.call("queue.declare", queue=s.name("q"), arguments={"x-expires": value})
        ch.open()


@behaviour("arguments")
def largest_x_expires_is_fine(s: Session) -> None:
    s.channel().queue("q", arguments={"x-expires": Typed("l", 315360000000)})


@behaviour("arguments")
def refused_queue_is_not_declared(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-expires": "never"})
    s.queue_exists(q or s.name("q"), False)


@behaviour("arguments")
def arguments_are_looked_at_on_a_redeclaration_too(s: Session) -> None:
    _twice(s, {}, {"arguments": {"x-expires": "never"}})


@behaviour("arguments")
def classic_is_the_same_as_no_queue_type(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", durable=True)
    ch.call("queue.declare", queue=q, durable=True, arguments={"x-queue-type": "classic"})
    q = ch.queue("typed", durable=True, arguments={"x-queue-type": "classic"})
    ch.call("queue.declare", queue=q, durable=True)


@behaviour("arguments")
def unknown_queue_type_is_refused(s: Session) -> None:
    s.channel().queue("q", durable=True, arguments={"x-queue-type": "no-such-type"})


@behaviour("arguments")
def queue_type_that_is_no_string_is_refused(s: Session) -> None:
    s.channel().queue("q", durable=True, arguments={"x-queue-type": 7})


@behaviour("arguments")
def arguments_of_every_type_are_kept_without_complaint(s: Session) -> None:
    odd = {
        "b": Typed("b", -1),
        "B": Typed("B", 255),
        "s": Typed("s", -300),
        "u": Typed("u", 60000),
        "I": -70000,
        "i": Typed("i", 2**32 - 1),
        "l": Typed("l", 2**40),
        "f": Typed("f", 0.5),
        "d": 2.5,
        "D": Typed("D", (2, 314)),
        "S": "text",
        "x": b"\x00\xff",
        "T": Typed("T", 1700000000),
        "t": True,
        "F": {"in": {"ner": 1}},
        "A": [1, "two", [3.0]],
        "V": None,
    }
    _twice(s, {"arguments": odd}, {"arguments": odd})


@behaviour("arguments")
def argument_may_be_named_twice(s: Session) -> None:
    s.channel().queue("q", exclusive=True, arguments=[("x-expires", 60000), ("x-expires", 70000)])


@behaviour("arguments")
def exclusive_owner_is_compared_before_arguments(s: Session) -> None:
    ch, other = s.channel(), s.channel()
    q = ch.queue("q", exclusive=True)
    other.call("queue.declare", queue=q, durable=True, arguments={"x-expires": 60000})
