"""The outcomes of a client suite, one JSON object a line.

As a pytest plugin (`-p report`, with SUITE_REPORT naming the file) it writes each test's outcome as soon as it is known,
so that a run that was cut off still has its results, and ends a test that takes too long. As a program it prints the
closing line: report.py NAME FILE.jsonl.

Lines are {"plan": [id, ...]} and {"id": ID, "outcome": "passed" | "failed" | "skipped", "why": TEXT}. A planned test with
no outcome counts as failed.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

LIMIT_S = float(os.environ.get("TEST_TIMEOUT", "30"))  # for each of a test's set-up, call and tear-down
LEFT_OUT = "left out: "  # begins the reason of tests that a broker started elsewhere can't be asked
HUNG = 99  # exit status: a test could not be stopped, the runner starts pytest again on those left


class Outcome(NamedTuple):
    outcome: str
    why: str


def read(path: Path) -> dict[str, Outcome]:
    """What became of each test; a failure in one phase stays, whatever the other phases say."""
    outcomes: dict[str, Outcome] = {}
    planned: dict[str, None] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "plan" in entry:
            planned.update(dict.fromkeys(entry["plan"]))
        elif entry["id"] not in outcomes or outcomes[entry["id"]].outcome != "failed":
            outcomes[entry["id"]] = Outcome(entry["outcome"], " ".join(entry.get("why", "").split()))
    for name in planned:
        outcomes.setdefault(
            name, Outcome("failed", "no result: not reached within the suite's time, or the runner died")
        )
    return outcomes


def counts(outcomes: dict[str, Outcome]) -> str:
    found = [outcome.outcome for outcome in outcomes.values()]
    return f"{found.count('passed')} passed, {found.count('failed')} failed, {found.count('skipped')} skipped"


def _write(entry: dict[str, Any]) -> None:
    # One write, as several shards of a suite may append to the same file.
    file = os.open(os.environ["SUITE_REPORT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, json.dumps(entry).encode() + b"\n")
    os.close(file)


class TookTooLong(BaseException):
    """Not an Exception: a test that catches everything must not swallow it."""


def _limited(item: Any, phase: str) -> Generator[None, Any, Any]:
    def alarm(_signal: int, _frame: object) -> None:
        raise TookTooLong(f"{phase} took longer than {LIMIT_S:g} s")

    def give_up() -> None:
        _write({"id": item.nodeid, "outcome": "failed", "why": f"hung in {phase}, could not be stopped"})
        faulthandler.dump_traceback(file=sys.__stderr__ or 2)
        os._exit(HUNG)

    old = signal.signal(signal.SIGALRM, alarm)
    watchdog = threading.Timer(LIMIT_S * 1.5, give_up)
    watchdog.daemon = True
    watchdog.start()
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TookTooLong as error:
        raise AssertionError(str(error)) from error
    finally:
        watchdog.cancel()
        signal.signal(signal.SIGALRM, old)


def _hook(phase: str) -> Callable[[Any], Generator[None, Any, Any]]:
    def run(item: Any) -> Generator[None, Any, Any]:
        return (yield from _limited(item, phase))

    return run


if "pytest" in sys.modules:
    import pytest

    pytest_runtest_setup = pytest.hookimpl(wrapper=True)(_hook("setup"))
    pytest_runtest_call = pytest.hookimpl(wrapper=True)(_hook("call"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(item: Any) -> Generator[None, Any, Any]:
        return (yield from _limited(item, "teardown"))


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leaves out what an earlier pytest of this run has done, and what SUITE_ONLY (a file of ids) does not name."""
    report = Path(os.environ["SUITE_REPORT"])
    done = {json.loads(line).get("id") for line in report.read_text().splitlines()} if report.exists() else set()
    only = Path(os.environ["SUITE_ONLY"]).read_text().splitlines() if os.environ.get("SUITE_ONLY") else None
    wanted = [item for item in items if item.nodeid not in done and (only is None or item.nodeid in only)]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted
    if "AMQPS_PORT" not in os.environ:
        for item in items:
            if "amqps" in item.nodeid or "test_ssl" in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=LEFT_OUT + "no AMQPS_PORT"))


def pytest_collection_finish(session: Any) -> None:
    _write({"plan": [item.nodeid for item in session.items]})


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        _write({"id": "collect:" + report.nodeid, "outcome": "failed", "why": str(report.longrepr)[-600:]})


def pytest_runtest_logreport(report: Any) -> None:
    why = ""
    if report.failed:
        crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", None)
        why = (crash or str(report.longrepr))[:600]
    elif report.skipped:
        why = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", ""))[:300]
    if report.when == "call" or report.failed or report.skipped:
        _write({"id": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 2), "why": why})


if __name__ == "__main__":
    print(f"{sys.argv[1]}: {counts(read(Path(sys.argv[2])))}")
