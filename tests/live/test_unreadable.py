"""A deep queue of a real process is read back while there are no descriptors, taken from outside: all of it arrives."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pamqp import body, commands, frame, header
from typer.testing import CliRunner

from amqpd.cli.main import app
from amqpd.runtime.file_disk import READING_MAX
from tests.live.test_process import Client, Process, start, wait_until

pytestmark = pytest.mark.live
assert start is not None, "the fixture"

COUNT = 40_000
BURST = 1000
BODY_FRAME = 3


def body_of(number: int) -> bytes:
    return b"%d " % number + b"x" * 500


def frames_of(number: int) -> bytes:
    content = body_of(number)
    properties = commands.Basic.Properties(delivery_mode=2)
    return b"".join(
        frame.marshal(each, 1)
        for each in (
            commands.Basic.Publish(routing_key="deep"),
            header.ContentHeader(0, len(content), properties),
            body.ContentBody(content),
        )
    )


@pytest.fixture
def broker(start: Callable[..., Process]) -> Process:
    """It has just started with a deep queue, in more segments than it keeps open."""
    first = start(environ={"AMQPD_LIMITS_SEGMENT_BYTES": str(1 << 20)})
    client = Client(first.wait_ready().port()).open()
    client.declare("deep")
    for at in range(0, COUNT, BURST):
        client.socket.sendall(b"".join(frames_of(number) for number in range(at, at + BURST)))
    assert client.declare("deep", passive=True) == COUNT
    first.stop()
    assert len(os.listdir(first.folder / "data/log")) > READING_MAX
    return start().wait_ready()


@contextmanager
def files_limited(pid: int, limit: int) -> Iterator[None]:
    """The process may open nothing whose number is not below the limit; what is open stays open."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def consume(client: Client) -> None:
    client.send(1, commands.Basic.Consume(queue="deep", no_ack=True))
    client.expect(commands.Basic.ConsumeOk)


def bodies(client: Client) -> list[bytes]:
    """Payloads of all body frames: type(1) channel(2) size(4) payload end(1)."""
    found: list[bytes] = []
    data = client._input
    while len(found) < COUNT:
        at = 0
        while len(data) >= at + 8:
            end = at + 8 + int.from_bytes(data[at + 3 : at + 7], "big")
            if end > len(data):
                break
            if data[at] == BODY_FRAME:
                found.append(data[at + 7 : end - 1])
            at = end
        data = data[at:]
        if len(found) < COUNT:
            data += client.socket.recv(1 << 20)
    return found


def test_what_is_kept_in_reserve_is_enough_to_read_on(broker: Process) -> None:
    client = Client(broker.port()).open()
    highest = max(int(name) for name in os.listdir(f"/proc/{broker.process.pid}/fd"))
    with files_limited(broker.process.pid, highest + 1):
        consume(client)
        assert bodies(client) == [body_of(number) for number in range(COUNT)]
    assert "waits for what it has on disk" not in broker.log
    broker.stop()


def test_what_can_not_be_read_for_a_while_is_all_delivered_afterwards(broker: Process) -> None:
    client = Client(broker.port()).open()
    other = Client(broker.port()).open()
    other.declare("other")
    other.publish("other", b"here")
    wait_until(lambda: other.declare("other", passive=True) == 1, "the log is open")
    with files_limited(broker.process.pid, 3):
        consume(client)
        wait_until(lambda: "waits for what it has on disk" in broker.log, "the queue says that it waits")
        assert "Too many open files; nothing is given up" in broker.log
        # Whoever needs nothing that is not open goes on.
        other.publish("other", b"there")
        wait_until(lambda: other.declare("other", passive=True) == 2, "others go on")
    assert bodies(client) == [body_of(number) for number in range(COUNT)]
    wait_until(lambda: "waits no longer" in broker.log, "the queue says that it is over")
    broker.stop()
    data = str(broker.folder / "data")
    assert CliRunner().invoke(app, ["log", "verify", data]).output.startswith("no damage")
    assert CliRunner().invoke(app, ["log", "lost", data]).output == ""
