from __future__ import annotations

import zlib

import pytest

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.base.message import Message
from amqpd.store.checkpoint import DEDUP, DELIVERED, ENTRY, WAITING, CheckpointBuilder, CheckpointReader
from amqpd.store.log import Log, fresh_start
from amqpd.store.record import queue_id_bytes

LOG_ID = 5


def make() -> tuple[Log, bytes]:
    log = Log(fresh_start(LOG_ID))
    message = Message(log.next_message_id(), b"\x00\x01q", b"header", b"body")
    log.append_message(message, queue_id_bytes(7), 1)
    log.seal([])
    builder = CheckpointBuilder(log, 12)
    builder.add(7, message, 3, True)
    builder.add(8, Message(99, b"", b"", b""), 0, False)
    builder.add_delivered(7, 1)
    builder.add_waiting(7, message, 1_700_000_000_123)
    builder.add_waiting(8, Message(99, b"", b"", b""), 1)
    assert builder.entry_count == 1
    return log, b"".join(builder.finish().blocks())


def test_what_was_added_is_read_back() -> None:
    log, data = make()
    reader = CheckpointReader(data, LOG_ID, "checkpoint 12")
    assert (reader.generation, reader.segment_number, reader.offset) == (12, 1, log.offset)
    assert (reader.position, reader.end_position, reader.mark) == (log.position, log.position, 1)
    assert reader.next_message_id == 2
    assert reader.next()
    assert (reader.kind, reader.queue_id, reader.message_id) == (ENTRY, 7, 1)
    assert (reader.entry_segment, reader.delivery_count, reader.redelivered) == (1, 3, True)
    assert reader.next()
    assert (reader.kind, reader.queue_id, reader.message_id) == (DELIVERED, 7, 1)
    assert reader.next()
    assert (reader.kind, reader.queue_id, reader.message_id) == (WAITING, 7, 1)
    assert reader.ready_at_ms == 1_700_000_000_123
    assert not reader.next()


def test_deduplication_ids_are_read_back_between_other_items() -> None:
    log = Log(fresh_start(LOG_ID))
    builder = CheckpointBuilder(log, 1)
    builder.add_dedup(7, 1_700_000_000_000, -1, b"")
    builder.add_dedup(8, 5, 600, b"id")
    builder.add_delivered(7, 1)
    reader = CheckpointReader(b"".join(builder.finish().blocks()), LOG_ID, "")
    assert reader.next()
    assert (reader.kind, reader.queue_id, reader.noted_ms) == (DEDUP, 7, 1_700_000_000_000)
    assert (reader.ttl_ms, reader.dedup_id) == (-1, b"")
    assert reader.next()
    assert (reader.queue_id, reader.noted_ms, reader.ttl_ms, reader.dedup_id) == (8, 5, 600, b"id")
    assert reader.next()
    assert (reader.kind, reader.queue_id, reader.message_id) == (DELIVERED, 7, 1)
    assert not reader.next()


def test_mark_covers_the_open_batch_if_there_is_something_in_it() -> None:
    log = Log(fresh_start(LOG_ID))
    assert CheckpointBuilder(log, 1).finish().mark == 0
    log.append_delivered(7, 1)
    assert CheckpointBuilder(log, 1).finish().mark == 1


def test_position_is_where_the_walk_began_and_end_where_it_ended() -> None:
    log = Log(fresh_start(LOG_ID))
    builder = CheckpointBuilder(log, 1)
    log.append_delivered(7, 1)
    reader = CheckpointReader(b"".join(builder.finish().blocks()), LOG_ID, "")
    assert (reader.position, reader.end_position) == (0, log.end_position)


def test_any_flipped_bit_and_any_truncation_is_corrupt() -> None:
    _, data = make()
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            CheckpointReader(bytes(broken), LOG_ID, "")
    for size in range(len(data)):
        with pytest.raises(Corrupt):
            CheckpointReader(data[:size], LOG_ID, "")


def test_checkpoint_of_another_log_is_corrupt() -> None:
    _, data = make()
    with pytest.raises(Corrupt, match="another log"):
        CheckpointReader(data, LOG_ID + 1, "")


@pytest.mark.parametrize(("found", "is_read"), [(0, False), (1, True), (2, True), (3, False)])
def test_formats_up_to_this_one_are_read(found: int, is_read: bool) -> None:
    _, data = make()
    other = data[:8] + found.to_bytes(4, "little") + data[12:-4]
    whole = other + zlib.crc32(other).to_bytes(4, "little")
    if is_read:
        assert CheckpointReader(whole, LOG_ID, "").next()
    else:
        with pytest.raises(UnknownFormat, match=f"has format {found}; this version reads formats up to 2"):
            CheckpointReader(whole, LOG_ID, "")


def with_crc(data: bytes) -> bytes:
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")


@pytest.mark.parametrize("at", [32, 40, 48, 56, 64, 72])
@pytest.mark.parametrize("value", [-1, (1 << 63) - 1])
def test_a_place_that_can_not_be_is_corrupt(at: int, value: int) -> None:
    _, data = make()
    broken = data[:at] + value.to_bytes(8, "little", signed=True) + data[at + 8 :]
    with pytest.raises(Corrupt):
        CheckpointReader(with_crc(broken), LOG_ID, "c")


def test_whatever_stands_behind_a_checksum_that_holds_is_read_or_refused_as_a_newer_versions() -> None:
    _, data = make()
    for at in range(88, len(data) - 4):
        for value in (0, 1, 5, 9, 0x7F, 0xFF):
            reader = CheckpointReader(with_crc(data[:at] + bytes([value]) + data[at + 1 :]), LOG_ID, "c")
            try:
                while reader.next():
                    pass
            except UnknownFormat as refusal:
                said = str(refusal)
                if "that this version can't read" not in said:
                    raise
