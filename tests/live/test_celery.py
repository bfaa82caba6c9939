"""Celery: a real worker process with a prefork pool, results over rpc://, remote control, and a broker that restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import celery_tasks
from .celery_tasks import add, app, mark, slow, succeeds_at
from .conftest import Broker, wait_until

QUEUE = f"live-celery-{os.getpid()}"


class Worker:
    def __init__(self, broker: Broker, directory: Path) -> None:
        self.notes_file = directory / "notes"
        self._log = directory / "worker.log"
        self._environment = {
            **os.environ,
            "LIVE_BROKER_URL": broker.url + "/",
            "LIVE_QUEUE": QUEUE,
            "LIVE_NOTES": str(self.notes_file),
            "C_FORCE_ROOT": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "celery_tasks",
            "worker",
            "-l",
            "INFO",
            "-c",
            "2",
            "-n",
            "live@test",
        ]
        seen = len(self.log())
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*command, "--without-mingle", "--without-gossip"],
                cwd=Path(celery_tasks.__file__).parent,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: " ready." in self.log()[seen:], "the worker is ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
        self.kill()

    def kill(self) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def notes(self, beginning: str) -> list[str]:
        lines = self.notes_file.read_text().splitlines() if self.notes_file.exists() else []
        return [line for line in lines if line.startswith(beginning)]


@pytest.fixture(scope="module")
def worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    app.conf.update(broker_url=broker.url + "/", task_default_queue=QUEUE)
    worker = Worker(broker, tmp_path_factory.mktemp("celery"))
    worker.start()
    yield worker
    worker.stop()
    with app.connection() as connection:
        connection.default_channel.queue_delete(QUEUE)
        connection.default_channel.exchange_delete(QUEUE)
    app.close()


def test_results_come_back(worker: Worker) -> None:
    results = [add.delay(number, number) for number in range(50)]
    assert [result.get(timeout=120) for result in results] == [2 * number for number in range(50)]


def test_a_retry_comes_after_its_countdown(worker: Worker) -> None:
    began = time.monotonic()
    assert succeeds_at.delay(2).get(timeout=120) == 2
    assert time.monotonic() - began > 1.0
    assert worker.notes("attempt") == ["attempt 0", "attempt 1", "attempt 2"]


def test_a_task_with_an_eta_waits_and_does_not_hold_up_others(worker: Worker) -> None:
    began = time.monotonic()
    never = add.apply_async((0, 0), countdown=3600)
    held = add.apply_async((1, 1), countdown=3)
    assert add.delay(2, 2).get(timeout=120) == 4
    assert held.get(timeout=120) == 2
    assert time.monotonic() - began >= 2.9
    assert not never.ready()


def test_remote_control_reaches_the_worker(worker: Worker) -> None:
    inspect = app.control.inspect(timeout=3)
    assert inspect.ping() == {"live@test": {"ok": "pong"}}
    assert [queue["name"] for queue in inspect.active_queues()["live@test"]] == [QUEUE]
    assert "live.add" in inspect.registered()["live@test"]


def test_a_late_acked_task_survives_its_worker(worker: Worker) -> None:
    result = slow.delay(3)
    wait_until(lambda: worker.notes("slow"), "the task has begun")
    worker.kill()
    worker.start()
    assert result.get(timeout=120) == "done"
    assert worker.notes("slow") == ["slow redelivered=False", "slow redelivered=True"]


def test_worker_and_publisher_outlive_a_restart_of_the_broker(broker: Broker, worker: Worker) -> None:
    broker.require("restart")
    count = 100
    for number in range(count):
        mark.delay(str(number))
        if number == count // 2:
            broker.restart()
    expected = {f"mark {number}" for number in range(count)}
    wait_until(lambda: set(worker.notes("mark")) == expected, "every task ran")
    assert add.delay(3, 4).get(timeout=120) == 7
