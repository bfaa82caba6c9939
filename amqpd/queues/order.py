"""Which kind of ready order a queue has, by its options: one run or one for each priority, and measured or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqpd.queues.arguments import QueueOptions
from amqpd.queues.measured import MeasuredReady
from amqpd.queues.priorities import PriorityReady
from amqpd.queues.ready import Ready, ReadyOrder

if TYPE_CHECKING:
    from amqpd.queues.queue import Queue


def new_order(queue: Queue) -> ReadyOrder:
    options = queue.options
    # What is delayed stands in the timing wheel.
    home = queue if not options.is_delay else None
    return fitting(PriorityReady(options.max_priority, home) if options.max_priority >= 0 else Ready(home), options)


def fitting(order: ReadyOrder, options: QueueOptions) -> ReadyOrder:
    """The same order, measured where body bytes are limited."""
    if options.max_length_bytes >= 0:
        return order if isinstance(order, MeasuredReady) else MeasuredReady(order)
    return order.order if isinstance(order, MeasuredReady) else order
