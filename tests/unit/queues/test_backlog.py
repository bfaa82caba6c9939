"""A queue whose middle is on disk only, against a plain list; reads come back when the test says so."""

from __future__ import annotations

import errno
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqpd.base.message import Message
from amqpd.queues.agenda import TURN_BUDGET, Agenda
from amqpd.queues.chunk import Depth, PageRead
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.queues.restart import Description, restore
from amqpd.store.checkpoint import PAGE, CheckpointBuilder, CheckpointReader
from amqpd.store.log import Log, fresh_start
from amqpd.store.page import Page
from amqpd.store.page_reader import PageReader
from amqpd.store.record import queue_id_bytes
from amqpd.store.segment import SegmentWriter
from tests.fakes.core import HEADER, new_queue
from tests.fakes.faulty_disk import FakeFile, FaultyDisk
from tests.fakes.in_one_go import move_leaving

DEPTH = Depth()
HEAD_COUNT = DEPTH.head_count
HEAD_BYTES = DEPTH.head_bytes
CHUNK_COUNT = DEPTH.chunk_count
RESIDENT_CHUNKS = DEPTH.resident_chunks
# So many queues are deep besides: then a queue keeps as little in memory as it can.
OTHERS = 10_000


class Bench:
    """Durable queues, and the disk that their messages go to."""

    def __init__(
        self, queue_count: int = 1, segment_bytes: int = 1 << 20, others: int = OTHERS, depth: Depth | None = None
    ) -> None:
        self.disk = FaultyDisk()
        self.agenda = Agenda(Log(fresh_start(1), segment_bytes), depth=depth)
        self.agenda.deep_count = others
        self.log = self.agenda.log
        self.writer = SegmentWriter(self.disk, 0)
        self.queues: list[Queue] = []
        for queue_id in range(1, queue_count + 1):
            queue = new_queue(self.agenda, f"q{queue_id}", durable=True)
            queue.queue_id = queue_id
            self.queues.append(queue)
        self.queue = self.queues[0]
        self.queue_ids = b"".join(queue_id_bytes(queue_id) for queue_id in range(1, queue_count + 1))

    def publish(self, count: int, size: int = 10, ttl_ms: int = -1) -> list[int]:
        ids = []
        for _ in range(count):
            message = Message(self.log.next_message_id(), b"\x00\x01q", HEADER, b"%d" % count + b"x" * size)
            message.ttl_ms = ttl_ms
            self.log.append_message(message, self.queue_ids, 0)
            for queue in self.queues:
                queue.publish(message)
            ids.append(int(message.message_id))
        return ids

    def sync(self) -> None:
        batch = self.log.seal([])
        if batch is not None:
            self.writer.commit(batch)
            self.log.synced_mark = batch.mark
            self.agenda.synced()

    def fill(self, read: PageRead) -> None:
        read.pieces = PageReader(self.disk).read(read.pages)

    def fail(self, read: PageRead, error: int = errno.EMFILE) -> None:
        """Nothing of it could be read."""
        read.pieces = [None for _ in read.pages]
        read.error = OSError(error, os.strerror(error))
        read.backlog.arrived(read)

    def wait(self, ms: int) -> None:
        self.agenda.monotonic_ms += ms
        self.agenda.wheel.advance(self.agenda.monotonic_ms)

    def serve(self, which: int = 0) -> bool:
        """One of the reads that are wanted, or will be wanted again; False if there is none."""
        reads = self.agenda.reads
        if not reads:
            self.wait(5010)
        if not reads:
            return False
        read = reads.pop(which % len(reads))
        self.fill(read)
        read.backlog.arrived(read)
        return True

    def pop(self, queue: Queue | None = None) -> Entry:
        """The next one, however long it takes."""
        queue = queue or self.queue
        while queue.is_waiting:
            if not self.agenda.reads:
                self.sync()
            assert self.serve(), "it waits for nothing"
        entry = queue.get(False)
        assert entry is not None
        return entry

    def live(self) -> tuple[int, int, int]:
        """Counts and bytes of all segments, and bytes of the log, once nothing is at work any more."""
        while self.agenda.works.count > 0:
            self.agenda.budget = TURN_BUDGET
            self.agenda.works.go_on()
        segments = self.log.segments
        return (
            sum(int(each.live_count) for each in segments),
            sum(int(each.live_bytes) for each in segments),
            int(self.log.live_bytes),
        )


