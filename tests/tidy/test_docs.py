"""Settings, definitions and commands in the documentation are ones that amqpd takes. (Python in it: tests/live/test_docs.py.)"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from amqpd.cli.serve import read_flags
from amqpd.config import load_config, variable_of
from tests.behaviour.harness import BrokerHarness

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def blocks(kind: str) -> list[tuple[str, str]]:
    """Page and text."""
    pattern = re.compile(rf"^```{kind}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page.name, text) for page in PAGES for text in pattern.findall(page.read_text())]


def indented_toml() -> list[str]:
    """The block in the README that begins with `# amqpd.toml`."""
    text = (ROOT / "README.md").read_text()
    lines = text[text.index("    # amqpd.toml") :].splitlines()
    end = next(number for number, line in enumerate(lines) if line and not line.startswith("    "))
    return [line[4:] for line in lines[:end]]


def serve_commands() -> list[str]:
    pattern = re.compile(r"^ {4}(?:\$ )?amqpd serve ?(.*?)(?: +#.*)?$", re.MULTILINE)
    return [arguments for page in PAGES for arguments in pattern.findall(page.read_text())]


def test_blocks_of_every_kind_are_found() -> None:
    assert len(blocks("toml")) >= 2
    assert len(blocks("json")) >= 1
    assert len(serve_commands()) >= 3


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_toml_in_the_documentation_is_a_configuration(page: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "amqpd.toml").write_text(text)
    load_config({"config": str(tmp_path / "amqpd.toml")}, {})


@pytest.mark.parametrize(("page", "text"), blocks("json"))
def test_json_in_the_documentation_is_definitions_that_load_without_a_word(page: str, text: str) -> None:
    assert BrokerHarness().broker.load_definitions(json.loads(text)) == []


@pytest.mark.parametrize("arguments", serve_commands())
def test_flags_in_the_documentation_are_flags(arguments: str) -> None:
    read_flags(shlex.split(arguments))


def test_the_settings_of_the_readme_are_settings_in_all_three_places(tmp_path: Path) -> None:
    lines = indented_toml()
    (tmp_path / "amqpd.toml").write_text("\n".join(lines))
    load_config({"config": str(tmp_path / "amqpd.toml")}, {})
    table = ""
    for line in lines[1:]:
        if line.startswith("["):
            table = line.strip("[] ") + "."
        elif line:
            setting, variable, flag = (part.strip() for part in re.split(r" {2,}# ", line))
            name, _, value = setting.partition(" = ")
            key = {"definitions.path": "definitions"}.get(table + name, table + name)
            assert variable == variable_of(key)
            arguments = flag.split(" ") if "=" in flag else [flag, value.strip('[]"')]
            assert list(read_flags(arguments)) == [key]
