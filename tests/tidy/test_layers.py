"""Imports go downwards only: the order of the house is a fact, not a wish."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What may import what: a file may import its own folder and everything with a lower number.
LEVELS = {
    "__init__": 0,
    "base": 0,
    "wire": 1,
    "exchanges": 2,
    "store": 2,
    "queues": 3,
    "vhosts": 4,
    "channels": 5,
    "connections": 6,
    "caretaker": 7,
    "broker": 8,
    "cluster": 9,
    "management": 9,
    # Read by the shell and the command line alike; knows of the core only its limits.
    "config": 9,
    "runtime": 10,
    "cli": 11,
    "__main__": 12,
}


def modules() -> list[Path]:
    return sorted((ROOT / "amqpd").rglob("*.py"))


def folder_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "amqpd").parts
    return parts[0] if len(parts) > 1 else path.stem


def imported_folders(tree: ast.Module) -> list[tuple[str, int]]:
    """Folders of amqpd that this module imports, with the line. Imports for type checking alone do not count."""
    for_types = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import at line {node.lineno}"
            module = node.module or ""
            names = [f"amqpd.{alias.name}" for alias in node.names] if module == "amqpd" else [module]
        for name in names:
            parts = name.split(".")
            if parts[0] == "amqpd" and node.lineno not in for_types:
                found.append((parts[1] if len(parts) > 1 and parts[1] in LEVELS else "__init__", node.lineno))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path: Path) -> None:
    own = folder_of(path)
    assert own in LEVELS, f"{own} has no level: decide where it stands in the house"
    for folder, line in imported_folders(ast.parse(path.read_text())):
        is_below = LEVELS[folder] < LEVELS[own]
        assert folder == own or is_below, f"{path.relative_to(ROOT)}:{line} imports {folder}, which is not below {own}"


def test_no_two_folders_import_each_other_even_for_types_below_the_queues() -> None:
    """base and wire are vocabulary: they know nothing above them, not even as types."""
    for path in modules():
        if folder_of(path) in ("base", "wire"):
            text = path.read_text()
            for folder in LEVELS:
                if LEVELS[folder] > LEVELS[folder_of(path)]:
                    assert f"from amqpd.{folder}" not in text, f"{path} knows {folder}"
