"""How long a message waits before its next try."""

from __future__ import annotations

import math

import pytest

from amqpd.queues.back_off import (
    DELAY_MS_MAX,
    FAILED,
    MULTIPLIER_MAX,
    RETURNED,
    BackOff,
    is_multiplier,
    read_back_off,
)
from amqpd.wire.field_table import EMPTY_TABLE, encode_table


def back_off(**values: object) -> BackOff:
    found = read_back_off(encode_table({f"x-{key.replace('_', '-')}": value for key, value in values.items()}))
    assert found is not None
    return found


def delays(back_off: BackOff, count: int, message_id: int = 1) -> list[int]:
    return [int(back_off.delay_ms(FAILED, message_id, at)) for at in range(1, count + 1)]


def test_without_arguments_nothing_waits() -> None:
    assert read_back_off(EMPTY_TABLE) is None
    assert read_back_off(encode_table({"x-delayed-retry-min": 5, "x-delayed-retry-max": 9})) is None
    assert read_back_off(encode_table({"x-delayed-retry-type": "disabled", "x-retry-initial-ms": 5})) is None
    assert read_back_off(encode_table({"x-retry-multiplier": 3, "x-retry-max-ms": 9})) is None


@pytest.mark.parametrize(
    ("name", "failed", "returned"), [("all", True, True), ("failed", True, False), ("returned", False, True)]
)
def test_the_type_says_which_messages_wait(name: str, failed: bool, returned: bool) -> None:
    found = back_off(delayed_retry_type=name, delayed_retry_min=10)
    assert (found.delay_ms(FAILED, 1, 1) > 0, found.delay_ms(RETURNED, 1, 1) > 0) == (failed, returned)


def test_an_exponential_back_off_is_for_what_fails_unless_the_type_says_otherwise() -> None:
    assert back_off(retry_initial_ms=10).kinds == FAILED
    assert back_off(retry_initial_ms=10, delayed_retry_type="all").kinds == FAILED | RETURNED
    assert not back_off(retry_initial_ms=10, delayed_retry_type="all", delayed_retry_min=99).is_linear


def test_linear_is_min_times_the_count_up_to_max() -> None:
    assert delays(back_off(delayed_retry_type="all", delayed_retry_min=100, delayed_retry_max=250), 4) == [
        100,
        200,
        250,
        250,
    ]
    assert delays(back_off(delayed_retry_type="all"), 3) == [1000, 2000, 3000]
    assert delays(back_off(delayed_retry_type="all", delayed_retry_min=0), 2) == [0, 0]
    assert delays(back_off(delayed_retry_type="all", delayed_retry_min=9, delayed_retry_max=5), 1) == [5]


def test_exponential_multiplies_up_to_max() -> None:
    assert delays(back_off(retry_initial_ms=100), 4) == [100, 200, 400, 800]
    assert delays(back_off(retry_initial_ms=100, retry_multiplier=1.5, retry_max_ms=200), 4) == [100, 150, 200, 200]
    assert delays(back_off(retry_initial_ms=100, retry_multiplier=1), 3) == [100, 100, 100]
    assert delays(back_off(retry_initial_ms=9, retry_max_ms=5), 2) == [5, 5]
    assert back_off(retry_initial_ms=100).delay_ms(FAILED, 1, 100) == 3_600_000


@pytest.mark.parametrize("count", [1, 1000, (1 << 32) - 1])
def test_no_count_and_no_setting_is_too_much_for_the_arithmetic(count: int) -> None:
    linear = back_off(delayed_retry_type="all", delayed_retry_min=DELAY_MS_MAX)
    assert linear.delay_ms(FAILED, 1, count) == DELAY_MS_MAX
    steep = back_off(retry_initial_ms=1, retry_multiplier=MULTIPLIER_MAX, retry_max_ms=DELAY_MS_MAX)
    assert 1 <= steep.delay_ms(FAILED, 1, count) <= DELAY_MS_MAX
    jittery = back_off(retry_initial_ms=DELAY_MS_MAX, retry_max_ms=DELAY_MS_MAX, retry_jitter_percent=100)
    assert 0 <= jittery.delay_ms(FAILED, (1 << 62) - 1, count) <= DELAY_MS_MAX
    flat = back_off(retry_initial_ms=1, retry_multiplier=1.0000001)
    assert flat.delay_ms(FAILED, 1, count) == 1


def test_jitter_shortens_by_so_many_percent_at_most_and_spreads() -> None:
    found = back_off(retry_initial_ms=1000, retry_jitter_percent=40)
    first = [int(found.delay_ms(FAILED, message_id, 1)) for message_id in range(1, 1001)]
    assert 600 <= min(first) < 620
    assert 980 < max(first) <= 1000
    assert 780 < sum(first) / len(first) < 820
    assert len(set(first)) > 300


def test_jitter_is_the_same_in_every_run() -> None:
    found = back_off(retry_initial_ms=1000, retry_jitter_percent=50)
    assert delays(found, 3, 7) == delays(found, 3, 7)
    assert delays(found, 3, 7) == [793, 1684, 3454]
    assert delays(found, 3, 7) != delays(found, 3, 8)


@pytest.mark.parametrize("value", [1, 2, 1.5, MULTIPLIER_MAX])
def test_a_multiplier_is_a_number_that_does_not_shrink(value: object) -> None:
    assert is_multiplier(value)


@pytest.mark.parametrize("value", [0, 0.99, -2, True, "2", None, math.nan, math.inf, MULTIPLIER_MAX + 1])
def test_other_multipliers_are_none(value: object) -> None:
    assert not is_multiplier(value)
