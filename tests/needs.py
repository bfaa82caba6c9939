"""Programs beside Python that some tests need: `make test-deps` installs them where it may.

Where one is missing its tests are skipped, with a reason that pytest shows as one line at the end. With CI=true nothing that
could be installed is left out: they fail instead.
"""

from __future__ import annotations

import os
import shutil

import pytest


def leave_out(reason: str) -> None:
    """Ends the test, or all tests of the fixture that calls it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true leaves nothing out: {reason}", pytrace=False)
    pytest.skip(reason)


def need(program: str, instead: str = "") -> None:
    """`instead`: what is still tried without it."""
    if shutil.which(program) is None:
        leave_out(f"{program} is not installed (make test-deps){instead and ': '}{instead}")
