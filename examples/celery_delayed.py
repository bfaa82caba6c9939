"""Celery: a task that waits, one that retries with back-off, results over rpc://. Nothing here knows amqpd.

celery -A celery_delayed worker     # in one terminal
python celery_delayed.py            # in another
"""

import os
import time

from celery import Celery
from celery.signals import worker_shutdown

QUEUE = "amqpd-example.celery"

app = Celery("celery_delayed", broker=os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1/"), backend="rpc://")
app.conf.update(
    # These three switch on Celery's native delayed delivery: a task with an ETA waits in the broker, not in a worker.
    task_default_queue=QUEUE,
    task_default_queue_type="quorum",
    task_default_exchange_type="topic",
    broker_connection_retry_on_startup=True,
)


@app.task
def greet(name: str) -> str:
    return f"hello {name}"


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=1, retry_jitter=False, max_retries=3)
def fetch(self, url: str) -> str:
    if self.request.retries < 2:
        raise ConnectionError(f"{url} does not answer")
    return f"{url} answered at try {self.request.retries + 1}"


@worker_shutdown.connect
def clean_up(**_: object) -> None:
    """For a demonstration. Celery's own queues, in which delayed tasks of all applications wait, are left alone."""
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(QUEUE)
        connection.default_channel.exchange_delete(QUEUE)


if __name__ == "__main__":
    began = time.monotonic()
    later = greet.apply_async(["Ada, later"], countdown=2)
    retried = fetch.delay("https://example.org")
    for result in (greet.delay("Bob"), later, retried):
        print(f"{result.get(timeout=30)} after {time.monotonic() - began:.1f} s", flush=True)
