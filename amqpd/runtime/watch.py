"""Once per second, for memory more often: is memory or disk short, is a reader stuck, are many connections dead?

Owns the alarms and what they do to publishers, and when messages should leave memory. Does not own the figures (memory.py,
the disk port) nor the sockets.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from amqpd.runtime import memory
from amqpd.runtime.files import SpaceWatch

if TYPE_CHECKING:
    from amqpd.config import Config
    from amqpd.runtime.tcp import Peers
    from amqpd.runtime.turn import Turn
    from amqpd.store.disk import Disk

PERIOD_S: Final = 1.0
# Memory more often: a fast publisher sends half a GiB per second.
MEMORY_PERIOD_S: Final = 0.05
# A full collection comes after this many lost connections, and later if the last one took long.
LOST_BEFORE_COLLECTING: Final = 1000
LOST_PER_MS_OF_COLLECTING: Final = 20
# Files besides client sockets: segments, SQLite, the loop's own.
FILES_OF_OUR_OWN: Final = 256


class Alarms:
    """The reasons why publishers wait, as one."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._reasons: dict[str, None] = {}

    def set(self, reason: str, is_on: bool) -> None:
        if is_on is (reason in self._reasons):
            return
        if is_on:
            self._reasons[reason] = None
        else:
            del self._reasons[reason]
        self._turn.begin()
        if self._reasons:
            self._turn.broker.block(" and ".join(self._reasons))
        else:
            self._turn.broker.unblock()


class Watch:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        peers: Peers,
        config: Config,
        disk: Disk,
        make_reserve: Callable[[], object],
    ) -> None:
        """`make_reserve` asks for room for settles; `reserve_kept` hears how it went."""
        self._loop = loop
        self._peers = peers
        self._disk = disk
        self._turn = turn
        self._alarms = Alarms(turn)
        high_bytes = memory.memory_limit_bytes() * config.memory_high_watermark
        self._memory = memory.MemoryAlarm(int(high_bytes))
        # Long before publishers are stopped, messages leave memory.
        self._paging = memory.MemoryAlarm(int(high_bytes * config.memory_paging_ratio))
        self._is_paging = False
        self._space = SpaceWatch(config.disk_reserve_bytes)
        # A batch is waiting for room right now.
        self.is_disk_full = False
        # Room for settles: None before the first answer.
        self._is_reserve_kept: bool | None = None
        self._make_reserve = make_reserve
        self._has_said_no_reserve = False
        self._is_disk_short = False
        self._collected_at_count = 0
        self._lost_before_collecting = LOST_BEFORE_COLLECTING
        self._timer: asyncio.TimerHandle | None = None
        self._memory_timer: asyncio.TimerHandle | None = None
        self.collect: Callable[[], object] = gc.collect

    def start(self) -> None:
        self._repeat()
        self._repeat_memory()

    def stop(self) -> None:
        for timer in (self._timer, self._memory_timer):
            if timer is not None:
                timer.cancel()

    def _repeat(self) -> None:
        self.look()
        self._timer = self._loop.call_later(PERIOD_S, self._repeat)

    def _repeat_memory(self) -> None:
        self.look_at_memory()
        self._memory_timer = self._loop.call_later(MEMORY_PERIOD_S, self._repeat_memory)

    def look_at_memory(self) -> None:
        """Only begins alarm and paging: `look` ends them, after the heap has been given back."""
        used_bytes = memory.resident_bytes()
        if not self._paging.is_on and self._paging.judge(used_bytes):
            self._page()
        if not self._memory.is_on and self._memory.judge(used_bytes):
            self._alarms.set("low on memory", True)

    def look(self) -> None:
        if self._paging.is_on:
            memory.give_back()
        used_bytes = memory.resident_bytes()
        self._paging.judge(used_bytes)
        self._memory.judge(used_bytes)
        self._alarms.set("low on memory", self._memory.is_on)
        self._space.observe(self._disk.free_bytes())
        if self._is_reserve_kept is not True:
            self._make_reserve()
        self._set_disk_alarm()
        self._peers.watch(self._loop.time())
        self._collect()

    def disk_full(self, is_full: bool) -> None:
        """A batch found no room, respectively has found some."""
        self.is_disk_full = is_full
        self._set_disk_alarm()

    def reserve_kept(self, is_kept: bool) -> None:
        """Room for settles is kept; or it is in use, or there is not enough for it."""
        if is_kept is self._is_reserve_kept:
            return
        if not is_kept:
            self._turn.begin()
            self._turn.broker.agenda.warn(
                "the disk has no room left beside what is kept for settles (disk_settle_reserve_bytes): "
                "publishers wait until there is that much again"
            )
        self._is_reserve_kept = is_kept
        self._has_said_no_reserve = False
        self._set_disk_alarm()

    def no_reserve(self, error: OSError) -> None:
        """It can't be made, and not for want of room: publishers need not wait for that. It is asked for again."""
        if not self._has_said_no_reserve:
            self._has_said_no_reserve = True
            self._turn.begin()
            self._turn.broker.agenda.warn(
                f"no room can be kept for settles (disk_settle_reserve_bytes), a full disk could not be drained: {error}"
            )

    def _set_disk_alarm(self) -> None:
        is_short = self._space.is_low or self.is_disk_full or self._is_reserve_kept is False
        self._alarms.set("low on disk", is_short)
        if is_short is not self._is_disk_short:
            self._is_disk_short = is_short
            self._turn.begin()
            self._turn.broker.set_disk_short(is_short)
        self._page()

    def _page(self) -> None:
        """Messages leave memory only while there is room for them."""
        is_paging = self._paging.is_on and not self._is_disk_short
        if is_paging is not self._is_paging:
            self._is_paging = is_paging
            self._turn.begin()
            self._turn.broker.set_memory_short(is_paging)

    def _collect(self) -> None:
        lost_count = self._peers.lost_count
        if lost_count - self._collected_at_count < self._lost_before_collecting:
            return
        self._collected_at_count = lost_count
        begun_s = time.monotonic()
        self.collect()
        took_ms = (time.monotonic() - begun_s) * 1000
        self._lost_before_collecting = max(LOST_BEFORE_COLLECTING, int(took_ms * LOST_PER_MS_OF_COLLECTING))


def raise_file_limit(connections_max: int, logger: logging.Logger) -> None:
    """As many open files as the connections need, as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + FILES_OF_OUR_OWN
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    if reachable < wanted:
        logger.warning("only %d files may be open at once, too few for %d connections", reachable, connections_max)
