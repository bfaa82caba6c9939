"""A sync that fails; `python -m tests.chaos.failed_sync` prints what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.failed_sync import VARIANTS, CannotMount, Variant, run_variant
from tests.needs import need


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_broker_stops_at_a_failed_sync_and_nothing_confirmed_is_lost(variant: Variant, tmp_path: Path) -> None:
    need("cc" if variant.fails_at else "mkfs.ext4")
    try:
        failed_sync = run_variant(variant, tmp_path)
    except CannotMount as why:
        pytest.skip(str(why))
    assert failed_sync.broken == []
