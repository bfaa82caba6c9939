"""The only doors out of the core: entropy here; the disk and the topology store beside what they carry.

Time has no port: the shell hands `now_ms` in with every tick.
"""

from __future__ import annotations

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Entropy:
    """Randomness for names and tokens; a simulator seeds its own."""

    def token(self, size_bytes: int) -> bytes:
        """`size_bytes` unpredictable bytes."""
        raise NotImplementedError
