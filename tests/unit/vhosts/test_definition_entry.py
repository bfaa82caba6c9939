from __future__ import annotations

import pytest

from amqpd.vhosts.definition_entry import DefinitionsError, arguments_of, flag_of, name_of, tags_of, text_of


def refusal(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(DefinitionsError) as caught:
        call(*arguments)
    return str(caught.value)


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
