from __future__ import annotations

import pytest

from amqpd.queues.overflow import is_too_long


@pytest.mark.parametrize(
    ("count", "size_bytes", "count_max", "bytes_max", "verdict"),
    [
        (10, 10, -1, -1, False),
        (10, 0, 10, -1, False),
        (11, 0, 10, -1, True),
        (0, 100, -1, 100, False),
        (1, 101, -1, 100, True),
        (1, 101, 5, 100, True),
        (1, 0, 0, -1, True),
    ],
)
def test_a_queue_is_too_long_beyond_either_limit(
    count: int, size_bytes: int, count_max: int, bytes_max: int, verdict: bool
) -> None:
    assert is_too_long(count, size_bytes, count_max, bytes_max) is verdict
