"""Real threads on a fake disk; every wait is on a queue of what was reported, never on time."""

from __future__ import annotations

import errno
import queue
import threading
from typing import Any

import pytest

from amqpd.base.message import Message
from amqpd.base.notice import ERROR, WARNING
from amqpd.queues.agenda import Agenda
from amqpd.queues.backlog import Backlog
from amqpd.queues.chunk import Chunk, PageRead
from amqpd.queues.ready import Ready
from amqpd.runtime import log_writer
from amqpd.runtime.log_writer import DiskEvents, LogWriter
from amqpd.store.batch import Batch
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.log import Log, fresh_start
from amqpd.store.lost import Lost, loss_of_unknown
from amqpd.store.page import PageWriter
from amqpd.store.record import queue_id_bytes
from amqpd.store.segment import SEGMENT_HEADER_SIZE
from amqpd.store.topology import VHOSTS, TopologyChange, TopologyStore, VhostRow, put
from tests.fakes.faulty_disk import FaultyDisk

RECORDS = b"x" * 32
BATCH_SIZE = 100


class Reports(DiskEvents):
    def __init__(self) -> None:
        self.all: queue.Queue[tuple[str, Any]] = queue.Queue()

    def next(self) -> tuple[str, Any]:
        return self.all.get(timeout=10)

    def synced(self, mark: int) -> None:
        self.all.put(("synced", mark))

    def failed(self, error: Exception) -> None:
        self.all.put(("failed", error))

    def full(self) -> None:
        self.all.put(("full", None))

    def has_room(self) -> None:
        self.all.put(("has_room", None))

    def reserve(self, is_kept: bool) -> None:
        self.all.put(("reserve", is_kept))

    def no_reserve(self, error: OSError) -> None:
        self.all.put(("no_reserve", error.errno))

    def checkpoint_written(self, checkpoint: Checkpoint) -> None:
        self.all.put(("checkpoint_written", checkpoint.generation))

    def reads_done(self, reads: list[PageRead]) -> None:
        self.all.put(("reads_done", reads))

    def checkpoint_failed(self, checkpoint: Checkpoint) -> None:
        self.all.put(("checkpoint_failed", checkpoint.generation))

    def say(self, level: int, text: str) -> None:
        self.all.put(("say", (level, text)))


class FakeTopology(TopologyStore):
    def __init__(self) -> None:
        self.applied: list[TopologyChange] = []
        self.error: Exception | None = None

    def apply(self, changes: list[TopologyChange]) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.applied += changes


class Bench:
    def __init__(self) -> None:
        self.disk = FaultyDisk()
        self.topology = FakeTopology()
        self.reports = Reports()
        self.writer = LogWriter(self.disk, self.topology, 0, self.reports)
        self.mark = 0

    def submit(self, *topology: TopologyChange, records: bytes = RECORDS) -> None:
        position = self.mark * BATCH_SIZE
        self.mark += 1
        offset = SEGMENT_HEADER_SIZE + position
        self.writer.submit(Batch(5, 1, self.mark, 1, offset, position, 1, records, list(topology)))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(log_writer, "RETRY_S", 0.001)
    return Bench()


CHANGE = put(VHOSTS, VhostRow("/").row())


def test_batches_are_reported_in_order_once_they_are_durable(bench: Bench) -> None:
    for _ in range(3):
        bench.submit()
    assert [bench.reports.next() for _ in range(3)] == [("synced", 1), ("synced", 2), ("synced", 3)]
    assert bench.disk.segments[1].unsynced == b""
    assert bench.disk.effects.count("sync 1") == 3
    bench.writer.stop()


def test_topology_is_committed_before_the_mark_is_reported(bench: Bench) -> None:
    bench.submit(CHANGE)
    assert bench.reports.next() == ("synced", 1)
    assert bench.topology.applied == [CHANGE]
    bench.writer.stop()


