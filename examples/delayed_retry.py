"""Try again later, each time twice as late, and give up after four tries.

    MAIL --> worker -- fails --> WAIT (each message has its own expiration) -- expired --> MAIL
                    -- fails for the fourth time --> DEAD

usage: python delayed_retry.py [SECONDS] [--keep]

SECONDS before the second try; then twice that, then four times. --keep leaves the queues, for dead_letters.py to look into.
"""

import asyncio
import os
import sys
import time
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1/")
MAIL = "amqpd-example.mail"
WAIT = "amqpd-example.mail.wait"
DEAD = "amqpd-example.mail.dead"
KEEPS = "--keep" in sys.argv
SECONDS = next((float(word) for word in sys.argv[1:] if word != "--keep"), 1.0)
TRIES = 4
BEGAN = time.monotonic()

FAILURES = {"Ada": 99, "Bob": 2}  # How often the mail server says no.


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:4.1f} s  {text}", flush=True)


def send(customer: str) -> None:
    FAILURES[customer] -= 1
    if FAILURES[customer] >= 0:
        raise ConnectionError("the mail server says no")


def persistent(body: bytes, **properties: Any) -> aio_pika.Message:
    return aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)


def deaths(message: AbstractIncomingMessage, queue: str) -> int:
    """How often the message has left `queue` by itself: the broker counts, in the header x-death."""
    return sum(death["count"] for death in message.headers.get("x-death", []) if death["queue"] == queue)


async def work(message: AbstractIncomingMessage, channel: AbstractChannel) -> None:
    customer = message.body.decode()
    retries = deaths(message, WAIT)
    # The retry is published and the failed delivery acked, or neither: no crash loses or doubles a retry.
    async with channel.transaction():
        try:
            send(customer)
        except Exception as error:
            if retries + 1 == TRIES:
                say(f"{customer}: {error}, given up")
                await message.reject(requeue=False)
                return
            delay = SECONDS * 2**retries
            say(f"{customer}: {error}, again in {delay:g} s")
            later = persistent(message.body, headers=message.headers, expiration=delay)
            await channel.default_exchange.publish(later, WAIT)
        else:
            say(f"{customer}: sent at try {retries + 1}")
        await message.ack()


async def main() -> None:
    async with await aio_pika.connect_robust(URL) as connection:
        publishing = await connection.channel()
        to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD}
        to_mail = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": MAIL}
        mail = await publishing.declare_queue(MAIL, durable=True, arguments=to_dead)
        wait = await publishing.declare_queue(WAIT, durable=True, arguments=to_mail)
        dead = await publishing.declare_queue(DEAD, durable=True)
        for queue in (mail, wait, dead):
            await queue.purge()  # A demonstration begins anew.

        working = await connection.channel(publisher_confirms=False)  # Transactions take the place of confirms.
        await working.set_qos(prefetch_count=1)
        consuming = await working.get_queue(mail.name)
        await consuming.consume(lambda message: work(message, working))

        await publishing.default_exchange.publish(persistent(b"Ada"), mail.name)
        # Bob's first wait begins behind Ada's long one and is over before it: a message expires wherever it stands.
        await asyncio.sleep(SECONDS * 3.5)
        await publishing.default_exchange.publish(persistent(b"Bob"), mail.name)

        async with dead.iterator() as letters:
            given_up = await anext(letters)
        print(f"\n{given_up.body.decode()} is in {DEAD}; x-death says:")
        for death in given_up.headers["x-death"]:
            print(f"  {death['count']} x {death['reason']} in {death['queue']}")
        # It is not acked, so it stays there for as long as the queue does: dead_letters.py shows it and sends it back.
        if not KEEPS:
            for queue in (mail, wait, dead):
                await queue.delete(if_unused=False, if_empty=False)


asyncio.run(main())
