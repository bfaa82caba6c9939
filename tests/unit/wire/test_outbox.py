from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqpd.wire.outbox import OUTBOX_HIGH_BYTES, OUTBOX_KEEP_BYTES, Outbox


def test_an_outbox_that_wakes_stands_in_line_once_until_it_is_taken() -> None:
    woken: list[Outbox] = []
    outbox = Outbox(1, woken)
    outbox.wake()
    outbox.wake()
    assert woken == [outbox]
    woken.clear()
    outbox.take()
    outbox.wake()
    assert woken == [outbox]


@given(st.lists(st.one_of(st.binary(max_size=50), st.just(b"x" * (OUTBOX_KEEP_BYTES + 1)), st.none()), max_size=12))
def test_what_goes_in_comes_out_once_and_in_order(steps: list[bytes | None]) -> None:
    outbox = Outbox(1, [])
    waiting, total = b"", 0
    for step in [*steps, None]:
        if step is None:
            assert outbox.take() == waiting
            total += len(waiting)
            assert outbox.written_bytes == total
            waiting = b""
        else:
            outbox.writer.write(step)
            waiting += step
    assert outbox.take() == b""


def test_the_door_closes_for_deliveries_at_the_high_mark_only() -> None:
    outbox = Outbox(1, [])
    outbox.writer.write(bytes(OUTBOX_HIGH_BYTES - 1))
    outbox.check_high()
    assert outbox.is_open
    outbox.writer.append(0)
    outbox.check_high()
    assert not outbox.is_open


def test_a_writer_that_grew_gives_its_memory_back() -> None:
    outbox = Outbox(1, [])
    small = outbox.writer
    outbox.writer.write(bytes(OUTBOX_KEEP_BYTES))
    outbox.take()
    assert outbox.writer is small
    outbox.writer.write(bytes(OUTBOX_KEEP_BYTES + 1))
    outbox.take()
    assert outbox.writer is not small
