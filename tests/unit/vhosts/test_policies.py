from __future__ import annotations

from typing import Any

import pytest

from amqpd.queues.arguments import QueueOptions
from amqpd.queues.overflow import REJECT_PUBLISH
from amqpd.vhosts.policies import Policies, Policy, checked_policy, effective_arguments, policy_from_row
from amqpd.wire.field_table import EMPTY_TABLE, encode_table


def policy(name: str = "p", pattern: str = "", priority: int = 0, apply_to: str = "all", **definition: Any) -> Policy:
    return made(name, pattern, priority, apply_to, False, definition)


def operator_policy(name: str = "p", pattern: str = "", priority: int = 0, **definition: Any) -> Policy:
    return made(name, pattern, priority, "queues", True, definition)


def made(
    name: str, pattern: str, priority: int, apply_to: str, is_operator: bool, definition: dict[str, Any]
) -> Policy:
    with_dashes: dict[str, object] = {key.replace("_", "-"): value for key, value in definition.items()}
    return checked_policy("/", name, pattern, priority, apply_to, with_dashes, is_operator)


def policies(*known: Policy) -> Policies:
    found = Policies()
    for each in known:
        found.put(each)
    return found


def options(known: Policies, name: str = "q", **arguments: object) -> QueueOptions:
    table = encode_table({f"x-{key.replace('_', '-')}": value for key, value in arguments.items()})
    return known.queue_options(name, table, f"queue '{name}' in vhost '/'")


def test_a_pattern_matches_anywhere_in_a_name_unless_it_is_anchored() -> None:
    assert policy(pattern="mail", max_length=1).covers_queue("my.mail.q", "classic")
    assert not policy(pattern="^mail", max_length=1).covers_queue("my.mail.q", "classic")
    assert policy(pattern="", max_length=1).covers_queue("anything", "classic")


@pytest.mark.parametrize(
    ("apply_to", "covered"),
    [
        ("all", ["classic", "quorum", "exchange"]),
        ("queues", ["classic", "quorum"]),
        ("exchanges", ["exchange"]),
        ("classic_queues", ["classic"]),
        ("quorum_queues", ["quorum"]),
        ("streams", []),
    ],
)
def test_apply_to_says_what_a_policy_is_for(apply_to: str, covered: list[str]) -> None:
    one = policy(apply_to=apply_to, max_length=1)
    found = [kind for kind in ("classic", "quorum") if one.covers_queue("q", kind)]
    assert found + (["exchange"] if one.covers_exchange("q") else []) == covered


def test_only_the_policy_with_the_highest_priority_applies() -> None:
    known = policies(
        policy("a", priority=1, max_length=1, message_ttl=5),
        policy("b", priority=7, max_length=2),
        policy("c", priority=-1, expires=9),
    )
    found = options(known)
    assert (found.max_length, found.message_ttl_ms, found.expires_ms) == (2, -1, -1)


def test_of_equal_priorities_the_first_name_wins() -> None:
    assert options(policies(policy("b", max_length=2), policy("a", max_length=1))).max_length == 1
    assert options(policies(policy("a", max_length=1), policy("b", max_length=2))).max_length == 1


def test_of_argument_and_policy_the_lower_number_counts() -> None:
    known = policies(policy(max_length=5, message_ttl=1_000, expires=60_000, delivery_limit=3))
    found = options(known, max_length=9, message_ttl=10, expires=70_000, delivery_limit=-1)
    assert (found.max_length, found.message_ttl_ms, found.expires_ms, found.delivery_limit) == (5, 10, 60_000, 3)


def test_for_anything_but_numbers_the_argument_wins() -> None:
    known = policies(policy(overflow="reject-publish", dead_letter_exchange="p", dead_letter_routing_key="k"))
    found = options(known, overflow="drop-head", dead_letter_exchange="a")
    assert (found.overflow, found.dead_letter_exchange, found.dead_letter_routing_key) == (0, "a", "k")
    found = options(known)
    assert (found.overflow, found.dead_letter_exchange) == (REJECT_PUBLISH, "p")


