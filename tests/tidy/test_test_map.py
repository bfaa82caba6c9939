"""Every unit test file names its module; every module has one, or a reason why another folder tests it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests/unit"

# Tested elsewhere, and where.
ELSEWHERE = {
    # Vocabulary without behaviour of its own.
    "amqpd/base/errors.py": "tests/behaviour",
    "amqpd/base/message.py": "tests/behaviour",
    "amqpd/base/ports.py": "tests/behaviour",
    "amqpd/broker.py": "tests/behaviour",
    "amqpd/queues/chunk.py": "tests/unit/queues/test_backlog.py",
    "amqpd/vhosts/dead_letters.py": "tests/behaviour/test_expiry_and_dead_letters.py",
    "amqpd/__main__.py": "tests/live/test_process.py",
    "amqpd/runtime/serve.py": "tests/live/test_process.py",
    "amqpd/cli/bench.py": "tests/unit/cli",
}


def modules() -> list[Path]:
    return [path for path in sorted((ROOT / "amqpd").rglob("*.py")) if path.name != "__init__.py"]


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


def unit_tests_of(path: Path) -> tuple[Path, Path]:
    """tests/unit/FOLDER/test_MODULE.py; of a nested folder also tests/unit/FOLDER/test_NESTED_MODULE.py."""
    parts = path.relative_to(ROOT / "amqpd").with_suffix("").parts
    flat = UNIT.joinpath(*parts[:1]) if len(parts) > 1 else UNIT
    return UNIT.joinpath(*parts[:-1], f"test_{parts[-1]}.py"), flat / f"test_{'_'.join(parts[1:] or parts)}.py"


def is_covered(path: Path) -> bool:
    if any(each.exists() for each in unit_tests_of(path)):
        return True
    elsewhere = ELSEWHERE.get(identify(path), "")
    return elsewhere != "" and (ROOT / elsewhere).exists()


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_module_has_its_tests(path: Path) -> None:
    wanted = identify(unit_tests_of(path)[0])
    assert is_covered(path), f"no {wanted}, and no other place is named in ELSEWHERE"


@pytest.mark.parametrize("path", sorted(UNIT.rglob("test_*.py")), ids=identify)
def test_unit_test_file_names_a_module(path: Path) -> None:
    known = [each for module in modules() for each in unit_tests_of(module)]
    # test_queue_requeue.py is a second file for queue.py.
    is_known = any(path.parent == each.parent and path.stem.startswith(each.stem) for each in known)
    assert is_known, f"{identify(path)} tests no module of amqpd"


def test_a_module_that_is_tested_elsewhere_exists() -> None:
    for name in ELSEWHERE:
        assert (ROOT / name).exists(), f"{name} is gone: strike it from the list"
