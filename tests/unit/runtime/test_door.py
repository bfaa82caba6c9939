"""With a real loop and real sockets, the core faked: an echo."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import logging
import shutil
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from amqpd.base.limits import DEFAULTS
from amqpd.config import Address
from amqpd.runtime.admission import MADE_ROOM, Admission
from amqpd.runtime.door import ACCEPTED_PER_TURN_MAX, PAUSE_S, Door, Line
from amqpd.runtime.logs import Notices
from amqpd.runtime.tcp import Peers, bind
from amqpd.runtime.tls import server_context
from amqpd.runtime.turn import Turn
from tests.fakes.certificates import make_certificates
from tests.fakes.shell import FakeBroker, FakeLoop, FakeWriter, World


class House:
    """An open door with an echo behind it."""

    def __init__(self, context: ssl.SSLContext | None = None, **limits: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.broker = FakeBroker()
        self.log: list[str] = []
        logger = logging.Logger("fake")
        handler = logging.Handler()
        handler.emit = lambda record: self.log.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        bounds = dataclasses.replace(DEFAULTS, **limits)
        turn = Turn(self.loop, self.broker, FakeWriter(self.broker), Notices(logger))  # type: ignore[arg-type]
        self.peers = Peers(turn, Admission(bounds), bounds)
        self.line = Line(self.loop, self.peers)
        (listening,) = bind(Address("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.door = Door(self.loop, self.peers, listening, context, logger)
        self.door.open()

    async def call(self) -> socket.socket:
        """A plain socket, connected."""
        caller = socket.socket()
        caller.setblocking(False)
        await self.loop.sock_connect(caller, ("127.0.0.1", self.port))
        return caller

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)

    async def answer(self, caller: socket.socket) -> bytes:
        """ "" if the door has closed or reset it."""
        async with asyncio.timeout(10):
            try:
                return await self.loop.sock_recv(caller, 100)
            except ConnectionError:
                return b""

    def close(self) -> None:
        self.door.close()
        self.line.close()
        for peer in list(self.peers.turn.peers.values()):
            peer.abort()


def play(story: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def test_a_socket_gets_to_the_core_with_its_first_bytes() -> None:
    async def story() -> None:
        house = House()
        caller = await house.call()
        await house.until(lambda: house.peers.admission.connection_count == 1)
        assert house.broker.calls == []
        await house.loop.sock_sendall(caller, b"hello")
        assert await house.answer(caller) == b"hello"
        (guest,) = house.peers.admission._guests
        assert f"connect 127.0.0.1 {caller.getsockname()[1]} False" in house.broker.calls
        caller.close()
        await house.until(lambda: house.peers.admission.connection_count == 0)
        assert house.broker.calls.count("lost") == 1
        # No cycle that only the garbage collector could take.
        assert (guest.connection, guest.peer) == (None, None)  # type: ignore[attr-defined]
        house.close()

    play(story)


def test_a_socket_that_comes_and_goes_without_a_word_leaves_no_trace() -> None:
    async def story() -> None:
        house = House()
        caller = await house.call()
        await house.until(lambda: house.peers.admission.connection_count == 1)
        caller.close()
        await house.until(lambda: house.peers.admission.connection_count == 0)
        assert (house.broker.calls, house.log) == ([], [])
        house.close()

    play(story)


def test_silent_sockets_make_room_for_those_who_speak() -> None:
    async def story() -> None:
        house = House(connections_unauthenticated_max=20)
        silent = [await house.call() for _ in range(20)]
        await house.until(lambda: house.peers.admission.connection_count == 20)
        clients = [await house.call() for _ in range(15)]
        for each in clients:
            await house.loop.sock_sendall(each, b"x")
        assert [await house.answer(each) for each in clients] == [b"x"] * 15
        assert await house.answer(silent[0]) == b""
        assert await house.answer(silent[14]) == b""
        assert house.peers.admission.connection_count == 20
        await house.until(lambda: bool(house.log))
        assert house.log[0].endswith(f"dropped: {MADE_ROOM}")
        for each in silent + clients:
            each.close()
        house.close()

    play(story)


def test_who_speaks_while_there_are_enough_handshakes_is_served_when_one_has_ended() -> None:
    async def story() -> None:
        house = House(handshakes_max=1)
        first, second = await house.call(), await house.call()
        await house.loop.sock_sendall(first, b"1")
        assert await house.answer(first) == b"1"
        await house.loop.sock_sendall(second, b"2")
        await house.until(lambda: house.peers.admission.has_line)
        (connection,) = house.peers.turn.peers
        connection.session = object()  # type: ignore[assignment]
        assert await house.answer(second) == b"2"
        for each in (first, second):
            each.close()
        house.close()

    play(story)


def test_closing_time_sends_home_who_has_not_spoken() -> None:
    async def story() -> None:
        house = House()
        caller = await house.call()
        await house.until(lambda: house.peers.admission.connection_count == 1)
        house.close()
        assert await house.answer(caller) == b""
        assert house.peers.admission.connection_count == 0
        caller.close()

    play(story)


def test_a_tls_client_is_counted_before_its_handshake_and_has_no_tls_object_before_its_whole_hello(
    certificates: Path,
) -> None:
    context = server_context(certificates / "server.pem", certificates / "server.key", None)
    wrapped: list[object] = []

    class Spy(ssl.SSLObject):
        def do_handshake(self) -> None:
            wrapped.append(self)
            super().do_handshake()

    context.sslobject_class = Spy

    async def story() -> None:
        house = House(context)
        caller = await house.call()
        await house.until(lambda: house.peers.admission.connection_count == 1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        trusting = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        (guest,) = house.peers.admission.strangers()
        for begin, end in ((0, 3), (3, 100)):
            await house.loop.sock_sendall(caller, hello[begin:end])
            await house.until(lambda end=end: guest._seen_bytes == end)  # type: ignore[attr-defined,misc]
        assert wrapped == []
        await house.loop.sock_sendall(caller, hello[100:])
        while True:
            incoming.write(await house.loop.sock_recv(caller, 1 << 16))
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        client.write(b"hello")
        await house.loop.sock_sendall(caller, outgoing.read())
        await house.until(lambda: "receive b'hello'" in house.broker.calls)
        (connection,) = house.peers.turn.peers
        assert connection.deadline_ms > 0
        caller.close()
        await house.until(lambda: house.peers.admission.connection_count == 0)
        house.close()

    play(story)


@pytest.mark.parametrize(
    ("first_bytes", "why"),
    [
        (b"AMQP\x00\x00\x09\x01", "its first bytes are not TLS; plain AMQP has a port of its own"),
        (b"\x16\x03\x01\x02\x00half a hello", "it went away"),
    ],
)
def test_a_tls_handshake_that_fails_is_told_with_its_address(certificates: Path, first_bytes: bytes, why: str) -> None:
    context = server_context(certificates / "server.pem", certificates / "server.key", None)

    async def story() -> None:
        house = House(context)
        caller = await house.call()
        await house.loop.sock_sendall(caller, first_bytes)
        caller.shutdown(socket.SHUT_WR)
        await house.until(lambda: bool(house.log))
        assert house.log == [f"the TLS handshake with 127.0.0.1:{caller.getsockname()[1]} failed: {why}"]
        assert house.peers.admission.connection_count == 0
        caller.close()
        house.close()

    play(story)


class PollingLoop(FakeLoop):
    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[object, Callable[[], None]] = {}

    def add_reader(self, watched: object, callback: Callable[[], None]) -> None:
        self.readers[watched] = callback

    def remove_reader(self, watched: object) -> None:
        del self.readers[watched]


class ScriptedSocket:
    """Listens; each accept is the next of a script: a socket or an error."""

    def __init__(self, script: list[object]) -> None:
        self.script = script

    def listen(self, backlog: int) -> None:
        assert backlog > 0

    def accept(self) -> tuple[object, tuple[str, int]]:
        if not self.script:
            raise BlockingIOError
        step = self.script.pop(0)
        if isinstance(step, OSError):
            raise step
        return step, ("10.0.0.1", 4)


class BareSocket:
    def setblocking(self, is_blocking: bool) -> None:
        assert not is_blocking


def scripted(script: list[object]) -> tuple[PollingLoop, ScriptedSocket, World, Peers]:
    loop, listening, world = PollingLoop(), ScriptedSocket(script), World()
    peers = Peers(world.turn, Admission(DEFAULTS), DEFAULTS)
    Door(loop, peers, listening, None, world.turn._notices._logger).open()  # type: ignore[arg-type]
    return loop, listening, world, peers


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EIO])
def test_without_a_descriptor_accepting_pauses_and_goes_on_and_says_so_once(number: int) -> None:
    short = OSError(number, "no more of it")
    loop, listening, world, peers = scripted([BareSocket(), short, short, BareSocket()])
    for _ in range(2):
        loop.readers[listening]()
        assert listening not in loop.readers
        delay_s, go_on = loop.later.pop()
        assert delay_s == PAUSE_S
        go_on()
    loop.readers[listening]()
    assert loop.later == []
    assert peers.admission.connection_count == 2
    assert world.log == [
        "no connection can be accepted for now: no more of it",
        "connections are accepted again",
    ]


def test_a_connection_that_is_gone_before_it_is_accepted_holds_nobody_up() -> None:
    loop, listening, world, peers = scripted([OSError(errno.ECONNABORTED, "gone"), BareSocket()])
    loop.readers[listening]()
    assert peers.admission.connection_count == 1
    assert world.log == []


def test_those_who_came_before_are_heard_between_two_bursts() -> None:
    loop, listening, _, peers = scripted([BareSocket() for _ in range(3 * ACCEPTED_PER_TURN_MAX)])
    loop.readers[listening]()
    assert peers.admission.connection_count == ACCEPTED_PER_TURN_MAX
