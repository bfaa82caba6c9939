"""Random expirations in random order, in short; `python -m tests.chaos.expiry` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import uvloop

from tests.chaos.expiry import SHORT, Expiry, overtaken


def test_each_message_expires_once_and_in_its_turn_wherever_it_stands(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    expiry = Expiry(tmp_path, SHORT, seed)
    uvloop.run(expiry.run())
    assert expiry.broken == [], f"repeat with: python -m tests.chaos.expiry --short --seed {seed}"


def test_who_is_overtaken_is_counted() -> None:
    expirations_ms = [1000, 500, 505, 2000]
    assert overtaken([1, 2, 0, 3], expirations_ms) == 0
    # Within a tick of each other, or unknown which is due first.
    assert overtaken([2, 1, 3, 0], expirations_ms) == 1
    assert overtaken([3, 2, 1, 0], expirations_ms) == 1
