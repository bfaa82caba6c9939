"""A flash sale: what is reserved is paid within N seconds, or it is on sale again.

    reserve --> UNPAID (TTL, no consumer) -- expired --> OVERDUE --> paid? fine : cancel

usage: python order_timeout.py [SECONDS]
"""

import asyncio
import os
import sys
import time

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1/")
UNPAID = "amqpd-example.orders.unpaid"
OVERDUE = "amqpd-example.orders.overdue"
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0


class Shop:
    """What is in the database of a real shop."""

    def __init__(self, stock: int) -> None:
        self.stock = stock
        self.unpaid: set[str] = set()
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:4.1f} s  {text}, {self.stock} in stock", flush=True)

    async def reserve(self, customer: str, channel: AbstractChannel) -> None:
        if self.stock == 0:
            self.say(f"{customer} comes too late")
            return
        self.stock -= 1
        self.unpaid.add(customer)
        # Durable queue, persistent message: the clock goes on although shop and broker may restart meanwhile.
        order = aio_pika.Message(customer.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(order, UNPAID)
        self.say(f"{customer} reserves")

    def pay(self, customer: str) -> None:
        self.unpaid.remove(customer)
        self.say(f"{customer} pays")

    async def time_is_over(self, order: AbstractIncomingMessage) -> None:
        async with order.process():
            customer = order.body.decode()
            if customer in self.unpaid:
                self.unpaid.remove(customer)
                self.stock += 1
                self.say(f"{customer} has not paid, cancelled")


async def main() -> None:
    async with await aio_pika.connect_robust(URL) as connection:
        channel = await connection.channel()
        for name in (UNPAID, OVERDUE):
            await channel.queue_delete(name)  # A demonstration begins anew, perhaps with another TTL; a shop would not.
        await channel.declare_queue(
            UNPAID,
            durable=True,
            arguments={
                "x-message-ttl": int(SECONDS * 1000),
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": OVERDUE,
            },
        )
        overdue = await channel.declare_queue(OVERDUE, durable=True)

        shop = Shop(stock=2)
        await overdue.consume(shop.time_is_over)
        await shop.reserve("Ada", channel)
        await shop.reserve("Bob", channel)
        await shop.reserve("Cleo", channel)
        await asyncio.sleep(SECONDS / 2)
        shop.pay("Ada")
        await asyncio.sleep(SECONDS * 3 / 4)
        await shop.reserve("Cleo", channel)
        shop.pay("Cleo")
        for name in (UNPAID, OVERDUE):
            await channel.queue_delete(name)


asyncio.run(main())
