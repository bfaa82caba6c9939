"""Bugs put in on purpose, one at a time, to see whether the simulator would find them.

Owns the bugs, as patches of the interpreted core (and of the disk it is given) for the time of a hunt. A mutant that finds
nothing to patch any more fails loudly: then it must be written anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import amqpd.channels.on_tx
import amqpd.queues.backlog
import amqpd.store.log
import amqpd.store.recovery
import amqpd.store.replay
from amqpd.broker import Broker
from amqpd.caretaker import Caretaker
from amqpd.channels.channel import Channel
from amqpd.channels.confirms import Confirms
from amqpd.channels.session import Session
from amqpd.queues.backlog import Backlog
from amqpd.queues.chunk import Chunk, PageRead
from amqpd.queues.queue import Queue
from amqpd.store.batch import BATCH_MAGIC, Batch, BatchHeader
from amqpd.store.checkpoint import CheckpointBuilder
from amqpd.store.disk import DiskFull
from amqpd.store.log import Log
from amqpd.store.log_reader import LogReader
from amqpd.store.page import Page
from amqpd.store.reclaim import Reclaim
from amqpd.store.record import MOVE
from amqpd.store.replay import Replay
from amqpd.store.segment import SegmentWriter
from amqpd.vhosts.changes import Changes
from tests.sim.disk import SimDisk
from tests.sim.plan import draw
from tests.sim.world import World

FOREVER = 1 << 60


class Patches:
    """What was where, so that it can be put back."""

    def __init__(self) -> None:
        self._old: list[tuple[Any, str, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace owner.name by what `make` makes of it."""
        old = getattr(owner, name)
        self._old.append((owner, name, old))
        setattr(owner, name, make(old))

    @property
    def count(self) -> int:
        return len(self._old)

    def undo(self) -> None:
        for owner, name, old in reversed(self._old):
            setattr(owner, name, old)
        self._old = []


@dataclass(frozen=True)
class Mutant:
    title: str
    put_in: Callable[[Patches], None]
    # It shows only where bytes go bad.
    rot: bool = False


MUTANTS: dict[str, Mutant] = {}


def mutant(title: str, rot: bool = False) -> Callable[[Callable[[Patches], None]], Callable[[Patches], None]]:
    def register(put_in: Callable[[Patches], None]) -> Callable[[Patches], None]:
        MUTANTS[put_in.__name__] = Mutant(title, put_in, rot)
        return put_in

    return register


def hunt(name: str, seeds_max: int) -> tuple[int, str]:
    """How many seeds it took and what was found, or "" if nothing was."""
    rot = MUTANTS[name].rot
    for seed in range(seeds_max):
        patches = Patches()
        MUTANTS[name].put_in(patches)
        try:
            violation = World(draw(seed, rot)).violation()
        finally:
            patches.undo()
        # What goes wrong without the bug too is another one.
        if violation is not None and World(draw(seed, rot)).violation() is None:
            return seed + 1, str(violation)
    return seeds_max, ""


@mutant("no fsync after a batch is written")
def skip_fsync(patches: Patches) -> None:
    patches.wrap(SimDisk, "sync", lambda old: lambda self, number: None)


