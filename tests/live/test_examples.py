"""The code that a user reads first: each example runs, prints what its README paragraph shows, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pika
import pika.exceptions

from .conftest import ROOT, Broker, wait_until

EXAMPLES = ROOT / "examples"


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


def queues_left(broker: Broker, *names: str) -> list[str]:
    """Those that are there."""
    found = []
    for name in names:
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            try:
                connection.channel().queue_declare(f"amqpd-example.{name}", passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                continue
            found.append(name)
    return found


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
    assert queues_left(broker, "orders.unpaid", "orders.overdue") == []


def test_retries_wait_longer_each_time_until_they_are_dead_letters_that_can_be_sent_back(broker: Broker) -> None:
    no = "the mail server says no"
    lines = run(broker, "delayed_retry.py", "0.4", "--keep")
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
    deaths = ["  1 x rejected in amqpd-example.mail", "  3 x expired in amqpd-example.mail.wait"]
    assert lines[-3:] == ["Ada is in amqpd-example.mail.dead; x-death says:", *deaths]

    assert run(broker, "dead_letters.py", "amqpd-example.mail.dead") == ["Ada", *deaths]
    assert run(broker, "dead_letters.py", "amqpd-example.mail.dead", "--redrive") == ["Ada --> amqpd-example.mail"]
    assert run(broker, "dead_letters.py", "amqpd-example.mail.dead") == []
    # It has begun a new life, which has no history.
    assert run(broker, "dead_letters.py", "amqpd-example.mail") == ["Ada"]
    assert run(broker, "dead_letters.py", "amqpd-example.mail", "--redrive") == ["Ada stays: it is no dead letter"]
    assert run(broker, "dead_letters.py", "amqpd-example.mail") == ["Ada"]

    assert run(broker, "delayed_retry.py", "0.05")[-3:] == lines[-3:]
    assert queues_left(broker, "mail", "mail.wait", "mail.dead") == []


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
    assert queues_left(broker, "jobs") == []


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
    assert queues_left(broker, "celery") == []


def test_no_example_touches_a_queue_that_is_not_its_own() -> None:
    for script in EXAMPLES.glob("*.py"):
        source = script.read_text()
        made = re.findall(r"^[A-Z]+ = \"(amqpd-example\..+)\"$", source, re.MULTILINE)
        assert made or script.name == "dead_letters.py", script.name
        # Only by those names, or by what is on the command line.
        assert not re.findall(r"(?:queue_declare|declare_queue|queue_delete|get_queue)\(\s*[f]?\"", source), script.name