def test_sync_that_failed_for_want_of_room_is_a_failure_and_not_tried_again(bench: Bench) -> None:
    bench.submit()
    bench.reports.next()
    bench.disk.error, bench.disk.error_at = errno.ENOSPC, len(bench.disk.effects) + 1
    bench.submit()
    assert bench.reports.next()[0] == "failed"
    bench.writer.stop()
    assert bench.disk.effects[-1] == "sync 1"
    assert bench.reports.all.empty()


def test_topology_alone_writes_nothing_to_the_log(bench: Bench) -> None:
    bench.submit(CHANGE, records=b"")
    assert bench.reports.next() == ("synced", 1)
    assert bench.disk.effects == []
    bench.writer.stop()


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EBADF], ids=lambda code: errno.errorcode[code])
@pytest.mark.parametrize("effect", ["write", "sync"])
def test_after_a_failure_nothing_is_written_or_reported_any_more(bench: Bench, effect: str, code: int) -> None:
    bench.submit()
    bench.reports.next()
    bench.disk.error = code
    bench.disk.error_at = len(bench.disk.effects) + ["write", "sync"].index(effect)
    for _ in range(3):
        bench.submit(CHANGE)
    kind, error = bench.reports.next()
    assert (kind, error.errno) == ("failed", code)
    bench.writer.write_checkpoint(Checkpoint(1, 1, 0, 0, [b"c"]))
    bench.writer.stop()
    assert bench.reports.all.empty()
    assert bench.writer.is_failed
    assert bench.disk.effects[-1] == f"{effect} 1"
    assert bench.topology.applied == []


def test_full_disk_is_reported_and_the_same_batch_is_tried_again(bench: Bench) -> None:
    bench.submit()
    bench.reports.next()
    bench.disk.error, bench.disk.error_at, bench.disk.error_after_bytes = errno.ENOSPC, len(bench.disk.effects), 7
    bench.submit()
    assert [bench.reports.next() for _ in range(3)] == [("full", None), ("has_room", None), ("synced", 2)]
    assert bench.disk.segment_size(1) == SEGMENT_HEADER_SIZE + 2 * BATCH_SIZE
    bench.writer.stop()


def test_full_disk_for_the_topology_is_tried_again_too(bench: Bench) -> None:
    bench.topology.error = OSError(errno.ENOSPC, "full")
    bench.submit(CHANGE)
    assert [bench.reports.next() for _ in range(3)] == [("full", None), ("has_room", None), ("synced", 1)]
    bench.writer.stop()


def test_batch_that_finds_no_room_gets_what_is_kept_for_settles(bench: Bench) -> None:
    bench.disk.reserve_bytes = 2 * BATCH_SIZE
    bench.disk.capacity_bytes = SEGMENT_HEADER_SIZE + 3 * BATCH_SIZE
    assert bench.disk.make_reserve()
    bench.submit()
    assert bench.reports.next() == ("synced", 1)
    bench.submit()
    bench.submit()
    expected = [("full", None), ("reserve", False), ("has_room", None), ("synced", 2), ("synced", 3)]
    assert [bench.reports.next() for _ in expected] == expected
    bench.writer.make_reserve()
    assert bench.reports.next() == ("reserve", False)
    bench.writer.delete_segments([1])
    bench.writer.make_reserve()
    assert bench.reports.next() == ("reserve", True)
    bench.writer.stop()


def test_reserve_that_can_not_be_kept_is_told_and_fails_nothing(bench: Bench) -> None:
    def refuse() -> bool:
        raise OSError(errno.EFBIG, "injected")

    bench.disk.make_reserve = refuse  # type: ignore[method-assign]
    bench.writer.make_reserve()
    assert bench.reports.next() == ("no_reserve", errno.EFBIG)
    bench.submit()
    assert bench.reports.next() == ("synced", 1)
    bench.writer.stop()


def test_topology_that_finds_no_room_gets_what_is_kept_for_settles(bench: Bench) -> None:
    bench.disk.make_reserve()
    bench.topology.error = OSError(errno.ENOSPC, "full")
    bench.submit(CHANGE)
    expected = [("full", None), ("reserve", False), ("has_room", None), ("synced", 1)]
    assert [bench.reports.next() for _ in expected] == expected
    bench.writer.stop()


