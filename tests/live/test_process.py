"""The process itself: how it starts, says that it is ready, refuses to start, explains strangers, and stops."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pamqp import body as body_frames
from pamqp import commands, frame, header
from pamqp.base import Frame

from tests.chaos.process import environment
from tests.fakes.certificates import make_certificates

ROOT = Path(__file__).resolve().parents[2]
COMPILED = os.environ.get("AMQPD_EXPECT_COMPILED", "0") == "1"
DEADLINE_S = 120.0
CANARY = "canary-password-3141592653"

pytestmark = pytest.mark.live


class Process:
    """One `amqpd serve`, its output in files."""

    def __init__(
        self, folder: Path, *flags: str, environ: dict[str, str] | None = None, file_bytes_max: int = 0
    ) -> None:
        self.folder = folder
        self._out = folder / f"out-{time.monotonic_ns()}"
        self._err = self._out.with_suffix(".err")
        environment = {**os.environ, **(environ or {})}
        if not COMPILED:
            environment["PYTHONPATH"] = str(ROOT)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "amqpd", "serve", "--no-management", *flags],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=(lambda: limit_files(file_bytes_max)) if file_bytes_max else None,
            )

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._err.read_text()

    def wait_ready(self) -> Process:
        wait_until(lambda: "amqpd ready: " in self.output or self.process.poll() is not None, "the ready line")
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log}"
        return self

    def port(self, scheme: str = "amqp") -> int:
        found = re.search(rf"\b{scheme}://127\.0\.0\.1:(\d+)", self.output)
        assert found is not None, self.output
        return int(found[1])

    def ends_with(self, code: int) -> Process:
        assert self.process.wait(DEADLINE_S) == code, self.log
        return self

    def stop(self, how: int = signal.SIGTERM) -> Process:
        self.process.send_signal(how)
        return self.ends_with(0)


def limit_files(size: int) -> None:
    """A write beyond this fails with EFBIG, which is an error of the disk and not a lack of room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


