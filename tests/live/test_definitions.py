"""A definitions file on a real process: at start, on SIGHUP, and a bad one."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp import commands

from tests.live.test_process import Client, Process, wait_until

pytestmark = pytest.mark.live

Start = Callable[[], Process]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "definitions.json"


@pytest.fixture
def start(tmp_path: Path, file: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start_one() -> Process:
        process = Process(tmp_path, "--amqp", "127.0.0.1:0", "--definitions", str(file))
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.process.kill()
        process.process.wait()


def write(file: Path, *policies: dict[str, Any], **parts: Any) -> None:
    known = [{"vhost": "/", **policy} for policy in policies]
    file.write_text(json.dumps({"queues": [{"name": "q", "vhost": "/", "durable": True}], "policies": known, **parts}))


def reload(broker: Process) -> None:
    before = broker.log.count("definitions")
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: broker.log.count("definitions") > before, "the file is loaded again")


def test_it_is_loaded_before_anybody_connects_and_again_on_a_signal(start: Start, file: Path) -> None:
    write(file, {"name": "p", "pattern": "", "definition": {"max-length": 3}})
    broker = start().wait_ready()
    client = Client(broker.port()).open()
    client.declare("q", passive=True)
    for _ in range(5):
        client.publish("q", b"x")
    assert client.declare("q", passive=True) == 3
    write(file, {"name": "p", "pattern": "", "definition": {"max-length": 1}})
    reload(broker)
    assert client.declare("q", passive=True) == 1
    file.write_text("{")
    reload(broker)
    assert "everything stays as it was" in broker.log
    client.publish("q", b"x")
    assert client.declare("q", passive=True) == 1
    write(file)
    reload(broker)
    client.publish("q", b"x")
    assert client.declare("q", passive=True) == 2
    client.socket.close()
    broker.stop()


def test_a_bad_file_keeps_it_from_starting(start: Start, file: Path) -> None:
    write(file, {"name": "p", "pattern": "", "definition": {"max-length": -1}})
    broker = start().ends_with(1)
    assert broker.output == ""
    sentence = f"amqpd can't start: {file}: policy 'p' in vhost '/': -1 is not a valid maximum length"
    assert sentence in broker.log.splitlines()
    write(file)
    start().wait_ready().stop()


def test_nobody_logs_in_as_guest_where_the_file_says_who_may(start: Start, file: Path) -> None:
    users = [{"name": "admin", "password": "secret", "tags": ["administrator"]}]
    permissions = [{"user": "admin", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]
    write(file, users=users, permissions=permissions)
    for _ in range(2):
        broker = start().wait_ready()
        client = Client(broker.port()).log_in()
        assert isinstance(client.read(), commands.Connection.Close)
        broker.stop()


def test_without_a_file_the_signal_does_nothing(tmp_path: Path) -> None:
    broker = Process(tmp_path, "--amqp", "127.0.0.1:0").wait_ready()
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "no definitions file" in broker.log, "it says so")
    broker.stop()
