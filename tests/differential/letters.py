"""Dead letters: a queue that sends them somewhere, and reading one so that two brokers can be compared.

Owns: how a dead letter is written down. RabbitMQ sorts the headers of what it dead-letters, and x-last-death-* came with
3.13 only; so headers are written sorted by name, without x-last-death-*. Each of the two has a behaviour that shows it
as it is (dead_letters.py). Everything else of a dead letter, the x-death tables with their types too, is written as sent.
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


def headers(event: Event) -> list[codec.Field]:
    """The headers of a message as they are compared; good to be published again."""
    kept = [field for field in event.properties.get("headers", []) if not field.name.startswith(LATER_THAN_3_10)]
    return sorted(kept, key=lambda field: field.name)


def _properties(event: Event) -> str:
    kinds = dict(codec.PROPERTIES)
    found = event.properties
    if "headers" in found:
        found["headers"] = headers(event)
    return "{" + ", ".join(f"{name}={render_argument(kinds[name], value)}" for name, value in found.items()) + "}"
