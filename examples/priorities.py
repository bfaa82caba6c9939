"""Two workers compete for jobs; the urgent ones go first, also those that come later.

usage: python priorities.py
"""

import asyncio
import os

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1/")
JOBS = "amqpd-example.jobs"
LEVELS = {"report": 0, "mail": 5, "payment": 9}


async def main() -> None:
    async with await aio_pika.connect_robust(URL) as connection:
        channel = await connection.channel()
        await channel.queue_delete(JOBS)  # What an interrupted run has left.
        await channel.declare_queue(JOBS, durable=True, arguments={"x-max-priority": 9})
        done = asyncio.Semaphore(0)

        async def publish(*jobs: str) -> None:
            for job in jobs:
                message = aio_pika.Message(job.encode(), priority=LEVELS[job.split()[0]])
                await channel.default_exchange.publish(message, JOBS)

        async def start_worker(name: str) -> None:
            own_channel = await connection.channel()
            # One job at a time: what a worker has fetched already, nothing can overtake.
            await own_channel.set_qos(prefetch_count=1)
            queue = await own_channel.get_queue(JOBS)

            async def work(job: AbstractIncomingMessage) -> None:
                async with job.process():
                    print(f"{name} begins {job.body.decode():<10} priority {job.priority}", flush=True)
                    await asyncio.sleep(0.4)
                done.release()

            await queue.consume(work)

        await publish("report 1", "report 2", "report 3", "mail 1", "mail 2", "payment 1")
        await start_worker("anna")
        await start_worker("otto")
        for _ in range(2):
            await done.acquire()
        await asyncio.sleep(0.2)  # Both are busy again.
        print("a payment comes in", flush=True)
        await publish("payment 2")
        for _ in range(5):
            await done.acquire()
        await channel.queue_delete(JOBS)


asyncio.run(main())
