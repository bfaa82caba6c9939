"""A disk that fills up; `python -m tests.chaos.full_disk` prints what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.full_disk import VARIANTS, CannotMount, Variant, run_variant


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_nothing_confirmed_is_lost_when_the_disk_is_full(variant: Variant, tmp_path: Path) -> None:
    try:
        full_disk = run_variant(variant, tmp_path)
    except CannotMount as why:
        pytest.skip(str(why))
    assert full_disk.broken == []
