"""A broker and a client on it, for modules that are best seen from outside."""

from __future__ import annotations

import pytest

from tests.behaviour.harness import BrokerHarness, Client


@pytest.fixture
def broker() -> BrokerHarness:
    return BrokerHarness()


@pytest.fixture
def client(broker: BrokerHarness) -> Client:
    return broker.connect(consumer_cancel_notify=True)