class Client:
    """As much of AMQP as it takes to see a broker live and die."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._input = b""

    def send(self, channel: int, method: Frame) -> None:
        self.socket.sendall(frame.marshal(method, channel))

    def read(self) -> object:
        while True:
            used, _, value = frame.unmarshal(self._input) if len(self._input) >= 8 else (0, 0, None)
            if used:
                self._input = self._input[used:]
                return value
            more = self.socket.recv(65536)
            if not more:
                raise EOFError
            self._input += more

    def expect(self, kind: type[Frame]) -> object:
        value = self.read()
        assert isinstance(value, kind), value
        return value

    def log_in(self, password: str = "guest") -> Client:
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.expect(commands.Connection.Start)
        properties = {"capabilities": {"authentication_failure_close": True, "connection.blocked": True}}
        self.send(0, commands.Connection.StartOk(properties, "PLAIN", f"\0guest\0{password}", "en_US"))
        return self

    def open(self) -> Client:
        self.log_in()
        self.expect(commands.Connection.Tune)
        self.send(0, commands.Connection.TuneOk(100, 131072, 0))
        self.send(0, commands.Connection.Open("/"))
        self.expect(commands.Connection.OpenOk)
        self.send(1, commands.Channel.Open())
        self.expect(commands.Channel.OpenOk)
        return self

    def declare(self, queue: str, passive: bool = False) -> int:
        self.send(1, commands.Queue.Declare(queue=queue, durable=True, passive=passive))
        answer = self.expect(commands.Queue.DeclareOk)
        assert isinstance(answer, commands.Queue.DeclareOk)
        return answer.message_count

    def publish(self, queue: str, body: bytes) -> None:
        properties = commands.Basic.Properties(delivery_mode=2)
        self.send(1, commands.Basic.Publish(routing_key=queue))
        self.socket.sendall(frame.marshal(header.ContentHeader(0, len(body), properties), 1))
        self.socket.sendall(frame.marshal(body_frames.ContentBody(body), 1))

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start_one(*flags: str, **options: object) -> Process:
        process = Process(tmp_path, "--amqp", "127.0.0.1:0", *flags, **options)  # type: ignore[arg-type]
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.process.kill()
        process.process.wait()


Start = Callable[..., Process]


def test_ready_line_names_the_address_and_connections_are_taken(start: Start) -> None:
    broker = start().wait_ready()
    assert re.fullmatch(r"amqpd ready: amqp://127\.0\.0\.1:\d+.*\n", broker.output)
    Client(broker.port()).open()


def test_a_terminal_shows_once_that_it_is_ready(tmp_path: Path) -> None:
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "amqpd", "serve", "--data-dir", str(tmp_path / "data"), "--amqp", "127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=terminal, stderr=terminal)
    try:
        os.close(terminal)
        shown = b""
        while b"amqpd ready: " not in shown:
            assert select.select([ours], [], [], DEADLINE_S)[0], shown
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        while select.select([ours], [], [], 0)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:
                # Nobody holds the terminal any more.
                break
        assert shown.count(b"ready") == 1, shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_with_exit_code_0(start: Start, how: int) -> None:
    start().wait_ready().stop(how)


def test_clients_are_told_why_before_it_stops(start: Start) -> None:
    broker = start().wait_ready()
    client = Client(broker.port()).open()
    broker.process.send_signal(signal.SIGTERM)
    close = client.expect(commands.Connection.Close)
    assert isinstance(close, commands.Connection.Close)
    assert (close.reply_code, close.reply_text.split(" - ")[0]) == (320, "CONNECTION_FORCED")
    client.send(0, commands.Connection.CloseOk())
    assert client.is_closed()
    broker.ends_with(0)


def test_client_that_does_not_answer_can_not_keep_it_from_stopping(start: Start) -> None:
    broker = start().wait_ready()
    client = Client(broker.port()).open()
    broker.stop()
    client.expect(commands.Connection.Close)


def test_durable_queue_is_there_after_a_restart_and_after_a_kill(start: Start) -> None:
    broker = start().wait_ready()
    Client(broker.port()).open().declare("kept")
    broker.stop()
    broker = start().wait_ready()
    assert Client(broker.port()).open().declare("kept", passive=True) == 0
    broker.process.kill()
    broker.process.wait()
    broker = start().wait_ready()
    assert Client(broker.port()).open().declare("kept", passive=True) == 0


def test_second_process_on_the_same_data_is_refused_with_one_sentence(start: Start) -> None:
    first = start().wait_ready()
    second = start().ends_with(1)
    (line,) = second.log.splitlines()
    assert line.startswith("amqpd can't start: ")
    assert "data" in line
    Client(first.port()).open()


def test_address_in_use_is_one_sentence(start: Start, tmp_path: Path) -> None:
    first = start().wait_ready()
    second = start("--amqp", f"127.0.0.1:{first.port()}", "--data-dir", str(tmp_path / "other")).ends_with(1)
    (line,) = second.log.splitlines()
    assert line == f"amqpd can't start: can't listen on 127.0.0.1:{first.port()}: Address already in use"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--set", "limits.frame_mx=1"], "unknown key 'limits.frame_mx' on the command line; did you mean"),
        (
            ["--set", "limits.frame_max=100"],
            "limits.frame_max on the command line must be from 4096 to 16777216, not 100",
        ),
        (
            ["--set", "management=127.0.0.1:1"],
            'management on the command line must be "none" or left out, for there is',
        ),
        (["--config", "missing.toml"], "can't read the configuration file missing.toml: No such file or directory"),
        (["--amqps", "127.0.0.1:0"], "amqps needs tls_cert and tls_key"),
    ],
)
def test_wrong_setting_is_one_sentence_and_exit_code_78(start: Start, flags: list[str], sentence: str) -> None:
    (line,) = start(*flags).ends_with(78).log.splitlines()
    assert line.startswith(f"amqpd can't start: {sentence}")


def test_missing_certificate_is_one_sentence(start: Start) -> None:
    flags = ["--amqps", "127.0.0.1:0", "--tls-cert", "no.pem", "--tls-key", "no.key"]
    (line,) = start(*flags).ends_with(1).log.splitlines()
    assert line == "amqpd can't start: can't read no.pem: No such file or directory"


def test_data_directory_that_can_not_be_written_is_one_sentence(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (line,) = start("--data-dir", str(tmp_path / "file" / "data")).ends_with(1).log.splitlines()
    assert line.startswith("amqpd can't start: ")


def test_publisher_is_blocked_while_memory_is_short_and_others_are_served(start: Start) -> None:
    broker = start("--set", "memory_high_watermark=0.00001").wait_ready()
    publisher = Client(broker.port()).open()
    publisher.declare("blocked")
    publisher.publish("blocked", b"x")
    blocked = publisher.expect(commands.Connection.Blocked)
    assert isinstance(blocked, commands.Connection.Blocked)
    assert blocked.reason == "low on memory"
    Client(broker.port()).open().declare("served")
    broker.stop()


def test_failed_write_ends_the_process_with_74_and_confirms_nothing(start: Start) -> None:
    broker = start(file_bytes_max=256 * 1024).wait_ready()
    client = Client(broker.port()).open()
    client.declare("big")
    client.send(1, commands.Confirm.Select())
    client.expect(commands.Confirm.SelectOk)
    for _ in range(4):
        client.publish("big", bytes(100_000))
    confirmed_count = 0
    with pytest.raises((EOFError, ConnectionError)):
        while True:
            ack = client.expect(commands.Basic.Ack)
            assert isinstance(ack, commands.Basic.Ack)
            confirmed_count = ack.delivery_tag
    assert confirmed_count < 4
    broker.ends_with(74)
    assert "can't be written" in broker.log
    broker = start().wait_ready()
    assert Client(broker.port()).open().declare("big", passive=True) >= confirmed_count


@pytest.mark.parametrize(
    ("sent", "explained"),
    [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS")],
)
def test_stranger_at_the_amqp_port_is_explained_in_the_log(start: Start, sent: bytes, explained: str) -> None:
    broker = start().wait_ready()
    client = Client(broker.port())
    client.socket.sendall(sent)
    assert client.socket.recv(8) in (b"AMQP\x00\x00\x09\x01", b"")
    wait_until(lambda: f"this looks like {explained}" in broker.log, "the explanation")


def test_peer_that_says_nothing_is_closed_after_the_handshake_timeout(start: Start) -> None:
    broker = start("--set", "limits.handshake_timeout_ms=300").wait_ready()
    assert Client(broker.port()).is_closed()


def test_password_appears_nowhere_in_the_log(start: Start) -> None:
    broker = start("--log-level", "debug").wait_ready()
    client = Client(broker.port()).log_in(CANARY)
    close = client.expect(commands.Connection.Close)
    assert isinstance(close, commands.Connection.Close)
    assert close.reply_code == 403
    wait_until(lambda: "refused" in broker.log, "the refusal in the log")
    assert CANARY not in broker.stop().log


def test_log_can_be_json_lines(start: Start) -> None:
    broker = start("--log-format", "json").wait_ready()
    Client(broker.port()).socket.sendall(b"GET / HTTP/1.1\r\n")
    wait_until(lambda: "HTTP" in broker.log, "a line in the log")
    for line in broker.stop().log.splitlines():
        assert {"time", "level", "message"} <= json.loads(line).keys()


def test_settings_come_from_the_environment_too(start: Start) -> None:
    broker = start(environ={"AMQPD_LIMITS_CHANNEL_MAX": "7"}).wait_ready()
    tune = Client(broker.port()).log_in().expect(commands.Connection.Tune)
    assert isinstance(tune, commands.Connection.Tune)
    assert tune.channel_max == 7


def test_amqps_serves_clients_that_trust_its_certificate(start: Start, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    broker = start("--amqps", "127.0.0.1:0", "--tls-cert", "server.pem", "--tls-key", "server.key").wait_ready()
    client = Client(broker.port("amqps"), ssl.create_default_context(cafile=str(tmp_path / "ca.pem")))
    assert client.open().declare("over-tls") == 0


def test_connections_beyond_the_bound_are_refused_and_the_others_go_on(start: Start) -> None:
    broker = start("--set", "limits.connections_max=2").wait_ready()
    clients = [Client(broker.port()).open() for _ in range(2)]
    assert Client(broker.port()).is_closed()
    assert clients[0].declare("still-served") == 0
    wait_until(lambda: "refused" in broker.log, "the refusal in the log")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_signals_without_a_use_end_nothing(start: Start, number: int) -> None:
    broker = start().wait_ready()
    for _ in range(3):
        broker.process.send_signal(number)
    if number != signal.SIGPIPE:
        wait_until(lambda: "SIGHUP loads the definitions file again" in broker.log, "it says what has a use")
    assert Client(broker.port()).open().declare("served") == 0
    assert broker.stop().log.count("SIGHUP loads") == (number != signal.SIGPIPE)


def test_signals_that_come_before_it_is_ready_end_nothing(start: Start) -> None:
    broker = start()
    # From here on everything that serve needs is imported, which it does first.
    wait_until(lambda: "SIG_IGN" in ignored(broker.process.pid) or "ready" in broker.output, "signals are taken")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
        broker.process.send_signal(number)
    broker.wait_ready().stop()


def ignored(pid: int) -> str:
    """SIG_IGN if the process ignores SIGUSR1."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(re.search(r"^SigIgn:\s*(\w+)$", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    return "SIG_IGN" if mask & (1 << (signal.SIGUSR1 - 1)) else ""


def test_mistyped_variable_is_said_and_root_is_warned(start: Start) -> None:
    broker = start("--log-level", "warning", environ={"AMQPD_LIMIT_FRAME_MAX": "1"}).wait_ready()
    log = broker.stop().log
    assert (
        "AMQPD_LIMIT_FRAME_MAX is not a setting of amqpd and is ignored; did you mean 'AMQPD_LIMITS_FRAME_MAX'?" in log
    )
    assert ("running as root" in log) == (os.geteuid() == 0)


@pytest.mark.skipif(not COMPILED, reason="the bounds are those of the compiled core")
def test_it_idles_small(start: Start) -> None:
    broker = start().wait_ready()
    pages = int(Path(f"/proc/{broker.process.pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") <= 60 * 1024 * 1024
