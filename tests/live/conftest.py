"""A real broker process for real clients.

Owns: the fixture `broker` (one process and one fresh data directory for each test module) and `queue_name`. Stopping it must end in
exit status 0 and leave no traceback in its log, or the module's last test fails.

AMQPD_TEST_URL=amqp://guest:guest@host:port/ leads the tests to a broker that runs already, which is how they are checked against
RabbitMQ. Tests that need to stop the broker are then skipped, unless AMQPD_TEST_RESTART is a command that restarts it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
STOP_S = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("live")
            item.add_marker("slow")


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Waits for something that another thread or process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class Broker:
    """Where the broker under test listens, and what can be done to it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.url = url
        self.host = parts.hostname
        self.port = parts.port or 5672
        self.user = parts.username or "guest"
        self.password = parts.password or "guest"

    def require(self, ending: str) -> None:
        """Skips the test if this broker cannot be ended in that way ("restart" or "kill")."""

    def restart(self) -> None:
        """Stops it as an operator does (clients see 320), and starts it on the same data and port."""
        raise NotImplementedError

    def kill_and_start(self) -> None:
        """Ends it with SIGKILL, and starts it on the same data and port."""
        raise NotImplementedError

    def answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as peer:
                peer.sendall(b"AMQP\x00\x00\x09\x01")
                return peer.recv(1) == b"\x01"
        except OSError:
            return False


class OwnBroker(Broker):
    def __init__(self, directory: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        super().__init__(f"amqp://guest:guest@127.0.0.1:{port}/")
        self._directory = directory
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self._process is None
        environment = dict(os.environ)
        if environment.get("AMQPD_EXPECT_COMPILED", "0") != "1":
            environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", "amqpd", "serve", "--data-dir", str(self._directory / "data")]
        command += ["--amqp", f"{self.host}:{self.port}", "--no-management"]
        seen = len(self.log())
        with open(self._log, "ab") as log:
            process = self._process = subprocess.Popen(
                command, cwd=self._directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(
            lambda: "amqpd ready: " in self.log()[seen:] or process.poll() is not None, "its ready line", START_S
        )
        assert process.poll() is None, f"the broker did not start:\n{self.log()[seen:]}"

    def stop(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.poll() is None, f"the broker ended by itself with {process.returncode}:\n{self.log()[-4000:]}"
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(STOP_S) == 0, f"the broker did not stop cleanly:\n{self.log()[-4000:]}"
        finally:
            process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill_and_start(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()
        self.start()

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class BrokerElsewhere(Broker):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._restart_command = os.environ.get("AMQPD_TEST_RESTART")

    def require(self, ending: str) -> None:
        if ending == "kill" or self._restart_command is None:
            pytest.skip(f"the broker at AMQPD_TEST_URL is not ours to {ending}")

    def restart(self) -> None:
        assert self._restart_command is not None, "a test that restarts its broker calls require first"
        subprocess.run(self._restart_command, shell=True, check=True, stdout=subprocess.DEVNULL)
        wait_until(self.answers, "the restarted broker answers", 60)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    url = os.environ.get("AMQPD_TEST_URL")
    if url is not None:
        yield BrokerElsewhere(url)
        return
    own = OwnBroker(tmp_path_factory.mktemp("broker"))
    own.start()
    yield own
    own.stop()
    tracebacks = re.findall(r"^Traceback .*?(?=^\S*(?:Error|Exception)\b.*$)^.*$", own.log(), re.MULTILINE | re.DOTALL)
    assert not tracebacks, "the broker logged:\n" + "\n".join(tracebacks[:3])


@pytest.fixture
def queue_name() -> str:
    return f"live-{uuid.uuid4().hex[:12]}"
