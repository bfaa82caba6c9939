"""What the shell stands between, by hand: a loop without sockets, a transport without a kernel, a core without AMQP."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from amqpd.base.notice import ERROR, INFO, WARNING, Notice
from amqpd.runtime.logs import Notices
from amqpd.runtime.turn import Turn


class FakeLoop:
    def __init__(self) -> None:
        self.ready: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.later: list[tuple[float, Callable[..., None]]] = []

    def call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        self.ready.append((callback, args))

    def call_later(self, delay_s: float, callback: Callable[..., None]) -> None:
        self.later.append((delay_s, callback))

    def run(self) -> None:
        """One iteration: what is ready now, not what becomes ready meanwhile."""
        ready, self.ready = self.ready, []
        for callback, args in ready:
            callback(*args)


class FakeAgenda:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notice(self, line: str) -> None:
        self.notices.append(Notice(INFO, line))

    def warn(self, line: str) -> None:
        self.notices.append(Notice(WARNING, line))

    def alert(self, line: str) -> None:
        self.notices.append(Notice(ERROR, line))

    @property
    def lines(self) -> list[str]:
        return [notice.text for notice in self.notices]


class FakeConnection:
    is_peer_leaving = False

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.output = b""
        self.closing = False
        self.reading = True
        self.writable = True
        self.unsent_bytes = 0
        self.session: object | None = None
        self.state = 0
        self.is_held_back = False
        self.deadline_ms = 0

    def give_up(self, why: str) -> None:
        self.broker.agenda.warn(f"fake is dropped: {why}")

    def take_output(self) -> bytes:
        output, self.output = self.output, b""
        return output

    def set_writable(self, writable: bool) -> None:
        self.writable = writable

    def unsent(self, size_bytes: int) -> None:
        self.unsent_bytes = size_bytes

    def describe(self) -> str:
        return "fake"

    def says(self, output: bytes) -> None:
        self.output += output
        if self not in self.broker.waiting:
            self.broker.waiting.append(self)


class FakeBroker:
    """Echoes what it receives, and writes down in which order it was called."""

    def __init__(self) -> None:
        self.agenda = FakeAgenda()
        self.calls: list[str] = []
        self.waiting: list[FakeConnection] = []
        self.batches: list[object] = []
        self.given_up: list[object] = []
        self.reads: list[object] = []
        self.has_work = False
        self.has_timers = False

    def connect(self, peer_host: str, peer_port: int, tls: bool) -> FakeConnection:
        self.calls.append(f"connect {peer_host} {peer_port} {tls}")
        return FakeConnection(self)

    def receive(self, connection: FakeConnection, data: bytes) -> None:
        self.calls.append(f"receive {data!r}")
        connection.says(data)

    def lost(self, connection: FakeConnection) -> None:
        self.calls.append("lost")

    def tick(self, monotonic_ms: int, wall_ms: int) -> None:
        self.calls.append("tick")

    def go_on(self) -> None:
        self.calls.append("go_on")
        self.has_work = False

    @property
    def needs_seal(self) -> bool:
        return bool(self.batches)

    def seal(self) -> object | None:
        self.calls.append("seal")
        return self.batches.pop(0)

    def synced(self, mark: int) -> None:
        self.calls.append(f"synced {mark}")

    def take_lost(self) -> list[object]:
        given_up, self.given_up = self.given_up, []
        return given_up

    def take_reads(self) -> list[object]:
        reads, self.reads = self.reads, []
        return reads

    def reads_done(self, reads: list[object]) -> None:
        self.calls.append(f"reads_done {len(reads)}")

    def woken(self) -> list[FakeConnection]:
        woken, self.waiting = self.waiting, []
        return woken


class FakeWriter:
    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.submitted: list[object] = []

    def submit(self, batch: object) -> None:
        self.broker.calls.append("submit")
        self.submitted.append(batch)

    def read(self, reads: list[object]) -> None:
        self.broker.calls.append(f"read {len(reads)}")

    def note_lost(self, lost: list[object]) -> None:
        self.broker.calls.append(f"note_lost {len(lost)}")


class FakeTransport:
    def __init__(self, peer: tuple[str, int] | None = ("10.0.0.1", 40000), tls: bool = False) -> None:
        self.extra = {"peername": peer, "sslcontext": object() if tls else None}
        self.written: list[bytes] = []
        self.is_reading = True
        self.is_closed = False
        self.is_ended = False
        self.is_aborted = False
        self.unsent_bytes = 0
        self.limits = (0, 0)

    def get_extra_info(self, name: str) -> object:
        return self.extra[name]

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.limits = (high, low)

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def can_write_eof(self) -> bool:
        return self.extra["sslcontext"] is None

    def write_eof(self) -> None:
        self.is_ended = True

    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


class World:
    """A turn with everything around it faked."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.broker = FakeBroker()
        self.writer = FakeWriter(self.broker)
        self.log: list[str] = []
        logger = logging.Logger("fake")
        handler = logging.Handler()
        handler.emit = lambda record: self.log.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        self.turn = Turn(self.loop, self.broker, self.writer, Notices(logger))  # type: ignore[arg-type]
