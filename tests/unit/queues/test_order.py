from __future__ import annotations

import pytest

from amqpd.queues.arguments import QueueOptions
from amqpd.queues.measured import MeasuredReady
from amqpd.queues.order import fitting
from amqpd.queues.priorities import PriorityReady
from amqpd.queues.queue import Queue
from amqpd.queues.ready import Ready, ReadyOrder
from amqpd.wire.field_table import EMPTY_TABLE
from tests.fakes.core import new_agenda, new_message


def options(max_priority: int = -1, max_length_bytes: int = -1) -> QueueOptions:
    found = QueueOptions()
    found.max_priority = max_priority
    found.max_length_bytes = max_length_bytes
    return found


@pytest.mark.parametrize(("max_priority", "kind"), [(-1, Ready), (0, PriorityReady), (9, PriorityReady)])
def test_a_queue_with_priorities_has_one_run_for_each_and_bytes_are_measured_where_they_count(
    max_priority: int, kind: type[ReadyOrder]
) -> None:
    plain = Queue(1, "/", "q", True, False, 0, EMPTY_TABLE, options(max_priority), new_agenda())
    assert isinstance(plain.ready, kind)
    limited = Queue(1, "/", "q", True, False, 0, EMPTY_TABLE, options(max_priority, 100), new_agenda())
    assert isinstance(limited.ready, MeasuredReady)
    assert isinstance(limited.ready.order, kind)


def test_a_limit_that_comes_and_goes_keeps_the_order_and_what_is_in_it() -> None:
    queue = Queue(1, "/", "q", False, False, 0, EMPTY_TABLE, options(), new_agenda())
    queue.publish(new_message(1, b"body"))
    order = queue.ready
    measured = fitting(order, options(max_length_bytes=10))
    assert isinstance(measured, MeasuredReady)
    assert (measured.count, measured.ready_bytes) == (1, 4)
    assert fitting(measured, options(max_length_bytes=20)) is measured
    assert fitting(measured, options()) is order
    assert fitting(order, options()) is order
