"""One file, one noun: what grows beyond a few screens wants to be two files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

# Longer, with the reason.
LONG_FILES: dict[str, str] = {
    "amqpd/channels/channel.py": "content, publish and settle share the hot path's state",
    "amqpd/connections/connection.py": "the frame loop, what errors become, and the end of one peer",
    "amqpd/queues/queue.py": "the life of a message in a queue, told in one place",
    "amqpd/store/recovery.py": "one walk over the log, whose state every step shares",
    "amqpd/vhosts/patterns.py": "one small regex engine: parser, program and matcher",
    "amqpd/vhosts/vhost.py": "names to things: declare, delete and bind, and what follows from each",
    "amqpd/wire/field_table.py": "one format: check, read, write, splice and compare",
}
LONG_FUNCTIONS: dict[str, str] = {}


def modules() -> list[Path]:
    return sorted((ROOT / "amqpd").rglob("*.py"))


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_file_fits_its_noun(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= FILE_LINES_MAX or identify(path) in LONG_FILES, f"{lines} lines"


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_functions_fit_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            name = f"{identify(path)}:{node.name}"
            assert lines <= FUNCTION_LINES_MAX or name in LONG_FUNCTIONS, f"{name} has {lines} lines"


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "no docstring"


def test_an_exception_from_the_rules_names_something_that_exists() -> None:
    for name in [*LONG_FILES, *(each.partition(":")[0] for each in LONG_FUNCTIONS)]:
        assert (ROOT / name).exists(), f"{name} is gone: strike it from the list"
