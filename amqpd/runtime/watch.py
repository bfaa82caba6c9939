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
from amqpd.runtime.repeat import Repeat

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

    def set(self, reason: str, is_on: bool, figures: str = "") -> None:
        """`reason` is for clients and is as RabbitMQ's, `figures` are for the log."""
        if is_on is (reason in self._reasons):
            return
        turn = self._turn
        agenda = turn.broker.agenda
        if is_on:
            self._reasons[reason] = None
            turn.call(turn.broker.block, " and ".join(self._reasons))
            agenda.warn(f"publishers are stopped: {reason}: {figures}")
            return
        del self._reasons[reason]
        if self._reasons:
            turn.call(turn.broker.block, " and ".join(self._reasons))
            agenda.warn(f"no longer {reason}: {figures}; publishers are still stopped: {' and '.join(self._reasons)}")
        else:
            turn.call(turn.broker.unblock)
            agenda.warn(f"publishers go on, no longer {reason}: {figures}")


class Watch:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        peers: Peers,
        config: Config,
        disk: Disk,
        make_reserve: Callable[[], object],
        logger: logging.Logger,
    ) -> None:
        """`make_reserve` asks for room for settles; `reserve_kept` hears how it went."""
        self._loop = loop
        self._peers = peers
        self._disk = disk
        self._turn = turn
        self._config = config
        self._alarms = Alarms(turn)
        self._limit_bytes = memory.memory_limit_bytes()
        high_bytes = self._limit_bytes * config.memory_high_watermark
        self._memory = memory.MemoryAlarm(int(high_bytes))
        # Long before publishers are stopped, messages leave memory.
        self._paging = memory.MemoryAlarm(int(high_bytes * config.memory_paging_ratio))
        self._is_paging = False
        self._space = SpaceWatch(config.disk_reserve_bytes)
        self._free_bytes = -1
        # A batch is waiting for room right now.
        self.is_disk_full = False
        # Room for settles: None before the first answer.
        self._is_reserve_kept: bool | None = None
        self._make_reserve = make_reserve
        self._has_said_no_reserve = False
        self._is_disk_short = False
        self._collected_at_count = 0
        self._lost_before_collecting = LOST_BEFORE_COLLECTING
        self.collect: Callable[[], object] = gc.collect
        self.resident_bytes: Callable[[], int] = memory.Resident().bytes
        # One each, so that what fails in one look keeps none of the others: the last verdict stands until there is a new one.
        self._looks = [
            Repeat(loop, MEMORY_PERIOD_S, "the look at memory", self.look_at_memory, logger),
            Repeat(loop, PERIOD_S, "the look at the end of short memory", self.look_at_memory_again, logger),
            Repeat(loop, PERIOD_S, f"the look at the free space of {config.data_dir}", self.look_at_disk, logger),
            Repeat(loop, PERIOD_S, "the look at connections", self.look_at_peers, logger),
        ]

    def start(self) -> None:
        for look in self._looks:
            look.start()

    def stop(self) -> None:
        for look in self._looks:
            look.stop()

    def look_at_memory(self) -> None:
        """Only begins alarm and paging: the other one ends them, after the heap has been given back."""
        used_bytes = self.resident_bytes()
        if not self._paging.is_on and self._paging.judge(used_bytes):
            self._page()
        if not self._memory.is_on and self._memory.judge(used_bytes):
            self._set_memory_alarm(used_bytes)

    def look_at_memory_again(self) -> None:
        if self._paging.is_on:
            memory.give_back()
        used_bytes = self.resident_bytes()
        self._paging.judge(used_bytes)
        self._memory.judge(used_bytes)
        self._set_memory_alarm(used_bytes)
        self._page()

    def look_at_disk(self) -> None:
        self._free_bytes = self._disk.free_bytes()
        self._space.observe(self._free_bytes)
        if self._is_reserve_kept is not True:
            self._make_reserve()
        self._set_disk_alarm()

    def look_at_peers(self) -> None:
        self._peers.watch(self._loop.time())
        self._turn.say()
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

    def _set_memory_alarm(self, used_bytes: int) -> None:
        side = "above" if self._memory.is_on else "below"
        self._alarms.set(
            "low on memory",
            self._memory.is_on,
            f"{mib(used_bytes)} resident, {side} memory_high_watermark "
            f"{self._config.memory_high_watermark:g} x {mib(self._limit_bytes)}",
        )

    def _set_disk_alarm(self) -> None:
        is_short = self._space.is_low or self.is_disk_full or self._is_reserve_kept is False
        where = self._config.data_dir.absolute()
        if self.is_disk_full or self._is_reserve_kept is False:
            figures = f"there is no room in {where} for what has come already"
        else:
            side = "below" if is_short else "above"
            reserve = mib(self._config.disk_reserve_bytes)
            figures = f"{mib(self._free_bytes)} free in {where}, {side} disk_reserve_bytes {reserve}"
        self._alarms.set("low on disk", is_short, figures)
        if is_short is not self._is_disk_short:
            self._is_disk_short = is_short
            self._turn.call(self._turn.broker.set_disk_short, is_short)
        self._page()

    def _page(self) -> None:
        """Messages leave memory only while there is room for them."""
        is_paging = self._paging.is_on and not self._is_disk_short
        if is_paging is not self._is_paging:
            self._is_paging = is_paging
            self._turn.call(self._turn.broker.set_memory_short, is_paging)

    def _collect(self) -> None:
        lost_count = self._peers.lost_count
        if lost_count - self._collected_at_count < self._lost_before_collecting:
            return
        self._collected_at_count = lost_count
        begun_s = time.monotonic()
        self.collect()
        took_ms = (time.monotonic() - begun_s) * 1000
        self._lost_before_collecting = max(LOST_BEFORE_COLLECTING, int(took_ms * LOST_PER_MS_OF_COLLECTING))


def mib(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes} bytes"


def raise_file_limit(connections_max: int, logger: logging.Logger) -> int:
    """As many open files as the connections need, as far as we may; for how many connections that is enough.

    Some are kept back: the log, SQLite and the loop need theirs whoever connects.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + FILES_OF_OUR_OWN
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections_max
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    if reachable < wanted:
        room = max(reachable - FILES_OF_OUR_OWN, reachable // 2)
        logger.warning(
            "only %d files may be open at once, too few for %d connections: there will be %d at most",
            reachable,
            connections_max,
            room,
        )
        return room
    return connections_max
