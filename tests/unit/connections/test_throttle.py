from __future__ import annotations

import dataclasses

import pytest

from amqpd.base.limits import DEFAULTS
from amqpd.connections.throttle import ELSEWHERE_FAILURES, ELSEWHERE_MS, Attempt, Throttle, network_of

HERE, THERE = "10.0.0.1", "10.0.0.2"


class Guard:
    """A throttle, and the clock."""

    def __init__(self, **limits: int) -> None:
        self.limits = dataclasses.replace(DEFAULTS, **limits)
        self.throttle = Throttle(self.limits)
        self.now_ms = 1_000_000

    def attempt(self, user: str = "app", host: str = HERE) -> Attempt:
        return self.throttle.attempt(host, user, None, "PLAIN", self.now_ms)

    def wait_ms(self, user: str = "app", host: str = HERE) -> int:
        return int(self.attempt(user, host).due_ms) - self.now_ms

    def fail(self, count: int, user: str = "app", host: str = HERE) -> None:
        """Wrong ones, each as soon as it may."""
        for _ in range(count):
            attempt = self.attempt(user, host)
            self.now_ms = max(self.now_ms, int(attempt.due_ms))
            self.throttle.failed(attempt, self.now_ms)

    def succeed(self, user: str = "app", host: str = HERE) -> None:
        self.throttle.succeeded(self.attempt(user, host), self.now_ms)


def test_nobody_waits_who_mistypes_a_few_times() -> None:
    guard = Guard()
    guard.fail(DEFAULTS.login_failures_per_user_max - 1)
    assert guard.wait_ms() == 0


def test_guesses_at_one_user_wait_longer_and_longer_up_to_some_seconds() -> None:
    guard = Guard()
    guard.fail(DEFAULTS.login_failures_per_user_max)
    waits = []
    for _ in range(6):
        waits.append(guard.wait_ms())
        guard.now_ms += waits[-1]
        guard.throttle.failed(Attempt(HERE, "app", None, "PLAIN"), guard.now_ms)
    assert waits == [250, 500, 1000, 2000, 4000, 4000]


@pytest.mark.parametrize("user", ["app", "{}"])
def test_guesses_side_by_side_are_a_few_per_second_at_one_user_or_many(user: str) -> None:
    guard = Guard()
    guard.fail(20, "app")
    attempts = [guard.attempt(user.format(number)) for number in range(100)]
    looked_at = [each.due_ms for each in attempts if not each.is_too_much]
    span_ms = max(looked_at) - guard.now_ms
    assert len(looked_at) / (span_ms / 1000) < 5


def test_who_would_wait_too_long_is_refused_without_a_look() -> None:
    guard = Guard()
    guard.fail(10)
    attempts = [guard.attempt() for _ in range(200)]
    refused = [each for each in attempts if each.is_too_much]
    assert 200 - len(refused) == (DEFAULTS.login_wait_ms_max - 4000) // DEFAULTS.login_interval_ms + 1
    before = guard.throttle.hosts.failures(HERE, guard.now_ms)
    guard.throttle.failed(refused[0], guard.now_ms)
    assert guard.throttle.hosts.failures(HERE, guard.now_ms) == before


def test_guessing_from_one_address_costs_others_nothing() -> None:
    guard = Guard()
    guard.fail(30)
    assert guard.wait_ms(host=THERE) == 0


def test_guessing_from_many_addresses_costs_an_address_without_blame_half_a_second() -> None:
    guard = Guard()
    for number in range(ELSEWHERE_FAILURES):
        guard.fail(1, host=f"10.0.1.{number}")
    assert guard.wait_ms(host=THERE) == ELSEWHERE_MS
    assert guard.wait_ms("other", host=THERE) == 0


def test_another_user_of_the_guessers_address_waits_shortly_however_many_guesses_wait() -> None:
    guard = Guard()
    guard.fail(20)
    for _ in range(200):
        guard.attempt()
    assert guard.wait_ms("mail") == 250


def test_the_right_password_of_the_guessed_user_from_the_same_address_is_looked_at() -> None:
    guard = Guard()
    guard.fail(20)
    for _ in range(8):
        guard.attempt()
    attempt = guard.attempt()
    assert not attempt.is_too_much
    assert attempt.due_ms - guard.now_ms <= 4000 + 9 * DEFAULTS.login_interval_ms


def test_who_has_logged_in_from_there_does_not_wait_for_wrong_logins_of_others() -> None:
    """A thousand workers behind one address, and one with a password of last year."""
    guard = Guard()
    guard.succeed("app")
    guard.fail(50, "old")
    assert [guard.wait_ms("app") for _ in range(1000)] == [0] * 1000
    assert guard.wait_ms("new") == 250


def test_the_first_right_login_lets_all_in_that_wait_beside_it() -> None:
    guard = Guard()
    guard.fail(20, "old")
    waiting = [guard.attempt("app") for _ in range(200)]
    assert waiting[-1].is_too_much
    guard.throttle.succeeded(waiting[0], guard.now_ms + 250)
    assert all(guard.throttle.is_due(each, guard.now_ms + 300) for each in waiting)
    assert not waiting[-1].is_too_much


def test_a_right_login_is_no_licence_to_guess() -> None:
    guard = Guard()
    guard.succeed()
    guard.fail(DEFAULTS.login_failures_per_user_max)
    assert guard.wait_ms() == 250


def test_wrong_logins_are_forgotten_after_the_window() -> None:
    guard = Guard()
    guard.fail(20)
    guard.now_ms += DEFAULTS.login_window_ms
    assert guard.wait_ms() == 0


def test_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    guard = Guard(login_suspects_max=10)
    for number in range(100):
        guard.fail(1, user=f"{number}" * 1000, host=f"10.0.0.{number}")
        guard.fail(1, user="app", host=f"10.0.0.{number}")
    throttle = guard.throttle
    assert [len(each) for each in (throttle.hosts, throttle.users, throttle.pairs)] == [10, 2, 10]
    assert throttle.hosts.failures("10.0.0.99", guard.now_ms) == 2
    assert throttle.hosts.failures("10.0.0.1", guard.now_ms) == 0


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2"
    assert network_of("2001:db8::1") == "2001:db8:0:0"
    assert network_of("::1") == "0:0:0:0"
    assert [network_of(each) for each in ("10.0.0.1", "::ffff:10.0.0.1")] == ["10.0.0.1", "::ffff:10.0.0.1"]
