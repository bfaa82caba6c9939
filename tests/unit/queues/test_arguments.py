"""Which x-arguments a declare may have; the texts are RabbitMQ's."""

from __future__ import annotations

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.queues.arguments import (
    EXPIRY_MS_MAX,
    read_options,
    unknown_arguments,
)
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table

WHERE = "queue 'q' in vhost '/'"


def refusal(table: FieldTable) -> str:
    with pytest.raises(PreconditionFailed) as caught:
        read_options(table, WHERE)
    return caught.value.explanation


def test_a_queue_without_arguments_is_classic_and_never_expires() -> None:
    options = read_options(EMPTY_TABLE, WHERE)
    assert (options.expires_ms, options.queue_type) == (-1, "classic")


@pytest.mark.parametrize("value", [1, 60_000, EXPIRY_MS_MAX])
def test_expires_is_acted_on(value: int) -> None:
    assert read_options(encode_table({"x-expires": value}), WHERE).expires_ms == value


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("x-expires", [1], [0, -1, EXPIRY_MS_MAX + 1, "1", True, 1.5, None]),
        ("x-message-ttl", [0, EXPIRY_MS_MAX], [-1, EXPIRY_MS_MAX + 1, "0"]),
        ("x-max-length", [0, 1 << 40], [-1, "1", 1.5]),
        ("x-consumer-timeout", [0, 1000, (1 << 63) - 1], [-1, "1000", True]),
        ("x-max-length-bytes", [0], [-1, False]),
        ("x-max-priority", [0, 255], [-1, 256]),
        ("x-overflow", ["drop-head", "reject-publish", "reject-publish-dlx"], ["", "no", 1]),
        ("x-queue-mode", ["default", "lazy"], ["", "eager", 1]),
        ("x-queue-leader-locator", ["client-local", "balanced"], ["", "here", 1]),
        ("x-single-active-consumer", [True, False], [1, "true"]),
        ("x-queue-type", ["classic", "quorum"], ["stream", 1]),
        ("x-queue-version", [1, 2], [0, 3, "1"]),
        ("x-delayed-retry-type", ["disabled", "all", "failed", "returned"], ["", "none", 1, True]),
        ("x-delayed-retry-min", [0, EXPIRY_MS_MAX], [-1, EXPIRY_MS_MAX + 1, "1", 1.5]),
        ("x-delayed-retry-max", [0, EXPIRY_MS_MAX], [-1, EXPIRY_MS_MAX + 1, "1", 1.5]),
        ("x-retry-initial-ms", [1, EXPIRY_MS_MAX], [0, -1, EXPIRY_MS_MAX + 1, "1", 1.5]),
        ("x-retry-multiplier", [1, 2, 1.5, 1000], [0, 0.5, 1001, "2", True, float("nan")]),
        ("x-retry-max-ms", [1, EXPIRY_MS_MAX], [0, -1, EXPIRY_MS_MAX + 1, "1"]),
        ("x-retry-jitter-percent", [0, 100], [-1, 101, "1", 0.5]),
    ],
)
def test_each_argument_takes_its_values_and_no_others(key: str, good: list[object], bad: list[object]) -> None:
    for value in good:
        read_options(encode_table({key: value}), WHERE)
    for value in bad:
        assert refusal(encode_table({key: value})).startswith(f"invalid arg '{key}' for {WHERE}: ")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"x-expires": 0}, "{value_zero,0}"),
        ({"x-expires": -5}, "{value_negative,-5}"),
        ({"x-expires": "5"}, '"expected integer, got longstr"'),
        ({"x-overflow": 5}, "{unacceptable_type,signedint}"),
        ({"x-queue-type": "stream"}, "\"unsupported queue type 'stream'\""),
        ({"x-queue-mode": "eager"}, "\"unsupported queue mode 'eager'\""),
        ({"x-queue-version": 3}, "\"unsupported queue version '3'\""),
        ({"x-queue-version": -3}, "{value_negative,-3}"),
        ({"x-message-ttl": EXPIRY_MS_MAX + 1}, f"{{value_too_large,{EXPIRY_MS_MAX + 1}}}"),
        ({"x-max-priority": 256}, "{max_value_exceeded,256}"),
        ({"x-dead-letter-routing-key": "k"}, "routing_key_but_no_dlx_defined"),
        ({"x-delayed-retry-type": "never"}, "invalid_delayed_retry_type"),
        ({"x-retry-multiplier": 0.5}, '"expected a number from 1 to 1000"'),
        ({"x-retry-jitter-percent": 101}, "{max_value_exceeded,101}"),
    ],
)
def test_a_refusal_says_what_is_wrong(values: dict[str, object], fault: str) -> None:
    assert refusal(encode_table(values)) == f"invalid arg '{next(iter(values))}' for {WHERE}: {fault}"


