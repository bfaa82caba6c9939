"""All connections of one run: a control connection, the producers and the consumers, and what they counted together.

Owns: opening them with their roles, and the sums over them. Does not own the loop that drives them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pamqp import commands

from amqpd.cli.load import topology
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.histogram import Histogram
from amqpd.cli.load.publisher import Publisher
from amqpd.cli.load.report import Measured, Totals
from amqpd.cli.load.settings import Settings
from amqpd.cli.load.templates import build_templates

NS = 1_000_000_000


@dataclass
class Fleet:
    control: LoadConnection
    producers: list[LoadConnection] = field(default_factory=list)
    publishers: list[Publisher] = field(default_factory=list)
    consumers: list[LoadConnection] = field(default_factory=list)
    # Messages that waited in the queues before the run.
    ready_count: int = 0

    @property
    def connections(self) -> list[LoadConnection]:
        return [*self.producers, *self.consumers, self.control]

    def delivered_count(self) -> int:
        return sum([connection.peer.delivered_count for connection in self.consumers])

    def published_count(self) -> int:
        return sum([publisher.published_count for publisher in self.publishers])

    def record(self, is_recording: bool) -> None:
        """Whether latencies go into the histograms."""
        for publisher in self.publishers:
            publisher.is_recording = is_recording
        for connection in self.consumers:
            connection.peer.is_recording = is_recording

    def totals(self, now_ns: int, *, with_latency: bool = False) -> Totals:
        publishers, peers = self.publishers, [connection.peer for connection in self.consumers]
        totals = Totals(
            at_ns=now_ns,
            published_count=self.published_count(),
            confirmed_count=sum([publisher.confirmed_count for publisher in publishers]),
            nacked_count=sum([publisher.nacked_count for publisher in publishers]),
            returned_count=sum([connection.peer.returned_count for connection in self.producers]),
            delivered_count=self.delivered_count(),
            redelivered_count=sum([peer.redelivered_count for peer in peers]),
            out_of_order_count=sum([peer.out_of_order_count for peer in peers]),
            gap_count=sum([peer.gap_count for peer in peers]),
        )
        if with_latency:
            totals.latency = merged([peer.latency for peer in peers])
            totals.confirm_latency = merged([publisher.confirm_latency for publisher in publishers])
        return totals

    def add_counters(self, measured: Measured) -> None:
        """What the connections noted besides messages."""
        measured.last_delivery_ns = max([connection.peer.last_delivery_ns for connection in self.consumers], default=0)
        measured.lag_ns_max = max([publisher.lag_ns_max for publisher in self.publishers], default=0)
        for connection in self.connections:
            measured.blocked_count += connection.blocked_count
            measured.flow_count += connection.flow_count
            measured.heartbeat_count += connection.peer.heartbeat_count
            measured.send_count += connection.send_count
            measured.receive_count += connection.receive_count

    def disconnect(self) -> None:
        """Close the sockets of whatever is still open; polite good-byes were said before."""
        for connection in self.connections:
            connection.socket.close()


def assemble(settings: Settings) -> Fleet:
    """Declare what is needed and open every connection; nobody publishes or consumes yet."""
    fleet = Fleet(LoadConnection.open(settings, "control connection"))
    try:
        fleet.ready_count = topology.declare(fleet.control, settings)
        # Producers first, they stay silent; the consumers' deliveries begin with their subscription.
        for number in range(settings.producers):
            connection = connect_producer(settings, number)
            assert connection.publisher is not None
            fleet.producers.append(connection)
            fleet.publishers.append(connection.publisher)
        for number in range(settings.consumers):
            fleet.consumers.append(connect_consumer(settings, number))
    except BaseException:
        fleet.disconnect()
        raise
    return fleet


def connect_producer(settings: Settings, number: int) -> LoadConnection:
    connection = LoadConnection.open(settings, f"producer {number}")
    if settings.confirm:
        connection.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
    publisher = Publisher(
        number,
        build_templates(settings, number, connection.peer.frame_max),
        settings.buffer,
        settings.confirm,
        settings.batch,
        settings.count,
        NS * settings.producers / settings.rate if settings.rate else 0.0,
        NS / settings.rate * number if settings.rate else 0.0,
    )
    connection.publisher = publisher
    connection.peer.confirm_to(publisher)
    return connection


def connect_consumer(settings: Settings, number: int) -> LoadConnection:
    connection = LoadConnection.open(settings, f"consumer {number}")
    if settings.prefetch and settings.ack_every:
        connection.call(commands.Basic.Qos(prefetch_count=settings.prefetch), commands.Basic.QosOk)
    connection.peer.consume(settings.ack_every, settings.verified_producers)
    return connection


def merged(histograms: list[Histogram]) -> Histogram:
    total = Histogram()
    for histogram in histograms:
        total.add(histogram)
    return total
