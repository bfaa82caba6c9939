"""What the connections of a run counted together."""

from __future__ import annotations

from amqpd.cli.load.fleet import merged
from amqpd.cli.load.histogram import Histogram
from amqpd.cli.load.report import Measured
from tests.fakes.load import IdleConnection, fleet_of, publisher


def test_totals_are_sums_over_producers_and_consumers() -> None:
    first, second = publisher(window=10), publisher(window=10)
    first.publish(3, 1)
    second.publish(2, 1)
    first.on_confirm(2, True, False, 5)
    second.on_confirm(1, False, True, 5)
    fleet = fleet_of([IdleConnection(first), IdleConnection(second)], [IdleConnection(), IdleConnection()])
    for connection, delivered_count in zip(fleet.consumers, (4, 5), strict=True):
        connection.peer.delivered_count = delivered_count
    totals = fleet.totals(99)
    assert (totals.at_ns, totals.published_count, totals.delivered_count) == (99, 5, 9)
    assert (totals.confirmed_count, totals.nacked_count) == (2, 1)
    assert totals.latency is None


def test_latencies_of_all_connections_are_one_histogram() -> None:
    fleet = fleet_of([], [IdleConnection(), IdleConnection()])
    for connection, latency_ns in zip(fleet.consumers, (10, 20), strict=True):
        connection.peer.latency.record(latency_ns, 1)
    latency = fleet.totals(0, with_latency=True).latency
    assert latency is not None
    assert (latency.count, latency.value_min, latency.value_max) == (2, 10, 20)


def test_recording_is_switched_everywhere() -> None:
    fleet = fleet_of([IdleConnection(publisher())], [IdleConnection()])
    fleet.record(True)
    assert fleet.publishers[0].is_recording
    assert fleet.consumers[0].peer.is_recording
    fleet.record(False)
    assert not fleet.publishers[0].is_recording


def test_counters_of_every_connection_are_added_up() -> None:
    fleet = fleet_of([IdleConnection(publisher())], [IdleConnection()])
    fleet.consumers[0].peer.last_delivery_ns = 7
    measured = Measured()
    fleet.add_counters(measured)
    # One producer, one consumer, the control connection; the fake counts one of each.
    assert (measured.blocked_count, measured.flow_count, measured.send_count) == (3, 3, 3)
    assert measured.last_delivery_ns == 7


def test_nothing_merged_is_an_empty_histogram() -> None:
    assert merged([]).count == 0
    assert merged([Histogram()]).count == 0