@pytest.mark.parametrize(("value", "shown"), [(1, "signedint"), (True, "bool"), (None, "void")])
def test_the_dead_letter_exchange_is_named_by_a_string(value: object, shown: str) -> None:
    assert refusal(encode_table({"x-expires": 0, "x-dead-letter-exchange": value})) == (
        f"invalid type '{shown}' for arg 'x-dead-letter-exchange' in {WHERE}"
    )


@pytest.mark.parametrize(
    ("queue_type", "key", "value"),
    [
        ("classic", "x-max-age", "1D"),
        ("classic", "x-max-in-memory-length", 1),
        ("classic", "x-quorum-initial-group-size", "not even a number"),
        ("quorum", "x-queue-mode", "lazy"),
        ("quorum", "x-queue-version", 2),
        ("quorum", "x-max-age", "1D"),
    ],
)
def test_what_belongs_to_another_type_is_refused(queue_type: str, key: str, value: object) -> None:
    table = encode_table({key: value, "x-queue-type": queue_type})
    assert refusal(table) == f"invalid arg '{key}' for {WHERE} of queue type rabbit_{queue_type}_queue"


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("x-dead-letter-strategy", "at-least-once", "sometimes"),
        ("x-max-in-memory-length", 0, -1),
        ("x-quorum-initial-group-size", 3, 0),
    ],
)
def test_arguments_of_quorum_queues_are_checked(key: str, good: object, bad: object) -> None:
    assert read_options(encode_table({"x-queue-type": "quorum", key: good}), WHERE).queue_type == "quorum"
    assert refusal(encode_table({"x-queue-type": "quorum", key: bad})).startswith(f"invalid arg '{key}' for {WHERE}: ")


def test_every_type_counts_deliveries_and_has_priorities() -> None:
    for queue_type in ("classic", "quorum"):
        table = encode_table({"x-queue-type": queue_type, "x-delivery-limit": 3, "x-max-priority": 4})
        options = read_options(table, WHERE)
        assert (options.delivery_limit, options.max_priority) == (3, 4)


def test_every_type_has_a_back_off_and_then_tells_the_delivery_count() -> None:
    for queue_type in ("classic", "quorum"):
        options = read_options(encode_table({"x-queue-type": queue_type, "x-delayed-retry-type": "all"}), WHERE)
        assert options.back_off is not None
        assert options.tells_delivery_count
    assert not read_options(EMPTY_TABLE, WHERE).tells_delivery_count


def test_a_dead_letter_routing_key_needs_an_exchange() -> None:
    read_options(encode_table({"x-dead-letter-routing-key": "k", "x-dead-letter-exchange": ""}), WHERE)


@pytest.mark.parametrize("tag", ["b", "B", "s", "u", "I", "i", "l"])
def test_a_number_may_come_as_any_integer_type(tag: str) -> None:
    size = {"b": 1, "B": 1, "s": 2, "u": 2, "I": 4, "i": 4, "l": 8}[tag]
    raw = b"\x09x-expires" + tag.encode() + (7).to_bytes(size, "big")
    assert read_options(FieldTable(raw), WHERE).expires_ms == 7


def test_the_first_bad_argument_in_the_checking_order_is_named() -> None:
    assert "'x-expires'" in refusal(encode_table({"x-max-length": -1, "x-expires": 0}))
    assert "'x-queue-type'" in refusal(encode_table({"x-expires": 0, "x-queue-type": "none"}))
    assert "'x-expires'" in refusal(encode_table({"x-max-age": "1D", "x-expires": 0}))


def test_unknown_arguments_are_those_with_x_that_no_queue_knows() -> None:
    table = encode_table({"x-mine": 1, "other": 2, "x-expires": 3, "x-yours": "a"})
    assert unknown_arguments(table) == ["x-mine", "x-yours"]


def test_everything_that_a_queue_acts_on_is_read() -> None:
    options = read_options(
        encode_table(
            {
                "x-message-ttl": 0,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "k",
                "x-max-length": 3,
                "x-max-length-bytes": 4,
                "x-overflow": "reject-publish",
                "x-max-priority": 5,
                "x-delivery-limit": 6,
                "x-single-active-consumer": True,
                "x-queue-type": "quorum",
            }
        ),
        WHERE,
    )
    assert (options.message_ttl_ms, options.dead_letter_exchange, options.dead_letter_routing_key) == (0, "", "k")
    assert (options.max_length, options.max_length_bytes, options.max_priority, options.delivery_limit) == (3, 4, 5, 6)
    assert options.single_active_consumer
    assert options.queue_type == "quorum"
    assert options.refuses
    assert not options.is_plain


def test_a_queue_without_length_or_age_is_plain() -> None:
    assert read_options(encode_table({"x-expires": 1, "x-max-priority": 5}), WHERE).is_plain
    assert not read_options(encode_table({"x-overflow": "reject-publish"}), WHERE).refuses
    assert not read_options(encode_table({"x-max-length": 1}), WHERE).refuses
