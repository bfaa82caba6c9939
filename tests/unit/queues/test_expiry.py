from __future__ import annotations

import pytest

from amqpd.queues.agenda import Agenda
from amqpd.queues.expiry import arrived_wall_ms, deadline_of_logged, effective_ttl_ms, own_ttl_ms
from amqpd.store.log import Log, fresh_start
from tests.fakes.core import new_entry, new_message


@pytest.mark.parametrize(
    ("queue_ttl_ms", "message_ttl_ms", "effective"),
    [(-1, -1, -1), (5, -1, 5), (-1, 7, 7), (5, 7, 5), (7, 5, 5), (0, 5, 0), (5, 0, 0)],
)
def test_the_lower_of_two_times_counts(queue_ttl_ms: int, message_ttl_ms: int, effective: int) -> None:
    assert effective_ttl_ms(queue_ttl_ms, message_ttl_ms) == effective


def test_a_messages_own_time_is_its_expiration() -> None:
    header = b"\x00\x3c\x00\x00" + bytes(8)
    assert own_ttl_ms(header + b"\x01\x00\x03250") == 250
    assert own_ttl_ms(header + b"\x00\x00") == -1


def test_a_message_that_was_on_disk_only_has_the_deadline_that_it_had() -> None:
    agenda = Agenda(Log(fresh_start(1)), 700, 1_000_700)
    message = new_message(1)
    message.enqueued_ms = 1_000_600
    assert deadline_of_logged(-1, message, agenda) == 0
    assert deadline_of_logged(500, message, agenda) == 1100
    # 0 would be never.
    message.enqueued_ms = 999_500
    assert deadline_of_logged(500, message, agenda) == -1


@pytest.mark.parametrize(
    ("queue_ttl_ms", "due_ms", "enqueued_ms", "arrived_ms"),
    [
        # With a deadline: so long before it as the queue lets it live.
        (500, 1100, 0, 1_000_600),
        (500, 1100, 999_000, 1_000_600),
        (500, -1, 0, 999_499),
        # Without one: when it was logged, or now, if it never was.
        (-1, 0, 999_000, 999_000),
        (-1, 0, 0, 1_000_700),
        (500, 0, 0, 1_000_700),
        # A message's own time says nothing of the queue's.
        (-1, 1100, 999_000, 999_000),
    ],
)
def test_a_message_that_goes_to_the_disk_came_when_its_deadline_or_the_log_says_or_now(
    queue_ttl_ms: int, due_ms: int, enqueued_ms: int, arrived_ms: int
) -> None:
    agenda = Agenda(Log(fresh_start(1)), 700, 1_000_700)
    entry = new_entry(1)
    entry.due_ms = due_ms
    entry.message.enqueued_ms = enqueued_ms
    assert arrived_wall_ms(queue_ttl_ms, entry, agenda) == arrived_ms
