"""Starts the two brokers: RabbitMQ from the system's package, amqpd from the venv or from the source tree.

Owns: free ports, data directories of their own, waiting until the broker takes connections, stopping it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .control import DefinitionsControl, HttpControl
from .session import Address, Session

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0
STOP_S = 15.0


class CannotStart(Exception):
    """A broker that is missing or does not come up; the text says what to do."""


def rabbitmq_command() -> str | None:
    """The server's own script: Debian's wrapper in /usr/sbin insists on its own user and directories."""
    candidates = [os.environ.get("RABBITMQ_SERVER"), "/usr/lib/rabbitmq/bin/rabbitmq-server"]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return shutil.which("rabbitmq-server")


def amqpd_command() -> list[str]:
    """AMQPD_EXPECT_COMPILED=0 asks for the sources of this checkout; otherwise an installed amqpd comes first."""
    is_source = os.environ.get("AMQPD_EXPECT_COMPILED") == "0"
    beside = Path(sys.executable).parent / "amqpd"
    installed = str(beside) if beside.exists() else shutil.which("amqpd")
    if installed and not is_source:
        return [installed]
    return [sys.executable, "-m", "amqpd"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def rabbitmq() -> Iterator[Address]:
    command = rabbitmq_command()
    if command is None:
        raise CannotStart(
            "rabbitmq-server is not installed: `apt-get install rabbitmq-server` (3.10 is what the golden transcript "
            "was recorded with), or compare with the recorded transcript: tests/differential/run --golden"
        )
    with tempfile.TemporaryDirectory(prefix="amqpd-differential-rabbitmq-") as folder:
        port, http_port = free_port(), free_port()
        plugins, configuration = Path(folder, "plugins"), Path(folder, "rabbitmq.conf")
        plugins.write_text("[rabbitmq_management].\n")
        configuration.write_text(f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {http_port}\n")
        environment = os.environ | {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"differential-{port}@localhost",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(Path(folder, "mnesia")),
            "RABBITMQ_LOG_BASE": str(Path(folder, "log")),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_CONF_ENV_FILE": str(Path(folder, "none-env")),
        }
        with _running("RabbitMQ", [command], environment, Path(folder, "output"), port) as (address, _):
            _await_port("RabbitMQ's HTTP API", http_port)
            yield address._replace(control=HttpControl(http_port))


@contextmanager
def amqpd() -> Iterator[Address]:
    with tempfile.TemporaryDirectory(prefix="amqpd-differential-") as folder:
        port = free_port()
        environment = dict(os.environ)
        command = amqpd_command()
        if command[0] == sys.executable:
            environment["PYTHONPATH"] = str(ROOT)
            environment.pop("PYTHONSAFEPATH", None)
        control = None
        definitions = Path(folder, "definitions.json")
        serve = ["serve", "--amqp", f"127.0.0.1:{port}", "--no-management", "--data-dir", str(Path(folder, "data"))]
        if _has_definitions(command, environment):
            control = DefinitionsControl(definitions)
            serve += ["--definitions", str(definitions)]
        with _running("amqpd", command + serve, environment, Path(folder, "output"), port) as (address, process_id):
            if control is not None:
                control.process_id = process_id
                control.exchange_exists = Session(address).has_exchange
            yield address._replace(control=control)


def _has_definitions(command: list[str], environment: dict[str, str]) -> bool:
    """Whether this amqpd takes policies from a file."""
    found = subprocess.run(
        [*command, "serve", "--help"], env=environment, capture_output=True, text=True, timeout=START_S
    )
    return "--definitions" in found.stdout


@contextmanager
def _running(
    name: str, command: list[str], environment: dict[str, str], output_path: Path, port: int
) -> Iterator[tuple[Address, int]]:
    with output_path.open("wb") as output:
        # In a group of its own, so that everything it starts goes with it.
        process = _start(command, environment, output)
        try:
            _await(name, process, output_path, port)
            yield Address("127.0.0.1", port), process.pid
        finally:
            _stop(process)


def _start(command: list[str], environment: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )


def _await(name: str, process: subprocess.Popen[bytes], output_path: Path, port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _is_listening(port):
            return
        time.sleep(0.1)
    tail = output_path.read_text(errors="replace")[-2000:]
    raise CannotStart(f"{name} does not come up on port {port}; the end of what it said:\n{tail}")


def _await_port(name: str, port: int) -> None:
    deadline = time.monotonic() + START_S
    while not _is_listening(port):
        if time.monotonic() > deadline:
            raise CannotStart(f"{name} does not come up on port {port}")
        time.sleep(0.1)


def _is_listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
