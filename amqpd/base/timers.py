"""What is due at this tick: a hierarchical timing wheel.

Four wheels of 256 slots; a slot of the first is one tick (10 ms), of each next one a full round of the wheel before:
2.56 s, 11 min, 46 h, 497 days. Adding is one append; a timer moves down at most three times before it fires; a tick
costs what is due in it. Timers that are done early stay where they are and are skipped; when they are the majority the
wheels are swept.

Owns when a timer fires: never before its due time, at most one tick after it if `advance` is called that often. Does not
own a clock.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

TICK_MS: Final = 10
SLOTS: Final = 256
LEVELS: Final = 4
SPAN_MAX: Final = (1 << 32) - (1 << 24)
SWEEP_COUNT_MIN: Final = 10_000


@mypyc_attr(acyclic=True)
class Timer:
    """Something that happens at `due_ms`, by the clock that the wheel is advanced with."""

    def __init__(self) -> None:
        self.due_ms: i64 = 0

    def fire(self) -> None:
        raise NotImplementedError

    def go_off(self) -> None:
        """Fire; what goes wrong then is this one timer's, and nobody else's."""
        try:
            self.fire()
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """It went wrong; who knows better than to end everything says so, and goes on."""
        raise error

    def is_done(self) -> bool:
        """True if firing would do nothing: the wheel may forget it."""
        raise NotImplementedError


@final
class TimingWheel:
    def __init__(self, now_ms: i64) -> None:
        # How many timers stand in the wheels, those included that are done already.
        self.count: i64 = 0
        self._done_count: i64 = 0
        # How many stand in the first wheel: with none, time may jump to where the second one turns.
        self._near_count: i64 = 0
        self._tick: i64 = now_ms // TICK_MS
        self._levels: list[list[list[Timer]]] = [[[] for _ in range(SLOTS)] for _ in range(LEVELS)]

    def add(self, timer: Timer) -> None:
        self.count += 1
        self._place(timer, self._tick + 1)

    def done(self) -> None:
        """A timer that was added will have nothing to do."""
        self._done_count += 1
        if self._done_count > SWEEP_COUNT_MIN and self._done_count * 2 > self.count:
            self._sweep()

    def advance(self, now_ms: i64) -> None:
        """Fire everything that is due."""
        target = now_ms // TICK_MS
        if self.count == 0:
            if target > self._tick:
                self._tick = target
            return
        while self._tick < target:
            if self._near_count == 0:
                last = self._tick | (SLOTS - 1)
                self._tick = last if last < target else target - 1
            self._tick += 1
            tick = self._tick
            if tick & (SLOTS - 1) == 0:
                self._cascade(tick)
            slots = self._levels[0]
            index = tick & (SLOTS - 1)
            due = slots[index]
            if len(due) > 0:
                slots[index] = []
                self.count -= len(due)
                self._near_count -= len(due)
                for timer in due:
                    if timer.is_done():
                        self._done_count -= 1
                    elif timer.due_ms > now_ms:
                        # Beyond the wheels' span when it was added, or given another time since.
                        self.add(timer)
                    else:
                        timer.go_off()

    def _place(self, timer: Timer, earliest: i64) -> None:
        # Rounded up, so that nothing fires early.
        tick = (timer.due_ms + TICK_MS - 1) // TICK_MS
        now = self._tick
        if tick < earliest:
            tick = earliest
        if tick - now >= SPAN_MAX:
            tick = now + SPAN_MAX - 1
        level = 0
        # By slots of that level, not by ticks: the slot that is being emptied now comes round a whole turn later.
        while tick - now >= SLOTS:
            tick >>= 8
            now >>= 8
            level += 1
        if level == 0:
            self._near_count += 1
        self._levels[level][tick & (SLOTS - 1)].append(timer)

    def _cascade(self, tick: i64) -> None:
        """The first wheel has gone round: bring the next slot of the second down, and so on."""
        level = 1
        tick >>= 8
        while level < LEVELS:
            slots = self._levels[level]
            index = tick & (SLOTS - 1)
            moving = slots[index]
            if len(moving) > 0:
                slots[index] = []
                for timer in moving:
                    if timer.is_done():
                        self.count -= 1
                        self._done_count -= 1
                    else:
                        # This very tick is still to come.
                        self._place(timer, self._tick)
            if index != 0:
                return
            tick >>= 8
            level += 1

    def _sweep(self) -> None:
        self.count = 0
        self._done_count = 0
        for slots in self._levels:
            for index in range(SLOTS):
                if len(slots[index]) > 0:
                    kept = [timer for timer in slots[index] if not timer.is_done()]
                    slots[index] = kept
                    self.count += len(kept)
        self._near_count = 0
        for near in self._levels[0]:
            self._near_count += len(near)
