from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqpd.exchanges.hashing import MASK, hash32, mix32


def test_values_are_what_they_were_in_every_version() -> None:
    """Messages with one key go to one queue, also after an upgrade: these numbers never change."""
    assert [mix32(0), mix32(1), mix32(MASK)] == [0, 1753845952, 1734902346]
    assert [hash32(b""), hash32(b"a"), hash32(b"order-4711")] == [0, 537083488, 641266016]


@given(st.integers(0, MASK), st.integers(0, MASK))
def test_mixing_loses_nothing(one: int, other: int) -> None:
    assert 0 <= mix32(one) <= MASK
    assert (mix32(one) == mix32(other)) == (one == other)
