from __future__ import annotations

import json
from pathlib import Path

import pytest

from amqpd.runtime.definitions_file import FILE_BYTES_MAX, BadDefinitions, load_definitions
from tests.behaviour.harness import BrokerHarness

TYPED = [("s", "stream"), ("q", "classic")]


def refusal(path: Path) -> str:
    with pytest.raises(BadDefinitions) as caught:
        load_definitions(BrokerHarness().broker, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_loaded_into_the_broker(tmp_path: Path) -> None:
    path = tmp_path / "definitions.json"
    path.write_text(json.dumps({"queues": [{"name": "q", "vhost": "/"}], "future": [1]}))
    broker = BrokerHarness().broker
    assert load_definitions(broker, path) == ['"future" in the definitions is ignored']
    assert "q" in broker.vhosts["/"].queues


def test_what_is_wrong_with_a_file_is_one_sentence_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "definitions.json"
    assert refusal(path) == f"can't read the definitions file {path}: No such file or directory"
    assert refusal(tmp_path) == f"can't read the definitions file {tmp_path}: Is a directory"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    assert refusal(path).startswith(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    path.write_bytes(b"\xff")
    assert refusal(path).startswith(f"{path} is not valid JSON: ")
    path.write_text("{")
    assert refusal(path).startswith(f"{path} is not valid JSON: ")
    path.write_text("[" * 100_000)
    assert refusal(path).startswith(f"{path} is not valid JSON: ")
    path.write_text('{"queues": [{"name": "q", "vhost": "v"}]}')
    assert refusal(path) == f"{path}: queues[0].vhost: queue 'q': there is no vhost 'v'"


def test_several_problems_are_a_line_each_and_one_about_them_all(tmp_path: Path) -> None:
    path = tmp_path / "definitions.json"
    queues = [{"name": f"q{number}", "vhost": "v\n"} for number in range(60)]
    path.write_text(json.dumps({"queues": [{"name": "s", "vhost": "/", "type": "stream"}, *queues]}))
    with pytest.raises(BadDefinitions) as caught:
        load_definitions(BrokerHarness().broker, path)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"{path} has 61 problems, and nothing of it was loaded (amqpd has no such: "
        "definitions.skip_unsupported = true leaves 1 of them out):"
    )
    assert lines[2] == r"    queues[1].vhost: queue 'q0': there is no vhost 'v\n'"
    assert lines[51:] == ["    and 11 more"]


def test_a_stream_refuses_the_file_or_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "definitions.json"
    path.write_text(json.dumps({"queues": [{"name": name, "vhost": "/", "type": kind} for name, kind in TYPED]}))
    assert refusal(path).endswith("definitions.skip_unsupported = true leaves it out)")
    broker = BrokerHarness().broker
    assert load_definitions(broker, path, skip_unsupported=True) == [
        "left out of the queues, for amqpd has no such: 's'"
    ]
    assert list(broker.vhosts["/"].queues) == ["q"]


@pytest.mark.parametrize("part", ["users", "permissions"])
def test_a_file_without_users_or_permissions_is_not_complete(tmp_path: Path, part: str) -> None:
    path = tmp_path / "definitions.json"
    parts: dict[str, object] = {"users": [], "permissions": []}
    del parts[part]
    path.write_text(json.dumps(parts))
    broker = BrokerHarness().broker
    with pytest.raises(BadDefinitions, match=f"has no {part}, and definitions.is_complete = true makes it the whole"):
        load_definitions(broker, path, is_complete=True)
    assert [user.name for user in broker.access.list_users()] == ["guest"]
