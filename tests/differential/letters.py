"""Dead letters: a queue that sends them somewhere, and reading one so that two brokers can be compared.

Owns: how a dead letter is written down. RabbitMQ sorts the headers of what it dead-letters, and from the second death on
the newest x-death table too; x-last-death-* came with 3.13 only. So both are written sorted by name, without
x-last-death-*, and one behaviour for each of the two shows the message as it is (deaths.py). Everything else of a
dead letter is written as sent: the values with their types, and the order of the deaths.
"""

from __future__ import annotations

from typing import Any

from . import codec
from .channel import Channel
from .client import Event
from .transcript import render_argument, render_bytes, render_text

LATER_THAN_3_10 = ("x-last-death-",)


def source(ch: Channel, label: str = "q", **arguments: Any) -> tuple[str, str]:
    """A queue with these x-arguments (`max_length=1` is x-max-length: 1), and the queue that gets its dead letters."""
    dead = ch.queue("dead")
    given = {"x-" + name.replace("_", "-"): value for name, value in arguments.items()}
    q = ch.queue(label, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead} | given)
    return q, dead


def letter(ch: Channel, queue: str) -> Event:
    """The next message of a queue, waited for and taken; its headers sorted, `x-last-death-*` left out."""
    event = ch.await_message(queue, no_ack=True)
    if event.name != "basic.get-ok":
        ch.log(f"= {queue} got nothing: {event.name}")
        return event
    place = f"exchange={render_text(event['exchange'])} routing_key={render_text(event['routing_key'])}"
    ch.log(f"= {queue} got {place} {_properties(event)} {render_bytes(event.body)}")
    return event


def letters(ch: Channel, queue: str, count: int) -> None:
    for _ in range(count):
        letter(ch, queue)


def bodies(ch: Channel, queue: str, count: int) -> None:
    """Wait until the queue has `count` messages, then take them out; bodies in order."""
    ch.counts(queue, count)
    ch.drain(queue)


def reject_next(ch: Channel, queue: str, *, requeue: bool = False) -> None:
    """Get the next message and reject it."""
    ch.reject(ch.get(queue)["delivery_tag"], requeue=requeue)


def reject_when_there(ch: Channel, queue: str) -> None:
    """Wait for the next message and reject it; only that is written down."""
    ch.reject(ch.await_message(queue)["delivery_tag"], requeue=False)


def headers(event: Event) -> list[codec.Field]:
    """The headers of a message as they are compared; good to be published again."""
    kept = [field for field in event.properties.get("headers", []) if not field.name.startswith(LATER_THAN_3_10)]
    return sorted((_death_sorted(field) for field in kept), key=_name)


def _name(field: codec.Field) -> str:
    return field.name


def _death_sorted(field: codec.Field) -> codec.Field:
    if field.name != "x-death" or field.tag != "A":
        return field
    tables = [codec.Typed(tag, sorted(value, key=_name) if tag == "F" else value) for tag, value in field.value]
    return codec.Field(field.name, field.tag, tables)


def _properties(event: Event) -> str:
    kinds = dict(codec.PROPERTIES)
    found = event.properties
    if "headers" in found:
        found["headers"] = headers(event)
    return "{" + ", ".join(f"{name}={render_argument(kinds[name], value)}" for name, value in found.items()) + "}"
