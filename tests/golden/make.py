"""Writes a golden directory: run once for each, never again over the same one; a new format gets a new folder.

    data-1    when format 1 was new
    data-1-2  format 1 still, with what data-1 lacks: watermarks and delivery counts in the checkpoint, a user whom the broker
              itself could have written
    data-2    checkpoint format 2, with everything that there is in it; RETRY, DEDUP, SETTLES, and MOVE for one queue
    data-2-2  as data-2, and SPILLED
    data-2-3  as data-2-2, and TOPOLOGY; rows of queues say what they are

python -m tests.golden.make FOLDER
"""

from __future__ import annotations

import json
import queue
import sys
from pathlib import Path

from amqpd.base.message import Message
from amqpd.runtime.files import DataDirectory
from amqpd.runtime.log_writer import DiskEvents
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.log import Log
from amqpd.store.page import Page, PageWriter
from amqpd.store.record import queue_id_bytes
from amqpd.store.topology import (
    BINDINGS,
    EXCHANGES,
    PERMISSIONS,
    QUEUES,
    USERS,
    VHOSTS,
    BindingRow,
    ExchangeRow,
    QueueRow,
    TopologyChange,
    VhostRow,
    put,
)
from amqpd.vhosts.access import SHA256, User, hash_password

NOW_MS = 1_700_000_000_000
# Far enough for whoever opens it.
READY_AT_MS = 4_000_000_000_000
HEADER = bytes.fromhex("003c00000000000000000005100002")


class Synced(DiskEvents):
    def __init__(self) -> None:
        self.marks: queue.Queue[int] = queue.Queue()

    def synced(self, mark: int) -> None:
        self.marks.put(mark)


def make(path: Path) -> None:
    directory = DataDirectory(path)
    _, recovered = directory.load()
    log = Log(recovered.start, 1024)
    events = Synced()
    writer = directory.start_writer(recovered, events)
    held: dict[int, list[Message]] = {1: [], 2: []}

    def commit(*topology: TopologyChange) -> None:
        batch = log.seal(list(topology))
        assert batch is not None
        writer.submit(batch)
        events.marks.get()

    def publish(body: bytes, *queue_ids: int) -> None:
        message = Message(log.next_message_id(), b"\x06orders\x05eu.de", HEADER, body)
        log.append_message(message, b"".join(map(queue_id_bytes, queue_ids)), NOW_MS)
        for queue_id in queue_ids:
            held[queue_id].append(message)

    commit(
        put(VHOSTS, VhostRow("/").row()),
        put(EXCHANGES, ExchangeRow("/", "orders", "topic", False, False, b"").row()),
        put(QUEUES, QueueRow(1, "/", "all", False, b"\x09x-expiresI\x00\x36\xee\x80").row()),
        put(QUEUES, QueueRow(2, "/", "eu", True, b"").row()),
        put(BINDINGS, BindingRow("/", "orders", "all", False, "#", b"").row()),
        put(BINDINGS, BindingRow("/", "orders", "eu", False, "eu.\udcff", b"").row()),
        put(USERS, User("guest", hash_password(b"guest", b"salt"), SHA256, ("administrator",)).row()),
        put(PERMISSIONS, {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}),
    )

    def pages(messages: list[Message], delivery_counts: dict[int, int]) -> list[Page]:
        packed = PageWriter()
        for message in messages:
            packed.add_message(message, False, delivery_counts.get(int(message.message_id), 0))
        return packed.finish()

    for step in range(24):
        publish(b"order %d " % step * 5, 1, 2)
        publish(b"only here %d" % step, 1)
        if step % 2 and step < 12:
            log.append_settle(2, held[2].pop(0))
        if step == 9:
            held[1][0] = log.append_move(1, held[1][0])
        if step == 11:
            # Queue 1 holds it too, and stays where it is.
            held[2][0] = log.append_move(2, held[2][0])
        if step == 12:
            log.append_requeue(2, held[2][1], 2)
            log.append_retry(1, held[1][4], 1, READY_AT_MS)
            log.append_dedup(1, NOW_MS, 60_000, b"order 12")
            log.append_dedup(2, NOW_MS, -1, b"order 12")
        if step in (14, 20):
            log.append_spilled(Message(log.next_message_id(), b"\x00\x01t", HEADER, b"transient %d" % step), NOW_MS)
        if step == 15:
            for page in pages(held[1][10:14], {}):
                log.settle_page(1, page, True)
            del held[1][10:14]
        if step == 20:
            log.append_retry(1, held[1][3], 2, READY_AT_MS + 1)
            log.append_dedup(2, NOW_MS + 1, -1, b"order 20")
        if step == 23:
            log.append_requeue(2, held[2][0], 3)
            log.append_delivered(1, held[1][5].message_id)
        commit()
        if step == 12:
            checkpoint = CheckpointBuilder(log, 1)
            for message in held[1]:
                checkpoint.add(1, message, 1 if message is held[1][4] else 0, message is held[1][4])
            checkpoint.add_waiting(1, held[1][4], READY_AT_MS)
            checkpoint.add_dedup(1, NOW_MS, 60_000, b"order 12")
            checkpoint.add_dedup(2, NOW_MS, -1, b"order 12")
            for page in pages(held[2], {int(held[2][1].message_id): 2}):
                checkpoint.add_page(2, page)
            for queue_id in (1, 2):
                checkpoint.add_delivered(queue_id, held[queue_id][0].message_id)
            directory.disk.write_checkpoint(1, checkpoint.finish().blocks())
    directory.stop(int(log.position))
    expected = {
        str(queue_id): [[int(message.message_id), message.body.decode()] for message in messages]
        for queue_id, messages in held.items()
    }
    (path / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    (path / "lock").unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
