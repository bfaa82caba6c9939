"""A broker process for one client suite: amqpd, or RabbitMQ when the baseline is recorded.

Owns one process per directory: where it listens (plain and TLS), its data, its log, its process id. The id is in a file, so that
scripts which the clients' tests call (the stand-ins for `rabbitmqctl` and for Docker) can stop, kill and start it too.
As a program: broker.py start|stop|kill DIRECTORY.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
STOP_S = 30.0
KINDS = ("amqpd", "rabbitmq")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def amqpd_command() -> list[str]:
    """The command in AMQPD, or what `make install` made."""
    return shlex.split(os.environ.get("AMQPD", str(ROOT / ".venv" / "bin" / "amqpd")))


def make_certificate(directory: Path) -> None:
    """cert.pem and key.pem: signed by itself, for this machine."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-days", "30"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class BrokerProcess:
    def __init__(self, directory: Path, kind: str, port: int, tls_port: int, other_port: int) -> None:
        assert kind in KINDS, f"no broker of the kind {kind!r}: {', '.join(KINDS)}"
        self.directory = directory
        self.kind = kind
        self.port = port
        self.tls_port = tls_port
        self._other_port = other_port  # RabbitMQ's distribution wants a port of its own

    @classmethod
    def create(cls, directory: Path, kind: str) -> BrokerProcess:
        directory.mkdir(parents=True)
        ports = {"port": free_port(), "tls_port": free_port(), "other_port": free_port()}
        (directory / "broker.json").write_text(json.dumps({"kind": kind, **ports}))
        make_certificate(directory)
        return cls(directory, kind, **ports)

    @classmethod
    def at(cls, directory: Path) -> BrokerProcess:
        return cls(directory, **json.loads((directory / "broker.json").read_text()))

    def start(self) -> None:
        assert not self.is_running(), f"the broker in {self.directory} runs already"
        with open(self.directory / "log", "a") as log:
            # Detached: it outlives the script that starts it, and its group can be killed as a whole.
            process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self._environment()},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + START_S
        while not self._answers():
            if process.poll() is not None:
                raise SystemExit(f"{self.kind} ended with {process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.kind} did not start within {START_S:g} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the broker as an operator does: clients see it leave with 320."""
        if not self.is_running():
            return
        os.kill(self._pid(), signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while self.is_running():
            if time.monotonic() > deadline:
                self.kill()
                raise SystemExit(f"{self.kind} did not stop within {STOP_S:g} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends the broker without any warning, and everything it started."""
        if self._pid() == 0:
            return
        try:
            os.killpg(self._pid(), signal.SIGKILL)
        except ProcessLookupError:
            return
        while self.is_running():
            time.sleep(0.02)

    def is_running(self) -> bool:
        pid = self._pid()
        if pid == 0:
            return False
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass  # started by another script
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return not Path("/proc/self").exists()

    def log_tail(self) -> str:
        return "\n".join((self.directory / "log").read_text(errors="replace").splitlines()[-15:])

    def _pid(self) -> int:
        try:
            return int((self.directory / "pid").read_text())
        except FileNotFoundError:
            return 0

    def _command(self) -> list[str]:
        if self.kind == "rabbitmq":
            # Debian's rabbitmq-server in PATH changes the user; the one beside the libraries runs as whoever calls it.
            debian = "/usr/lib/rabbitmq/bin/rabbitmq-server"
            return [debian if os.path.exists(debian) else shutil.which("rabbitmq-server") or "rabbitmq-server"]
        command = [*amqpd_command(), "serve", "--data-dir", str(self.directory / "data"), "--no-management"]
        command += ["--amqp", f"127.0.0.1:{self.port}", "--amqps", f"127.0.0.1:{self.tls_port}"]
        command += ["--tls-cert", str(self.directory / "cert.pem"), "--tls-key", str(self.directory / "key.pem")]
        return command

    def _environment(self) -> dict[str, str]:
        if self.kind == "amqpd":
            return {}
        plugins, settings = self.directory / "plugins", self.directory / "rabbitmq.conf"
        plugins.write_text("[].\n")
        settings.write_text(
            f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.directory}/cert.pem\n"
            f"ssl_options.keyfile = {self.directory}/key.pem\n"
        )
        return {
            "HOME": str(self.directory),
            "RABBITMQ_NODENAME": f"suites-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._other_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        }

    def _answers(self) -> bool:
        """Whether a protocol header is answered with a method frame (connection.start)."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as peer:
                peer.sendall(b"AMQP\x00\x00\x09\x01")
                return peer.recv(1) == b"\x01"
        except OSError:
            return False


def main(verb: str, directory: str) -> None:
    broker = BrokerProcess.at(Path(directory))
    {"start": broker.start, "stop": broker.stop, "kill": broker.kill}[verb]()


if __name__ == "__main__":
    main(*sys.argv[1:])
