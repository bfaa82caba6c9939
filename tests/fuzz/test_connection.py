"""Any bytes from a peer: answered, never raised; cut anywhere, the answer is the same; nothing outlives the connection."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.streams import (
    HANDSHAKE,
    LOG_IN,
    PROTOCOL_HEADER,
    SESSIONS,
    Trial,
    depends_on_turns,
    difference,
    encode,
    split_output,
    spoil,
)

SEEDS = st.integers(0, 2**64 - 1)
SPOILED = st.builds(lambda seed, at: spoil(random.Random(seed), SESSIONS[at]), SEEDS, st.integers(0, len(SESSIONS) - 1))


def feed_both_ways(data: bytes, cuts: list[int], is_logged_in: bool) -> None:
    whole, cut = Trial(), Trial()
    at = sorted(each % (len(data) + 1) for each in cuts)
    pieces = [data[start:end] for start, end in zip([0, *at], [*at, len(data)])]
    once = whole.feed([data], is_logged_in)
    piecewise = cut.feed(pieces, is_logged_in)
    assert (whole.fault(), cut.fault()) == ("", "")
    assert depends_on_turns(data) or difference(once, piecewise) == ""


@given(st.sampled_from(SESSIONS))
def test_a_valid_session_is_the_same_byte_by_byte(session: list[tuple[int, int, bytes]]) -> None:
    data = encode(session)
    feed_both_ways(data, list(range(len(data))), True)


@given(st.lists(SPOILED, min_size=1, max_size=4))
def test_spoiled_sessions_one_after_the_other_leave_nothing_behind(streams: list[bytes]) -> None:
    trial = Trial()
    for data in streams:
        split_output(trial.feed([data]))
        assert trial.fault() == ""


@given(SPOILED, st.lists(st.integers(0, 10_000), max_size=12))
# A class id above 32767 in a method that fails: the number in connection.close must not be negative.
@example(b"\x01\x00\x01\x00\x00\x00\x04\x80\x00\x00\x0a\xce", [])
# After a frame with a wrong end nothing that follows in the same read may count for less than in the next.
@example(
    b"\x01\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x0b\x00\x0a\x00\x32\x00\xc8\x00\x00\x00\x00\x00\xce", [8]
)
@example(b"\x01\x00\x01\x7f\xff\xff\xff\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x33\xce", [7, 12])
def test_a_spoiled_session_is_the_same_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    feed_both_ways(data, cuts, True)


@given(st.integers(0, len(SESSIONS) - 1), SEEDS, st.lists(st.integers(0, 10_000), max_size=12))
def test_a_spoiled_handshake_is_the_same_cut_anywhere(session: int, seed: int, cuts: list[int]) -> None:
    data = PROTOCOL_HEADER + spoil(random.Random(seed), HANDSHAKE + SESSIONS[session])
    feed_both_ways(data, cuts, False)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
@example(b"GET / HTTP/1.1\r\n\r\n", [1])
@example(b"AMQP\x00\x01\x00\x00", [4, 5])
def test_a_stranger_is_answered_the_same_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    feed_both_ways(data, cuts, False)


@given(st.lists(st.tuples(st.integers(0, 255), st.sampled_from([0, 1, 2, 65535]), st.binary(max_size=40)), max_size=6))
def test_well_framed_nonsense_is_answered(frames: list[tuple[int, int, bytes]]) -> None:
    data = encode(frames)
    feed_both_ways(data, list(range(len(data))), True)


@given(st.integers(0, len(LOG_IN)))
def test_a_handshake_that_stops_anywhere_leaves_nothing_behind(end: int) -> None:
    trial = Trial()
    split_output(trial.feed([LOG_IN[:end]], False))
    assert trial.fault() == ""
