"""What the broker does in steps, for tests to which the steps do not matter."""

from __future__ import annotations

from amqpd.base.timers import UNBOUNDED
from amqpd.queues.moves import Moving
from amqpd.queues.queue import Queue
from amqpd.queues.restart import Description
from amqpd.store.checkpoint import CheckpointBuilder


def describe(queue: Queue, checkpoint: CheckpointBuilder) -> None:
    description = Description(queue, checkpoint)
    while not description.go_on(UNBOUNDED):
        pass


def move_leaving(queue: Queue, position_max: int) -> bool:
    """All of it, or as far as the log may grow."""
    return Moving(queue).go_on(position_max, UNBOUNDED)
