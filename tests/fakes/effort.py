"""Counts what Python is made to do, so that a test can tell n log n from n * n without a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

import amqpd.queues.ready

# Compiled code says nothing to a tracer.
is_interpreted = amqpd.queues.ready.__file__.endswith(".py")
only_interpreted = pytest.mark.skipif(not is_interpreted, reason="counts lines, which compiled code does not tell of")


class Effort:
    def __init__(self) -> None:
        self.lines = 0
        # Of lists, at a place that is not their end: each moves what stands behind.
        self.inserts = 0


def effort_of(deed: Callable[[], object]) -> Effort:
    """How many lines ran."""
    effort = Effort()

    def on_line(frame: FrameType, event: str, argument: object) -> object:
        if event == "line":
            effort.lines += 1
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call" and getattr(argument, "__name__", "") == "insert":
            effort.inserts += 1

    sys.settrace(on_line)  # type: ignore[arg-type]
    sys.setprofile(on_call)
    try:
        deed()
    finally:
        sys.settrace(None)
        sys.setprofile(None)
    return effort
