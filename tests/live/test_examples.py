"""The code that a user reads first: each example runs and prints what its README paragraph shows, each snippet runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Broker, wait_until

EXAMPLES = ROOT / "examples"
FEATURES = ROOT / "docs" / "features"
# Pages whose snippets are whole programs, and what these print.
PRINTED = {
    "ttl.md": ["1"],
    "dead-letters.md": ["try 1", "try 2", "try 3", "[{'count': 1L, 'reason': 'delivery_limit', 'queue': 'work', "],
    "delayed-retry.md": ["try 1", "try 2", "try 3", "delivery_limit"],
    "priorities.md": ["payment", "alarm", "mail", "report"],
    "length-limits.md": ["b'new'", "refused"],
    "consumers.md": ["[('main', b'0'), ('main', b'1'), ('spare', b'2'), ('spare', b'3')]"],
    "confirms-and-transactions.md": ["nobody has it"],
}


def environment(broker: Broker) -> dict[str, str]:
    return {**os.environ, "AMQP_URL": broker.url, "C_FORCE_ROOT": "1"}


def run(broker: Broker, script: str, *arguments: str) -> list[str]:
    """What it printed, without the times."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=EXAMPLES,
        env=environment(broker),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [re.sub(r"^ *\d+\.\d s  ", "", line) for line in done.stdout.splitlines() if line]


def test_what_is_not_paid_in_time_is_on_sale_again(broker: Broker) -> None:
    assert run(broker, "order_timeout.py", "1") == [
        "Ada reserves, 1 in stock",
        "Bob reserves, 0 in stock",
        "Cleo comes too late, 0 in stock",
        "Ada pays, 0 in stock",
        "Bob has not paid, cancelled, 1 in stock",
        "Cleo reserves, 0 in stock",
        "Cleo pays, 0 in stock",
    ]


def test_retries_wait_longer_each_time_until_they_are_dead_letters_that_can_be_sent_back(broker: Broker) -> None:
    no = "the mail server says no"
    lines = run(broker, "delayed_retry.py", "0.4")
    assert [line for line in lines if line.startswith("Ada:")] == [
        f"Ada: {no}, again in 0.4 s",
        f"Ada: {no}, again in 0.8 s",
        f"Ada: {no}, again in 1.6 s",
        f"Ada: {no}, given up",
    ]
    assert [line for line in lines if line.startswith("Bob:")] == [
        f"Bob: {no}, again in 0.4 s",
        f"Bob: {no}, again in 0.8 s",
        "Bob: sent at try 3",
    ]
    # In the same wait queue Bob stood behind Ada's 1.6 s.
    assert lines.index("Bob: sent at try 3") < lines.index(f"Ada: {no}, given up")
    deaths = ["  1 x rejected in mail", "  3 x expired in mail.wait"]
    assert lines[-3:] == ["Ada is in mail.dead; x-death says:", *deaths]

    assert run(broker, "dead_letters.py", "mail.dead") == ["Ada", *deaths]
    assert run(broker, "dead_letters.py", "mail.dead", "--redrive") == ["Ada --> mail"]
    assert run(broker, "dead_letters.py", "mail.dead") == []
    # It has begun a new life, which has no history.
    assert run(broker, "dead_letters.py", "mail") == ["Ada"]
    assert run(broker, "dead_letters.py", "mail", "--redrive") == ["Ada stays: it is no dead letter"]
    assert run(broker, "dead_letters.py", "mail") == ["Ada"]


def test_urgent_jobs_go_first(broker: Broker) -> None:
    lines = run(broker, "priorities.py")
    assert lines.pop(4) == "a payment comes in"
    assert [re.sub(r"^\w+ begins (\w+ \d) .*", r"\1", line) for line in lines] == [
        "payment 1",
        "mail 1",
        "mail 2",
        "report 1",
        "payment 2",
        "report 2",
        "report 3",
    ]


def test_celery_task_waits_for_its_eta_and_one_that_fails_is_retried(broker: Broker, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "celery_delayed", "worker", "-l", "INFO", "-c", "1"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [*command, "--without-mingle", "--without-gossip"],
            cwd=EXAMPLES,
            env=environment(broker),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: " ready." in log.read_text() or worker.poll() is not None, "the worker is ready")
        lines = run(broker, "celery_delayed.py")
    finally:
        worker.terminate()
        worker.wait(20)
    assert [re.sub(r" after .*", "", line) for line in lines] == [
        "hello Bob",
        "hello Ada, later",
        "https://example.org answered at try 3",
    ], log.read_text()
    at_once, later, retried = [float(re.findall(r"after ([\d.]+) s", line)[0]) for line in lines]
    assert at_once < 2 <= later
    # 1 s and 2 s of back-off.
    assert retried >= 3


@pytest.mark.parametrize("page", PRINTED)
def test_the_snippets_of_a_page_run(broker: Broker, tmp_path: Path, page: str) -> None:
    snippets = re.findall(r"^```python\n(.*?)^```$", (FEATURES / page).read_text(), re.MULTILINE | re.DOTALL)
    assert snippets
    lines = []
    for number, snippet in enumerate(snippets):
        script = tmp_path / f"{number}.py"
        script.write_text(
            snippet.replace("BlockingConnection()", f"BlockingConnection(pika.URLParameters('{broker.url}'))")
        )
        lines += run(broker, str(script))
    assert len(lines) == len(PRINTED[page])
    for line, printed in zip(lines, PRINTED[page], strict=True):
        assert line.startswith(printed)
