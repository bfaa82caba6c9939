"""lost.jsonl in the data directory: the list of what was given up, one JSON object per line, only ever added to.

Owns its lines. Does not own the file (file_disk.py), nor what is lost (store/lost.py). The same loss may be listed twice, when a
start after a crash finds it again; `read_lost` gives it once.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from amqpd.store.lost import Lost

LOST_NAME: Final = "lost.jsonl"
# What says which loss it is; the rest may differ when it is found again.
KEYS: Final = ("queue_id", "message_id", "what")


def line_of(lost: Lost) -> bytes:
    found: dict[str, object] = {
        "time": datetime.fromtimestamp(int(lost.wall_ms) / 1000, UTC).isoformat(timespec="seconds")
    }
    if lost.what:
        found["what"] = lost.what
    else:
        found |= {
            "vhost": lost.vhost,
            "queue": lost.queue,
            "queue_id": int(lost.queue_id),
            "message_id": int(lost.message_id),
            "segment": int(lost.segment_number),
            "offset": int(lost.offset),
            "size_bytes": int(lost.size_bytes),
        }
    return json.dumps(found).encode() + b"\n"


def read_lost(path: Path) -> tuple[list[dict[str, object]], int]:
    """Everything that is listed, oldest first, and how many lines are no such thing: the last one may be cut."""
    file = path / LOST_NAME
    if not file.exists():
        return [], 0
    found: dict[tuple[object, ...], dict[str, object]] = {}
    bad_count = 0
    for line in file.read_bytes().splitlines():
        try:
            each = json.loads(line)
            found.setdefault(tuple(str(each.get(key)) for key in KEYS), each)
        except (ValueError, AttributeError):
            bad_count += 1
    return list(found.values()), bad_count
