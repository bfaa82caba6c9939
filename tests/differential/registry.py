"""The list of behaviours: a function with a sentence for a name, in a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .session import Session

Script = Callable[["Session"], None]


class Behaviour(NamedTuple):
    group: str
    name: str
    script: Script


BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(group: str) -> Callable[[Script], Script]:
    """Register the function under its own name, which is what `accepted.py` and the golden file call it by."""

    def register(script: Script) -> Script:
        name = script.__name__
        if name in BEHAVIOURS:
            raise ValueError(f"two behaviours are called {name}")
        BEHAVIOURS[name] = Behaviour(group, name, script)
        return script

    return register