def test_an_operator_policy_lowers_numbers_and_overrules_the_rest() -> None:
    known = policies(
        policy(max_length=5, message_ttl=100, overflow="drop-head"),
        operator_policy(max_length=9, message_ttl=50, overflow="reject-publish", expires=1_000),
    )
    found = options(known)
    assert (found.max_length, found.message_ttl_ms, found.overflow, found.expires_ms) == (
        5,
        50,
        REJECT_PUBLISH,
        1_000,
    )
    assert options(known, message_ttl=10).message_ttl_ms == 10


def test_a_dead_letter_routing_key_without_an_exchange_waits_for_one() -> None:
    known = policies(policy(dead_letter_routing_key="k"))
    assert options(known).dead_letter_routing_key is None
    assert options(known, dead_letter_exchange="x").dead_letter_routing_key == "k"


def test_keys_that_a_queue_type_does_not_know_are_left_out() -> None:
    known = policies(policy(queue_mode="lazy", max_length=3))
    assert options(known, queue_type="quorum").max_length == 3


def test_a_policy_does_not_become_an_argument() -> None:
    table = encode_table({"x-max-length": 5})
    assert effective_arguments(table, {"max-length": 9, "message-ttl": 3}, "classic").to_dict() == {
        "x-max-length": 5,
        "x-message-ttl": 3,
    }
    assert table.to_dict() == {"x-max-length": 5}
    assert effective_arguments(EMPTY_TABLE, {"alternate-exchange": "x"}, "classic") == EMPTY_TABLE


def test_an_exchange_has_its_own_alternate_or_the_policys() -> None:
    known = policies(policy(pattern="^x", alternate_exchange="fallback", delayed_message=True))
    assert known.alternate_of("x1", None) == "fallback"
    assert known.alternate_of("x1", "own") == "own"
    assert known.alternate_of("y", None) is None
    assert known.delays("x1")
    assert not known.delays("y")


def test_putting_the_same_policy_again_changes_nothing() -> None:
    known = policies(policy(max_length=1))
    assert not known.put(policy(max_length=1))
    assert known.put(policy(max_length=2))
    assert [each.definition for each in known.all(False)] == [{"max-length": 2}]


def test_policies_and_operator_policies_have_names_of_their_own() -> None:
    known = policies(policy("p", max_length=1), operator_policy("p", max_length=2))
    assert known.delete("p", True) is not None
    assert known.delete("p", True) is None
    assert known.get("p", False) is not None


@pytest.mark.parametrize("is_operator", [False, True])
def test_a_policy_is_the_same_after_its_row(is_operator: bool) -> None:
    one = made("p", "^a|b$", 3, "queues", is_operator, {"max_length": 1, "message_ttl": 2**38})
    again = policy_from_row(one.row())
    assert again.same_as(one)
    assert again.is_operator == is_operator
    assert (again.priority, again.definition) == (3, {"max-length": 1, "message-ttl": 2**38})


@pytest.mark.parametrize(
    ("name", "pattern", "priority", "apply_to", "definition", "what"),
    [
        ("", "a", 0, "all", {"max-length": 1}, "a policy's name has 1 to 255 bytes"),
        ("p", None, 0, "all", {"max-length": 1}, "pattern should be binary, actually was null"),
        ("p", "(", 0, "all", {"max-length": 1}, "pattern should be regular expression but is invalid"),
        ("p", "a", "1", "all", {"max-length": 1}, 'priority should be a number, actually was "1"'),
        ("p", "a", 0, "foo", {"max-length": 1}, 'apply-to "foo" unrecognised; should be one of all, queues'),
        ("p", "a", 0, "all", [1], "definition should be a dictionary, actually was [1]"),
        ("p", "a", 0, "all", {"max-length": -1}, "-1 is not a valid maximum length"),
    ],
)
def test_wrong_input_is_refused_with_one_sentence_that_names_the_policy(
    name: str, pattern: object, priority: object, apply_to: object, definition: object, what: str
) -> None:
    with pytest.raises(ValueError, match="policy") as caught:
        checked_policy("/", name, pattern, priority, apply_to, definition, False)
    sentence = str(caught.value)
    assert sentence.startswith(f"policy '{name}' in vhost '/': ")
    assert what in sentence
    assert "\n" not in sentence


def test_options_without_policies_are_those_of_the_arguments() -> None:
    assert options(Policies(), max_length=4).max_length == 4
