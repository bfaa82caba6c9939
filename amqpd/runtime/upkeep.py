"""Checkpoints and the space they free: carries the core's wishes to the writer's housekeeping thread, and back.

Owns only how often it asks. When a checkpoint is due and which segments are dead is decided in store/reclaim.py.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from amqpd.runtime.repeat import Repeat

if TYPE_CHECKING:
    from amqpd.runtime.log_writer import LogWriter
    from amqpd.runtime.turn import Turn
    from amqpd.store.checkpoint import Checkpoint

PERIOD_S: Final = 0.2


class Upkeep:
    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn, writer: LogWriter, logger: logging.Logger) -> None:
        # True while the thread has a checkpoint.
        self.is_writing = False
        self._turn = turn
        self._writer = writer
        self._looking = Repeat(loop, PERIOD_S, "upkeep of the log", self.look, logger)

    def start(self) -> None:
        self._looking.start()

    def stop(self) -> None:
        self._looking.stop()

    def look(self) -> None:
        self._turn.call(self._look)

    def _look(self) -> None:
        broker = self._turn.broker
        checkpoint = broker.durable_checkpoint()
        if checkpoint is not None:
            self.is_writing = True
            self._writer.write_checkpoint(checkpoint)
        dead = broker.dead_segments()
        if dead:
            self._writer.delete_segments(dead)

    def checkpoint_written(self, checkpoint: Checkpoint) -> None:
        self.is_writing = False
        self._turn.broker.checkpoint_written(checkpoint)

    def checkpoint_failed(self) -> None:
        self.is_writing = False
        self._turn.broker.checkpoint_failed()
