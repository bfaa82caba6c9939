from __future__ import annotations

import errno
import os

import pytest

from amqpd.base.notice import ERROR, WARNING
from amqpd.queues.backlog import Backlog
from amqpd.queues.chunk import Chunk, PageRead
from amqpd.queues.losses import Losses, back_off_ms, is_shortage, why_not
from amqpd.queues.ready import Ready
from amqpd.store.page import Page, PageWriter
from tests.fakes.core import logged, new_agenda, new_message, new_queue


class Bench:
    def __init__(self) -> None:
        self.agenda = new_agenda()
        self.agenda.monotonic_ms = 1_000_000
        self.agenda.wheel.advance(1_000_000)
        self.queue = new_queue(self.agenda, durable=True)
        self.losses = Losses(self.queue)

    def page(self, count: int = 3) -> Page:
        writer = PageWriter()
        for _ in range(count):
            message = logged(self.agenda, new_message(self.agenda.log.next_message_id(), b"body"), self.queue)
            writer.add_message(message, False, 0)
        (page,) = writer.finish()
        return page

    def failed(self, error: Exception) -> PageRead:
        read = PageRead(Backlog(Ready(self.queue), self.agenda), Chunk([], [self.page()], 0))
        read.pieces = [None]
        read.error = error
        self.losses.failed(read)
        return read

    def wait(self, ms: int) -> None:
        self.agenda.monotonic_ms += ms
        self.agenda.wheel.advance(self.agenda.monotonic_ms)

    def said(self) -> list[tuple[int, str]]:
        said = [(notice.level, notice.text) for notice in self.agenda.notices]
        self.agenda.notices.clear()
        return said


def os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code), "/data/log/1.segment")


def test_back_off_doubles_up_to_five_seconds() -> None:
    assert [back_off_ms(count) for count in (1, 2, 3, 7, 8, 9, 1 << 40)] == [50, 100, 200, 3200, 5000, 5000, 5000]


@pytest.mark.parametrize(
    ("error", "level", "why"),
    [
        (os_error(errno.EMFILE), WARNING, "Too many open files"),
        (os_error(errno.EACCES), WARNING, "Permission denied"),
        (MemoryError(), WARNING, "Cannot allocate memory"),
        (os_error(errno.EIO), ERROR, "Input/output error"),
        (os_error(errno.ENOENT), ERROR, "No such file or directory"),
        (ValueError("strange"), ERROR, "strange"),
    ],
)
def test_what_can_not_be_read_is_said_with_place_and_error(error: Exception, level: int, why: str) -> None:
    bench = Bench()
    read = bench.failed(error)
    assert is_shortage(error) is (level == WARNING)
    assert why_not(error) == why
    assert bench.said() == [
        (
            level,
            "queue 'q' in vhost '/' waits for what it has on disk: segment 1 can't be read at byte "
            f"{read.pages[0].begin}: {why}; nothing is given up, it is tried again and again",
        )
    ]


def test_it_is_said_once_when_reads_fail_and_once_when_none_does_any_more() -> None:
    bench = Bench()
    reads = [bench.failed(os_error(errno.EMFILE)) for _ in range(3)]
    for read in reads * 5:
        bench.losses.failed(read)
    assert len(bench.said()) == 1
    bench.losses.over()
    bench.losses.over()
    assert bench.said() == []
    bench.losses.over()
    assert bench.said() == [(WARNING, "queue 'q' in vhost '/' waits no longer for what it has on disk")]


def test_what_comes_and_goes_is_said_once_a_minute() -> None:
    bench = Bench()
    for _ in range(59):
        bench.failed(os_error(errno.EMFILE))
        bench.losses.over()
        bench.wait(1000)
    assert len(bench.said()) == 2
    bench.wait(1000)
    bench.failed(os_error(errno.EMFILE))
    assert len(bench.said()) == 1


def test_a_loss_is_told_at_once_with_its_place_and_the_next_ones_together_after_a_minute() -> None:
    bench = Bench()
    page = bench.page()
    bench.losses.lose(page, 0)
    bench.losses.tell()
    assert bench.said() == [
        (
            ERROR,
            f"queue 'q' in vhost '/' has lost a message: segment 1 is damaged at byte {page.offset(0)}; "
            "'amqpd log lost' lists what is gone",
        )
    ]
    for _ in range(10):
        other = bench.page(10)
        for index in range(10):
            bench.losses.lose(other, index)
        bench.losses.tell()
        bench.wait(5000)
    assert bench.said() == []
    bench.wait(10_010)
    ((level, text),) = bench.said()
    assert level == ERROR
    assert text.startswith("queue 'q' in vhost '/' has lost 101 messages so far: segment 1 is damaged at byte ")
    bench.wait(600_000)
    assert bench.said() == []
    assert bench.agenda.wheel.count == 0


def test_what_is_given_up_is_named_for_the_list() -> None:
    bench = Bench()
    page = bench.page()
    bench.agenda.wall_ms = 77
    bench.losses.lose(page, 1)
    (lost,) = bench.agenda.lost
    assert (lost.vhost, lost.queue, lost.queue_id, lost.wall_ms) == ("/", "q", 1, 77)
    assert (lost.message_id, lost.segment_number, lost.offset, lost.size_bytes) == (
        page.message_id(1),
        1,
        page.offset(1),
        page.size(1),
    )
