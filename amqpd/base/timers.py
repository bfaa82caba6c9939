"""What is due at this tick: a hierarchical timing wheel.

Four wheels of 256 slots; a slot of the first is one tick (10 ms), of each next one a full round of the wheel before:
2.56 s, 11 min, 46 h, 497 days. Adding is one append; a timer moves down at most three times before it fires; a tick
costs what is due in it. Timers that are done early stay where they are and are skipped; when they are the majority the
wheels are swept, a few places whenever one more is done.

Owns when a timer fires: never before its due time, and by order of due times; at most one tick after it if `advance` is
called that often and has enough to spend. Does not own a clock, nor how much may be done in a turn: a call touches as many
timers as it is told, `is_behind` says that more is due, and the next call goes on there.

    slot of a higher wheel --its round begins--> _moving --> lower slots --their tick--> _taking --> _due --> fire
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from amqpd.base.sorted_timers import SortedTimers

TICK_MS: Final = 10
SLOTS: Final = 256
LEVELS: Final = 4
SPAN_MAX: Final = (1 << 32) - (1 << 24)
SWEEP_COUNT_MIN: Final = 10_000
# Places that are looked at for each timer that is done, while a sweep goes on.
SWEEP_STEPS: Final = 8
UNBOUNDED: Final = 1 << 60


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

    def rank(self) -> i64:
        """Of those that are due in the same millisecond the lowest fires first."""
        return 0


@final
@mypyc_attr(acyclic=True)
class Hole(Timer):
    """Stands where a sweep has taken a timer away, until it is through with the slot."""

    def fire(self) -> None:
        raise AssertionError("nobody fires a hole")

    def is_done(self) -> bool:
        return True


HOLE: Final = Hole()


@final
class TimingWheel:
    def __init__(self, now_ms: i64) -> None:
        # How many timers stand in the wheels or are due, those included that are done already.
        self.count: i64 = 0
        # More is due than the last `advance` had room for.
        self.is_behind = False
        # How many of them are done, at most: what a sweep takes away is counted until the sweep is through.
        self._done_count: i64 = 0
        # How many stand in the first wheel: with none, time may jump to where the second one turns.
        self._near_count: i64 = 0
        self._tick: i64 = now_ms // TICK_MS
        self._levels: list[list[list[Timer]]] = [[[] for _ in range(SLOTS)] for _ in range(LEVELS)]
        # Slots of higher wheels whose round has begun, and how far the last one of them has come.
        self._moving: list[list[Timer]] = []
        self._moved: i64 = 0
        # The slot of this tick, and how far it has come.
        self._taking: list[Timer] = []
        self._taken: i64 = 0
        self._is_tick_open = False
        self._due = SortedTimers()
        # Those that fired and have more to do than the turn has room for. They take turns with everything else.
        self._put_off: list[Timer] = []
        self._is_put_off_first = False
        self._is_full = False
        self._is_sweeping = False
        self._sweep_level: i64 = 0
        self._sweep_index: i64 = 0
        self._sweep_from: i64 = 0
        self._sweep_to: i64 = 0

    def add(self, timer: Timer) -> None:
        self.count += 1
        self._place(timer, self._tick + 1)

    def put_off(self, timer: Timer) -> None:
        """It fires, and this turn has no room for all that it has to do: `advance` ends, and fires it again next time."""
        self.count += 1
        self._put_off.append(timer)
        self._is_full = True
        self.is_behind = True

    def done(self) -> None:
        """A timer that was added will have nothing to do."""
        self._done_count += 1
        if self._is_sweeping:
            self._sweep_some()
        elif self._done_count > SWEEP_COUNT_MIN and self._done_count * 2 > self.count:
            self._is_sweeping = True
            # What is done from now on may stand where the sweep has been already.
            self._done_count = 0

    def advance(self, now_ms: i64, count_max: i64 = UNBOUNDED) -> i64:
        """Fire what is due, the earliest first. Returns how many timers were touched: moved, skipped or fired."""
        target = now_ms // TICK_MS
        left = count_max
        self._is_full = False
        again: i64 = len(self._put_off)
        if again > 0:
            self._is_put_off_first = not self._is_put_off_first
            if self._is_put_off_first and left > 0:
                self._fire(self._put_off.pop(0), now_ms)
                again -= 1
                left -= 1
        while left > 0 and not self._is_full:
            if len(self._moving) > 0:
                left -= self._move(left)
            elif self._is_tick_open:
                left -= self._take(left)
            elif self._due.count > 0:
                self._fire(self._due.pop(), now_ms)
                left -= 1
            elif self._tick < target:
                if self.count == len(self._put_off):
                    self._tick = target
                else:
                    self._begin_tick(target)
                    left -= 1
            elif again > 0:
                self._fire(self._put_off.pop(0), now_ms)
                again -= 1
                left -= 1
            else:
                break
        self.is_behind = self._has_more(target)
        return count_max - left

    def _has_more(self, target: i64) -> bool:
        if len(self._put_off) > 0 or self._due.count > 0 or self._is_tick_open or len(self._moving) > 0:
            return True
        return self._tick < target and self.count > 0

    def _fire(self, timer: Timer, now_ms: i64) -> None:
        self.count -= 1
        if timer.is_done():
            self._forget_done()
        elif timer.due_ms > now_ms:
            # Beyond the wheels' span when it was added, or given another time since.
            self.add(timer)
        else:
            timer.go_off()

    def _forget_done(self) -> None:
        if self._done_count > 0:
            self._done_count -= 1

    def _begin_tick(self, target: i64) -> None:
        if self._near_count == 0:
            last = self._tick | (SLOTS - 1)
            self._tick = last if last < target else target - 1
        self._tick += 1
        tick = self._tick
        self._is_tick_open = True
        level = 0
        while tick & (SLOTS - 1) == 0 and level + 1 < LEVELS:
            # That wheel has gone round: bring the next slot of the one above down.
            level += 1
            tick >>= 8
            moving = self._take_slot(level, tick & (SLOTS - 1))
            if len(moving) > 0:
                self._moving.append(moving)
        self._moved = 0

    def _take_slot(self, level: i64, index: i64) -> list[Timer]:
        slots = self._levels[level]
        taken = slots[index]
        slots[index] = []
        if self._is_sweeping and self._sweep_level == level and self._sweep_index == index:
            self._sweep_from = 0
            self._sweep_to = 0
        return taken

    def _move(self, count_max: i64) -> i64:
        """Down to where they belong now. Returns how many."""
        moving = self._moving[len(self._moving) - 1]
        begin = self._moved
        end: i64 = len(moving)
        if end - begin > count_max:
            end = begin + count_max
        for at in range(begin, end):
            timer = moving[at]
            if timer is HOLE:
                continue
            if timer.is_done():
                self.count -= 1
                self._forget_done()
            else:
                # This very tick is still to come.
                self._place(timer, self._tick)
        self._moved = end
        if end == len(moving):
            self._moving.pop()
            self._moved = 0
        return end - begin

    def _take(self, count_max: i64) -> i64:
        """What is due in this tick gets into the order of due times. Returns how many."""
        if self._taken == 0:
            self._taking = self._take_slot(0, self._tick & (SLOTS - 1))
        taking = self._taking
        begin = self._taken
        end: i64 = len(taking)
        if end - begin > count_max:
            end = begin + count_max
        for at in range(begin, end):
            timer = taking[at]
            if timer is HOLE:
                continue
            self._near_count -= 1
            if timer.is_done():
                self.count -= 1
                self._forget_done()
            else:
                self._due.push(timer.due_ms, timer.rank(), timer)
        self._taken = end
        if end == len(taking):
            self._taking = []
            self._taken = 0
            self._is_tick_open = False
        return end - begin

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

    def _sweep_some(self) -> None:
        """Look at a few places more: who is not done moves up, and what is empty then goes when the slot is through."""
        slot = self._levels[self._sweep_level][self._sweep_index]
        for _ in range(SWEEP_STEPS):
            at = self._sweep_from
            if at >= len(slot):
                del slot[self._sweep_to :]
                if not self._next_slot():
                    return
                slot = self._levels[self._sweep_level][self._sweep_index]
                continue
            timer = slot[at]
            self._sweep_from = at + 1
            if timer.is_done():
                slot[at] = HOLE
                self.count -= 1
                if self._sweep_level == 0:
                    self._near_count -= 1
            else:
                if self._sweep_to < at:
                    slot[self._sweep_to] = timer
                    slot[at] = HOLE
                self._sweep_to += 1

    def _next_slot(self) -> bool:
        """False if the sweep has been everywhere."""
        self._sweep_from = 0
        self._sweep_to = 0
        self._sweep_index += 1
        if self._sweep_index == SLOTS:
            self._sweep_index = 0
            self._sweep_level += 1
            if self._sweep_level == LEVELS:
                self._sweep_level = 0
                self._is_sweeping = False
        return self._is_sweeping
