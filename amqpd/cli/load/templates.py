"""The messages of a producer, encoded once: publish method, content header and body frames, open where the stamp goes.

Owns: the layout of what is published. Does not own sending or stamping.
"""

from __future__ import annotations

from pamqp import body, commands, frame, header

from amqpd.cli.load import LoadError
from amqpd.cli.load.publisher import Template
from amqpd.cli.load.settings import Settings
from amqpd.wire.frames import FRAME_OVERHEAD_BYTES

TEMPLATES_BYTES_MAX = 1 << 30


def build_templates(settings: Settings, producer: int, frame_max: int) -> list[Template]:
    """One template for each routing key and priority that the producer rotates over."""
    keys = settings.keys_of_producer(producer)
    priorities: list[int | None] = list(range(settings.priorities)) or [
        settings.priority if settings.priority >= 0 else None
    ]
    if len(keys) * len(priorities) * settings.size > TEMPLATES_BYTES_MAX:
        raise LoadError("too many routing keys or priorities for this body size")
    content = body_bytes(settings.size)
    return [build_template(settings, key, priority, frame_max, content) for priority in priorities for key in keys]


def build_template(
    settings: Settings, routing_key: str, priority: int | None, frame_max: int, content: bytes
) -> Template:
    publish = commands.Basic.Publish(exchange=settings.exchange, routing_key=routing_key, mandatory=settings.mandatory)
    properties = commands.Basic.Properties(
        delivery_mode=2 if settings.persistent else 1, priority=priority, headers=dict(settings.header_fields) or None
    )
    size = len(content)
    start = frame.marshal(publish, 1) + frame.marshal(header.ContentHeader(0, size, properties), 1)
    payload_max = frame_max - FRAME_OVERHEAD_BYTES
    bodies = b"".join(
        frame.marshal(body.ContentBody(content[at : at + payload_max]), 1) for at in range(0, size, payload_max)
    )
    stamp_bytes = 16 if size >= 16 else 8 if size >= 8 else 0
    if not stamp_bytes:
        return Template(start + bodies, b"", 0)
    # Type, channel and size of the first body frame come before the stamp.
    return Template(start + bodies[:7], bodies[7 + stamp_bytes :], stamp_bytes)


def body_bytes(size: int) -> bytes:
    alphabet = b"abcdefghijklmnopqrstuvwxyz"
    return (alphabet * (size // len(alphabet) + 1))[:size]
