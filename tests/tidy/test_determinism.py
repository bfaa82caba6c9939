"""The core is a function of what it is given: no clocks, threads, randomness, sockets or files, and no set order."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ("base", "wire", "exchanges", "store", "queues", "vhosts", "channels", "connections")

# SQLite is I/O behind the port of store/topology.py; it is never imported by the core.
NOT_CORE = {"amqpd/store/sqlite_topology.py", "amqpd/store/topology_rows.py"}

FORBIDDEN_MODULES = {
    "asyncio", "concurrent", "datetime", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "sqlite3", "sqlite_utils", "ssl", "subprocess", "tempfile", "threading",
    "time", "uuid", "uvloop",
}  # fmt: skip
# datetime is a value there, never a clock: field tables and message properties carry time stamps.
ALLOWED = {("amqpd/wire/field_table.py", "datetime"), ("amqpd/wire/properties.py", "datetime")}
FORBIDDEN_CALLS = {"open", "input", "print", "eval", "exec", "id", "hash", "breakpoint"}
CLOCKS = {"now", "utcnow", "today"}


def core_modules() -> list[Path]:
    found = [path for folder in CORE for path in sorted((ROOT / "amqpd" / folder).rglob("*.py"))]
    found += [ROOT / "amqpd/broker.py", ROOT / "amqpd/caretaker.py"]
    return [path for path in found if path.exists() and str(path.relative_to(ROOT)) not in NOT_CORE]


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", core_modules(), ids=identify)
def test_core_module_imports_nothing_that_waits_or_rolls_dice(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            top = name.split(".")[0]
            is_allowed = (identify(path), top) in ALLOWED
            assert top not in FORBIDDEN_MODULES or is_allowed, f"{identify(path)}:{node.lineno} imports {name}"


@pytest.mark.parametrize("path", core_modules(), ids=identify)
def test_core_module_calls_no_clock_and_touches_no_file(path: Path) -> None:
    tree = ast.parse(path.read_text())
    # What defines a hash may ask for one; what uses a hash for anything but a dict may not.
    hashing = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == "__hash__"]
    allowed = [inner for each in hashing for inner in ast.walk(each)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node in allowed:
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{identify(path)}:{node.lineno} calls {node.func.id}"
        if isinstance(node.func, ast.Attribute):
            is_clock = node.func.attr in CLOCKS and ast.unparse(node.func.value) in ("datetime", "datetime.datetime")
            assert not is_clock, f"{identify(path)}:{node.lineno} reads a clock"


@pytest.mark.parametrize("path", core_modules(), ids=identify)
def test_core_module_iterates_no_set(path: Path) -> None:
    """The order of a set of strings changes from run to run; a dict keeps the order of insertion."""
    tree = ast.parse(path.read_text())
    sets = (ast.Set, ast.SetComp)
    for node in ast.walk(tree):
        iterated: list[ast.expr] = []
        if isinstance(node, ast.For):
            iterated = [node.iter]
        elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
            iterated = [generator.iter for generator in node.generators]
        for each in iterated:
            is_set_call = isinstance(each, ast.Call) and ast.unparse(each.func) in ("set", "frozenset")
            assert not isinstance(each, sets) and not is_set_call, f"{identify(path)}:{each.lineno} iterates a set"