def test_checkpoint_that_finds_no_room_gets_what_is_kept_for_settles(bench: Bench) -> None:
    bench.disk.capacity_bytes = 4000
    bench.disk.make_reserve()
    bench.writer.write_checkpoint(Checkpoint(3, 1, 0, 0, [b"c" * 3500]))
    assert [bench.reports.next() for _ in range(2)] == [("reserve", False), ("checkpoint_written", 3)]
    bench.writer.write_checkpoint(Checkpoint(4, 1, 0, 0, [b"c" * 3500]))
    assert bench.reports.next() == ("checkpoint_failed", 4)
    bench.writer.stop()


def test_any_other_topology_error_is_a_failure(bench: Bench) -> None:
    bench.topology.error = RuntimeError("broken")
    bench.submit(CHANGE)
    assert bench.reports.next()[0] == "failed"
    bench.writer.stop()


def test_stop_does_not_wait_for_room_for_ever(bench: Bench) -> None:
    class Full(FakeTopology):
        def apply(self, changes: list[TopologyChange]) -> None:
            raise OSError(errno.ENOSPC, "full")

    reports = Reports()
    writer = LogWriter(bench.disk, Full(), 0, reports)
    writer.submit(Batch(5, 1, 1, 1, SEGMENT_HEADER_SIZE, 0, 1, b"", [CHANGE]))
    assert reports.next()[0] == "full"
    writer.stop()
    assert reports.next()[0] == "failed"
    assert writer.is_failed
    bench.writer.stop()


def test_checkpoints_and_deletions_do_not_hold_up_the_log(bench: Bench) -> None:
    gate = threading.Event()
    written = bench.disk.write_checkpoint

    def slow(generation: int, parts: list[bytes]) -> None:
        gate.wait(10)
        written(generation, parts)

    bench.disk.write_checkpoint = slow  # type: ignore[method-assign]
    bench.writer.write_checkpoint(Checkpoint(3, 1, 0, 0, [b"c"]))
    bench.submit()
    assert bench.reports.next() == ("synced", 1)
    gate.set()
    assert bench.reports.next() == ("checkpoint_written", 3)
    bench.writer.delete_segments([1])
    bench.writer.stop()
    assert bench.disk.segment_numbers() == []


def test_what_is_asked_for_while_the_reader_is_busy_is_read_together(bench: Bench) -> None:
    log = Log(fresh_start(5))
    pages = PageWriter()
    for number in range(3):
        message = Message(log.next_message_id(), b"\x00\x01q", b"header", b"%d" % number)
        log.append_message(message, queue_id_bytes(1), 0)
        pages.add_message(message, False, 0)
        pages.split()
    batch = log.seal([])
    assert batch is not None
    bench.writer.submit(batch)
    bench.reports.next()
    backlog = Backlog(Ready(), Agenda(log))
    first, *others = [PageRead(backlog, Chunk([], [page], 1)) for page in pages.finish()]
    gate = threading.Event()
    read = bench.disk.read_ranges

    def slow(number: int, ranges: list[tuple[int, int]]) -> list[bytes]:
        gate.wait(10)
        return read(number, ranges)

    bench.disk.read_ranges = slow  # type: ignore[method-assign]
    bench.writer.read([first])
    for each in others:
        bench.writer.read([each])
    gate.set()
    found = []
    while len(found) < 3:
        name, reads = bench.reports.next()
        assert name == "reads_done"
        found += reads
    assert found == [first, *others]
    bodies = [each.pages[0].messages(each.pieces[0])[0].body for each in found]
    assert bodies == [b"0", b"1", b"2"]
    assert others[0].pieces[0] is others[1].pieces[0]
    bench.writer.stop()


def test_checkpoint_without_room_may_be_tried_again_and_stops_nothing(bench: Bench) -> None:
    bench.disk.error, bench.disk.error_at = errno.ENOSPC, 0
    bench.writer.write_checkpoint(Checkpoint(3, 1, 0, 0, [b"c"]))
    assert bench.reports.next() == ("checkpoint_failed", 3)
    bench.submit()
    assert bench.reports.next() == ("synced", 1)
    bench.writer.stop()


