"""The broker as a real process with its own data directory: started, killed, stopped, measured.

Owns: the process and its log. AMQPD_EXPECT_COMPILED=1 starts the installed package, otherwise the sources of this
checkout, as everywhere in the tests.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
STOP_S = 120.0
POLL_S = 0.005
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class DidNotStart(AssertionError):
    """The broker ended, or was silent for too long, before its ready line."""


class DidNotStop(AssertionError):
    """SIGTERM did not end in exit status 0."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def environment() -> dict[str, str]:
    """Of the broker's process: which amqpd it finds."""
    found = dict(os.environ)
    if found.get("AMQPD_EXPECT_COMPILED", "0") == "1":
        found.pop("PYTHONPATH", None)
        found["PYTHONSAFEPATH"] = "1"
    else:
        found.pop("PYTHONSAFEPATH", None)
        found["PYTHONPATH"] = str(ROOT)
    return found


def core_kind(directory: Path) -> str:
    """Whether the broker that these tests start is the compiled one."""
    command = [sys.executable, "-c", "import amqpd.base.message as m; print(m.__file__)"]
    done = subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True, check=True)
    return "compiled" if done.stdout.strip().endswith((".so", ".pyd")) else "interpreted"


class BrokerProcess:
    def __init__(self, directory: Path, data_dir: Path | None = None, settings: Mapping[str, object] = {}) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self.flags: list[str] = []
        # Beside what every broker of these tests gets.
        self.environ: dict[str, str] = {}
        self._directory = directory
        self.data_dir = data_dir or directory / "data"
        self._settings = dict(settings)
        self._log = directory / "log"
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    # Life

    def spawn(self) -> None:
        command = [sys.executable, "-m", "amqpd", "serve", "--data-dir", str(self.data_dir), "--no-management"]
        command += ["--amqp", f"{self.host}:{self.port}", *self.flags]
        for key, value in self._settings.items():
            command += ["--set", f"{key}={value}"]
        self._log_start = len(self.log())
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                env={**environment(), **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def start(self) -> float:
        """Until it is ready for connections; returns how many seconds that took."""
        began = time.monotonic()
        self.spawn()
        assert self._process is not None
        while "amqpd ready: " not in self.log_of_this_life():
            if self._process.poll() is not None:
                code = self._process.returncode
                raise DidNotStart(f"the broker ended with {code} at its start:\n{self.log_of_this_life()[-3000:]}")
            if time.monotonic() - began > START_S:
                self.kill()
                raise DidNotStart(f"the broker was not ready in {START_S:g} s:\n{self.log_of_this_life()[-3000:]}")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    def kill(self) -> None:
        process = self._process
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            self._process = None

    async def stop(self) -> None:
        """SIGTERM, as an operator does."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        code = process.poll()
        self.kill()
        if code != 0:
            what = "did not stop" if code is None else f"stopped with {code}"
            raise DidNotStop(f"the broker {what} on SIGTERM:\n{self.log_of_this_life()[-3000:]}")

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    # What it says and costs

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_of_this_life(self) -> str:
        return self.log()[self._log_start :]

    def resident_bytes(self) -> int:
        assert self._process is not None
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * PAGE_BYTES
