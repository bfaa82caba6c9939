from __future__ import annotations

import pytest

from amqpd.connections.framing import PROTOCOL_HEADERS, bad_end, guess_protocol, too_large
from amqpd.wire.frames import PROTOCOL_HEADER
from tests.behaviour.harness import BrokerHarness


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"POST /api", "HTTP"),
        (b"\x16\x03\x01\x02\x00", "TLS"),
        (b"AMQP\x00\x01\x00\x00", "version 0-1-0-0"),
        (b"\x00" * 8, "no protocol header"),
        (b"", "no protocol header"),
    ],
)
def test_a_stranger_is_guessed_at(data: bytes, word: str) -> None:
    assert word in guess_protocol(data)


@pytest.mark.parametrize("header", PROTOCOL_HEADERS)
def test_headers_of_0_9_1_and_its_elder_siblings_are_answered_with_start(broker: BrokerHarness, header: bytes) -> None:
    client = broker.raw()
    client.send_bytes(header)
    assert [each.method.name for each in client.received] == ["Connection.Start"]


@pytest.mark.parametrize("header", [b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x00\x09\x02", b"amqp\x00\x00\x09\x01"])
def test_any_other_header_gets_ours(broker: BrokerHarness, header: bytes) -> None:
    client = broker.raw()
    client.send_bytes(header)
    assert [each.method for each in client.received] == [PROTOCOL_HEADER]
    assert client.is_closed


def test_a_bad_frame_is_described_by_its_numbers() -> None:
    assert too_large(3, 1, 4089, 4096) == "type 3, channel 1: frame of 4097 bytes is larger than frame_max 4096"
    assert bad_end(1, 2, 3, 0) == "type 1, channel 2, payload of 3 bytes: frame end octet is 0, not 206"
