"""Runs behaviours against one broker and compares the transcripts of two.

Owns: running in parallel, the golden file's format, diffs, what is accepted.
Invariant: a behaviour's transcript depends on the broker alone, so the order of running does not matter.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .accepted import ACCEPTED
from .client import Ended, Stuck
from .codec import Malformed
from .registry import BEHAVIOURS as BEHAVIOURS
from .registry import Behaviour as Behaviour
from .session import Address, Session

HERE = Path(__file__).parent
GOLDEN = HERE / "rabbitmq-3.10.txt"
# Most of a behaviour is waiting: for silence, or for RabbitMQ's three seconds before it drops a bad login.
WORKERS_COUNT = 12

Transcripts = dict[str, list[str]]


def load() -> dict[str, Behaviour]:
    """Import every file of behaviours; the registry fills itself."""
    folder = importlib.import_module(f"{__package__}.behaviours")
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda module: module.name):
        importlib.import_module(f"{folder.__name__}.{module.name}")
    return BEHAVIOURS


def select(patterns: Iterable[str]) -> list[Behaviour]:
    """Behaviours whose group is a pattern or whose name contains one; all of them without patterns."""
    wanted = list(patterns)
    return [
        behaviour
        for behaviour in load().values()
        if not wanted or any(pattern == behaviour.group or pattern in behaviour.name for pattern in wanted)
    ]


def run_one(behaviour: Behaviour, address: Address) -> list[str]:
    """The transcript. What goes wrong on the way is a line of it that starts with `!!`."""
    session = Session(address)
    try:
        behaviour.script(session)
    except Stuck as stuck:
        session.log(f"!! stuck: {stuck}")
    except Ended:
        session.log("!! the connection is closed")
    except Malformed as malformed:
        session.log(f"!! not AMQP: {malformed}")
    except OSError as error:
        session.log(f"!! {type(error).__name__}: {error}")
    except Exception:
        session.log(f"!! the behaviour failed: {traceback.format_exc(limit=-2)}")
    try:
        session.clean_up()
    except (Ended, Stuck, Malformed, OSError) as error:
        session.log(f"!! clean-up: {type(error).__name__} {error}")
    return session.transcript.lines


class Result(NamedTuple):
    transcripts: Transcripts
    duration_s: float
    slowest: list[tuple[float, str]]


# Groups that need more than AMQP.
NEEDS_CONTROL = ("policies",)


def can_run(behaviour: Behaviour, address: Address) -> bool:
    return address.control is not None or behaviour.group not in NEEDS_CONTROL


def run(behaviours: list[Behaviour], address: Address, workers_count: int = WORKERS_COUNT) -> Result:
    """The transcripts; behaviours that this broker gives no means for are left out."""
    behaviours = [behaviour for behaviour in behaviours if can_run(behaviour, address)]
    begun = time.monotonic()
    durations: list[tuple[float, str]] = []

    def timed(behaviour: Behaviour) -> list[str]:
        at = time.monotonic()
        lines = run_one(behaviour, address)
        durations.append((time.monotonic() - at, behaviour.name))
        return lines

    with ThreadPoolExecutor(workers_count) as pool:
        transcripts = list(pool.map(timed, behaviours))
    named = {behaviour.name: lines for behaviour, lines in zip(behaviours, transcripts, strict=True)}
    return Result(named, time.monotonic() - begun, sorted(durations, reverse=True)[:5])


def write_golden(transcripts: Transcripts, path: Path = GOLDEN) -> None:
    """The recorded transcripts, one section per behaviour; refuses what a broker did not finish."""
    broken = [name for name, lines in transcripts.items() if any(line.startswith("!!") for line in lines)]
    if broken:
        raise ValueError(f"not recorded, since these did not end well: {', '.join(broken)}")
    sections = []
    for name, lines in transcripts.items():
        sections.append("\n".join([f"== {BEHAVIOURS[name].group} / {name}", *lines]))
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def read_golden(path: Path = GOLDEN) -> Transcripts:
    transcripts: Transcripts = {}
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            lines = transcripts.setdefault(line.rpartition(" / ")[2], [])
        elif line:
            lines.append(line)
    return transcripts


class Difference(NamedTuple):
    name: str
    # Unified diff with all lines as context, for people.
    text: str
    # Only what differs, as `-` and `+` lines: what accepted.py holds.
    changes: list[str]


def difference(name: str, left: list[str], right: list[str]) -> Difference | None:
    left, right = "\n".join(left).splitlines(), "\n".join(right).splitlines()
    if left == right:
        return None
    full = difflib.unified_diff(left, right, "left", "right", n=len(left) + len(right), lineterm="")
    text = "\n".join(f"    {line}" for line in full if not line.startswith(("---", "+++", "@@")))
    bare = difflib.unified_diff(left, right, n=0, lineterm="")
    changes = [line for line in bare if not line.startswith(("---", "+++", "@@"))]
    return Difference(name, text, changes)


class Comparison(NamedTuple):
    same: list[str]
    accepted: list[str]
    differing: list[Difference]
    # Accepted, but the brokers agree now, or the name is gone: the entry must go too.
    stale: list[str]

    @property
    def is_good(self) -> bool:
        return not self.differing and not self.stale


def compare(left: Transcripts, right: Transcripts, *, is_amqpd_right: bool = True) -> Comparison:
    """`right` against `left`; accepted differences count only where the right side is amqpd."""
    result = Comparison([], [], [], [])
    for name, right_lines in right.items():
        accepted = ACCEPTED.get(name) if is_amqpd_right else None
        found = difference(name, left.get(name, ["(not recorded)"]), right_lines)
        if found is None:
            (result.stale if accepted else result.same).append(name)
        elif accepted and [*accepted.changes] == found.changes:
            result.accepted.append(name)
        else:
            result.differing.append(found)
    return result


def unknown_accepted() -> list[str]:
    return [name for name in ACCEPTED if name not in load()]
