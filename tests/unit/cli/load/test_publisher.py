"""Which messages may go, their bytes, and their confirms."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.cli.load import LoadError
from amqpd.cli.load.publisher import Publisher, Template

MS = 1_000_000


@dataclass(frozen=True)
class Plan:
    number: int = 3
    block_bytes: int = 1000
    window: int = 0
    batch: int = 1
    count_max: int = 0
    interval_ns: float = 0.0
    offset_ns: float = 0.0

    def start(self, *templates: Template) -> Publisher:
        publisher = Publisher(
            self.number,
            list(templates) or [Template(b"<", b">", 16)],
            self.block_bytes,
            self.window,
            self.batch,
            self.count_max,
            self.interval_ns,
            self.offset_ns,
        )
        publisher.is_recording = True
        return publisher


def stamped(message: bytes) -> tuple[int, int, int]:
    """Nanosecond, producer and sequence in a message of `<`, stamp, `>`."""
    assert message[:1] == b"<"
    assert message[17:] == b">"
    stamp_ns, sequence = struct.unpack("<qq", message[1:17])
    return stamp_ns, sequence >> 48, sequence & ((1 << 48) - 1)


def test_block_holds_whole_messages_stamped_in_order() -> None:
    publisher = Plan().start()
    (block,) = publisher.publish(3, 77)
    assert [stamped(block[at : at + 18]) for at in range(0, 54, 18)] == [(77, 3, 1), (77, 3, 2), (77, 3, 3)]
    (block,) = publisher.publish(1, 78)
    assert stamped(block) == (78, 3, 4)
    assert (publisher.published_count, publisher.published_bytes) == (4, 72)


def test_block_is_as_long_as_allowed_but_at_least_one_message() -> None:
    assert Plan(block_bytes=1000).start().allowed_count(0) == 1000 // 18
    assert Plan(block_bytes=5).start().allowed_count(0) == 1


def test_templates_rotate_across_blocks() -> None:
    publisher = Plan().start(Template(b"a", b"", 0), Template(b"b", b"", 0), Template(b"c", b"", 0))
    assert b"".join(publisher.publish(2, 0) + publisher.publish(3, 0)) == b"abcab"


def test_short_bodies_have_a_shorter_stamp_or_none() -> None:
    (block,) = Plan().start(Template(b"<", b">", 8)).publish(1, 77)
    assert block == b"<" + struct.pack("<q", 77) + b">"


def test_tail_of_a_large_message_is_sent_without_being_copied() -> None:
    tail = bytes(4000)
    buffers = Plan(block_bytes=10_000).start(Template(b"<", tail, 16)).publish(2, 77)
    assert [len(buffer) for buffer in buffers] == [17, 4000, 17, 4000]
    assert buffers[1] is tail
    assert buffers[3] is tail
    assert struct.unpack("<qq", buffers[2][1:]) == (77, 3 << 48 | 2)


def test_count_ends_the_messages() -> None:
    publisher = Plan(count_max=5).start()
    assert publisher.allowed_count(0) == 5
    publisher.publish(5, 0)
    assert publisher.is_finished()
    assert publisher.allowed_count(0) == 0


def test_window_bounds_what_is_unconfirmed_and_confirms_open_it() -> None:
    publisher = Plan(window=10, batch=3).start()
    publisher.publish(publisher.allowed_count(0), 1 * MS)
    assert publisher.outstanding_count == 10
    assert publisher.allowed_count(0) == 0
    assert publisher.is_held_back
    publisher.on_confirm(2, True, False, 3 * MS)
    # Two fit, but less than a batch is not worth a write.
    assert publisher.allowed_count(0) == 0
    publisher.on_confirm(3, False, False, 4 * MS)
    assert publisher.allowed_count(0) == 3
    assert publisher.confirmed_count == 3
    assert (publisher.confirm_latency.value_min, publisher.confirm_latency.value_max) == (2 * MS, 3 * MS)


def test_confirm_of_tag_zero_with_multiple_settles_everything() -> None:
    publisher = Plan(window=10).start()
    publisher.publish(7, 0)
    publisher.on_confirm(0, True, False, 1)
    assert (publisher.confirmed_count, publisher.outstanding_count, publisher.low_tag) == (7, 0, 8)


def test_message_that_is_confirmed_twice_counts_once() -> None:
    publisher = Plan(window=10).start()
    publisher.publish(3, 0)
    publisher.on_confirm(2, False, False, 1)
    publisher.on_confirm(2, False, False, 1)
    publisher.on_confirm(3, True, False, 1)
    publisher.on_confirm(1, False, False, 1)
    assert (publisher.confirmed_count, publisher.outstanding_count, publisher.low_tag) == (3, 0, 4)


def test_nack_settles_but_does_not_confirm() -> None:
    publisher = Plan(window=10).start()
    publisher.publish(3, 0)
    publisher.on_confirm(2, True, True, 1)
    assert (publisher.nacked_count, publisher.confirmed_count, publisher.outstanding_count) == (2, 0, 1)
    assert publisher.confirm_latency.count == 0


@pytest.mark.parametrize("tag", [4, -1, 0])
def test_confirm_of_a_tag_that_was_never_published_ends_the_run(tag: int) -> None:
    publisher = Plan(window=10).start()
    publisher.publish(3, 0)
    with pytest.raises(LoadError, match="only 3 were published"):
        publisher.on_confirm(tag, False, False, 1)


def test_confirm_without_confirm_mode_ends_the_run() -> None:
    publisher = Plan().start()
    publisher.publish(3, 0)
    with pytest.raises(LoadError, match="without confirm"):
        publisher.on_confirm(1, False, False, 1)


@given(st.permutations(range(1, 41)), st.integers(min_value=1, max_value=40))
def test_confirms_in_any_order_settle_every_message_once(tags: list[int], window: int) -> None:
    publisher = Plan(window=40, batch=1).start()
    publisher.publish(40, 0)
    for tag in tags[:window]:
        publisher.on_confirm(tag, False, False, 1)
    assert publisher.confirmed_count == window
    publisher.on_confirm(40, True, False, 1)
    assert (publisher.confirmed_count, publisher.outstanding_count, publisher.low_tag) == (40, 0, 41)
    assert publisher.confirm_latency.count == 40


def test_tags_confirmed_ahead_of_the_lowest_keep_their_place_in_the_ring() -> None:
    """The lowest tag stays unconfirmed while thousands behind it are: the ring must not be overrun."""
    publisher = Plan(window=10, batch=1, block_bytes=100_000).start()
    publisher.publish(1, 0)
    while count := publisher.allowed_count(0):
        first = publisher.published_count + 1
        publisher.publish(count, 0)
        for tag in range(first, first + count):
            publisher.on_confirm(tag, False, False, 1)
    assert publisher.outstanding_count == 1
    publisher.on_confirm(1, False, False, 1)
    assert publisher.low_tag == publisher.published_count + 1
    assert publisher.allowed_count(0) == 10


def test_pace_makes_messages_due_one_after_the_other() -> None:
    publisher = Plan(interval_ns=10.0 * MS, offset_ns=5.0 * MS).start()
    publisher.started_ns = 100 * MS
    assert publisher.allowed_count(104 * MS) == 0
    assert publisher.allowed_count(105 * MS) == 1
    publisher.publish(1, 105 * MS)
    assert publisher.allowed_count(114 * MS) == 0
    assert publisher.due_ns(1) == 115 * MS
    assert publisher.allowed_count(136 * MS) == 3
    assert publisher.lag_ns_max == 21 * MS


def test_message_that_the_broker_held_back_is_stamped_with_its_due_time() -> None:
    """Else a broker that stalls would be excused from the wait of everything behind the stall."""
    publisher = Plan(interval_ns=10.0 * MS, window=1).start()
    publisher.publish(1, 0)
    assert publisher.allowed_count(30 * MS) == 0
    publisher.on_confirm(1, False, False, 30 * MS)
    assert publisher.allowed_count(30 * MS) == 1
    (block,) = publisher.publish(1, 30 * MS)
    assert stamped(block)[0] == 10 * MS
    assert publisher.lag_ns_max == 0
