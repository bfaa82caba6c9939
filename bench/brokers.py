"""The brokers that are measured, started on free ports with directories of their own, and removed afterwards.

Owns: their processes, files and ports. Does not own what they are loaded with.
A broker runs in a process group of its own, so that it can be stopped (SIGSTOP) as a whole while another is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from amqpd.cli.load import LoadError
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.settings import Settings

START_TIMEOUT_S = 60.0
# After kill -9 with millions of messages.
RESTART_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 30.0
READY_LINE = "amqpd ready"
# Debian's rabbitmq-server on the PATH changes to another user; the one below it does not.
RABBITMQ_PLACES = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/rabbitmq/sbin", "/usr/local/opt/rabbitmq/sbin")


class Broker:
    """One broker process; subclasses say how it is started."""

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.directory.mkdir(parents=True)
        self.port = free_port()
        self.log = self.directory / "output.log"
        self.ready_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def is_ready(self) -> bool:
        raise NotImplementedError

    def version(self) -> str:
        """What the broker calls itself."""
        raise NotImplementedError

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        started = time.monotonic()
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() - started > timeout_s:
                self.stop()
                raise LoadError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.001)
        self.ready_s = time.monotonic() - started

    def pause(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9 of everything that it started; its files stay, so that `start` is a restart."""
        process = self._process
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline and is_taken(self.port):
            time.sleep(0.01)

    def stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            self.resume()
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._process = None

    def load_definitions(self, definitions: dict[str, object]) -> None:
        """Let it read these while it runs; it may not have finished when this returns."""
        raise NotImplementedError

    def ending(self) -> str:
        """How it ended by itself; empty while it runs."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return ""
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        return f"({self.name} ended with {code}: {''.join(last)[-200:]})"

    def end(self) -> None:
        """At once, whatever state it is in; its files are no longer needed."""
        process = self._process
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._process = None

    def accepts(self) -> bool:
        """Whether it lets a client log in."""
        try:
            LoadConnection.open(Settings(port=self.port, timeout_s=2.0), "probe").close()
        except LoadError:
            return False
        return True


class Amqpd(Broker):
    name = "amqpd"
    # Of `amqpd serve`, beside what every benchmark gives it.
    flags: tuple[str, ...] = ()

    def __init__(self, directory: Path, python: str = sys.executable, name: str = "amqpd") -> None:
        """Of the build that this Python has installed."""
        self.name = name
        super().__init__(directory)
        self._python = python
        self._definitions = self.directory / "definitions.json"
        self._definitions.write_text("{}")

    def command(self) -> list[str]:
        # -P: the installed, compiled package, never the sources of the directory that this is called from.
        serve = [self._python, "-P", "-m", "amqpd", "serve", "--no-management", "--log-level", "warning"]
        where = ["--data-dir", str(self.directory / "data"), "--amqp", f"127.0.0.1:{self.port}"]
        return [*serve, *where, "--definitions", str(self._definitions), *self.flags]

    def load_definitions(self, definitions: dict[str, object]) -> None:
        self._definitions.write_text(json.dumps(definitions))
        os.kill(self.pid, signal.SIGHUP)

    def is_ready(self) -> bool:
        return READY_LINE in self.log.read_text(errors="replace")

    def version(self) -> str:
        ask = "import sys, amqpd; print(f'amqpd {amqpd.__version__}, Python {sys.version.split()[0]}')"
        return subprocess.run(
            [self._python, "-P", "-c", ask], capture_output=True, text=True, check=True
        ).stdout.strip()


class RabbitMQ(Broker):
    name = "RabbitMQ"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._epmd_port = free_port()

    def command(self) -> list[str]:
        server = find_rabbitmq()
        assert server is not None
        return [server]

    def environment(self) -> dict[str, str]:
        home = self.directory
        for name in ("plugins", "env.conf"):
            (home / name).write_text("[]." if name == "plugins" else "")
        return super().environment() | {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(control_port := free_port()),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(control_port),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        }

    def load_definitions(self, definitions: dict[str, object]) -> None:
        path = self.directory / "definitions.json"
        path.write_text(json.dumps(definitions))
        server = find_rabbitmq()
        assert server is not None
        control = [os.path.join(os.path.dirname(server), "rabbitmqctl"), "import_definitions", str(path)]
        done = subprocess.run(control, env=self.environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LoadError(f"rabbitmqctl import_definitions: {(done.stderr or done.stdout).strip()[-300:]}")

    def is_ready(self) -> bool:
        return self.accepts()

    def version(self) -> str:
        for line in self.log.read_text(errors="replace").splitlines():
            if "RabbitMQ" in line and line.split()[-1][:1].isdigit():
                return line.strip(" #")
        return "RabbitMQ"

    def stop(self) -> None:
        super().stop()
        self._end_port_mapper()

    def end(self) -> None:
        super().end()
        self._end_port_mapper()

    def _end_port_mapper(self) -> None:
        # Erlang's port mapper stays behind; this one served only this node.
        epmd = shutil.which("epmd") or "/usr/lib/erlang/bin/epmd"
        if os.path.exists(epmd):
            subprocess.run([epmd, "-port", str(self._epmd_port), "-kill"], capture_output=True, check=False)


def find_rabbitmq() -> str | None:
    for place in (*RABBITMQ_PLACES, ""):
        server = os.path.join(place, "rabbitmq-server") if place else shutil.which("rabbitmq-server")
        if server and os.access(server, os.X_OK):
            return server
    return None


def is_taken(port: int) -> bool:
    """Whether anybody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
