"""Peers that ask for more than there is, in short; `python -m tests.chaos.overload` is the long form."""

from __future__ import annotations

from pathlib import Path

import uvloop

from tests.chaos.overload import SHORT, Overload, raise_file_limit


def test_memory_is_bounded_and_a_neighbour_is_served(tmp_path: Path) -> None:
    raise_file_limit()
    overload = Overload(tmp_path, SHORT)
    uvloop.run(overload.run())
    assert overload.broken == []
