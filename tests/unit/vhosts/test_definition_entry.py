from __future__ import annotations

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.vhosts.definition_entry import (
    PROBLEM_CHARACTERS_MAX,
    PROBLEMS_MAX,
    DefinitionsError,
    EntryError,
    Problems,
    arguments_of,
    flag_of,
    name_of,
    refused,
    tags_of,
    text_of,
)


def refusal(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(EntryError) as caught:
        call(*arguments)
    return str(caught.value)


def test_no_problem_is_no_error() -> None:
    Problems().raise_if_any()


def test_problems_are_told_with_their_places_and_only_so_many_of_them() -> None:
    problems = Problems()
    problems.add("queues[0]", EntryError("a", "name"))
    problems.add("queues[1]", EntryError("b", "", True))
    problems.add("", EntryError("c"))
    for _ in range(PROBLEMS_MAX):
        problems.add("queues[2]", EntryError("x" * 1000))
    with pytest.raises(DefinitionsError) as caught:
        problems.raise_if_any()
    error = caught.value
    assert error.problems[:3] == ["queues[0].name: a", "queues[1]: b", "c"]
    assert len(error.problems) == PROBLEMS_MAX
    assert len(error.problems[3]) == PROBLEM_CHARACTERS_MAX
    assert (error.count, error.unsupported_count) == (PROBLEMS_MAX + 3, 1)


def test_what_a_client_would_be_told_names_the_argument_if_the_entry_has_it() -> None:
    error = PreconditionFailed("invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}")
    found = refused("queue 'q' in vhost '/'", error, {"arguments": {"x-expires": 0}})
    assert (found.key, found.text) == ("arguments.x-expires", error.explanation)
    assert refused("queue 'q' in vhost '/'", error, {}).key == ""
    assert refused("the binding", PreconditionFailed("no"), {}).text == "the binding: no"


def test_a_text_may_be_missing_only_where_there_is_a_default() -> None:
    assert text_of({"a": "x"}, "a", "it") == "x"
    assert text_of({}, "a", "it", "d") == "d"
    assert text_of({"a": None}, "a", "it", "d") == "d"
    assert refusal(text_of, {}, "a", "it") == "it: a is missing"
    assert refusal(text_of, {"a": 5}, "a", "it", "d") == "it: a must be a string, not 5"


def test_a_name_has_1_to_255_bytes() -> None:
    assert name_of({"name": "q"}, "queue") == "q"
    assert refusal(name_of, {"name": ""}, "queue") == "queue '': a name has 1 to 255 bytes"
    assert "1 to 255 bytes" in refusal(name_of, {"name": "é" * 128}, "queue")
    assert refusal(name_of, {"name": "a\nb"}, "queue") == 'queue "a\\nb": a name has no line breaks'
    assert refusal(name_of, {}, "queue") == "a queue: name is missing"


def test_a_flag_is_true_or_false_and_nothing_like_it() -> None:
    assert flag_of({"durable": False}, "durable", "it", True) is False
    assert flag_of({}, "durable", "it", True) is True
    assert refusal(flag_of, {"durable": 1}, "durable", "it", True) == "it: durable must be true or false, not 1"


def test_tags_are_a_list_or_one_string_with_commas() -> None:
    assert tags_of({"tags": ["administrator", "x"]}, "it") == ("administrator", "x")
    assert tags_of({"tags": "administrator, x"}, "it") == ("administrator", "x")
    assert tags_of({"tags": ""}, "it") == ()
    assert tags_of({}, "it") == ()
    assert refusal(tags_of, {"tags": [5]}, "it") == "it: 5 is no tag"
    assert refusal(tags_of, {"tags": 5}, "it") == "it: tags must be a list of strings"


def test_arguments_become_a_field_table() -> None:
    table = arguments_of({"arguments": {"x-message-ttl": 5, "x": {"deep": [1, "a", True]}}}, "it")
    assert (table.get("x-message-ttl"), table.tag("x")) == (5, "F")
    assert arguments_of({"arguments": []}, "it").raw == b""
    assert arguments_of({}, "it").raw == b""
    assert refusal(arguments_of, {"arguments": "x"}, "it") == 'it: arguments must be an object, not "x"'
    assert refusal(arguments_of, {"arguments": {"n": 2**80}}, "it").startswith("it: ")
    assert refusal(arguments_of, {"arguments": {"k" * 300: 1}}, "it").startswith("it: ")
