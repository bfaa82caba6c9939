"""The application whose worker test_celery.py starts: tasks that note what they do in the file NOTES."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

app = Celery("celery_tasks", broker=os.environ.get("LIVE_BROKER_URL"), backend="rpc://")
app.conf.update(
    task_default_queue=os.environ.get("LIVE_QUEUE", "live-celery"),
    task_publish_retry_policy={"max_retries": 100, "interval_start": 0.1, "interval_step": 0.0, "interval_max": 0.1},
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    result_expires=60,
    worker_prefetch_multiplier=1,
)


def note(line: str) -> None:
    with open(os.environ["LIVE_NOTES"], "a") as file:
        file.write(line + "\n")


@app.task(name="live.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="live.succeeds_at", bind=True, max_retries=5)
def succeeds_at(self: Any, attempt: int) -> int:
    note(f"attempt {self.request.retries}")
    if self.request.retries < attempt:
        raise self.retry(countdown=0.5)
    return int(self.request.retries)


@app.task(name="live.slow", bind=True, acks_late=True, reject_on_worker_lost=True)
def slow(self: Any, seconds: float) -> str:
    note(f"slow redelivered={self.request.delivery_info['redelivered']}")
    time.sleep(seconds)
    return "done"


@app.task(name="live.mark", acks_late=True, ignore_result=True)
def mark(what: str) -> None:
    note(f"mark {what}")
