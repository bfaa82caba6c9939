"""kombu: connection pools, producers with retry, ConsumerMixin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.mixins import ConsumerMixin

from .conftest import Broker, wait_until

RETRIES = {"max_retries": 100, "interval_start": 0.1, "interval_step": 0.0, "interval_max": 0.1}


@pytest.fixture
def connection(broker: Broker) -> Iterator[Connection]:
    with Connection(broker.url + "/", heartbeat=10, transport_options={"confirm_publish": True}) as connection:
        yield connection


def test_producer_and_consumer_pass_serialised_and_compressed_bodies(connection: Connection, queue_name: str) -> None:
    exchange = Exchange(queue_name, "direct", durable=False, auto_delete=True)
    queue = Queue(queue_name, exchange, routing_key="k", durable=False, auto_delete=True)
    received: list[tuple[object, dict[str, Any]]] = []

    def on_message(body: object, message: Any) -> None:
        received.append((body, message.headers))
        message.ack()

    with Consumer(connection, [queue], callbacks=[on_message], accept=["json"]):
        with connection.Producer() as producer:
            for compression in (None, "zlib"):
                producer.publish(
                    {"text": "é" * 1000, "n": [1, 2, 3]},
                    exchange=exchange,
                    routing_key="k",
                    declare=[exchange],
                    compression=compression,
                    headers={"compression-was": compression},
                )
        while len(received) < 2:
            connection.drain_events(timeout=120)
    assert [body for body, _ in received] == [{"text": "é" * 1000, "n": [1, 2, 3]}] * 2
    assert [headers["compression-was"] for _, headers in received] == [None, "zlib"]


def test_simple_queue_puts_and_gets(connection: Connection, queue_name: str) -> None:
    simple = connection.SimpleQueue(queue_name)
    for number in range(10):
        simple.put({"number": number})
    assert simple.qsize() == 10
    for number in range(10):
        message = simple.get(timeout=120)
        assert message.payload == {"number": number}
        message.ack()
    with pytest.raises(simple.Empty):
        simple.get(block=False)
    simple.close()
    simple.queue.delete()


class Worker(ConsumerMixin):
    """Consumes numbers until it has seen all of them; kombu reconnects it."""

    connect_max_retries = None

    def __init__(self, connection: Connection, queue: Queue, count: int) -> None:
        self.connection = connection
        self.received: dict[int, int] = {}
        self.connections_lost = 0
        self._queue = queue
        self._count = count

    def get_consumers(self, Consumer: Callable[..., Any], channel: object) -> list[Any]:
        return [Consumer(queues=[self._queue], callbacks=[self.on_number], prefetch_count=50)]

    def on_number(self, body: int, message: Any) -> None:
        self.received[body] = self.received.get(body, 0) + 1
        message.ack()
        if len(self.received) == self._count:
            self.should_stop = True

    def on_connection_revived(self) -> None:
        self.connections_lost += 1

    def on_connection_error(self, exc: Exception, interval: float) -> None:
        pass


def test_consumer_mixin_and_retrying_producer_outlive_a_restart(
    broker: Broker, connection: Connection, queue_name: str
) -> None:
    broker.require("restart")
    count = 1000
    exchange = Exchange(queue_name, "topic", durable=True)
    queue = Queue(queue_name, exchange, routing_key="number.*", durable=True)
    worker = Worker(connection.clone(), queue, count)
    consuming = threading.Thread(target=worker.run, daemon=True)
    half_way = threading.Event()
    failures: list[BaseException] = []

    def publish_all() -> None:
        try:
            with connection.clone() as own:
                producer = Producer(own, exchange)
                for number in range(count):
                    producer.publish(
                        number,
                        routing_key="number.n",
                        delivery_mode="persistent",
                        declare=[queue],
                        retry=True,
                        retry_policy=RETRIES,
                    )
                    if number == count // 2:
                        half_way.set()
        except BaseException as error:
            failures.append(error)

    publishing = threading.Thread(target=publish_all, daemon=True)
    consuming.start()
    publishing.start()
    assert half_way.wait(20), failures
    broker.restart()
    publishing.join(30)
    assert not failures
    assert not publishing.is_alive()
    wait_until(lambda: len(worker.received) == count, "every number comes")
    consuming.join(10)
    assert not consuming.is_alive()
    assert worker.connections_lost >= 1
    channel = connection.channel()
    queue(channel).delete()
    exchange(channel).delete()