@mutant("a sync that failed is tried again")
def retry_failed_sync(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def sync(self: SimDisk, number: int) -> None:
            try:
                old(self, number)
            except OSError:
                old(self, number)

        return sync

    patches.wrap(SimDisk, "sync", make)


@mutant("a batch that finds no room is taken for written")
def forget_full(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def commit(self: SegmentWriter, batch: Batch) -> None:
            with contextlib.suppress(DiskFull):
                old(self, batch)

        return commit

    patches.wrap(SegmentWriter, "commit", make)


@mutant("while the disk is short a dead segment does not wait for checkpoints that do without it")
def delete_early_when_short(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def take_dead(self: Reclaim, synced_mark: int, has_unsealed: bool) -> Any:
            floor = self._floor
            if self._log.is_disk_short:
                self._floor = self._log.segment.number
            try:
                return old(self, synced_mark, has_unsealed)
            finally:
                self._floor = floor

        return take_dead

    patches.wrap(Reclaim, "take_dead", make)


@mutant("a confirm is paid before the batch is durable")
def confirm_early(patches: Patches) -> None:
    patches.wrap(Confirms, "published", lambda old: lambda self, mark: old(self, 0))


@mutant("commit-ok and declare-ok do not wait for the disk")
def answer_early(patches: Patches) -> None:
    patches.wrap(Session, "_reply_at", lambda old: lambda self, mark, number, payload: self.reply(number, payload))


@mutant("every tenth ack is not logged")
def forget_acks(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def append_settle(self: Log, queue_id: int, message: Any) -> None:
            if message.message_id % 10 == 0:
                self.release(message)
            else:
                old(self, queue_id, message)

        return append_settle

    patches.wrap(Log, "append_settle", make)


@mutant("a checkpoint lists a message that is settled")
def checkpoint_forgets_settle(patches: Patches) -> None:
    settled: list[tuple[Log, int, Any]] = []

    def make_settle(old: Any) -> Any:
        def append_settle(self: Log, queue_id: int, message: Any) -> None:
            settled.append((self, queue_id, message))
            old(self, queue_id, message)

        return append_settle

    def make_finish(old: Any) -> Any:
        def finish(self: CheckpointBuilder) -> Any:
            mine = [each for each in settled if each[0] is self._log]
            if mine:
                self.add(mine[len(mine) // 2][1], mine[len(mine) // 2][2], 0, False)
            return old(self)

        return finish

    patches.wrap(Log, "append_settle", make_settle)
    patches.wrap(CheckpointBuilder, "finish", make_finish)


@mutant("a checkpoint forgets what is unacked")
def checkpoint_forgets_unacked(patches: Patches) -> None:
    patches.wrap(Caretaker, "_describe_unsettled", lambda old: lambda self, builder, count_max: True)


@mutant("a checkpoint is written before its mark is durable")
def checkpoint_ahead(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def durable_checkpoint(self: Broker) -> Any:
            mark, self._commits.mark = self._commits.mark, FOREVER
            try:
                return old(self)
            finally:
                self._commits.mark = mark

        return durable_checkpoint

    patches.wrap(Broker, "durable_checkpoint", make)


@mutant("only the first half of a batch is replayed")
def replay_half(patches: Patches) -> None:
    size_of = amqpd.store.replay.record_size

    def make(old: Any) -> Any:
        def apply(self: Replay, data: bytes, batch: BatchHeader, segment: Any, bodies_only: bool) -> None:
            half = BatchHeader(data, batch.offset)
            if not bodies_only and batch.record_count > 1:
                half.record_count = batch.record_count // 2
                at = half.records_offset
                for _ in range(half.record_count):
                    at += size_of(data, at, batch.end)
                half.end = at
            old(self, data, half, segment, bodies_only)

        return apply

    patches.wrap(Replay, "apply", make)


@mutant("the checksum of a batch is not looked at")
def no_checksum(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def try_read_batch(data: bytes, offset: int, log_id: int) -> BatchHeader | None:
            if offset + 68 > len(data) or data[offset : offset + 4] != BATCH_MAGIC:
                return None
            header = BatchHeader(data, offset)
            return header if header.records_size >= 0 and header.end <= len(data) else None

        return try_read_batch

    patches.wrap(amqpd.store.recovery, "try_read_batch", make)


@mutant("the last batch is not written again after a crash")
def trust_the_tail(patches: Patches) -> None:
    patches.wrap(amqpd.store.recovery._Recovery, "_write_last_batch_again", lambda old: lambda self, fresh: fresh)


@mutant("recovered messages are not marked as redelivered")
def forget_redelivered(patches: Patches) -> None:
    patches.wrap(Replay, "finish", lambda old: lambda self, all_redelivered: old(self, False))


@mutant("a segment goes when one checkpoint does without it")
def delete_for_one_checkpoint(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def checkpoint_written(self: Reclaim, checkpoint: Any) -> None:
            old(self, checkpoint)
            assert self._floor <= self._newest_segment
            self._floor = self._newest_segment

        return checkpoint_written

    patches.wrap(Reclaim, "checkpoint_written", make)


@mutant("a segment goes before what emptied it is durable")
def delete_before_durable(patches: Patches) -> None:
    patches.wrap(Reclaim, "take_dead", lambda old: lambda self, synced_mark, has_unsealed: old(self, FOREVER, False))


@mutant("a message is moved out of a segment, but not into another")
def lose_the_move(patches: Patches) -> None:
    def make_write(old: Any) -> Any:
        def write_message(writer: Any, kind: int, message: Any, queue_ids: bytes) -> None:
            if kind != MOVE:
                old(writer, kind, message, queue_ids)

        return write_message

    def make_move(old: Any) -> Any:
        def append_move(self: Log, queue_id: int, message: Any) -> Any:
            moved = old(self, queue_id, message)
            self._record_count -= 1
            return moved

        return append_move

    patches.wrap(amqpd.store.log, "write_message", make_write)
    patches.wrap(Log, "append_move", make_move)


def _after_seal(patches: Patches, late: list[tuple[Any, Callable[[], None]]]) -> None:
    """Do what is in `late`, by its agenda, in the batch after the one it belongs to."""

    def make(old: Any) -> Any:
        def seal(self: Broker) -> Any:
            batch = old(self)
            mine = [act for agenda, act in late if agenda is self.agenda]
            late[:] = [each for each in late if each[0] is not self.agenda]
            for act in mine:
                act()
            return batch

        return seal

    patches.wrap(Broker, "seal", make)


@mutant("a dead letter leaves its old queue one batch later")
def dead_letter_in_two_batches(patches: Patches) -> None:
    late: list[tuple[Any, Callable[[], None]]] = []

    def make(old: Any) -> Any:
        def bury(self: Queue, entry: Any) -> None:
            late.append((self.agenda, lambda: old(self, entry)))

        return bury

    patches.wrap(Queue, "bury", make)
    _after_seal(patches, late)


@mutant("the acks of a transaction come one batch later")
def split_transaction(patches: Patches) -> None:
    late: list[tuple[Any, Callable[[], None]]] = []

    def make(old: Any) -> Any:
        def commit(channel: Channel) -> None:
            assert channel.transaction is not None
            settles = channel.transaction.settles
            channel.transaction.settles = []
            old(channel)
            for settle in settles:
                late.append((channel.session.agenda, lambda entry=settle.entry: entry.queue.settle(entry)))

        return commit

    patches.wrap(amqpd.channels.on_tx, "_commit", make)
    _after_seal(patches, late)


@mutant("a new queue gets the number of a deleted one")
def queue_id_twice(patches: Patches) -> None:
    free: dict[int, list[int]] = {}

    def make_delete(old: Any) -> Any:
        def delete_queue(self: Changes, vhost: str, queue_id: int, name: str) -> None:
            free.setdefault(id(self), []).append(queue_id)
            old(self, vhost, queue_id, name)

        return delete_queue

    def make_next(old: Any) -> Any:
        def next_queue_id(self: Changes) -> int:
            return free[id(self)].pop() if free.get(id(self)) else old(self)

        return next_queue_id

    patches.wrap(Changes, "delete_queue", make_delete)
    patches.wrap(Changes, "next_queue_id", make_next)


@mutant("a purge does not settle what is on disk only")
def purge_without_pages(patches: Patches) -> None:
    patches.wrap(Log, "settle_page", lambda old: lambda self, queue_id, page, is_alone: self.release_page(page))


@mutant("a checkpoint forgets what is on disk only")
def checkpoint_forgets_pages(patches: Patches) -> None:
    patches.wrap(CheckpointBuilder, "add_page", lambda old: lambda self, queue_id, page: None)


@mutant("the move of a page is not logged")
def lose_the_move_of_a_page(patches: Patches) -> None:
    moving: list[bool] = []

    def make_move(old: Any) -> Any:
        def move(self: Backlog, chunk: Any, read: Any) -> None:
            moving.append(True)
            old(self, chunk, read)
            moving.clear()

        return move

    def make_write(old: Any) -> Any:
        def write_message(writer: Any, kind: int, message: Any, queue_ids: bytes) -> None:
            if not moving:
                old(writer, kind, message, queue_ids)

        return write_message

    def make_append(old: Any) -> Any:
        def append_move(self: Log, queue_id: int, message: Any) -> Any:
            moved = old(self, queue_id, message)
            if moving:
                self._record_count -= 1
            return moved

        return append_move

    patches.wrap(Backlog, "_move", make_move)
    patches.wrap(amqpd.store.log, "write_message", make_write)
    patches.wrap(Log, "append_move", make_append)


@mutant("what comes back while a checkpoint is made is not in it")
def checkpoint_misses_requeue(patches: Patches) -> None:
    patches.wrap(Queue, "_list", lambda old: lambda self, entry: None)


@mutant("what is on disk only is read before it is durable")
def read_before_durable(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def read_ahead(self: Backlog) -> None:
            log = self._agenda.log
            mark, log.synced_mark = log.synced_mark, FOREVER
            old(self)
            log.synced_mark = mark

        return read_ahead

    patches.wrap(Backlog, "_read_ahead", make)


@mutant("what leaves memory is read where it is not durable yet")
def forget_mark(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def chill(self: Backlog, chunk: Chunk) -> None:
            old(self, chunk)
            chunk.mark = 0

        return chill

    patches.wrap(Backlog, "_chill", make)


@mutant("what was on disk for want of memory keeps its place there")
def keep_spilled_space(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def release_page(self: Log, page: Page) -> None:
            if not page.is_spilled:
                old(self, page)

        return release_page

    patches.wrap(Log, "release_page", make)


@mutant("what was on disk for want of memory comes back behind what was logged")
def forget_spilled_order(patches: Patches) -> None:
    patches.wrap(amqpd.queues.backlog, "_message_id", lambda old: lambda entry: 0)


@mutant("what is read back is not checked", rot=True)
def read_unchecked(patches: Patches) -> None:
    patches.wrap(LogReader, "_without_damage", lambda old: lambda self, number, batches, block, begin, size: block)


@mutant("deduplication ids are not logged")
def forget_dedup_ids(patches: Patches) -> None:
    patches.wrap(Log, "append_dedup", lambda old: lambda self, queue_id, noted_ms, ttl_ms, dedup_id: None)


@mutant("what can't be read is given up")
def give_up_unread(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def arrived(self: Backlog, read: PageRead) -> None:
            read.pieces = [pieces if pieces is not None else [] for pieces in read.pieces]
            old(self, read)

        return arrived

    patches.wrap(Backlog, "arrived", make)


@mutant("what can't be read is asked for only once")
def ask_once(patches: Patches) -> None:
    patches.wrap(Backlog, "ask_again", lambda old: lambda self, read: self._ready.losses.over())


@mutant("a batch says of the topology what comes with it")
def say_topology_early(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def seal(self: Log, topology: Any) -> Any:
            if len(topology) > 0 and self._topology_version > 0 and len(self._writer) > 0:
                self._topology_version += 1
                self._is_topology_unsaid = True
                batch = old(self, topology)
                self._topology_version -= 1
                return batch
            return old(self, topology)

        return seal

    patches.wrap(Log, "seal", make)


@mutant("a checkpoint forgets what is held back, and what is on its way out")
def checkpoint_forgets_held_back(patches: Patches) -> None:
    patches.wrap(Queue, "held_entries", lambda old: lambda self: [])


@mutant("what a target refuses is settled all the same")
def refused_is_settled(patches: Patches) -> None:
    def make(old: Any) -> Any:
        def hold_back(self: Queue, departure: Any, target: Any) -> None:
            self.bury(departure.entry)

        return hold_back

    patches.wrap(Queue, "hold_back", make)
