from __future__ import annotations

import pytest
from librt.strings import BytesWriter

from amqpd.base.message import Message
from amqpd.store.record import (
    DEDUP,
    DEDUP_FIXED_SIZE,
    DELIVERED_SIZE,
    MESSAGE,
    MESSAGE_FIXED_SIZE,
    REQUEUE_SIZE,
    RETRY_SIZE,
    SETTLE_SIZE,
    queue_id_bytes,
    read_u16,
    read_u32,
    write_dedup,
    write_delivered,
    write_message,
    write_requeue,
    write_retry,
    write_settle,
    write_u16,
    write_u32,
)


def test_message_record_is_laid_out_as_drawn() -> None:
    message = Message(0x0102030405060708, b"\x01e\x01k", b"head", b"body!")
    message.enqueued_ms = 77
    writer = BytesWriter()
    write_message(writer, MESSAGE, message, queue_id_bytes(5) + queue_id_bytes(0x10203))
    assert writer.getvalue() == (
        b"\x01\x08\x07\x06\x05\x04\x03\x02\x01\x4d\x00\x00\x00\x00\x00\x00\x00"
        b"\x04\x00\x02\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00\x00"
        b"\x05\x00\x00\x00\x03\x02\x01\x00\x01e\x01kheadbody!"
    )
    assert len(writer) == MESSAGE_FIXED_SIZE + 8 + 4 + 4 + 5


def test_short_records_are_laid_out_as_drawn() -> None:
    writer = BytesWriter()
    write_settle(writer, 7, 9)
    assert writer.getvalue() == b"\x02\x07\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00"
    assert len(writer) == SETTLE_SIZE
    writer.truncate(0)
    write_requeue(writer, 7, 9, 258)
    assert writer.getvalue() == b"\x03\x07\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x02\x01\x00\x00"
    assert len(writer) == REQUEUE_SIZE
    writer.truncate(0)
    write_delivered(writer, 7, 9)
    assert writer.getvalue() == b"\x04\x07\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00"
    assert len(writer) == DELIVERED_SIZE
    writer.truncate(0)
    write_retry(writer, 7, 9, 258, 0x0102030405060708)
    assert writer.getvalue() == (
        b"\x06\x07\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x02\x01\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01"
    )
    assert len(writer) == RETRY_SIZE
    writer.truncate(0)
    write_dedup(writer, DEDUP, 7, 9, -1, b"id")
    assert writer.getvalue() == b"\x07\x07\x00\x00\x00\x09" + bytes(7) + b"\xff" * 8 + b"\x02\x00id"
    assert len(writer) == DEDUP_FIXED_SIZE + 2


@pytest.mark.parametrize("value", [0, 1, 0x7FFF, 0x8000, 0xFFFF])
def test_unsigned_short_survives(value: int) -> None:
    writer = BytesWriter()
    write_u16(writer, value)
    assert writer.getvalue() == value.to_bytes(2, "little")
    assert read_u16(writer.getvalue(), 0) == value


@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_unsigned_long_survives(value: int) -> None:
    writer = BytesWriter()
    write_u32(writer, value)
    assert writer.getvalue() == value.to_bytes(4, "little")
    assert read_u32(writer.getvalue(), 0) == value


@pytest.mark.parametrize("queue_id", [0, -1, 1 << 31])
def test_queue_id_out_of_range_is_our_bug(queue_id: int) -> None:
    with pytest.raises(AssertionError):
        queue_id_bytes(queue_id)
