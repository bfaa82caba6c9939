"""pika: the blocking connection and the asyncio one, the latter with its own reconnect logic, as pika's users write it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, UnroutableError

from .conftest import Broker

PERSISTENT = pika.BasicProperties(delivery_mode=2)


@pytest.fixture
def connection(broker: Broker) -> Iterator[pika.BlockingConnection]:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url + "%2F?heartbeat=60"))
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def channel(connection: pika.BlockingConnection) -> BlockingChannel:
    return connection.channel()


def test_blocking_publishes_consumes_and_settles(channel: BlockingChannel) -> None:
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    sent = pika.BasicProperties(
        content_type="text/plain",
        headers={"text": "é", "number": 7, "truth": True, "nothing": None, "list": [1, "two", {"three": 3}]},
        correlation_id="c",
        reply_to="r",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        app_id="a",
        priority=3,
    )
    for number in range(20):
        channel.basic_publish("", queue, b"%d" % number, sent, mandatory=True)
    channel.basic_qos(prefetch_count=5)
    bodies = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=60):
        assert method is not None, "no delivery"
        assert properties == sent
        bodies.append(body)
        if len(bodies) % 5 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if len(bodies) == 20:
            break
    assert channel.cancel() == 0
    assert bodies == [b"%d" % number for number in range(20)]
    assert channel.queue_declare(queue, passive=True).method.message_count == 0


def test_blocking_sees_unroutable_messages_and_closed_channels(
    connection: pika.BlockingConnection, channel: BlockingChannel
) -> None:
    channel.confirm_delivery()
    with pytest.raises(UnroutableError) as unroutable:
        channel.basic_publish("", "no-such-queue", b"x", mandatory=True)
    assert [(m.method.reply_code, m.method.reply_text) for m in unroutable.value.messages] == [(312, "NO_ROUTE")]
    with pytest.raises(ChannelClosedByBroker) as closed:
        channel.basic_publish("no-such-exchange", "key", b"x")
    assert closed.value.reply_code == 404
    assert closed.value.reply_text == "NOT_FOUND - no exchange 'no-such-exchange' in vhost '/'"
    assert connection.is_open
    assert connection.channel().queue_declare("", exclusive=True).method.message_count == 0


def test_heartbeats_keep_an_idle_connection_and_their_absence_ends_it(broker: Broker) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url + "%2F?heartbeat=2"))
    channel = connection.channel()
    # Its heartbeats go out while it waits here, and those of the broker come in.
    connection.process_data_events(time_limit=5)
    assert channel.queue_declare("", exclusive=True).method.message_count == 0
    connection.close()
    silent = pika.BlockingConnection(pika.URLParameters(broker.url + "%2F?heartbeat=1"))
    time.sleep(5)
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        silent.channel()


def test_rpc_by_direct_reply_to(broker: Broker, connection: pika.BlockingConnection, queue_name: str) -> None:
    serving = connection.channel()
    serving.queue_declare(queue_name, exclusive=True)

    def answer(channel: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body.upper(), reply)
        channel.basic_ack(method.delivery_tag)

    serving.basic_consume(queue_name, answer)
    asking = connection.channel()
    answers: dict[str, bytes] = {}

    def on_reply(_channel: BlockingChannel, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        answers[properties.correlation_id] = body

    asking.basic_consume("amq.rabbitmq.reply-to", on_reply, auto_ack=True)
    for number in range(10):
        properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=str(number))
        asking.basic_publish("", queue_name, b"question %d" % number, properties)
    deadline = time.monotonic() + 120
    while len(answers) < 10 and time.monotonic() < deadline:
        connection.process_data_events(time_limit=0.1)
    assert answers == {str(number): b"QUESTION %d" % number for number in range(10)}


def test_blocking_is_told_of_a_restart_and_finds_its_messages_again(broker: Broker, queue_name: str) -> None:
    broker.require("restart")
    parameters = pika.URLParameters(broker.url + "%2F?connection_attempts=50&retry_delay=0.2")
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue_name, durable=True)
    channel.basic_publish("", queue_name, b"persistent", PERSISTENT)
    channel.basic_publish("", queue_name, b"transient", pika.BasicProperties(delivery_mode=1))
    broker.restart()
    with pytest.raises(ConnectionClosedByBroker) as closed:
        connection.process_data_events(time_limit=10)
    assert closed.value.reply_code == 320
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    assert channel.queue_declare(queue_name, passive=True).method.message_count == 1
    assert channel.basic_get(queue_name, auto_ack=True)[2] == b"persistent"
    channel.queue_delete(queue_name)
    connection.close()


class Relay:
    """Publishes numbers with confirms and consumes them back; opens a new connection whenever it loses one.

    A number is published again until it is confirmed, so it may come more than once, but not never.
    """

    def __init__(self, url: str, queue: str, count: int) -> None:
        self.received: dict[int, int] = {}
        self.connections_opened = 0
        self.half_way = asyncio.Event()
        self.done = asyncio.Event()
        self._parameters = pika.URLParameters(url + "%2F")
        self._queue = queue
        self._count = count
        self._unconfirmed = list(range(count))
        self._published: dict[int, int] = {}
        self._is_stopping = False

    def connect(self) -> None:
        self._connection = AsyncioConnection(
            self._parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=lambda _connection, _error: self._connect_later(),
            on_close_callback=self._on_closed,
        )

    def stop(self) -> None:
        self._is_stopping = True
        self._connection.close()

    def _connect_later(self) -> None:
        asyncio.get_running_loop().call_later(0.1, self.connect)

    def _on_closed(self, _connection: AsyncioConnection, _error: BaseException) -> None:
        if not self._is_stopping:
            self._connect_later()

    def _on_open(self, connection: AsyncioConnection) -> None:
        self.connections_opened += 1
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        self._published = {}
        self._delivery_tag = 0
        channel.confirm_delivery(self._on_confirm)
        channel.queue_declare(self._queue, durable=True, callback=self._on_declared)

    def _on_declared(self, _frame: Any) -> None:
        self._channel.basic_qos(prefetch_count=50)
        self._channel.basic_consume(self._queue, self._on_message)
        for number in self._unconfirmed[:50]:
            self._publish(number)

    def _publish(self, number: int) -> None:
        self._delivery_tag += 1
        self._published[self._delivery_tag] = number
        self._channel.basic_publish("", self._queue, b"%d" % number, PERSISTENT)

    def _on_confirm(self, frame: Any) -> None:
        assert isinstance(frame.method, pika.spec.Basic.Ack)
        until = frame.method.delivery_tag
        for tag in [tag for tag in self._published if tag == until or (frame.method.multiple and tag < until)]:
            self._unconfirmed.remove(self._published.pop(tag))
        if len(self._unconfirmed) <= self._count // 2:
            self.half_way.set()
        self._notice_end()
        in_flight = set(self._published.values())
        for number in [number for number in self._unconfirmed[:50] if number not in in_flight]:
            self._publish(number)

    def _on_message(self, channel: Any, method: Any, _properties: pika.BasicProperties, body: bytes) -> None:
        number = int(body)
        self.received[number] = self.received.get(number, 0) + 1
        channel.basic_ack(method.delivery_tag)
        self._notice_end()

    def _notice_end(self) -> None:
        # The last confirm may come before or after the last delivery.
        if len(self.received) == self._count and not self._unconfirmed:
            self.done.set()


async def test_asyncio_connection_reconnects_and_loses_nothing_confirmed(broker: Broker, queue_name: str) -> None:
    broker.require("restart")
    relay = Relay(broker.url, queue_name, count=1000)
    async with asyncio.timeout(200):
        relay.connect()
        await relay.half_way.wait()
        await asyncio.to_thread(broker.restart)
        await relay.done.wait()
    relay._channel.queue_delete(queue_name)
    relay.stop()
    await asyncio.sleep(0.2)
    assert relay.connections_opened >= 2
    assert sorted(relay.received) == list(range(1000))
