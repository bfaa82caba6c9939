"""A line for the operator's log: what the core has to say, and how much it matters.

Owns the three levels. Does not own where lines go, nor how many of them (runtime/logs.py).
"""

from __future__ import annotations

from typing import Final, final

# What is worth knowing, what somebody should look at, and what is wrong: messages, data or this program are damaged.
INFO: Final = 0
WARNING: Final = 1
ERROR: Final = 2


@final
class Notice:
    def __init__(self, level: int, text: str) -> None:
        self.level = level
        self.text = text
