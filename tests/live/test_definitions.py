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

Start = Callable[..., Process]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "definitions.json"


@pytest.fixture
def start(tmp_path: Path, file: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start_one(*flags: str) -> Process:
        process = Process(tmp_path, "--amqp", "127.0.0.1:0", "--definitions", str(file), *flags)
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
    sentence = f"amqpd can't start: {file}: policies[0]: policy 'p' in vhost '/': -1 is not a valid maximum length"
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


def test_who_leaves_a_complete_file_loses_the_connection_at_once_and_for_good(start: Start, file: Path) -> None:
    all_of_it = {"vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    users = [{"name": name, "password": name} for name in ("admin", "guest")]
    permissions = [{"user": user["name"], **all_of_it} for user in users]
    write(file, users=users, permissions=permissions)
    broker = start("--set", "definitions.is_complete=true").wait_ready()
    client = Client(broker.port()).open()
    write(file, users=users[:1], permissions=permissions[:1])
    reload(broker)
    close = client.read()
    assert isinstance(close, commands.Connection.Close)
    assert (close.reply_code, close.reply_text) == (320, "CONNECTION_FORCED - user 'guest' is deleted")
    assert "removed, for the definitions don't have them: users 'guest'" in broker.log
    broker.stop()
    file.write_text(json.dumps({"queues": []}))
    broker = start().wait_ready()
    refused = Client(broker.port()).log_in().read()
    assert isinstance(refused, commands.Connection.Close)
    assert refused.reply_code == 403
    broker.stop()


def test_all_that_is_wrong_with_a_file_is_told_at_start_and_on_a_signal(start: Start, file: Path) -> None:
    queues = [{"name": "amq.q", "vhost": "/"}, {"name": "s", "vhost": "/", "type": "stream"}]
    file.write_text(json.dumps({"queues": queues}))
    lines = start().ends_with(1).log.splitlines()
    assert lines[0].startswith(
        f"amqpd can't start: {file} has 2 problems, and nothing of it was loaded (amqpd has no such"
    )
    assert [line.split(":")[0] for line in lines[1:]] == ["    queues[0].name", "    queues[1].type"]
    file.write_text("{}")
    broker = start().wait_ready()
    file.write_text(json.dumps({"queues": queues}))
    reload(broker)
    wait_until(lambda: "queues[1].type: " in broker.log, "the last one")
    assert "everything stays as it was" in broker.stop().log
    broker = start("--set", "definitions.skip_unsupported=true").wait_ready()
    assert "left out of the queues, for amqpd has no such: 'amq.q', 's'" in broker.stop().log


def test_without_a_file_the_signal_does_nothing(tmp_path: Path) -> None:
    broker = Process(tmp_path, "--amqp", "127.0.0.1:0").wait_ready()
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "no definitions file" in broker.log, "it says so")
    broker.stop()
