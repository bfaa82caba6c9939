"""Which amqpd is under test: the source tree, or the compiled package in site-packages. Never a mixture.

AMQPD_EXPECT_COMPILED=1 asks for the compiled one; otherwise the sources of this checkout are used. The tests' own
helpers (`tests.fakes` and the like) come from the checkout either way.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXPECT_COMPILED = os.environ.get("AMQPD_EXPECT_COMPILED", "0") == "1"


def _without_root() -> list[str]:
    return [entry for entry in sys.path if Path(entry or os.curdir).resolve() != ROOT]


if EXPECT_COMPILED:
    # Last, so that `import amqpd` finds the installed package and `import tests` still finds these.
    sys.path[:] = [*_without_root(), str(ROOT)]
else:
    sys.path[:] = [str(ROOT), *_without_root()]


def pytest_configure(config: pytest.Config) -> None:
    probe = "amqpd.base.message"
    spec = importlib.util.find_spec(probe)
    origin = spec.origin if spec is not None and spec.origin is not None else ""
    is_compiled = origin.endswith((".so", ".pyd"))
    if is_compiled is not EXPECT_COMPILED:
        wanted = "compiled" if EXPECT_COMPILED else "interpreted"
        raise pytest.UsageError(f"these tests were to run on the {wanted} core, but {probe} is {origin or 'missing'}")
    if not EXPECT_COMPILED and Path(origin).resolve().parents[2] != ROOT:
        raise pytest.UsageError(f"these tests were to run on the sources of {ROOT}, but amqpd is {origin}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"amqpd: {'compiled, installed' if EXPECT_COMPILED else 'interpreted, from the source tree'}"
