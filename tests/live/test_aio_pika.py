"""aio-pika: a robust connection does real work, also while its broker restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, DeliveryError
from aio_pika.patterns import RPC

from .conftest import Broker


async def publish_until_confirmed(channel: AbstractChannel, routing_key: str, body: bytes) -> None:
    """What an application does that must not lose a message: it publishes again until there is a confirm."""
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=body.decode())
    while True:
        try:
            await channel.default_exchange.publish(message, routing_key, timeout=10)
            return
        except (AMQPError, ConnectionError, TimeoutError, asyncio.CancelledError, RuntimeError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("ending", ["restart", "kill"])
async def test_nothing_confirmed_is_lost_when_the_broker_ends_in_the_middle(
    broker: Broker, queue_name: str, ending: str
) -> None:
    broker.require(ending)
    end_and_start: Callable[[], None] = broker.restart if ending == "restart" else broker.kill_and_start
    count = 2000
    received: dict[bytes, int] = {}
    everything_came = asyncio.Event()
    restored = asyncio.Event()

    async def on_message(message: AbstractIncomingMessage) -> None:
        received[message.body] = received.get(message.body, 0) + 1
        await message.ack()
        if len(received) == count:
            everything_came.set()

    async with asyncio.timeout(200):
        connection = await aio_pika.connect_robust(broker.url, reconnect_interval=0.1)
        connection.reconnect_callbacks.add(lambda *_: restored.set())
        async with connection:
            consuming, publishing = await connection.channel(), await connection.channel()
            await consuming.set_qos(prefetch_count=100)
            queue = await consuming.declare_queue(queue_name, durable=True)
            await queue.consume(on_message)

            in_flight = asyncio.Semaphore(100)
            half_way = asyncio.Event()

            async def publish(number: int) -> None:
                async with in_flight:
                    await publish_until_confirmed(publishing, queue_name, b"%d" % number)
                if number == count // 2:
                    half_way.set()

            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(publish(number))
                await half_way.wait()
                await asyncio.to_thread(end_and_start)
            # All are confirmed; nothing will be published again.
            await everything_came.wait()
            await restored.wait()
            await queue.delete(if_unused=False, if_empty=False)
    assert sorted(received, key=int) == [b"%d" % number for number in range(count)]


async def test_unroutable_mandatory_message_is_returned(broker: Broker) -> None:
    async with asyncio.timeout(200), await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        with pytest.raises(DeliveryError):
            await channel.default_exchange.publish(aio_pika.Message(b"to nobody"), "no-such-queue", mandatory=True)
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"to somebody"), queue.name, mandatory=True)
        message = await queue.get(timeout=120)
        assert message.body == b"to somebody"
        await message.ack()


async def test_topic_exchange_routes_to_each_subscriber_once(broker: Broker, queue_name: str) -> None:
    async with asyncio.timeout(200), await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(queue_name, aio_pika.ExchangeType.TOPIC, auto_delete=True)
        errors = await channel.declare_queue(exclusive=True)
        everything = await channel.declare_queue(exclusive=True)
        await errors.bind(exchange, "*.error")
        await errors.bind(exchange, "web.#")
        await everything.bind(exchange, "#")
        for key in ("web.error", "web.info", "db.error", "db.info"):
            await exchange.publish(aio_pika.Message(key.encode(), headers={"key": key}), key)

        async def first(queue: aio_pika.abc.AbstractQueue, count: int) -> list[bytes]:
            bodies = []
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        assert message.headers["key"] == message.routing_key
                        bodies.append(message.body)
                    if len(bodies) == count:
                        break
            return bodies

        assert await first(errors, 3) == [b"web.error", b"web.info", b"db.error"]
        assert await first(everything, 4) == [b"web.error", b"web.info", b"db.error", b"db.info"]


async def test_rpc_pattern_answers_many_callers(broker: Broker, queue_name: str) -> None:
    async def multiply(*, x: int, y: int) -> int:
        return x * y

    async with asyncio.timeout(200), await aio_pika.connect_robust(broker.url) as connection:
        server = await RPC.create(await connection.channel())
        await server.register(queue_name, multiply, auto_delete=True)
        client = await RPC.create(await connection.channel())
        answers = await asyncio.gather(*(client.call(queue_name, {"x": i, "y": i}) for i in range(100)))
        assert answers == [i * i for i in range(100)]
        await client.close()
        await server.close()


async def test_a_body_of_many_frames_comes_back_as_it_was(broker: Broker) -> None:
    body = bytes(range(256)) * (20 * 4096)  # 20 MiB
    async with asyncio.timeout(200), await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(body), queue.name)
        message = await queue.get(timeout=120)
        assert message.body == body
        await message.ack()
