"""Which amqpd is under test: the source tree, or the compiled package in site-packages. Never a mixture. And for how long.

AMQPD_EXPECT_COMPILED=1 asks for the compiled one; otherwise the sources of this checkout are used. The tests' own
helpers (`tests.fakes` and the like) come from the checkout either way.

A property is tried with 100 inputs where slow tests are left out, with 300 otherwise, or with AMQPD_FUZZ_EXAMPLES of them.
The short runs are the same ones each time, so that `make check` is; a long run draws new inputs and prints the line that
repeats what it found. Nothing is kept between runs: a found input becomes an @example.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
EXPECT_COMPILED = os.environ.get("AMQPD_EXPECT_COMPILED", "0") == "1"
EXAMPLES = int(os.environ.get("AMQPD_FUZZ_EXAMPLES", "0"))
# Every data directory that a test leaves behind would keep 64 MiB.
os.environ.setdefault("AMQPD_DISK_SETTLE_RESERVE_BYTES", str(8 << 20))


def _without_root() -> list[str]:
    return [entry for entry in sys.path if Path(entry or os.curdir).resolve() != ROOT]


if EXPECT_COMPILED:
    # Last, so that `import amqpd` finds the installed package and `import tests` still finds these.
    sys.path[:] = [*_without_root(), str(ROOT)]
else:
    sys.path[:] = [str(ROOT), *_without_root()]


def _choose_examples(config: pytest.Config) -> None:
    """Before any test module is imported: expensive properties take a share of this."""
    short = 100 if config.getoption("markexpr") == "not slow" else 300
    settings.register_profile(
        "amqpd",
        max_examples=EXAMPLES if EXAMPLES > 0 else short,
        derandomize=EXAMPLES == 0,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("amqpd")


def pytest_configure(config: pytest.Config) -> None:
    _choose_examples(config)
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
    core = "compiled, installed" if EXPECT_COMPILED else "interpreted, from the source tree"
    return f"amqpd: {core}; pamqp {version('pamqp')}"
