"""aiormq: channels, errors and settling, close to the protocol."""

from __future__ import annotations

import asyncio

import aiormq
import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from .conftest import Broker

PERSISTENT = Basic.Properties(delivery_mode=2)


async def test_nack_and_reject_bring_messages_back_in_order(broker: Broker) -> None:
    async with asyncio.timeout(200):
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel(publisher_confirms=True)
        queue = (await channel.queue_declare(exclusive=True)).queue
        assert queue is not None
        for number in range(5):
            confirm = await channel.basic_publish(b"%d" % number, routing_key=queue)
            assert isinstance(confirm, Basic.Ack)
        first = [await channel.basic_get(queue) for _ in range(5)]
        assert [(message.body, message.redelivered) for message in first] == [(b"%d" % i, False) for i in range(5)]
        await channel.basic_nack(first[2].delivery_tag, multiple=True, requeue=True)
        await channel.basic_reject(first[4].delivery_tag, requeue=True)
        await channel.basic_ack(first[3].delivery_tag)
        again = [await channel.basic_get(queue, no_ack=True) for _ in range(4)]
        assert [(message.body, message.redelivered) for message in again] == [(b"%d" % i, True) for i in (0, 1, 2, 4)]
        assert isinstance((await channel.basic_get(queue, no_ack=True)).delivery, Basic.GetEmpty)
        await connection.close()


async def test_a_channel_error_leaves_the_connection_in_order(broker: Broker, queue_name: str) -> None:
    async with asyncio.timeout(200):
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel()
        with pytest.raises(
            aiormq.exceptions.ChannelNotFoundEntity, match=r"NOT_FOUND - no queue 'nowhere' in vhost '/'"
        ):
            await channel.queue_declare("nowhere", passive=True)
        another = await connection.channel()
        await another.queue_declare(queue_name, exclusive=True)
        third = await connection.channel()
        with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed, match="inequivalent arg 'auto_delete'"):
            await third.queue_declare(queue_name, exclusive=True, auto_delete=True)
        assert (await another.queue_declare(queue_name, passive=True)).message_count == 0
        await connection.close()


async def test_prefetch_bounds_what_a_consumer_holds(broker: Broker) -> None:
    async with asyncio.timeout(200):
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel()
        queue = (await channel.queue_declare(exclusive=True)).queue
        assert queue is not None
        held: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        await channel.basic_qos(prefetch_count=3)
        for number in range(10):
            await channel.basic_publish(b"%d" % number, routing_key=queue)
        await channel.basic_consume(queue, held.put)
        taken = [await held.get() for _ in range(3)]
        # A synchronous method comes back after whatever the broker would still have delivered.
        assert (await channel.queue_declare(queue, passive=True)).message_count == 7
        assert held.empty()
        await channel.basic_ack(taken[-1].delivery_tag, multiple=True)
        assert [(await held.get()).body for _ in range(3)] == [b"3", b"4", b"5"]
        await connection.close()


async def test_durable_messages_are_there_after_a_restart(broker: Broker, queue_name: str) -> None:
    broker.require("restart")
    async with asyncio.timeout(200):
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel(publisher_confirms=True)
        await channel.exchange_declare(queue_name, exchange_type="direct", durable=True)
        await channel.queue_declare(queue_name, durable=True)
        await channel.queue_bind(queue_name, queue_name, "key")
        for number in range(100):
            await channel.basic_publish(b"%d" % number, exchange=queue_name, routing_key="key", properties=PERSISTENT)
        for _ in range(10):
            message = await channel.basic_get(queue_name)
            await channel.basic_ack(message.delivery_tag)
        unacked = await channel.basic_get(queue_name)
        assert unacked.body == b"10"
        await channel.queue_declare(queue_name, passive=True)  # the acks have been read

        await asyncio.to_thread(broker.restart)
        with pytest.raises(aiormq.exceptions.ConnectionClosed, match="CONNECTION_FORCED"):
            await connection.closing

        connection = await aiormq.connect(broker.url)
        channel = await connection.channel(publisher_confirms=True)
        assert (await channel.queue_declare(queue_name, passive=True)).message_count == 90
        message = await channel.basic_get(queue_name, no_ack=True)
        assert (message.body, message.redelivered) == (b"10", True)
        await channel.basic_publish(b"after", exchange=queue_name, routing_key="key", properties=PERSISTENT)
        rest = [(await channel.basic_get(queue_name, no_ack=True)).body for _ in range(90)]
        assert rest == [b"%d" % number for number in range(11, 100)] + [b"after"]
        await channel.queue_delete(queue_name)
        await channel.exchange_delete(queue_name)
        await connection.close()
