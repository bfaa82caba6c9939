from __future__ import annotations

import dataclasses

import pytest

from amqpd.base.limits import DEFAULTS, Limits, bounds_of

# 0 is "none", and says so.
MAY_BE_NONE = ("consumer_timeout_ms",)
MAY_BE_ZERO = (*MAY_BE_NONE, "heartbeat_s")


def test_defaults_work() -> None:
    assert DEFAULTS.refusal() == ""


def test_limits_can_not_be_changed_in_flight() -> None:
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        DEFAULTS.frame_max = 1  # type: ignore[misc]


def test_every_quantity_is_bounded_by_default() -> None:
    for field in dataclasses.fields(Limits):
        value = getattr(DEFAULTS, field.name)
        if type(value) is int and field.name not in MAY_BE_NONE:
            assert value > 0, f"{field.name} has no bound"


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("frame_max", 4096, 16 << 20),
        ("channel_max", 1, 65535),
        ("heartbeat_s", 0, 65535),
        ("frame_bytes_before_tune_max", 4096, 16 << 20),
        ("queues_max", 1, 1_000_000_000),
        ("handshake_timeout_ms", 1, 315_360_000_000),
        ("consumer_timeout_ms", 0, 315_360_000_000),
        ("unconfirmed_bytes_max", 1, 1 << 40),
        ("segment_bytes", 1 << 20, 1 << 30),
    ],
)
def test_a_limit_holds_at_its_bounds_and_not_beyond(name: str, least: int, most: int) -> None:
    for value in (least, most):
        assert dataclasses.replace(DEFAULTS, **{name: value}).refusal() == ""
    for value in (least - 1, most + 1):
        refusal = dataclasses.replace(DEFAULTS, **{name: value}).refusal()
        assert refusal == f"{name} must be from {least} to {most}, not {value}"


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Limits) if type(each.default) is int])
def test_no_limit_may_be_negative_or_without_end(name: str) -> None:
    least, most = bounds_of(name)
    assert 0 <= least <= getattr(DEFAULTS, name) <= most < 1 << 62
    assert (least == 0) == (name in MAY_BE_ZERO)
    for value in (-1, 1 << 62):
        assert dataclasses.replace(DEFAULTS, **{name: value}).refusal().startswith(f"{name} must be from")


def test_of_two_that_contradict_each_other_the_one_that_was_given_is_named() -> None:
    contradicting = dataclasses.replace(DEFAULTS, frame_max_min=8192, frame_max=5000)
    assert contradicting.refusal() == "frame_max_min must be at most frame_max (5000), not 8192"
    assert contradicting.refusal(["frame_max"]) == "frame_max must be at least frame_max_min (8192), not 5000"
    assert contradicting.refusal(["frame_max", "frame_max_min"]).startswith("frame_max_min must")


@pytest.mark.parametrize("version", ["", "3", "3.13", "3.13.x", "3.13.7.1", "3..7", "3.13.٣"])
def test_version_is_what_clients_can_parse(version: str) -> None:
    assert "three integers" in dataclasses.replace(DEFAULTS, version=version).refusal()


def test_a_passive_declare_needs_one_of_two_things() -> None:
    assert dataclasses.replace(DEFAULTS, passive_declare_permissions="any").refusal() == ""
    assert dataclasses.replace(DEFAULTS, passive_declare_permissions="all").refusal() == (
        "passive_declare_permissions must be none or any, not 'all'"
    )


def test_a_consumer_that_times_out_has_one_of_two_fates() -> None:
    assert dataclasses.replace(DEFAULTS, consumer_timeout_action="close").refusal() == ""
    assert dataclasses.replace(DEFAULTS, consumer_timeout_action="kill").refusal() == (
        "consumer_timeout_action must be return or close, not 'kill'"
    )
