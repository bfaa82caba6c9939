from __future__ import annotations

import pytest

from amqpd.vhosts.policy_keys import KEYS, OPERATOR_KEYS, WORDS, definition_fault, lower


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        ({}, "no policy provided"),
        ({"messagez": 1}, '["messagez"] are not recognised policy settings'),
        ({"message-ttl": -1}, "-1 is not a valid message TTL"),
        ({"message-ttl": "5"}, '"5" is not a valid message TTL'),
        ({"message-ttl": True}, "true is not a valid message TTL"),
        ({"message-ttl": 315_360_000_001}, "315360000001 is not a valid message TTL"),
        ({"expires": 0}, "0 is not a valid queue expiry"),
        ({"max-length": 1.5}, "1.5 is not a valid maximum length"),
        ({"max-length-bytes": -1}, "-1 is not a valid maximum length in bytes"),
        ({"max-length": 2**63}, f"{2**63} is not a valid maximum length"),
        ({"overflow": "x"}, '"x" is not a valid overflow value'),
        ({"delivery-limit": -2}, "-2 is not a valid delivery limit"),
        ({"alternate-exchange": 5}, "5 is not a valid alternate exchange name"),
        ({"dead-letter-exchange": "x" * 256}, None),
        ({"dead-letter-routing-key": None}, "null is not a valid dead letter routing key"),
        ({"dead-letter-strategy": "a"}, '"a" is not a valid dead letter strategy'),
        ({"queue-mode": "a"}, '"a" is not a valid queue-mode value'),
        ({"queue-version": 3}, "3 is not a valid queue-version value"),
        ({"delayed-retry-type": "never"}, '"never" is not a valid delayed retry type'),
        ({"delayed-retry-min": -1}, "-1 is not a valid delayed retry time"),
        ({"retry-initial-ms": 0}, "0 is not a valid retry delay"),
        ({"retry-max-ms": "5"}, '"5" is not a valid retry delay'),
        ({"retry-multiplier": 0.5}, "0.5 is not a valid retry multiplier"),
        ({"retry-jitter-percent": 101}, "101 is not a valid retry jitter"),
        ({"delayed-message": 1}, "1 is not a valid delayed-message value"),
    ],
)
def test_a_wrong_definition_gets_one_sentence(definition: dict[str, object], sentence: str | None) -> None:
    fault = definition_fault(definition, False)
    assert fault == sentence if sentence is not None else "is not a valid" in fault


@pytest.mark.parametrize(
    "definition",
    [
        {"message-ttl": 0, "expires": 1, "max-length": 0, "max-length-bytes": 0, "overflow": "reject-publish-dlx"},
        {"dead-letter-exchange": "", "dead-letter-routing-key": "k", "alternate-exchange": "x"},
        {"delivery-limit": -1},
        {"delivery-limit": 0, "queue-mode": "lazy", "queue-version": 2, "dead-letter-strategy": "at-least-once"},
        {"ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "automatic", "ha-promote-on-failure": "always"},
        {"federation-upstream-set": "all", "queue-master-locator": "min-masters", "max-in-memory-length": 5},
        {"delayed-message": True},
        {"delayed-retry-type": "all", "delayed-retry-min": 0, "delayed-retry-max": 5},
        {"retry-initial-ms": 1, "retry-max-ms": 5, "retry-multiplier": 1.5, "retry-jitter-percent": 100},
    ],
)
def test_what_rabbitmq_takes_is_taken(definition: dict[str, object]) -> None:
    assert definition_fault(definition, False) == ""


def test_an_operator_policy_sets_limits_and_nothing_else() -> None:
    assert definition_fault({"max-length": 1, "message-ttl": 5, "overflow": "drop-head"}, True) == ""
    assert definition_fault({"max-length": 1, "dead-letter-exchange": "x"}, True) == (
        '["dead-letter-exchange"] are not recognised policy settings'
    )


def test_every_word_and_every_operator_key_is_a_key() -> None:
    assert [key for key in [*WORDS, *OPERATOR_KEYS] if key not in KEYS] == []
    assert [key for key, (rule, _) in KEYS.items() if rule == "word" and key not in WORDS] == []


def test_the_lower_limit_is_the_stricter_one() -> None:
    assert lower(5, 3) == 3
    assert lower(0, 3) == 0
    assert lower(-1, 3) == 3
    assert lower(-1, -1) == -1
