from __future__ import annotations

import json
from pathlib import Path

import pytest

from amqpd.runtime.definitions_file import BadDefinitions, load_definitions
from tests.behaviour.harness import BrokerHarness


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
    path.write_bytes(b"\xff")
    assert refusal(path).startswith(f"{path} is not valid JSON: ")
    path.write_text("{")
    assert refusal(path).startswith(f"{path} is not valid JSON: ")
    path.write_text("[" * 100_000)
    assert refusal(path).startswith(f"{path} is not valid JSON: ")
    path.write_text('{"queues": [{"name": "q", "vhost": "v"}]}')
    assert refusal(path) == f"{path}: queue 'q': there is no vhost 'v'"
