from __future__ import annotations

import dataclasses
import socket

import pytest

from amqpd.base.limits import DEFAULTS
from amqpd.config import Address
from amqpd.runtime.admission import MADE_ROOM, Admission, Guest
from amqpd.runtime.tcp import CannotListen, Peer, Peers, bind, is_loopback
from tests.fakes.shell import FakeConnection, FakeTransport, World


class Caller(Guest):
    """At a door without sockets."""

    def drop(self, why: str) -> None:
        self.dropped = why


class Street:
    """Peers on fake transports."""

    def __init__(self, **limits: int) -> None:
        self.world = World()
        bounds = dataclasses.replace(DEFAULTS, **limits)
        self.peers = Peers(self.world.turn, Admission(bounds), bounds)

    def connect(self, transport: FakeTransport) -> tuple[Peer, FakeConnection]:
        host, port = transport.extra["peername"]  # type: ignore[misc]
        guest = Caller(host, port, 0, 10_000)
        assert self.peers.admission.enter(guest, 0) == ""
        self.peers.admission.spoke(guest, 0)
        peer = Peer(self.peers, guest)
        peer.connection_made(transport)  # type: ignore[arg-type]
        connection = next(iter(reversed(self.world.turn.peers)), None)
        return peer, connection  # type: ignore[return-value]

    def end_turn(self) -> None:
        self.world.loop.run()


@pytest.fixture
def street() -> Street:
    return Street()


def test_all_reads_of_a_turn_are_answered_with_one_write(street: Street) -> None:
    transport = FakeTransport()
    peer, _ = street.connect(transport)
    peer.data_received(b"a")
    peer.data_received(b"b")
    assert transport.written == []
    street.end_turn()
    assert transport.written == [b"ab"]


def test_core_learns_who_connected_and_whether_by_tls(street: Street) -> None:
    street.connect(FakeTransport(("10.1.2.3", 4), tls=True))
    assert street.world.broker.calls == ["tick", "connect 10.1.2.3 4 True"]


def test_the_time_for_the_handshake_counts_from_accept(street: Street) -> None:
    _, connection = street.connect(FakeTransport())
    assert connection.deadline_ms == 10_000


def test_who_was_dropped_while_its_transport_was_made_never_gets_to_the_core(street: Street) -> None:
    guest = Caller("10.0.0.1", 1, 0, 10_000)
    street.peers.admission.enter(guest, 0)
    street.peers.admission.spoke(guest, 0)
    street.peers.admission.leave(guest)
    transport = FakeTransport()
    peer = Peer(street.peers, guest)
    peer.connection_made(transport)  # type: ignore[arg-type]
    assert transport.is_aborted
    peer.connection_lost(None)
    assert street.world.broker.calls == []


def test_strangers_that_go_for_one_reason_are_one_line_and_a_count_each_second(street: Street) -> None:
    for port in range(1000):
        street.peers.say_of(f"connection from 10.0.0.1:{port} dropped", MADE_ROOM)
    street.peers.watch(1.0)
    street.peers.watch(2.0)
    street.end_turn()
    assert street.world.log == [
        f"connection from 10.0.0.1:0 dropped: {MADE_ROOM}",
        f"999 more connections went the same way: {MADE_ROOM}",
    ]


def test_our_side_ends_after_the_last_output_and_the_rest_is_discarded(street: Street) -> None:
    """A client that is still writing must be able to read the close-ok."""
    transport = FakeTransport()
    peer, connection = street.connect(transport)
    connection.says(b"close-ok")
    connection.closing = True
    street.end_turn()
    assert transport.written == [b"close-ok"]
    assert (transport.is_ended, transport.is_closed) == (True, False)
    peer.data_received(b"late")
    street.end_turn()
    assert transport.is_reading


def test_tls_socket_is_closed_after_the_last_output(street: Street) -> None:
    transport = FakeTransport(tls=True)
    _, connection = street.connect(transport)
    connection.closing = True
    connection.says(b"close-ok")
    street.end_turn()
    assert transport.is_closed


def test_nothing_is_written_to_a_socket_that_is_closing(street: Street) -> None:
    transport = FakeTransport()
    _, connection = street.connect(transport)
    transport.close()
    connection.says(b"x")
    street.end_turn()
    assert transport.written == []


def test_connection_that_does_not_want_to_read_is_not_read(street: Street) -> None:
    transport = FakeTransport()
    peer, connection = street.connect(transport)
    connection.reading = False
    peer.data_received(b"x")
    assert not transport.is_reading
    connection.reading = True
    connection.says(b"y")
    street.end_turn()
    assert transport.is_reading


def test_full_socket_is_told_to_the_core_and_so_is_its_end(street: Street) -> None:
    peer, connection = street.connect(FakeTransport())
    peer.pause_writing()
    assert connection.writable is False
    peer.resume_writing()
    assert connection.writable is True
    assert street.peers.watched == {}


def test_reader_without_progress_is_dropped_after_its_timeout(street: Street) -> None:
    transport = FakeTransport()
    peer, _ = street.connect(transport)
    transport.unsent_bytes = 5 << 20
    peer.pause_writing()
    for now_s in (100.0, 130.0, 159.0):
        street.peers.watch(now_s)
    assert not transport.is_aborted
    street.peers.watch(160.0)
    assert transport.is_aborted
    street.end_turn()
    assert street.world.log == ["fake is dropped: it has not read for too long, with 5242880 bytes waiting"]


def test_slow_reader_with_progress_is_kept(street: Street) -> None:
    transport = FakeTransport()
    peer, _ = street.connect(transport)
    transport.unsent_bytes = 5 << 20
    peer.pause_writing()
    for second in range(0, 600, 30):
        transport.unsent_bytes -= 1
        street.peers.watch(float(second))
    assert not transport.is_aborted


def test_closed_peer_that_never_takes_its_output_is_cut_off(street: Street) -> None:
    transport = FakeTransport()
    _, connection = street.connect(transport)
    connection.says(b"close")
    connection.closing = True
    street.end_turn()
    street.peers.watch(100.0)
    street.peers.watch(100.0 + DEFAULTS.close_timeout_ms / 1000)
    assert transport.is_aborted


def test_lost_connection_is_told_once_and_forgotten(street: Street) -> None:
    transport = FakeTransport()
    peer, _ = street.connect(transport)
    peer.pause_writing()
    peer.connection_lost(None)
    assert street.world.broker.calls[-1] == "lost"
    assert street.world.turn.peers == {}
    assert street.peers.watched == {}
    assert street.peers.admission.connection_count == 0


def test_write_buffer_is_bounded_by_the_limit() -> None:
    transport = FakeTransport()
    Street(outgoing_bytes_max=1 << 20).connect(transport)
    assert transport.limits == (1 << 20, 1 << 18)


def test_address_in_use_is_refused_with_a_sentence() -> None:
    (taken,) = bind(Address("127.0.0.1", 0))
    taken.listen(1)
    try:
        with pytest.raises(CannotListen, match=r"can't listen on 127\.0\.0\.1:\d+: Address already in use"):
            bind(Address("127.0.0.1", taken.getsockname()[1]))
    finally:
        taken.close()


def test_accepted_sockets_will_not_wait_to_fill_packets() -> None:
    (listening,) = bind(Address("127.0.0.1", 0))
    assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    listening.close()


def test_loopback_is_known_by_its_address() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"))
