"""The application whose workers and tasks celery_checks.py drives."""

import os
import time

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue

URL = "amqp://{AMQP_USER}:{AMQP_PASS}@{AMQP_HOST}:{AMQP_PORT}//".format(**os.environ)
PREFIX = os.environ["CELERY_PREFIX"]
NOTES = os.environ["CELERY_NOTES"]


def queue(name: str, routing_key: str, type: str = "direct", **arguments: object) -> Queue:
    return Queue(
        f"{PREFIX}-{name}",
        Exchange(f"{PREFIX}-{name}", type=type),
        routing_key=routing_key,
        queue_arguments={key.replace("_", "-"): value for key, value in arguments.items()} or None,
    )


dead_letters = queue("dead", "x", type="fanout")
priorities = queue("priorities", "priorities", x_max_priority=10)
expiring = queue("expiring", "expiring", x_message_ttl=300, x_dead_letter_exchange=dead_letters.exchange.name)
queues = [
    queue("default", f"{PREFIX}-default"),
    queue("late", "late"),
    queue("topic", "job.#", type="topic"),
    queue("rejecting", "rejecting", x_dead_letter_exchange=dead_letters.exchange.name),
    priorities,
    expiring,
    dead_letters,
]

# A worker may be told another address for the same broker (that of a proxy which can cut its connection).
app = Celery("celery_app", broker=os.environ.get("CELERY_BROKER", URL), backend="rpc://")
app.conf.update(
    task_queues=queues,
    task_default_queue=f"{PREFIX}-default",
    task_default_exchange=f"{PREFIX}-default",
    task_default_routing_key=f"{PREFIX}-default",
    task_publish_retry=False,
    task_send_sent_event=True,
    result_expires=60,
    result_persistent=False,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=4,
    broker_transport_options={"confirm_publish": True},
    control_queue_expires=20.0,
    event_queue_expires=20.0,
    worker_prefetch_multiplier=1,
    worker_proc_alive_timeout=20,
    worker_send_task_events=True,
)


def note(line: str) -> None:
    with open(NOTES, "a") as file:
        file.write(line + "\n")


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=3)
def flaky(self, succeeds_at):
    note(f"flaky {self.request.retries}")
    if self.request.retries < succeeds_at:
        raise self.retry(countdown=0.5)
    return self.request.retries


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def late(self, seconds):
    note(f"late {self.request.id} redelivered={self.request.delivery_info.get('redelivered')}")
    time.sleep(seconds)
    return "done"


@app.task(ignore_result=True)
def mark(what):
    note(f"mark {what}")


@app.task(acks_late=True, ignore_result=True)
def slow_mark(what, seconds=0.05):
    time.sleep(seconds)
    note(f"mark {what}")


@app.task(acks_late=True, ignore_result=True)
def rejecting():
    raise Reject("no", requeue=False)


@app.task
def failing():
    raise ValueError("as it should")


@app.task
def sleeping(seconds):
    time.sleep(seconds)
    return seconds