def test_failed_checkpoint_fails_the_log_too(bench: Bench) -> None:
    bench.disk.error_at = 0
    bench.writer.write_checkpoint(Checkpoint(3, 1, 0, 0, [b"c"]))
    assert bench.reports.next()[0] == "failed"
    bench.submit()
    bench.writer.stop()
    assert bench.reports.all.empty()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=lambda code: errno.errorcode[code])
def test_what_is_lacking_is_waited_for_and_said_and_nothing_ends(bench: Bench, code: int) -> None:
    bench.disk.error, bench.disk.error_at = code, 0
    bench.submit()
    (said, (level, text)) = bench.reports.next()
    assert (said, level) == ("say", WARNING)
    assert text.startswith("the log waits, and with it every confirm: ")
    assert bench.reports.next() == ("say", (WARNING, "the log goes on"))
    assert bench.reports.next() == ("synced", 1)
    bench.writer.stop()


def test_a_lock_on_the_topology_is_waited_for_and_said_again_and_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "SAY_S", 0.0)

    class Locked(FakeTopology):
        left = 3

        def apply(self, changes: list[TopologyChange]) -> None:
            self.left -= 1
            if self.left >= 0:
                raise OSError(errno.EBUSY, "somebody else holds a lock on it")
            super().apply(changes)

    reports = Reports()
    topology = Locked()
    writer = LogWriter(bench.disk, topology, 0, reports)
    writer.submit(Batch(5, 1, 1, 1, SEGMENT_HEADER_SIZE, 0, 1, b"", [CHANGE]))
    said = [reports.next() for _ in range(5)]
    assert ["holds a lock" in str(each) for each in said] == [True, True, True, False, False]
    assert said[-1] == ("synced", 1)
    assert topology.applied == [CHANGE]
    writer.stop()
    bench.writer.stop()


def test_a_checkpoint_without_descriptors_is_tried_again_later(bench: Bench) -> None:
    bench.disk.error, bench.disk.error_at = errno.EMFILE, 0
    bench.writer.write_checkpoint(Checkpoint(3, 1, 0, 0, [b"c"]))
    assert bench.reports.next() == ("checkpoint_failed", 3)
    bench.writer.stop()


def test_what_is_given_up_is_listed_and_its_segment_kept_before_the_batch_that_says_so(bench: Bench) -> None:
    bench.submit()
    bench.reports.next()
    bench.writer.note_lost([Lost(1, 7, 1, 96, 10), Lost(1, 8, 1, 196, 10), loss_of_unknown("gone")])
    bench.submit()
    assert bench.reports.next() == ("synced", 2)
    bench.writer.stop()
    assert bench.disk.effects[-3:] == ["lost", "write 1", "sync 1"]
    assert list(bench.disk.aside) == ["1.bad"]
    assert [b"message_id" in line for line in bench.disk.lost] == [True, True, False]


def test_a_list_that_can_not_be_kept_ends_nothing_and_is_said(bench: Bench) -> None:
    bench.disk.error, bench.disk.error_at = errno.EACCES, 0
    bench.writer.note_lost([Lost(1, 7, 1, 96, 10)])
    (said, (level, text)) = bench.reports.next()
    assert (said, level) == ("say", ERROR)
    assert "can't be listed" in text
    bench.submit()
    assert bench.reports.next() == ("synced", 1)
    bench.writer.stop()


def test_a_page_that_can_not_be_read_goes_back_with_the_reason(bench: Bench) -> None:
    log = Log(fresh_start(5))
    message = Message(log.next_message_id(), b"\x00\x01q", b"header", b"body")
    log.append_message(message, queue_id_bytes(1), 0)
    pages = PageWriter()
    pages.add_message(message, False, 0)
    read = PageRead(Backlog(Ready(), Agenda(log)), Chunk([], pages.finish(), 1))
    bench.writer.read([read])
    assert bench.reports.next() == ("reads_done", [read])
    assert read.pieces == [None]
    assert isinstance(read.error, FileNotFoundError)
    bench.writer.stop()
    assert not bench.writer.is_failed
