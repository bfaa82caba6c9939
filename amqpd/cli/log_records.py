"""Records of the log as lines: for people, or as JSON.

Owns what a line says. Does not own the walk over a segment (store/inspect.py). A body is shown as far as it is short and text;
JSON has all of it, so that a message can be brought back from a dump.
"""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from typing import Final

from amqpd.base.errors import UnknownFormat
from amqpd.store.batch import BatchHeader
from amqpd.store.inspect import Chain, RecordView, SegmentScan, describe_damage, kind_name, queue_name, try_view_record
from amqpd.store.record import DELIVERED, MESSAGE, MOVE, REQUEUE, SPILLED

PREVIEW_BYTES: Final = 60


class Dump:
    def __init__(self, names: dict[int, str], queue_ids: dict[int, None], as_json: bool, limit: int) -> None:
        """Only records of these queues, if there are any; `limit` 0: all."""
        self._names = names
        self._queue_ids = queue_ids
        self._as_json = as_json
        self._limit = limit
        self._count = 0

    def segment(self, data: bytes, log_id: int, number: int, chain: Chain) -> bool:
        """False if the limit is reached. UnknownFormat where a record can't be read."""
        scan = SegmentScan(data, log_id, number, chain)
        if scan.header is not None:
            chain.begin(scan.header)
        while scan.next():
            if scan.batch is None:
                self._damage(scan, number)
            elif not self._batch(data, scan.batch, number):
                return False
        return True

    def _batch(self, data: bytes, batch: BatchHeader, number: int) -> bool:
        at = batch.records_offset
        while at < batch.end:
            record = try_view_record(data, int(at), int(batch.end))
            if record is None:
                raise UnknownFormat(f"segment {number} has a record at byte {at} that this version can't read")
            if not self._queue_ids or any(each in self._queue_ids for each in record.queue_ids):
                self._write(self._json(record, batch, number) if self._as_json else self._line(record, number))
                self._count += 1
                if self._count == self._limit:
                    return False
            at = record.offset + record.size
        return True

    def _write(self, line: str) -> None:
        sys.stdout.write(line + "\n")

    def _damage(self, scan: SegmentScan, number: int) -> None:
        size = int(scan.end - scan.offset)
        described = describe_damage(scan.data, int(scan.offset), self._names)
        if self._as_json:
            what = {"segment": number, "offset": int(scan.offset), "kind": "DAMAGE", "size": size}
            self._write(json.dumps({**what, "what": described.strip(" ()")}))
        else:
            self._write(f"{number}:{scan.offset} {size} bytes that are no batch{described}")

    def _queues(self, record: RecordView) -> list[str]:
        return [queue_name(self._names, queue_id) for queue_id in record.queue_ids]

    def _line(self, record: RecordView, number: int) -> str:
        kind = record.kind
        parts = [f"{number}:{record.offset}", kind_name(int(kind)), f"id {record.message_id}"]
        if record.queue_ids:
            parts.append(", ".join(self._queues(record)))
        if kind == REQUEUE:
            parts.append(f"delivery count {record.delivery_count}")
        elif kind == DELIVERED:
            parts.append("and everything before it may have been seen")
        elif kind in (MESSAGE, MOVE, SPILLED):
            parts.append(f"exchange {text(record.exchange)!r} key {text(record.routing_key)!r}")
            parts.append(when(int(record.enqueued_ms)))
            parts.append(f"{len(record.body)} bytes {preview(record.body)}")
        elif not record.queue_ids:
            parts.append(f"{record.size} bytes")
        return "  ".join(parts)

    def _json(self, record: RecordView, batch: BatchHeader, number: int) -> str:
        kind = record.kind
        found: dict[str, object] = {
            "segment": number,
            "offset": int(record.offset),
            "mark": int(batch.mark),
            "epoch": int(batch.epoch),
            "kind": kind_name(int(kind)),
            "message_id": int(record.message_id),
            "queue_ids": record.queue_ids,
            "queues": self._queues(record),
        }
        if kind == REQUEUE:
            found["delivery_count"] = int(record.delivery_count)
        elif kind in (MESSAGE, MOVE, SPILLED):
            found["enqueued_ms"] = int(record.enqueued_ms)
            found["exchange"] = text(record.exchange)
            found["routing_key"] = text(record.routing_key)
            found["header"] = base64.b64encode(record.header).decode()
            found["body"] = base64.b64encode(record.body).decode()
        return json.dumps(found)


def lost_line(lost: dict[str, object]) -> str:
    """One line of the list of what was given up."""
    if "what" in lost:
        return f"{lost.get('time')}  {lost['what']}"
    return (
        f"{lost.get('time')}  queue '{lost.get('queue')}' in vhost '{lost.get('vhost')}'  id {lost.get('message_id')}"
        f"  segment {lost.get('segment')} byte {lost.get('offset')}  {lost.get('size_bytes')} bytes"
    )


def text(name: bytes) -> str:
    """What is no UTF-8 stays visible."""
    return name.decode("utf-8", "backslashreplace")


def when(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"


def preview(body: bytes) -> str:
    start = body[:PREVIEW_BYTES]
    rest = "..." if len(body) > PREVIEW_BYTES else ""
    return f"{start!r}{rest}"
