"""dramatiq: actors in a worker with threads; retries and delays, dead messages, a broker that restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import dramatiq
import pika
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from .conftest import Broker, wait_until


@pytest.fixture
def actors(broker: Broker, queue_name: str) -> Iterator[RabbitmqBroker]:
    # A broker object of each test's own: dramatiq's lets actors be declared until it is closed.
    actors = RabbitmqBroker(url=broker.url + "%2F", confirm_delivery=True)
    dramatiq.set_broker(actors)
    yield actors
    for suffix in ("", ".DQ", ".XQ"):
        actors.channel.queue_delete(queue_name + suffix)
    actors.close()


@pytest.fixture
def worker(actors: RabbitmqBroker) -> Iterator[dramatiq.Worker]:
    worker = dramatiq.Worker(actors, worker_timeout=100, worker_threads=4)
    worker.start()
    yield worker
    worker.stop()


def test_actors_run_each_message_once(actors: RabbitmqBroker, worker: dramatiq.Worker, queue_name: str) -> None:
    done: list[int] = []

    @dramatiq.actor(queue_name=queue_name)
    def note(number: int) -> None:
        done.append(number)

    for number in range(200):
        note.send(number)
    actors.join(queue_name, timeout=120_000)
    worker.join()
    assert sorted(done) == list(range(200))


def test_a_failing_actor_is_retried_with_backoff(
    actors: RabbitmqBroker, worker: dramatiq.Worker, queue_name: str
) -> None:
    attempts: list[float] = []
    succeeded = threading.Event()

    @dramatiq.actor(queue_name=queue_name, max_retries=5, min_backoff=200, max_backoff=500)
    def fails_twice() -> None:
        attempts.append(time.monotonic())
        if len(attempts) < 3:
            raise RuntimeError("as it should")
        succeeded.set()

    fails_twice.send()
    assert succeeded.wait(120)
    assert len(attempts) == 3
    assert all(later - earlier > 0.1 for earlier, later in pairwise(attempts))


def test_a_delayed_message_comes_after_its_delay(
    actors: RabbitmqBroker, worker: dramatiq.Worker, queue_name: str
) -> None:
    done: list[tuple[str, float]] = []

    @dramatiq.actor(queue_name=queue_name)
    def note(what: str) -> None:
        done.append((what, time.monotonic()))

    began = time.monotonic()
    note.send_with_options(args=("later",), delay=1500)
    note.send("now")
    wait_until(lambda: len(done) == 2, "both ran")
    ran_s = dict(done)
    assert ran_s.keys() == {"now", "later"}
    assert ran_s["later"] - began >= 1.4


def test_a_message_without_retries_left_is_dead_lettered(
    broker: Broker, actors: RabbitmqBroker, worker: dramatiq.Worker, queue_name: str
) -> None:
    @dramatiq.actor(queue_name=queue_name, max_retries=0)
    def always_fails() -> None:
        raise RuntimeError("as it should")

    always_fails.send()
    with pika.BlockingConnection(pika.URLParameters(broker.url + "%2F")) as connection:
        channel = connection.channel()

        def dead_count() -> int:
            return int(channel.queue_declare(f"{queue_name}.XQ", passive=True).method.message_count)

        wait_until(dead_count, "the message is in the queue of dead messages")
        _method, properties, _body = channel.basic_get(f"{queue_name}.XQ", auto_ack=True)
        death = properties.headers["x-death"][0]
        assert (death["reason"], death["queue"], death["count"]) == ("rejected", queue_name, 1)


def test_worker_and_publisher_outlive_a_restart(
    broker: Broker, actors: RabbitmqBroker, worker: dramatiq.Worker, queue_name: str
) -> None:
    broker.require("restart")
    done: dict[int, int] = {}

    @dramatiq.actor(queue_name=queue_name)
    def note(number: int) -> None:
        done[number] = done.get(number, 0) + 1

    count = 200
    for number in range(count):
        note.send(number)  # publishes again by itself when the connection is lost
        if number == count // 2:
            broker.restart()
    wait_until(lambda: len(done) == count, "every message ran")
