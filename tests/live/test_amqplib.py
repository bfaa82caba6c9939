"""node's amqplib, as it is now and in a version with small frames: a whole session, and a relay that reconnects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import need

from .conftest import Broker

SCRIPTS = Path(__file__).parent / "node"
VERSIONS = ["amqplib", "amqplib-0.10"]


@pytest.fixture(scope="module")
def node_directory() -> Path:
    """The scripts beside their installed packages, outside the checkout, kept between runs."""
    need("npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amqpd-live" / "node"
    cache.mkdir(parents=True, exist_ok=True)
    for script in SCRIPTS.glob("*.mjs"):
        shutil.copy(script, cache)
    wanted = [(SCRIPTS / name).read_text() for name in ("package.json", "package-lock.json")]
    installed = [
        (cache / name).read_text() for name in ("package.json", "package-lock.json") if (cache / name).exists()
    ]
    if wanted != installed or not (cache / "node_modules" / ".package-lock.json").exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SCRIPTS / name, cache)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=cache, check=True, timeout=280)
    return cache


@pytest.mark.parametrize("module", VERSIONS)
def test_a_session_of_amqplib(broker: Broker, node_directory: Path, module: str) -> None:
    command = ["node", "session.mjs", broker.url, module]
    done = subprocess.run(command, cwd=node_directory, capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "session complete", done.stderr


@pytest.mark.parametrize("module", VERSIONS)
def test_a_relay_reconnects_and_loses_nothing_confirmed(
    broker: Broker, node_directory: Path, queue_name: str, module: str
) -> None:
    broker.require("restart")
    count = 2000
    process = subprocess.Popen(
        ["node", "relay.mjs", broker.url, queue_name, str(count), module],
        cwd=node_directory,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"event": "half"}
        broker.restart()
        rest, _ = process.communicate(timeout=200)
        event = json.loads(rest)
        assert event.pop("connections") >= 2
        assert event == {"event": "done", "received": count, "confirmed": count}
    finally:
        process.kill()
        process.wait()
