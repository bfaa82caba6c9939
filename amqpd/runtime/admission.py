"""Who may stay at the door, and whose handshake is next: bounds on connections from the moment they are accepted.

    SILENT --first bytes--> HANDSHAKE, or IN_LINE while there are as many handshakes as may be --> HANDSHAKE --> open

Owns the counts, the line, and who goes when somebody new has no room: who has been silent for longest, then whose
handshake stands still, then the newest of the longest line; never who has logged in. Does not own sockets, nor clocks.
Invariants: whoever entered leaves once, however often it is told; a guest is in one stage. Handshakes that have come to
their end are only struck off when somebody needs the place, so that opening stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from amqpd.base.limits import Limits

if TYPE_CHECKING:
    from amqpd.connections.connection import Connection

SILENT: Final = 0
IN_LINE: Final = 1
HANDSHAKE: Final = 2
# Logged in, or gone.
DONE: Final = 3

MADE_ROOM: Final = "others want to come in, and it has been silent for longest"
STANDS_STILL: Final = "others want to come in, and its handshake stands still"
TOO_MANY_OF_ITS_HOST: Final = "others want to come in, and nobody waits with as many connections as its host"
NEVER_SPOKE: Final = "it sent nothing in time"


class Guest:
    """One accepted socket, as far as its place is concerned."""

    def __init__(self, host: str, port: int, now_ms: int, timeout_ms: int) -> None:
        self.host = host
        self.port = port
        self.stage = SILENT
        # Since when it has made no step, and when its handshake should be over.
        self.step_ms = now_ms
        self.deadline_ms = now_ms + timeout_ms
        # From the end of the TLS handshake on, if there is one.
        self.connection: Connection | None = None
        self.state = -1

    def drop(self, why: str) -> None:
        """Close the socket; the place is free already."""
        raise NotImplementedError

    def forget(self) -> None:
        """The socket is gone: what knows this guest is known no more, or only the garbage collector could take both."""
        self.connection = None


class Admission:
    def __init__(self, limits: Limits, connections_max: int = 0) -> None:
        """`connections_max`: as many sockets as there is room for, where that is less than the limit; 0 is no less."""
        self._limits = limits
        self._connections_max = min(limits.connections_max, connections_max or limits.connections_max)
        self._guests: dict[Guest, None] = {}
        self._count_by_host: dict[str, int] = {}
        self._stranger_count_by_host: dict[str, int] = {}
        # Whoever came first is first.
        self._silent: dict[Guest, None] = {}
        self._silent_by_host: dict[str, dict[Guest, None]] = {}
        # The host whose turn it is comes first.
        self._lines: dict[str, dict[Guest, None]] = {}
        self._line_count = 0
        self._handshakes: dict[Guest, None] = {}
        self._handshake_count_by_host: dict[str, int] = {}

    @property
    def connection_count(self) -> int:
        return len(self._guests)

    @property
    def has_line(self) -> bool:
        return self._line_count > 0

    def strangers(self) -> list[Guest]:
        """Everybody who has no connection in the core yet."""
        return [guest for guest in self._guests if guest.connection is None]

    # Coming

    def enter(self, guest: Guest, now_ms: int) -> str:
        """A place for a socket that was accepted, or why it can't have one. Somebody else may be dropped for it."""
        limits = self._limits
        host = guest.host
        if len(self._guests) >= self._connections_max and not self._make_room("", host, now_ms):
            return f"there are {self._connections_max} connections already"
        if self._count_by_host.get(host, 0) >= limits.connections_per_host_max and not self._make_room(
            host, host, now_ms
        ):
            return f"{host} has {limits.connections_per_host_max} connections already"
        if self._stranger_count_by_host.get(host, 0) >= limits.connections_unauthenticated_per_host_max:
            self._drop_silent(host)
        if self._stranger_count >= limits.connections_unauthenticated_max:
            self._observe(now_ms)
            if self._stranger_count >= limits.connections_unauthenticated_max and not self._make_room("", host, now_ms):
                return "too many connections have not logged in yet"
        self._guests[guest] = None
        self._silent[guest] = None
        self._silent_by_host.setdefault(host, {})[guest] = None
        _add(self._count_by_host, host, 1)
        _add(self._stranger_count_by_host, host, 1)
        return ""

    def spoke(self, guest: Guest, now_ms: int) -> bool:
        """The first bytes have come. True: its handshake may begin; False: it stands in line."""
        if guest.stage != SILENT:
            return False
        self._take_out(guest)
        guest.step_ms = now_ms
        if self._has_place(guest.host):
            self._begin(guest)
            return True
        self._observe(now_ms)
        if self._line_count == 0 and self._has_place(guest.host):
            self._begin(guest)
            return True
        guest.stage = IN_LINE
        self._lines.setdefault(guest.host, {})[guest] = None
        self._line_count += 1
        _add(self._stranger_count_by_host, guest.host, 1)
        return False

    def call_in(self, now_ms: int) -> list[Guest]:
        """Whose handshake may begin now, one of each host in turns; handshakes that stand still make room for them."""
        if self._line_count == 0:
            return []
        self._observe(now_ms)
        stalled = self._stalled(now_ms)
        called: list[Guest] = []
        hosts = list(self._lines)
        while hosts:
            still_waiting: list[str] = []
            for host in hosts:
                if not self._has_place(host) and not self._drop_stalled(host, stalled):
                    continue
                guest = next(iter(self._lines[host]))
                self._take_out(guest)
                # That it had to wait was our doing.
                guest.deadline_ms += now_ms - guest.step_ms
                guest.step_ms = now_ms
                self._begin(guest)
                called.append(guest)
                if host in self._lines:
                    # Behind all others.
                    self._lines[host] = self._lines.pop(host)
                    still_waiting.append(host)
            hosts = still_waiting
        return called

    def expire(self, now_ms: int) -> None:
        """Drop whoever has been silent for too long."""
        for guest in [each for each in self._silent if now_ms >= each.deadline_ms]:
            self._drop(guest, NEVER_SPOKE)

    # Going

    def leave(self, guest: Guest) -> None:
        if guest not in self._guests:
            return
        self._take_out(guest)
        del self._guests[guest]
        _add(self._count_by_host, guest.host, -1)

    def _take_out(self, guest: Guest) -> None:
        """Out of its stage."""
        host = guest.host
        if guest.stage == SILENT:
            del self._silent[guest]
            _remove(self._silent_by_host, guest)
        elif guest.stage == IN_LINE:
            _remove(self._lines, guest)
            self._line_count -= 1
        elif guest.stage == HANDSHAKE:
            del self._handshakes[guest]
            _add(self._handshake_count_by_host, host, -1)
        else:
            return
        guest.stage = DONE
        _add(self._stranger_count_by_host, host, -1)

    # Handshakes

    def _begin(self, guest: Guest) -> None:
        guest.stage = HANDSHAKE
        self._handshakes[guest] = None
        _add(self._handshake_count_by_host, guest.host, 1)
        _add(self._stranger_count_by_host, guest.host, 1)

    def _has_place(self, host: str) -> bool:
        limits = self._limits
        return (
            len(self._handshakes) < limits.handshakes_max
            and self._handshake_count_by_host.get(host, 0) < limits.handshakes_per_host_max
        )

    def _observe(self, now_ms: int) -> None:
        """See who got further since we looked last; whoever is open is a stranger no more."""
        for guest in list(self._handshakes):
            connection = guest.connection
            if connection is None:
                continue
            if connection.session is not None:
                self._take_out(guest)
            elif connection.state != guest.state or connection.is_held_back:
                guest.state = connection.state
                guest.step_ms = now_ms

    def _stalled(self, now_ms: int) -> list[Guest]:
        """Handshakes without a step for too long, the longest first."""
        before_ms = now_ms - self._limits.handshake_stalled_ms
        return sorted((each for each in self._handshakes if each.step_ms <= before_ms), key=lambda each: each.step_ms)

    # Room

    @property
    def _stranger_count(self) -> int:
        return len(self._silent) + self._line_count + len(self._handshakes)

    def _make_room(self, of_host: str, for_host: str, now_ms: int) -> bool:
        """Drop one stranger, of `of_host` unless that is ""; False if there is none that may go."""
        if self._drop_silent(of_host):
            return True
        self._observe(now_ms)
        for guest in self._stalled(now_ms):
            if of_host in ("", guest.host):
                self._drop(guest, STANDS_STILL)
                return True
        if of_host == "" and self._lines:
            crowd = max(self._lines, key=lambda host: len(self._lines[host]))
            if crowd != for_host:
                self._drop(next(reversed(self._lines[crowd])), TOO_MANY_OF_ITS_HOST)
                return True
        return False

    def _drop_silent(self, of_host: str) -> bool:
        silent = self._silent_by_host.get(of_host, {}) if of_host else self._silent
        guest = next(iter(silent), None)
        if guest is None:
            return False
        self._drop(guest, MADE_ROOM)
        return True

    def _drop_stalled(self, for_host: str, stalled: list[Guest]) -> bool:
        """Drop the longest of `stalled` that makes a place for `for_host`."""
        is_host_full = self._handshake_count_by_host.get(for_host, 0) >= self._limits.handshakes_per_host_max
        for at, guest in enumerate(stalled):
            if guest.host == for_host or not is_host_full:
                del stalled[at]
                self._drop(guest, STANDS_STILL)
                return self._has_place(for_host)
        return False

    def _drop(self, guest: Guest, why: str) -> None:
        self.leave(guest)
        guest.drop(why)


def _add(counts: dict[str, int], host: str, step: int) -> None:
    count = counts.get(host, 0) + step
    if count:
        counts[host] = count
    else:
        counts.pop(host, None)


def _remove(by_host: dict[str, dict[Guest, None]], guest: Guest) -> None:
    of_host = by_host[guest.host]
    del of_host[guest]
    if not of_host:
        del by_host[guest.host]