def resident_count(queue: Queue) -> int:
    return len(queue.ready.entries())


def ids_of(queue: Queue) -> list[int]:
    ids = [int(entry.message.message_id) for entry in queue.ready.entries()]
    ids += [int(page.message_id(index)) for page in queue.ready.pages() for index in range(page.count)]
    return sorted(ids)


def id_of(entry: Entry) -> int:
    return int(entry.message.message_id)


def make_deep(bench: Bench, count: int = 5000) -> list[int]:
    """In batches, as they come: what is durable may leave memory with the next chunk."""
    ids: list[int] = []
    while len(ids) < count:
        ids += bench.publish(min(200, count - len(ids)))
        bench.sync()
    return ids


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "publish",
                "publish",
                "publish",
                "sync",
                "pop",
                "pop",
                "settle",
                "requeue",
                "serve",
                "fail",
                "withdraw",
                "purge",
            ]
        ),
        st.integers(0, 900),
    ),
    max_size=24,
)


@settings(max_examples=settings().max_examples // 5, deadline=None)
@given(STEPS, st.sampled_from([1 << 20, 30_000]), st.sampled_from([(256, 256), (16, 8), (1, 1), (50, 7)]))
def test_whatever_happens_nothing_is_lost_and_the_order_is_kept(
    steps: list[tuple[str, int]], segment_bytes: int, sizes: tuple[int, int]
) -> None:
    bench = Bench(segment_bytes=segment_bytes, depth=Depth(head_count=sizes[0], chunk_count=sizes[1]))
    queue = bench.queue
    model = make_deep(bench, 2000)
    out: list[Entry] = []
    for what, number in steps:
        if what == "publish":
            model += bench.publish(number)
        elif what == "sync":
            bench.sync()
        elif what == "pop":
            for _ in range(min(number, len(model))):
                if queue.is_waiting:
                    break
                entry = queue.get(False)
                assert entry is not None
                assert id_of(entry) == model.pop(0)
                out.append(entry)
        elif what == "settle" and out:
            queue.settle(out.pop(number % len(out)))
        elif what == "requeue":
            for _ in range(number % 20 if out else 0):
                if out:
                    entry = out.pop(number % len(out))
                    queue.requeue(entry)
                    model = sorted([*model, id_of(entry)])
        elif what == "serve":
            bench.serve(number)
        elif what == "fail" and bench.agenda.reads:
            read = bench.agenda.reads.pop(number % len(bench.agenda.reads))
            bench.fail(read)
        elif what == "withdraw" and resident_count(queue):
            entries = queue.ready.entries()
            entry = entries[number % len(entries)]
            queue.withdraw(entry)
            model.remove(id_of(entry))
        elif what == "purge" and number < 90:
            assert queue.purge() == len(model)
            model = []
        assert queue.ready.count == len(model)
        assert ids_of(queue) == model
        assert bench.live()[0] == len(model) + len(out)
    bench.sync()
    for message_id in model:
        entry = bench.pop()
        assert id_of(entry) == message_id
        assert entry.message.body.endswith(b"x" * 10)
        out.append(entry)
    assert (queue.ready.count, queue.get(False), queue.is_waiting) == (0, None, False)
    for entry in out:
        queue.settle(entry)
    assert bench.live() == (0, 0, 0)
    assert bench.agenda.lost == []


@settings(max_examples=settings().max_examples // 20, deadline=None)
@given(st.sampled_from([1, 2, 5]), st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 1000))
def test_what_is_shared_is_live_until_every_queue_is_done_with_it(
    queue_count: int, first: int, second: int, seed: int
) -> None:
    source = random.Random(seed)
    bench = Bench(queue_count, segment_bytes=60_000)
    make_deep(bench, 3000)
    assert bench.live()[0] == 3000 * queue_count
    for queue, taken in zip(bench.queues, (first, second, 0, 2900, 1500), strict=False):
        held = [bench.pop(queue) for _ in range(taken)]
        for entry in held:
            if source.random() < 0.1:
                moved = entry.message
                entry.message = bench.log.append_move(queue.queue_id, moved)
            if source.random() < 0.9:
                queue.settle(entry)
            else:
                queue.requeue(entry)
    bench.sync()
    assert bench.live()[0] == sum(int(queue.ready.count) for queue in bench.queues)
    assert bench.live()[1] == bench.live()[2] <= sum(int(each.size_bytes) for each in bench.log.segments)
    for at, queue in enumerate(bench.queues):
        if at % 3 == 0:
            queue.purge()
        elif at % 3 == 1:
            queue.delete()
        else:
            while queue.ready.count > 0:
                queue.settle(bench.pop(queue))
    assert bench.live() == (0, 0, 0)


def test_a_queue_that_is_not_deep_stays_in_memory() -> None:
    bench = Bench()
    make_deep(bench, HEAD_COUNT)
    assert resident_count(bench.queue) == HEAD_COUNT
    assert bench.agenda.deep_count == OTHERS


def test_the_middle_of_a_deep_queue_leaves_memory() -> None:
    bench = Bench()
    ids = make_deep(bench, 20_000)
    assert resident_count(bench.queue) <= HEAD_COUNT + 4 * CHUNK_COUNT
    assert ids_of(bench.queue) == ids
    assert bench.agenda.deep_count == OTHERS + 1
    for message_id in ids:
        entry = bench.pop()
        assert id_of(entry) == message_id
        bench.queue.settle(entry)
        assert resident_count(bench.queue) <= HEAD_COUNT + 4 * CHUNK_COUNT if message_id % 500 == 0 else True
    assert bench.agenda.deep_count == OTHERS
    assert bench.live() == (0, 0, 0)


def test_the_only_deep_queue_may_keep_more() -> None:
    bench = Bench(others=0)
    make_deep(bench, 20_000)
    assert resident_count(bench.queue) == 20_000 < RESIDENT_CHUNKS // 2 * CHUNK_COUNT


def test_large_bodies_make_a_queue_deep_sooner() -> None:
    bench = Bench()
    for _ in range(40):
        bench.publish(1, 100_000)
        bench.sync()
    assert resident_count(bench.queue) * 100_000 <= HEAD_BYTES + 100_000 + 1_000_000
    assert bench.queue.ready.count == 40
    assert bench.queue.ready.body_bytes() == 40 * 100_001


def test_arrivals_far_from_delivery_do_not_even_stay() -> None:
    bench = Bench()
    ids = bench.publish(5000)
    assert resident_count(bench.queue) == HEAD_COUNT + 1
    assert ids_of(bench.queue) == ids


def test_what_is_not_durable_yet_is_not_read_before_it_is() -> None:
    bench = Bench()
    ids = bench.publish(HEAD_COUNT + 100)
    popped = [id_of(bench.pop()) for _ in range(HEAD_COUNT + 1)]
    assert bench.queue.is_waiting
    assert bench.queue.is_waiting
    assert bench.agenda.reads == []
    bench.sync()
    assert len(bench.agenda.reads) == 1
    while len(popped) < len(ids):
        popped.append(id_of(bench.pop()))
    assert popped == ids
    assert (bench.queue.ready.count, bench.agenda.deep_count) == (0, OTHERS)


def test_what_can_not_leave_among_what_can_keeps_its_place() -> None:
    bench = Bench()
    bench.publish(HEAD_COUNT + 1)
    for number in range(1000):
        if number % 3 == 0:
            bench.publish(1, ttl_ms=60_000)
        elif number % 3 == 1:
            bench.queue.publish(Message(bench.log.next_message_id(), b"\x00\x01q", HEADER, b"transient"))
        else:
            bench.publish(1)
    bench.publish(300)
    count = int(bench.queue.ready.count)
    assert count == HEAD_COUNT + 1 + 1000 + 300
    bench.sync()
    assert [id_of(bench.pop()) for _ in range(count)] == list(range(1, count + 1))


def test_what_was_moved_and_leaves_memory_is_not_read_before_its_new_place_is_durable() -> None:
    bench = Bench(segment_bytes=20_000, others=0)
    ids = make_deep(bench)
    for segment in bench.log.segments[:-1]:
        segment.is_leaving = True
    assert move_leaving(bench.queue, 1 << 40)
    bench.agenda.is_memory_short = True
    assert bench.queue.ready.page_out(1 << 40)
    assert resident_count(bench.queue) < len(ids)
    assert [id_of(bench.pop()) for _ in ids] == ids
    assert bench.agenda.lines == []


def test_the_youngest_of_what_is_on_disk_only_leaves_a_segment_too() -> None:
    bench = Bench(segment_bytes=20_000)
    ids = bench.publish(HEAD_COUNT + 50)
    bench.sync()
    leaving = bench.queue.ready.pages()[-1].segment
    leaving.is_leaving = True
    while not move_leaving(bench.queue, 1 << 40):
        while bench.serve():
            pass
        bench.sync()
    assert leaving.live_count == 0
    assert [id_of(bench.pop()) for _ in ids] == ids


def test_transient_messages_in_a_durable_queue_stay_in_memory() -> None:
    bench = Bench()
    for _ in range(3000):
        bench.queue.publish(Message(bench.log.next_message_id(), b"\x00\x01q", HEADER, b"body"))
    make_deep(bench, 3000)
    assert resident_count(bench.queue) > 3000
    assert bench.queue.ready.count == 6000
    assert [id_of(bench.pop()) for _ in range(6000)] == list(range(1, 6001))


def test_messages_with_a_time_of_their_own_stay_in_memory() -> None:
    bench = Bench()
    for _ in range(20):
        bench.publish(200, ttl_ms=60_000)
        bench.sync()
    assert resident_count(bench.queue) == 4000


def test_a_chunk_that_comes_back_is_marked_and_counted_as_it_was() -> None:
    bench = Bench()
    for number in range(4000):
        message = Message(bench.log.next_message_id(), b"\x00\x01q", HEADER, b"body")
        bench.log.append_message(message, bench.queue_ids, 77)
        restore(bench.queue, message, number % 3, number % 2 == 0)
        if number % 200 == 0:
            bench.sync()
    assert resident_count(bench.queue) < 3000
    for number in range(4000):
        entry = bench.pop()
        assert (entry.redelivered, entry.delivery_count) == (number % 2 == 0, number % 3)
        assert (entry.message.enqueued_ms, entry.message.route_key) == (77, b"\x00\x01q")


def test_reads_may_come_back_in_any_order() -> None:
    bench = Bench(others=7)
    bench.agenda.deep_count = OTHERS
    ids = make_deep(bench, 8000)
    bench.agenda.deep_count = 7
    popped = [id_of(bench.pop()) for _ in range(HEAD_COUNT + CHUNK_COUNT + 1)]
    assert len(bench.agenda.reads) > 2
    while bench.serve(-1):
        pass
    while len(popped) < len(ids):
        popped.append(id_of(bench.pop()))
    assert popped == ids


def first_read(bench: Bench) -> PageRead:
    """Take what is in memory until the next one is on its way."""
    queue = bench.queue
    while not queue.is_waiting:
        entry = queue.get(True)
        assert entry is not None
    return bench.agenda.reads[0]


@pytest.mark.parametrize("end", ["purge", "delete"])
def test_nobody_waits_for_a_read_of_a_queue_that_was_emptied(end: str) -> None:
    bench = Bench()
    make_deep(bench)
    read = first_read(bench)
    if end == "purge":
        bench.queue.purge()
    else:
        bench.queue.delete()
    bench.fill(read)
    read.backlog.arrived(read)
    assert bench.queue.ready.count == 0
    assert bench.queue.ready.entries() == []
    assert bench.live() == (0, 0, 0)
    assert bench.agenda.deep_count == OTHERS
    if end == "purge":
        ids = make_deep(bench, 2000)
        assert [id_of(bench.pop()) for _ in ids] == ids


def test_what_can_not_be_read_is_asked_for_again_later_and_later_and_never_given_up() -> None:
    bench = Bench()
    make_deep(bench)
    read = first_read(bench)
    expected = ids_of(bench.queue)
    waits = []
    for _ in range(12):
        bench.agenda.reads.remove(read)
        bench.fail(read)
        waited = 0
        while read not in bench.agenda.reads:
            bench.wait(10)
            waited += 10
        waits.append(waited)
    assert waits[:8] == [50, 100, 200, 400, 800, 1600, 3200, 5000]
    assert set(waits[8:]) == {5000}
    assert ids_of(bench.queue) == expected
    assert bench.live()[0] == len(expected)
    assert bench.agenda.lost == []
    assert [id_of(bench.pop()) for _ in expected] == expected


def test_other_queues_go_on_while_one_can_not_read() -> None:
    bench = Bench(queue_count=2)
    make_deep(bench)
    first, second = bench.queues
    while not first.is_waiting:
        assert first.get(True) is not None
    bench.fail(bench.agenda.reads.pop(0))
    count = int(second.ready.count)
    assert len([bench.pop(second) for _ in range(count)]) == count


def test_a_chunk_of_which_a_part_can_not_be_read_waits_whole_and_its_losses_count_once() -> None:
    bench = Bench(segment_bytes=20_000)
    make_deep(bench)
    while len(first_read(bench).pages) == 1:
        assert bench.serve()
    read = bench.agenda.reads[0]
    count = int(bench.queue.ready.count)
    lost = int(read.pages[0].count)
    for tries in range(4):
        bench.fill(read)
        # The first can be read and is rubbish; the second can't until the last try.
        read.pieces[0] = []
        if tries < 3:
            read.pieces[1] = None
        bench.agenda.reads.remove(read)
        read.backlog.arrived(read)
        if tries < 3:
            assert bench.agenda.lost == []
            bench.wait(5010)
    assert bench.queue.ready.count == count - lost
    assert bench.live()[0] == count - lost
    assert len(bench.agenda.lost) == lost


@pytest.mark.parametrize("end", ["purge", "delete"])
def test_a_queue_that_is_emptied_asks_no_more_for_what_could_not_be_read(end: str) -> None:
    bench = Bench()
    make_deep(bench)
    read = first_read(bench)
    bench.agenda.reads.clear()
    bench.fail(read)
    bench.queue.purge() if end == "purge" else bench.queue.delete()
    bench.wait(5010)
    assert bench.agenda.reads == []
    assert bench.agenda.wheel.count == 0
    assert bench.queue.losses is not None
    assert bench.queue.losses.failing_count == 0


def test_what_was_read_and_is_damaged_is_given_up_and_the_rest_goes_on() -> None:
    bench = Bench()
    make_deep(bench)
    read = first_read(bench)
    expected = ids_of(bench.queue)
    lost = sum(int(page.count) for page in read.pages)
    bench.agenda.reads.remove(read)
    read.pieces = [[] for _ in read.pages]
    read.backlog.arrived(read)
    assert bench.queue.ready.count == len(expected) - lost
    assert bench.live()[0] == len(expected) - lost
    assert [int(each.message_id) for each in bench.agenda.lost] == expected[:lost]
    left = [bench.pop() for _ in expected[lost:]]
    assert [id_of(entry) for entry in left] == expected[lost:]
    for entry in left:
        bench.queue.settle(entry)
    assert bench.live() == (0, 0, 0)


def test_a_queue_that_loses_the_last_of_it_is_empty() -> None:
    bench = Bench()
    make_deep(bench, HEAD_COUNT + 4 * CHUNK_COUNT)
    while True:
        while bench.queue.get(True) is not None:
            pass
        if not bench.agenda.reads:
            break
        read = bench.agenda.reads.pop()
        read.pieces = [[] for _ in read.pages]
        read.backlog.arrived(read)
    assert (bench.queue.ready.count, bench.queue.is_waiting, bench.live()) == (0, False, (0, 0, 0))
    ids = bench.publish(3)
    assert [id_of(bench.pop()) for _ in ids] == ids


def test_a_cold_chunk_is_moved_out_of_a_segment_and_stays_on_disk() -> None:
    bench = Bench(segment_bytes=100_000)
    ids = make_deep(bench)
    leaving = bench.queue.ready.pages()[0].segment
    leaving.is_leaving = True
    rounds = 0
    while not move_leaving(bench.queue, 1 << 40):
        rounds += 1
        assert rounds < 100
        while bench.serve():
            pass
        bench.sync()
    assert leaving.live_count == 0
    assert leaving.live_bytes == 0
    assert resident_count(bench.queue) < 3000
    assert ids_of(bench.queue) == ids
    bench.sync()
    for message_id in ids:
        entry = bench.pop()
        assert id_of(entry) == message_id
        bench.queue.settle(entry)
    assert bench.live() == (0, 0, 0)


def test_a_chunk_that_has_just_moved_is_read_when_the_disk_has_it() -> None:
    bench = Bench(segment_bytes=100_000)
    make_deep(bench)
    read = first_read(bench)
    bench.agenda.reads.remove(read)
    read.is_move = True
    for page in read.pages:
        page.segment.is_leaving = True
    bench.fill(read)
    read.backlog.arrived(read)
    assert bench.queue.is_waiting
    assert not bench.serve()
    bench.sync()
    expected = ids_of(bench.queue)
    assert [id_of(bench.pop()) for _ in expected] == expected


def test_what_is_damaged_is_not_moved_for_ever() -> None:
    bench = Bench(segment_bytes=100_000)
    ids = make_deep(bench)
    leaving = bench.queue.ready.pages()[0].segment
    leaving.is_leaving = True
    lost_bytes = bench.disk.segments[int(leaving.number)].content
    bench.disk.segments[int(leaving.number)] = FakeFile(bytes(len(lost_bytes)))
    for _ in range(100):
        if move_leaving(bench.queue, 1 << 40):
            break
        while bench.serve():
            pass
        bench.sync()
    else:
        raise AssertionError("it is read again and again")
    assert (leaving.live_count, leaving.live_bytes) == (0, 0)
    lost = len(bench.agenda.lost)
    assert 0 < lost < 4000
    assert bench.queue.ready.count == len(ids) - lost
    assert len([id_of(bench.pop()) for _ in range(len(ids) - lost)]) == len(ids) - lost
    assert not bench.queue.is_waiting


def test_what_leaves_memory_while_a_checkpoint_is_made_is_in_it() -> None:
    bench = Bench(depth=Depth(head_count=10, chunk_count=10, resident_chunks=100), others=0)
    bench.publish(400)
    bench.sync()
    builder = CheckpointBuilder(bench.log, 1)
    description = Description(bench.queue, builder)
    bench.agenda.checkpoint = builder
    bench.agenda.is_memory_short = True
    assert bench.queue.ready.page_out(1 << 60)
    assert len(bench.queue.ready.pages()) > 0
    while not description.go_on(5):
        pass
    known: set[int] = set()
    reader = CheckpointReader(b"".join(builder.finish().blocks()), 1, "checkpoint")
    while reader.next():
        if reader.kind == PAGE:
            segment = bench.log.segment
            page = Page(segment, reader.page_first_id, reader.page_last_id, reader.page_data)
            known.update(int(page.message_id(index)) for index in range(page.count))
        else:
            known.add(int(reader.message_id))
    assert known >= set(range(1, 401))
