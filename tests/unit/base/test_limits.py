from __future__ import annotations

import dataclasses

import pytest

from amqpd.base.limits import DEFAULTS, Limits

# 0 is "none", and says so.
MAY_BE_NONE = ("consumer_timeout_ms",)


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
        ("message_bytes_max", 1, 256 << 20),
        ("segment_bytes", 1 << 20, 1 << 30),
    ],
)
def test_a_limit_holds_at_its_bounds_and_not_beyond(name: str, least: int, most: int) -> None:
    for value in (least, most):
        assert dataclasses.replace(DEFAULTS, **{name: value}).refusal() == ""
    for value in (least - 1, most + 1):
        assert dataclasses.replace(DEFAULTS, **{name: value}).refusal() != ""


@pytest.mark.parametrize(
    "name", ["connections_max", "connections_unauthenticated_max", "handshakes_max", "handshakes_per_host_max"]
)
def test_somebody_must_be_able_to_come_in(name: str) -> None:
    assert dataclasses.replace(DEFAULTS, **{name: 1}).refusal() == ""
    assert name in dataclasses.replace(DEFAULTS, **{name: 0}).refusal()


@pytest.mark.parametrize("version", ["", "3", "3.13", "3.13.x", "3.13.7.1"])
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
