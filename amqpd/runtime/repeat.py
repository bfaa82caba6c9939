"""A job that comes again and again, whatever one of its rounds brings.

Owns: the timer, and what is said about rounds that fail: the first with its traceback, the rest of a minute as a count.
Does not own failures of the core: whoever calls it in a round does so through Turn (turn.py), which ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

SAID_EVERY_S: Final = 60.0


class Repeat:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        period_s: float,
        name: str,
        job: Callable[[], None],
        logger: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is what the log says has failed."""
        self._loop = loop
        self._period_s = period_s
        self._name = name
        self._job = job
        self._logger = logger
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._is_stopped = False
        self._failed_count = 0
        self._said_s = 0.0

    def start(self) -> None:
        """The first round is now."""
        self.round()
        if not self._is_stopped:
            self._timer = self._loop.call_later(self._period_s, self.start)

    def stop(self) -> None:
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def round(self) -> None:
        """One round that can't fail."""
        try:
            self._job()
        except Exception as error:
            self._say(error)
            return
        if self._failed_count:
            self._logger.warning("%s works again", self._name)
            self._failed_count = 0

    def _say(self, error: Exception) -> None:
        self._failed_count += 1
        now_s = self._clock()
        if self._failed_count > 1 and now_s - self._said_s < SAID_EVERY_S:
            return
        count = f" for the {self._failed_count}. time" if self._failed_count > 1 else ""
        self._said_s = now_s
        self._logger.error("%s failed%s and is tried again: %s", self._name, count, error, exc_info=error)
