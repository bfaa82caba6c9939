"""More transient messages than there is memory for: nobody is stopped, and all of them come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amqpd.runtime.memory import memory_limit_bytes

from .test_bench import environment
from .test_process import Process

MIB = 1 << 20
HIGH_MIB = 180
# As many as would be more in memory, and no faster than any disk can follow.
COUNT = 150_000
RATE = 50_000
BODY_BYTES = 1024


def bench(port: int, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "amqpd.cli.bench", "--json", "--port", str(port), "--queue", "transient"]
    limits = ["--timeout", "200", "--linger", "200", "--verify"]
    done = subprocess.run(
        [*command, *limits, *arguments],
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("durable", [False, True])
def test_transient_messages_leave_memory_before_publishers_are_stopped(tmp_path: Path, durable: bool) -> None:
    high = HIGH_MIB * MIB / memory_limit_bytes()
    settings = ["--set", f"memory_high_watermark={high:.8f}", "--set", "memory_paging_ratio=0.5"]
    broker = Process(tmp_path, "--amqp", "127.0.0.1:0", *settings).wait_ready()
    try:
        place = ["--pid", str(broker.process.pid), *(["--durable"] if durable else [])]
        load = f"--consumers 0 --count {COUNT} --rate {RATE} --size {BODY_BYTES} --confirm 1000"
        filled = bench(broker.port(), *place, *load.split())
        assert (filled["confirmed"], filled["blocked"]) == (COUNT, 0)
        assert filled["broker_rss_max_mb"] < HIGH_MIB
        drained = bench(broker.port(), *place, "--drain", "--prefetch", "1000")
        assert (drained["delivered"], drained["left"]) == (COUNT, 0)
        assert (drained["out_of_order"], drained["gaps"], drained["redelivered"]) == (0, 0, 0)
        broker.stop()
    finally:
        broker.process.kill()
        broker.process.wait()
