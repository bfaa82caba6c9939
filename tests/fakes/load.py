"""Connections that go nowhere, for the tests of the fleet and of the loop."""

from __future__ import annotations

from typing import cast

from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.fleet import Fleet
from amqpd.cli.load.peer import Peer
from amqpd.cli.load.publisher import Publisher, Template


class IdleConnection:
    """A connection whose socket takes everything, or nothing, and never has anything to read."""

    def __init__(self, publisher: Publisher | None = None) -> None:
        self.peer = Peer(131072)
        self.publisher = publisher
        self.is_full = False
        self.is_blocked = False
        self.is_flow_stopped = False
        self.is_closing = False
        self.is_closed = False
        self.waiting: list[bytes] = []
        self.sent: list[bytes] = []
        self.blocked_count = self.flow_count = self.send_count = self.receive_count = 1
        self.heartbeat_s = 0

    def fileno(self) -> int:
        return -1

    def queue(self, buffers: list[bytes]) -> None:
        self.waiting += buffers

    def has_waiting(self) -> bool:
        return bool(self.waiting)

    def flush(self) -> bool:
        if self.is_full:
            return not self.waiting
        self.sent += self.waiting
        self.waiting = []
        return True

    def ack_rest(self) -> None:
        self.peer.ack_rest()

    def close_channel(self) -> None:
        self.is_closing = True


def publisher(*, window: int = 0, count_max: int = 0, interval_ns: float = 0.0, block_count: int = 4) -> Publisher:
    return Publisher(0, [Template(b"m", b"", 0)], block_count, window, 1, count_max, interval_ns, 0.0)


def fleet_of(producers: list[IdleConnection], consumers: list[IdleConnection]) -> Fleet:
    return Fleet(
        cast(LoadConnection, IdleConnection()),
        cast(list[LoadConnection], producers),
        [each.publisher for each in producers if each.publisher is not None],
        cast(list[LoadConnection], consumers),
    )
