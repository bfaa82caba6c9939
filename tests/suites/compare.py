"""A suite's outcomes beside RabbitMQ's, test by test.

Owns: the baseline files (`baseline/NAME.txt`, a line `OUTCOME TEST-ID` for each test, as RabbitMQ 3.10.8 gave it) and the list of
explained differences (`differences.md`). A difference is any test whose outcome is not RabbitMQ's, a test that did not run, and
one that the baseline does not know. Explained ones are counted, all others make the run fail.

An explanation is a line below the heading `## NAME` (the suite) in differences.md:

    - `TEST-ID`: why it differs

The test id may hold `*`, which stands for anything.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from report import LEFT_OUT, Outcome

HERE = Path(__file__).resolve().parent


class Difference(NamedTuple):
    test: str
    expected: str
    found: str
    why: str
    explanation: str  # empty: nobody has explained it


def record(name: str, outcomes: dict[str, Outcome], directory: Path = HERE / "baseline") -> None:
    lines = [f"{outcome.outcome} {test}\n" for test, outcome in sorted(outcomes.items())]
    (directory / f"{name}.txt").write_text("".join(lines))


def baseline(name: str, directory: Path = HERE / "baseline") -> dict[str, str]:
    expected: dict[str, str] = {}
    for line in (directory / f"{name}.txt").read_text().splitlines():
        outcome, _, test = line.partition(" ")
        expected[test] = outcome
    return expected


def explanations(name: str, text: str) -> dict[re.Pattern[str], str]:
    found: dict[re.Pattern[str], str] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        entry = re.match(r"- `(?P<test>.+?)`: (?P<why>.+)", line)
        if entry and section == name:
            pattern = ".*".join(re.escape(part) for part in entry["test"].split("*"))
            found[re.compile(pattern)] = entry["why"]
    return found


def compare(
    expected: dict[str, str], outcomes: dict[str, Outcome], explained: dict[re.Pattern[str], str]
) -> list[Difference]:
    differences: list[Difference] = []
    for test in sorted({**expected, **outcomes}):
        before = expected.get(test, "not in the baseline")
        now, why = outcomes.get(test, Outcome("did not run", ""))
        if before == now or LEFT_OUT in why:
            continue
        explanation = next((text for pattern, text in explained.items() if pattern.fullmatch(test)), "")
        differences.append(Difference(test, before, now, why, explanation))
    return differences
