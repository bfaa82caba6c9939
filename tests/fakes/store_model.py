"""A store at work beside a model of what its queues hold, for tests that stop it anywhere.

Owns no assertions: `legal_states` says what a restart may find, `found_state` what it found, what is on disk only read back.
"""

from __future__ import annotations

from dataclasses import dataclass

from amqpd.base.message import Message
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.disk import Disk
from amqpd.store.log import Log
from amqpd.store.page import Page, PageWriter, fits_page
from amqpd.store.page_reader import PageReader
from amqpd.store.reclaim import Reclaim
from amqpd.store.record import queue_id_bytes
from amqpd.store.recovered import Recovered
from amqpd.store.recovery import recover
from amqpd.store.segment import SegmentWriter
from tests.fakes.faulty_disk import FaultyDisk

LOG_ID = 0x5EED_0BAD_CAFE

# Per queue_id, in order: (message_id, body, delivery_count).
State = dict[int, list[tuple[int, bytes, int]]]


@dataclass
class Held:
    message: Message
    delivery_count: int = 0


class StoreModel:
    def __init__(self, disk: FaultyDisk, queue_ids: list[int], segment_bytes: int = 4096, clean: int = -1) -> None:
        self.disk = disk
        self.queue_ids = queue_ids
        self.recovered = recover(disk, LOG_ID, queue_ids, clean)
        start = self.recovered.start
        self.log = Log(start, segment_bytes)
        self.writer = SegmentWriter(disk, start.previous_crc)
        self.reclaim = Reclaim(
            self.log,
            self.recovered.checkpoint_segment,
            self.recovered.next_generation,
            bool(self.recovered.report.damage),
        )
        self.queues: dict[int, dict[int, Held]] = {queue_id: {} for queue_id in queue_ids}
        for queue_id, entries in self.recovered.queues.items():
            for entry in entries:
                self.queues[queue_id][entry.message.message_id] = Held(entry.message, entry.delivery_count)
        for queue_id, pages in self.recovered.pages.items():
            for message, delivery_count in read_back(pages, disk)[0]:
                self.queues[queue_id][message.message_id] = Held(message, delivery_count)
        self.synced_mark = start.mark - 1
        self.synced_state = self.state()
        self.in_flight: State | None = None
        self.now_ms = 0

    def state(self) -> State:
        return {
            queue_id: [(number, held[number].message.body, held[number].delivery_count) for number in sorted(held)]
            for queue_id, held in self.queues.items()
        }

    @property
    def legal_states(self) -> list[State]:
        return [self.synced_state] if self.in_flight is None else [self.synced_state, self.in_flight]

    # Work

    def publish(self, body: bytes, *queue_ids: int) -> Message:
        message = Message(self.log.next_message_id(), b"\x00\x01q", b"header", body)
        self.log.append_message(message, b"".join(queue_id_bytes(queue_id) for queue_id in queue_ids), 1000)
        for queue_id in queue_ids:
            self.queues[queue_id][message.message_id] = Held(message)
        return message

    def settle_oldest(self, queue_id: int) -> None:
        held = self.queues[queue_id]
        if held:
            self.log.append_settle(queue_id, held.pop(min(held)).message)

    def requeue_oldest(self, queue_id: int) -> None:
        held = self.queues[queue_id]
        if held:
            oldest = held[min(held)]
            oldest.delivery_count += 1
            self.log.append_requeue(queue_id, oldest.message, oldest.delivery_count)

    def commit(self) -> None:
        batch = self.log.seal([])
        if batch is None:
            return
        self.in_flight = self.state()
        self.writer.commit(batch)
        self.synced_state = self.in_flight
        self.in_flight = None
        self.synced_mark = batch.mark

    def begin_checkpoint(self) -> None:
        self.now_ms += 10_000
        self.builder = self.reclaim.begin_checkpoint(self.now_ms)

    def feed(self, queue_id: int) -> None:
        for held in list(self.queues[queue_id].values()):
            self.builder.add(queue_id, held.message, held.delivery_count, False)

    def feed_pages(self, queue_id: int) -> None:
        """As `feed`, of a queue that has everything on disk only."""
        writer = PageWriter()
        held = self.queues[queue_id]
        for message_id in sorted(held):
            assert fits_page(held[message_id].message)
            writer.add_message(held[message_id].message, False, held[message_id].delivery_count)
        for page in writer.finish():
            self.builder.add_page(queue_id, page)

    def finish_checkpoint(self) -> Checkpoint:
        checkpoint = self.builder.finish()
        if self.log.dirty:
            self.commit()
        assert checkpoint.mark <= self.synced_mark
        self.disk.write_checkpoint(checkpoint.generation, checkpoint.blocks())
        self.reclaim.checkpoint_written(checkpoint)
        return checkpoint

    def checkpoint(self) -> Checkpoint:
        self.begin_checkpoint()
        for queue_id in self.queue_ids:
            self.feed(queue_id)
        return self.finish_checkpoint()

    def move_leaving(self) -> int:
        """Moves everything out of the segments that reclaim has marked."""
        if not self.reclaim.mark_leaving():
            return 0
        count = 0
        for queue_id, held in self.queues.items():
            for each in held.values():
                segment = each.message.segment
                if segment is not None and segment.is_leaving:
                    each.message = self.log.append_move(queue_id, each.message)
                    count += 1
        return count

    def delete_dead(self) -> list[int]:
        dead = self.reclaim.take_dead(self.synced_mark, False)
        if dead:
            self.disk.delete_segments(dead)
        return dead


def read_back(pages: list[Page], disk: Disk) -> tuple[list[tuple[Message, int]], int]:
    """The messages of these pages with their delivery counts, and how many the disk does not have any more."""
    found: list[tuple[Message, int]] = []
    lost_count = 0
    for page, pieces in zip(pages, PageReader(disk).read(pages), strict=True):
        for message in page.messages(pieces or []):
            if message is None:
                lost_count += 1
            else:
                found.append((message, int(page.delivery_count(message.message_id))))
    return found, lost_count


def found_state(recovered: Recovered, disk: Disk) -> State:
    state: State = {}
    for queue_id, entries in recovered.queues.items():
        held = [(entry.message, int(entry.delivery_count)) for entry in entries]
        held += read_back(recovered.pages.get(queue_id, []), disk)[0]
        held.sort(key=lambda each: each[0].message_id)
        state[queue_id] = [(int(message.message_id), message.body, count) for message, count in held]
    return state


def unreadable_count(recovered: Recovered, disk: FaultyDisk) -> int:
    """Messages that are noticed to be lost only when their queue reads them."""
    return sum(read_back(pages, disk)[1] for pages in recovered.pages.values())


def redelivered_flags(recovered: Recovered, queue_id: int) -> list[bool]:
    """Of every message of the queue, in order."""
    flags = {int(entry.message.message_id): entry.redelivered for entry in recovered.queues[queue_id]}
    for page in recovered.pages.get(queue_id, []):
        for index in range(page.count):
            flags[int(page.message_id(index))] = page.redelivered(index)
    return [flags[message_id] for message_id in sorted(flags)]


def state_after(disk: FaultyDisk, queue_ids: list[int]) -> State:
    """What a start on this disk finds; it may change the disk."""
    return found_state(recover(disk, LOG_ID, queue_ids), disk)
