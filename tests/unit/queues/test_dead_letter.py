"""x-death, byte by byte where it matters."""

from __future__ import annotations

from amqpd.queues.dead_letter import EXPIRED, REJECTED, dead_header, deaths, is_cycle
from amqpd.wire.field_table import FieldTable
from amqpd.wire.properties import expiration, headers

EMPTY = b"\x00\x3c\x00\x00" + bytes(8)


def die(header: bytes, queue: str, reason: str, drops_cc: bool = False) -> bytes:
    return dead_header(header, queue, reason, "x", ["k"], 1_700_000_000, drops_cc)


def tables(header: bytes) -> list[FieldTable]:
    return deaths(headers(header))


def test_a_repeated_death_counts_and_comes_to_the_front() -> None:
    header = die(die(die(EMPTY + b"\x00\x00", "a", REJECTED), "b", EXPIRED), "a", REJECTED)
    assert [(each.get("queue"), each.get("count")) for each in tables(header)] == [("a", 2), ("b", 1)]


def test_the_first_death_is_remembered_and_the_last_one_replaced() -> None:
    table = headers(die(die(EMPTY + b"\x00\x00", "a", REJECTED), "b", EXPIRED))
    assert table is not None
    assert (table.get("x-first-death-queue"), table.get("x-last-death-queue")) == ("a", "b")


def test_the_expiration_moves_into_the_history() -> None:
    header = die(EMPTY + b"\x01\x00\x03100", "a", EXPIRED)
    assert expiration(header) is None
    assert tables(header)[0].get("original-expiration") == "100"


def test_what_the_client_sent_keeps_its_bytes() -> None:
    own = b"\x01kb\x07" + b"\x02CCA\x00\x00\x00\x06S\x00\x00\x00\x01c"
    header = EMPTY + b"\x20\x00" + len(own).to_bytes(4, "big") + own
    table = headers(die(header, "a", REJECTED))
    assert table is not None
    assert table.raw.startswith(own)
    without_cc = headers(die(header, "a", REJECTED, drops_cc=True))
    assert without_cc is not None
    assert not without_cc.has("CC")


def test_a_cycle_is_one_without_a_rejection() -> None:
    header = die(die(EMPTY + b"\x00\x00", "a", EXPIRED), "b", EXPIRED)
    assert is_cycle(headers(header), "a")
    assert not is_cycle(headers(header), "c")
    rejected = die(die(EMPTY + b"\x00\x00", "a", EXPIRED), "b", REJECTED)
    assert not is_cycle(headers(rejected), "a")
