from __future__ import annotations

import tracemalloc

import pytest

from amqpd.base.errors import ResourceFault
from amqpd.base.limits import Limits
from amqpd.channels.partial import BLOCK_COUNT, PIECE_BYTES, SMALL_BYTES, Partial
from amqpd.channels.session import Session
from amqpd.wire.outbox import Outbox
from tests.behaviour.harness import BrokerHarness


def new_session(limits: Limits | None = None) -> Session:
    broker = BrokerHarness(limits).broker
    return broker.new_session(77, Outbox(77, []), broker.vhosts["/"], "guest")


def pieces_of(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 100, SMALL_BYTES, 5000])
@pytest.mark.parametrize("count", [2, BLOCK_COUNT, BLOCK_COUNT + 1, 3 * BLOCK_COUNT + 5])
def test_body_is_the_same_in_whatever_pieces_it_comes(size: int, count: int) -> None:
    session = new_session()
    partial = Partial(session)
    body = bytes(range(256)) * (size * count // 256 + 1)
    body = body[: size * count]
    *pieces, last = pieces_of(body, size)
    for piece in pieces:
        partial.add(piece)
        assert session.partial_bytes == partial.counted_bytes >= PIECE_BYTES
    assert partial.take(last) == body
    assert session.partial_bytes == partial.counted_bytes == 0


def test_small_and_large_pieces_may_take_turns() -> None:
    partial = Partial(new_session())
    pieces = [bytes([number % 256]) * (1 if number % 300 else 300_000) for number in range(2000)]
    for piece in pieces:
        partial.add(piece)
    assert partial.take(b"last") == b"".join(pieces) + b"last"


@pytest.mark.parametrize("size", [1, 2, 30, 5000])
def test_what_is_counted_is_what_it_takes(size: int) -> None:
    session = new_session()
    partial = Partial(session)
    body = bytes(200_000)
    tracemalloc.start()
    try:
        before_bytes = tracemalloc.get_traced_memory()[0]
        for at in range(0, len(body), size):
            partial.add(body[at : at + size])
        used_bytes = tracemalloc.get_traced_memory()[0] - before_bytes
    finally:
        tracemalloc.stop()
    # Single octets are objects that Python has already.
    assert 0.8 * used_bytes <= session.partial_bytes <= 1.5 * len(body)


def test_large_pieces_are_not_copied_before_the_end() -> None:
    partial = Partial(new_session())
    pieces = [bytes(SMALL_BYTES) + bytes([number]) for number in range(BLOCK_COUNT)] * 3
    for piece in pieces:
        partial.add(piece)
    assert all(kept is piece for kept, piece in zip(partial._pieces, pieces, strict=True))


def test_more_than_a_connection_may_begin_is_refused_and_all_of_it_given_back() -> None:
    session = new_session(Limits(message_bytes_max=1000, partial_bytes_max=1000))
    one, other = Partial(session), Partial(session)
    one.add(bytes(600))
    with pytest.raises(ResourceFault):
        other.add(bytes(300))
    other.drop()
    one.drop()
    assert session.partial_bytes == 0


def test_what_is_refused_is_not_kept() -> None:
    session = new_session()
    partial = Partial(session)
    partial.add(b"1")
    partial.refuse()
    partial.add(b"2")
    assert session.partial_bytes == 0
    assert partial.is_refused
