"""x-death, byte by byte where it matters."""

from __future__ import annotations

from amqpd.queues.dead_letter import (
    COUNT_MAX,
    DEATHS_MAX,
    EXPIRED,
    MAXLEN,
    REJECTED,
    dead_header,
    deaths,
    disowned,
    queues_since_publish,
)
from amqpd.wire.field_table import FieldTable, Timestamp, encode_table, equal_tables
from amqpd.wire.properties import NO_PROPERTIES, expiration, headers, with_headers

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


def published(*tables: dict[str, object]) -> bytes:
    """The header of a message that a client publishes with these deaths."""
    return with_headers(NO_PROPERTIES, disowned(encode_table({"x-death": list(tables)})))


def counts(header: bytes) -> list[tuple[object, object, object]]:
    return [(each.get("queue"), each.get("reason"), each.get("count")) for each in tables(header)]


def been_in(header: bytes) -> list[str]:
    return list(queues_since_publish(headers(header)))


def test_a_cycle_is_one_without_a_rejection() -> None:
    header = die(die(EMPTY + b"\x00\x00", "a", EXPIRED), "b", EXPIRED)
    assert been_in(header) == ["b", "a"]
    assert been_in(die(header, "c", MAXLEN)) == ["c", "b", "a"]
    rejected = die(die(EMPTY + b"\x00\x00", "a", EXPIRED), "b", REJECTED)
    assert been_in(rejected) == []
    assert been_in(die(rejected, "c", EXPIRED)) == ["c"]


def test_deaths_before_the_publish_count_on_but_make_no_cycle() -> None:
    dead = die(die(EMPTY + b"\x00\x00", "a", EXPIRED), "b", EXPIRED)
    table = headers(dead)
    assert table is not None
    again = with_headers(NO_PROPERTIES, disowned(table))
    assert been_in(again) == []
    assert been_in(die(again, "a", EXPIRED)) == ["a"]
    assert counts(die(again, "a", EXPIRED)) == [("a", EXPIRED, 2), ("b", EXPIRED, 1)]
    assert been_in(die(die(again, "a", EXPIRED), "b", EXPIRED)) == ["b", "a"]


def test_disowned_deaths_say_what_they_said() -> None:
    table = headers(die(die(EMPTY + b"\x01\x00\x03100", "a", EXPIRED), "b", REJECTED))
    assert table is not None
    assert equal_tables(disowned(table), table)
    assert disowned(table) != table
    assert disowned(disowned(table)) == disowned(table)


def test_a_publish_that_no_dead_letter_was_the_model_of_keeps_its_bytes() -> None:
    death = {"count": 1, "reason": EXPIRED, "queue": "a"}
    for table in ({"a": 1}, {"x-death": [death]}, {"x-death": [death], "x-last-death-queue": "a"}):
        assert disowned(encode_table(table)) == encode_table(table)


def test_a_death_of_a_client_is_no_part_of_a_cycle_however_it_is_written() -> None:
    for table in ({"count": 1, "reason": EXPIRED, "queue": "b"}, {"reason": EXPIRED, "queue": "b", "count": 1}):
        header = published(table)
        assert been_in(die(header, "a", EXPIRED)) == ["a"]
        assert been_in(die(die(header, "a", EXPIRED), "c", EXPIRED)) == ["c", "a"]


def test_a_death_without_a_count_gets_one_at_the_next() -> None:
    bare = {"queue": "a", "reason": EXPIRED}
    assert counts(die(published(bare), "b", EXPIRED)) == [("b", EXPIRED, 1), ("a", EXPIRED, 1)]
    assert counts(die(published({**bare, "count": None}), "b", EXPIRED))[1] == ("a", EXPIRED, 1)
    # RabbitMQ takes a single one for none, here and in the next test.
    assert counts(die(published(bare), "a", EXPIRED)) == [("a", EXPIRED, 1)]
    other = {"queue": "b", "reason": EXPIRED}
    assert counts(die(published(bare, other), "a", EXPIRED)) == [("a", EXPIRED, 2), ("b", EXPIRED, 1)]


def test_deaths_of_one_queue_and_reason_become_one_at_the_next() -> None:
    twice = [{"queue": "a", "reason": EXPIRED, "count": 2}, {"queue": "a", "reason": EXPIRED, "count": 3}]
    assert counts(die(published(*twice), "a", EXPIRED)) == [("a", EXPIRED, 3)]
    assert counts(die(published(*twice), "b", EXPIRED)) == [("b", EXPIRED, 1), ("a", EXPIRED, 2)]
    bare = [{"queue": "a", "reason": EXPIRED}] * 3
    assert counts(die(published(*bare), "b", EXPIRED)) == [("b", EXPIRED, 1), ("a", EXPIRED, 3)]
    assert counts(die(published(*bare), "a", EXPIRED)) == [("a", EXPIRED, 4)]
    assert len(tables(die(published({}, {}, {}), "a", EXPIRED))) == 2


def test_a_count_that_is_no_number_is_none_and_the_highest_stays() -> None:
    def counted_on(count: object) -> object:
        return counts(die(published({"queue": "a", "reason": EXPIRED, "count": count}), "a", EXPIRED))[0][2]

    assert [counted_on(each) for each in ("7", 1.5, True, Timestamp(9), [1], {"a": 1})] == [1] * 6
    assert [counted_on(each) for each in (COUNT_MAX, COUNT_MAX - 1, -5)] == [COUNT_MAX, COUNT_MAX, -4]


def test_what_is_no_table_of_a_death_is_dropped() -> None:
    assert counts(die(with_headers(NO_PROPERTIES, encode_table({"x-death": "mine"})), "a", EXPIRED)) == [
        ("a", EXPIRED, 1)
    ]
    mixed = encode_table({"x-death": ["a", 1, {"queue": "b", "reason": EXPIRED, "count": 4}]})
    assert counts(die(with_headers(NO_PROPERTIES, mixed), "a", EXPIRED)) == [("a", EXPIRED, 1), ("b", EXPIRED, 4)]


def test_only_the_newest_deaths_are_kept() -> None:
    many: list[dict[str, object]] = [{"queue": str(at), "reason": EXPIRED, "count": 1} for at in range(DEATHS_MAX + 9)]
    dead = counts(die(published(*many), "a", EXPIRED))
    assert len(dead) == DEATHS_MAX
    assert [queue for queue, _, _ in dead[:3]] == ["a", "0", "1"]
