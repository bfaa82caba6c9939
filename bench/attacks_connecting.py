"""Attacks by connections: many at once, many that beat, guess or go, and content cut as small as it can be."""

from __future__ import annotations

import socket
import struct

from attack import Attack
from pamqp import commands, header
from raw import CHANNEL_OPEN_OK, CONNECTION_CLOSE, CONSUME_OK, QUEUE_DECLARE_OK, AttackError, handshake, method
from staging import Stage, declare, publish

SMALL_MIB = 24


def small_frames(stage: Stage) -> None:
    """The broker may take it or refuse it."""
    size = stage.count(SMALL_MIB << 20) & ~1
    stage.queue("small")
    peer = stage.connect()
    start = method(commands.Basic.Publish(routing_key="small"))
    start += method(header.ContentHeader(0, size, commands.Basic.Properties()))  # type: ignore[arg-type]
    frames = b"\x03\x00\x01\x00\x00\x00\x02xx\xce" * (size // 2)
    with stage.watched():
        stage.wire.send(peer, start + frames)


def empty_frames(stage: Stage) -> None:
    """Body frames without a body: nothing of the content has come, ever."""
    peer = stage.connect()
    stage.queue("small")
    start = method(commands.Basic.Publish(routing_key="small"))
    start += method(header.ContentHeader(0, 10, commands.Basic.Properties()))  # type: ignore[arg-type]
    with stage.watched():
        stage.wire.send(peer, start + b"\x03\x00\x01\x00\x00\x00\x00\xce" * stage.count(3_000_000))


def heartbeats(stage: Stage) -> None:
    """Each wants one every second; we never send any, so all are given up within seconds."""
    stage.wire.connect(stage.count(2000), heartbeat_s=1)
    with stage.watched(at_least_s=6.0):
        pass


def reconnect(stage: Stage) -> None:
    """All go at once and come back at once, each with a queue of its own and a consumer."""
    count = stage.count(1000)
    wire = stage.wire
    again = handshake() + method(declare("", is_exclusive=True))
    again += method(commands.Basic.Consume(no_ack=True))
    peers = [wire.dial(again) for _ in range(count)]
    for peer in peers:
        wire.wait(peer, CONSUME_OK)
    with stage.watched():
        for peer in peers:
            wire.drop(peer)
        peers = [wire.dial(again) for _ in range(count)]
        refused = 0
        for peer in peers:
            wire.run_until(lambda peer=peer: peer.came(CONSUME_OK) > 0 or peer.is_gone, 60.0)  # type: ignore[misc]
            refused += peer.came(CONSUME_OK) == 0
    if refused:
        raise AttackError(f"{refused} of {count} were not served")


def guess(stage: Stage) -> None:
    """Wrong passwords, from 20 connections at a time."""
    left = stage.count(1000)
    with stage.watched():
        while left > 0:
            peers = [stage.wire.dial(handshake(password=f"guess-{left}-{number}")) for number in range(min(20, left))]
            for peer in peers:
                gone = lambda peer=peer: peer.is_gone or peer.came(CONNECTION_CLOSE) > 0  # noqa: E731
                stage.wire.run_until(gone, 5.0)
                stage.wire.drop(peer)
            left -= len(peers)


def silent(stage: Stage) -> None:
    """Open sockets that say nothing, and then all go."""
    count = stage.count(2000)
    with stage.watched(at_least_s=3.0):
        sockets = [socket.create_connection(("127.0.0.1", stage.broker.port)) for _ in range(count)]
        stage.wire.run_until(lambda: False, 1.0)
        for each in sockets:
            # A reset rather than an end.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()


def drop_everybody(stage: Stage) -> None:
    """1,000 connections, each with a queue, a consumer and 100 messages that it has not settled."""
    count, each_count = stage.count(1000), stage.count(100)
    peers = stage.wire.connect(count)
    for number, peer in enumerate(peers):
        stage.wire.call(peer, declare(f"theirs-{number}"), QUEUE_DECLARE_OK)
        stage.wire.call(peer, commands.Basic.Consume(queue=f"theirs-{number}"), CONSUME_OK)
        stage.flood(stage.control, publish(f"theirs-{number}"), each_count)
    stage.rest()
    with stage.watched():
        for peer in peers:
            stage.wire.drop(peer)


def handshakes(stage: Stage) -> None:
    """One after the other, without a break."""
    with stage.watched():
        for _ in range(stage.count(1000)):
            peer = stage.wire.dial(handshake())
            stage.wire.wait(peer, CHANNEL_OPEN_OK)
            stage.wire.drop(peer)


ATTACKS = [
    Attack("small-frames", "24 MiB of content in frames of 2 bytes", small_frames),
    Attack("empty-frames", "3,000,000 empty body frames", empty_frames),
    Attack("heartbeats", "2,000 connections that want heartbeats each second and send none", heartbeats),
    Attack("reconnect", "1,000 connections go and come back at once", reconnect),
    Attack("handshakes", "1,000 connections, one after the other", handshakes),
    Attack("guess", "1,000 wrong passwords", guess),
    Attack("silent", "2,000 silent connections come and go", silent),
    Attack("drop-all", "1,000 connections with 100 unacked messages each disconnect", drop_everybody),
]
