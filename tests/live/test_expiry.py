"""Random expirations in random order, in short; `python -m tests.chaos.expiry` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import uvloop

from tests.chaos.expiry import SHORT, Expiry


def test_each_message_expires_once_and_on_time_wherever_it_stands(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    expiry = Expiry(tmp_path, SHORT, seed)
    uvloop.run(expiry.run())
    assert expiry.broken == [], f"repeat with: python -m tests.chaos.expiry --short --seed {seed}"
