"""Parked messages as `amqpd log parked` prints them.

Owns a line's form. Does not own what is parked: the log says it, by a RETRY that is never ready (store/record.py).
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from amqpd.store.record import PARKED_MS
from amqpd.store.recovered import Recovered, RecoveredEntry
from amqpd.vhosts.routing import split_route_key


def parked_entries(recovered: Recovered | None) -> list[tuple[int, RecoveredEntry]]:
    """By queue_id, oldest first."""
    if recovered is None:
        return []
    return [
        (queue_id, entry)
        for queue_id, entries in sorted(recovered.queues.items())
        for entry in entries
        if entry.ready_at_ms == PARKED_MS
    ]


def parked_line(queue: str, entry: RecoveredEntry, as_json: bool) -> str:
    message = entry.message
    exchange, routing_key = split_route_key(message.route_key)
    logged = datetime.fromtimestamp(int(message.enqueued_ms) / 1000, UTC).isoformat(timespec="milliseconds")
    if not as_json:
        return (
            f"{queue}: message {int(message.message_id)}, {len(message.body)} bytes, from exchange {exchange!r} with "
            f"routing key {routing_key!r}, logged {logged}, came back {int(entry.delivery_count)} times"
        )
    return json.dumps(
        {
            "queue": queue,
            "message_id": int(message.message_id),
            "exchange": exchange,
            "routing_key": routing_key,
            "logged": logged,
            "delivery_count": int(entry.delivery_count),
            "header": base64.b64encode(message.header).decode(),
            "body": base64.b64encode(message.body).decode(),
        }
    )
