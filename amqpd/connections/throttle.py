"""How long a login waits: guessing passwords is slow, and whoever knows theirs is let in all the same.

Owns what is remembered of wrong and right logins, and when an attempt is due. Does not own whether a password is right
(vhosts/access.py), nor the connection that waits (connection.py). Passwords themselves are checked in the turn: a salted
SHA-256 takes a microsecond.

After some wrong logins attempts from an address are looked at one after the other, in two lanes: users of whom many
passwords were wrong from there, and all others. Invariants: nobody's right password is refused because others guess, but
for more of the same user from the same address than can wait; guessing from one address delays no other address by more
than ELSEWHERE_MS; who has logged in as a user from an address does not wait for wrong logins as other users from there;
memory is bounded, and what is forgotten is the oldest.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqpd.base.limits import Limits
from amqpd.connections.sasl import Credentials

# The first wait of a user of whom too many passwords were wrong; it doubles with each wrong one, up to four seconds.
FIRST_WAIT_MS: Final = 250
DOUBLINGS_MAX: Final = 4
# What everybody waits who logs in as a user at whose password many addresses guess.
ELSEWHERE_MS: Final = 500
ELSEWHERE_FAILURES: Final = 50
# How long a refusal without a look takes.
REFUSED_MS: Final = 1_000
# Longer than the name of any user.
NAME_CHARACTERS_MAX: Final = 255


@final
class Attempt:
    """One login that somebody wants."""

    def __init__(self, host: str, user: str, credentials: Credentials | None, mechanism: str) -> None:
        self.host = host
        self.user = user if len(user) <= NAME_CHARACTERS_MAX else ""
        self.credentials = credentials
        self.mechanism = mechanism
        self.due_ms: i64 = 0
        # More wait than is bearable: it is refused without a look.
        self.is_too_much = False

    @property
    def pair(self) -> str:
        # An address has no spaces.
        return f"{self.host} {self.user}"


@final
class Suspect:
    """What is known of an address, of a user, or of both together."""

    def __init__(self) -> None:
        self.failure_count: i64 = 0
        self.failed_ms: i64 = 0
        self.has_succeeded = False
        # When the last attempt of each lane is due: of users of whom many passwords were wrong, and of others.
        self.guessing_ms: i64 = 0
        self.others_ms: i64 = 0


@final
class Suspects:
    """The last so many, by name."""

    def __init__(self, count_max: int, window_ms: i64) -> None:
        self._count_max = count_max
        self._window_ms = window_ms
        self._by_name: dict[str, Suspect] = {}

    def find(self, name: str, now_ms: i64) -> Suspect | None:
        suspect = self._by_name.get(name)
        if suspect is not None and suspect.failure_count > 0 and now_ms - suspect.failed_ms >= self._window_ms:
            suspect.failure_count = 0
        return suspect

    def failures(self, name: str, now_ms: i64) -> i64:
        suspect = self.find(name, now_ms)
        return suspect.failure_count if suspect is not None else 0

    def remember(self, name: str, now_ms: i64) -> Suspect:
        """The one of that name, a new one perhaps, as the last to be forgotten."""
        suspect = self.find(name, now_ms)
        if suspect is None:
            suspect = Suspect()
            if len(self._by_name) >= self._count_max:
                del self._by_name[next(iter(self._by_name))]
        else:
            del self._by_name[name]
        self._by_name[name] = suspect
        return suspect

    def count_failure(self, name: str, now_ms: i64) -> None:
        suspect = self.remember(name, now_ms)
        suspect.failure_count += 1
        suspect.failed_ms = now_ms

    def __len__(self) -> int:
        return len(self._by_name)


@final
class Throttle:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.hosts = Suspects(limits.login_suspects_max, limits.login_window_ms)
        self.users = Suspects(limits.login_suspects_max, limits.login_window_ms)
        self.pairs = Suspects(limits.login_suspects_max, limits.login_window_ms)

    def attempt(self, host: str, user: str, credentials: Credentials | None, mechanism: str, now_ms: i64) -> Attempt:
        """An attempt with the time from which on it may be decided: usually now."""
        attempt = Attempt(network_of(host), user, credentials, mechanism)
        attempt.due_ms = now_ms
        limits = self._limits
        wrong = self.pairs.failures(attempt.pair, now_ms) - limits.login_failures_per_user_max
        if wrong >= 0:
            wait_ms = i64(FIRST_WAIT_MS) << min(wrong, DOUBLINGS_MAX)
            self._line_up(attempt, True, wait_ms, now_ms)
        elif self._is_known(attempt, now_ms):
            return attempt
        elif self.hosts.failures(attempt.host, now_ms) >= limits.login_failures_per_host_max:
            self._line_up(attempt, False, FIRST_WAIT_MS, now_ms)
        elif self.users.failures(attempt.user, now_ms) >= ELSEWHERE_FAILURES:
            attempt.due_ms = now_ms + ELSEWHERE_MS
        return attempt

    def _line_up(self, attempt: Attempt, is_guessing: bool, wait_ms: i64, now_ms: i64) -> None:
        suspect = self.hosts.remember(attempt.host, now_ms)
        last_ms = suspect.guessing_ms if is_guessing else suspect.others_ms
        due_ms = max(now_ms + wait_ms, last_ms + self._limits.login_interval_ms)
        if due_ms - now_ms > self._limits.login_wait_ms_max:
            attempt.is_too_much = True
            attempt.due_ms = now_ms + REFUSED_MS
            return
        attempt.due_ms = due_ms
        if is_guessing:
            suspect.guessing_ms = due_ms
        else:
            suspect.others_ms = due_ms

    def is_due(self, attempt: Attempt, now_ms: i64) -> bool:
        if now_ms >= attempt.due_ms:
            return True
        # Somebody who waits beside it may have logged in meanwhile.
        if not self._is_known(attempt, now_ms):
            return False
        attempt.is_too_much = False
        return True

    def _is_known(self, attempt: Attempt, now_ms: i64) -> bool:
        """Somebody has logged in as this user from this address, and hardly anybody has failed to since."""
        pair = self.pairs.find(attempt.pair, now_ms)
        if pair is None or not pair.has_succeeded:
            return False
        return pair.failure_count < self._limits.login_failures_per_user_max

    def failed(self, attempt: Attempt, now_ms: i64) -> None:
        if attempt.is_too_much:
            return
        self.hosts.count_failure(attempt.host, now_ms)
        self.users.count_failure(attempt.user, now_ms)
        self.pairs.count_failure(attempt.pair, now_ms)

    def succeeded(self, attempt: Attempt, now_ms: i64) -> None:
        pair = self.pairs.remember(attempt.pair, now_ms)
        pair.has_succeeded = True
        pair.failure_count = 0


def network_of(host: str) -> str:
    """Who has one IPv6 address has 2^64: they count as one."""
    if ":" not in host or "." in host:
        return host
    head, _, tail = host.partition("::")
    groups = head.split(":") if head != "" else []
    if "::" in host:
        behind = tail.split(":") if tail != "" else []
        groups = groups + ["0"] * max(8 - len(groups) - len(behind), 0) + behind
    return ":".join(groups[:4])
