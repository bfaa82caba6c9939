from __future__ import annotations

import pytest

from amqpd.queues.expiry import effective_ttl_ms, own_ttl_ms


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
