"""The load generator against a real broker: what it counts is what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from .conftest import ROOT, Broker

RUN_S = 200.0


def bench_command(broker: Broker, queue_name: str, *arguments: str) -> list[str]:
    place = ["--port", str(broker.port), "--host", broker.host, "--user", broker.user, "--password", broker.password]
    return [sys.executable, "-m", "amqpd.cli.bench", "--json", "--queue", queue_name, *place, *arguments]


def environment() -> dict[str, str]:
    if os.environ.get("AMQPD_EXPECT_COMPILED", "0") == "1":
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": str(ROOT)}


def bench(broker: Broker, queue_name: str, *arguments: str) -> dict[str, Any]:
    command = bench_command(broker, queue_name, *arguments)
    # Not from the checkout: there `-m` would find the sources, also when the compiled package is under test.
    done = subprocess.run(
        command, env=environment(), cwd="/", capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("size", ["0", "9", "128", "300k"])
def test_every_message_is_confirmed_delivered_and_in_order(broker: Broker, queue_name: str, size: str) -> None:
    count = "50" if size == "300k" else "2000"
    verify = ["--verify"] if size not in ("0", "9") else []
    confirmed = ["--durable", "--persistent", "--confirm", "100", "--prefetch", "50", "--delete", *verify]
    result = bench(broker, queue_name, "--size", size, "--count", count, "--producers", "2", *confirmed)
    total = 2 * int(count)
    assert (result["published"], result["confirmed"], result["delivered"], result["expected"]) == (total,) * 4
    assert (result["left"], result["timeout"], result["nacked"]) == (0, False, 0)
    assert result.get("out_of_order", 0) == result.get("gaps", 0) == 0
    assert result["publish_rate"] > 0
    assert result["deliver_rate"] > 0
    assert result["confirm_us"]["n"] == total
    assert result.get("latency_us", {}).get("n", 0) == (0 if size == "0" else total)


def test_backlog_is_counted_and_drained(broker: Broker, queue_name: str) -> None:
    filled = bench(broker, queue_name, "--consumers", "0", "--count", "1000", "--durable")
    assert (filled["published"], filled["left"]) == (1000, 1000)
    drained = bench(broker, queue_name, "--drain", "--durable", "--prefetch", "100", "--ack-every", "30", "--delete")
    assert (drained["delivered"], drained["expected"], drained["left"]) == (1000, 1000, 0)


def test_fanout_delivers_to_every_queue(broker: Broker, queue_name: str) -> None:
    spread = ["--exchange", queue_name, "--exchange-type", "fanout", "--queues", "3", "--consumers", "2", "--delete"]
    result = bench(broker, queue_name, *spread, "--count", "500", "--ack-every", "0")
    assert (result["published"], result["delivered"]) == (500, 1500)


def test_unroutable_messages_come_back_before_their_confirms(broker: Broker, queue_name: str) -> None:
    nowhere = ["--exchange", "amq.direct", "--routing-key", queue_name, "--mandatory", "--consumers", "0", "--delete"]
    result = bench(broker, queue_name, *nowhere, "--count", "200", "--confirm", "50")
    assert (result["confirmed"], result["returned"], result["left"]) == (200, 200, 0)


def test_pace_is_kept(broker: Broker, queue_name: str) -> None:
    result = bench(broker, queue_name, "--rate", "500", "--duration", "2", "--confirm", "100", "--delete")
    assert 900 <= result["published"] <= 1010
    assert result["delivered"] == result["published"]


def test_interrupted_run_ends_in_order_with_its_figures(broker: Broker, queue_name: str) -> None:
    command = bench_command(broker, queue_name, "--rate", "1000", "--confirm", "100", "--delete")
    with subprocess.Popen(command, env=environment(), cwd="/", stdout=subprocess.PIPE, text=True) as run:
        time.sleep(2)
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=RUN_S)
    result = json.loads(output)
    assert run.returncode == 0
    assert 0 < result["published"] == result["delivered"] == result["confirmed"]
    assert result["left"] == 0


def test_refused_declaration_is_quoted(broker: Broker, queue_name: str) -> None:
    bench(broker, queue_name, "--count", "1", "--durable")
    command = bench_command(broker, queue_name, "--count", "1")
    done = subprocess.run(
        command, env=environment(), cwd="/", capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 1
    assert "406 PRECONDITION_FAILED - inequivalent arg 'durable'" in json.loads(done.stdout)["error"]
    bench(broker, queue_name, "--count", "1", "--durable", "--delete")
