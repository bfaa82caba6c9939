from __future__ import annotations

import pytest

from amqpd.vhosts.policies import Policies, checked_policy
from amqpd.vhosts.stored_options import stored_options, understood_arguments
from amqpd.wire.field_table import encode_table


def test_what_is_right_is_taken_as_it_is() -> None:
    options, left_out = stored_options(Policies(), "q", encode_table({"x-max-length": 3}), "queue 'q'")
    assert (options.max_length, left_out) == (3, [])


@pytest.mark.parametrize("wrong", [{"x-message-ttl": -1}, {"x-max-priority": 1000}, {"x-overflow": "what"}])
def test_what_is_wrong_is_left_out_and_said_and_the_rest_counts(wrong: dict[str, object]) -> None:
    arguments = encode_table({"x-max-length": 3, **wrong, "x-expires": 60_000})
    options, left_out = stored_options(Policies(), "q", arguments, "queue 'q'")
    assert left_out == list(wrong)
    assert (options.max_length, options.expires_ms) == (3, 60_000)


def test_an_argument_that_is_right_only_beside_another_one_is_kept_with_it() -> None:
    pair = {"x-dead-letter-routing-key": "k", "x-dead-letter-exchange": "x"}
    options, left_out = stored_options(Policies(), "q", encode_table({"x-max-length": -1, **pair}), "queue 'q'")
    assert left_out == ["x-max-length"]
    assert (options.dead_letter_exchange, options.dead_letter_routing_key) == ("x", "k")


def test_policies_count_as_for_every_queue() -> None:
    policies = Policies()
    policies.put(checked_policy("/", "p", ".*", 0, "queues", {"max-length": 2}, False))
    options, _ = stored_options(policies, "q", encode_table({"x-message-ttl": -1}), "queue 'q'")
    assert options.max_length == 2


@pytest.mark.parametrize("raw", [b"\x05abc", b"\x01aS\xff\xff\xff\xff", b"\xff" * 40, b"\x01a?"])
def test_bytes_that_are_no_table_are_an_empty_one(raw: bytes) -> None:
    assert understood_arguments(raw).raw == b""
    assert understood_arguments(encode_table({"x": 1}).raw).get("x") == 1
