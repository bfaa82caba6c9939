from __future__ import annotations

from amqpd.store.batch import BATCH_HEADER_SIZE
from amqpd.store.inspect import Chain, RecordView, SegmentScan, describe_damage, kind_name, try_view_record
from amqpd.store.record import DELIVERED, MESSAGE, MOVE, REQUEUE, SETTLE
from amqpd.store.segment import SEGMENT_HEADER_SIZE
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.store_model import LOG_ID, StoreModel

FIRST_RECORD = SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE


def segment_with_every_kind() -> bytes:
    model = StoreModel(FaultyDisk(), [1, 2], 1 << 20)
    moved = model.publish(b"moved", 1, 2)
    model.requeue_oldest(2)
    model.log.append_delivered(1, moved.message_id)
    model.queues[1][1].message = model.log.append_move(1, moved)
    model.settle_oldest(1)
    model.commit()
    model.publish(b"second batch", 2)
    model.commit()
    return model.disk.segments[1].content


def steps(data: bytes) -> list[tuple[int, int, bool]]:
    scan = SegmentScan(data, LOG_ID, 1, Chain())
    found = []
    while scan.next():
        found.append((int(scan.offset), int(scan.end), scan.batch is not None))
    return found


def records(data: bytes) -> list[RecordView]:
    scan = SegmentScan(data, LOG_ID, 1, Chain())
    assert scan.next()
    batch = scan.batch
    assert batch is not None
    at = batch.records_offset
    found = []
    while at < batch.end:
        record = try_view_record(data, at, batch.end)
        assert record is not None
        found.append(record)
        at += record.size
    return found


def test_every_byte_behind_the_header_belongs_to_one_step() -> None:
    data = segment_with_every_kind()
    intact = steps(data)
    assert [is_batch for _, _, is_batch in intact] == [True, True]
    for at in range(SEGMENT_HEADER_SIZE, len(data)):
        found = steps(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert [start for start, _, _ in found] == [SEGMENT_HEADER_SIZE] + [end for _, end, _ in found[:-1]], at
        assert found[-1][1] == len(data), at
        assert [is_batch for _, _, is_batch in found].count(False) == 1, at


def test_records_of_every_kind_are_shown() -> None:
    found = records(segment_with_every_kind())
    assert [record.kind for record in found] == [MESSAGE, REQUEUE, DELIVERED, MOVE, SETTLE]
    assert [record.queue_ids for record in found] == [[1, 2], [2], [1], [1], [1]]
    assert [record.message_id for record in found] == [1] * 5
    assert [record.delivery_count for record in found] == [0, 1, 0, 0, 0]
    message = found[0]
    assert (message.exchange, message.routing_key, message.header, message.body) == (b"", b"q", b"header", b"moved")
    assert message.enqueued_ms == 1000
    assert [kind_name(int(record.kind)) for record in found] == ["MESSAGE", "REQUEUE", "DELIVERED", "MOVE", "SETTLE"]


def test_record_that_is_cut_off_or_of_an_unknown_kind_is_none() -> None:
    data = segment_with_every_kind()
    assert try_view_record(data, FIRST_RECORD, FIRST_RECORD + 20) is None
    assert try_view_record(b"\xff" + bytes(40), 0, 41) is None
    assert kind_name(31) == "KIND 31"


def test_damage_in_a_body_leaves_queues_and_counts_readable() -> None:
    data = segment_with_every_kind()
    at = data.index(b"moved")
    broken = data[:at] + b"\xff" + data[at + 1 :]
    said = describe_damage(broken, SEGMENT_HEADER_SIZE, {1: "queue 'a' in vhost '/'"})
    assert said == " (a batch of 5 records, mark 1; 1 message for queue 'a' in vhost '/'; 1 message for queue_id 2)"


def test_damage_in_the_layout_leaves_what_the_header_says() -> None:
    data = segment_with_every_kind()
    broken = data[:FIRST_RECORD] + b"\xff" + data[FIRST_RECORD + 1 :]
    assert describe_damage(broken, SEGMENT_HEADER_SIZE, {}) == " (a batch of 5 records, mark 1)"
    assert describe_damage(data, SEGMENT_HEADER_SIZE + 1, {}) == ""
    assert describe_damage(b"AQB1" + b"\xff" * 100, 0, {}) == ""


def test_stale_batch_behind_damage_is_no_successor() -> None:
    data = segment_with_every_kind()
    first = SegmentScan(data, LOG_ID, 1, Chain())
    assert first.next()
    stale = data[SEGMENT_HEADER_SIZE : first.end]
    assert [is_batch for _, _, is_batch in steps(data + b"rubbish" + stale)] == [True, True, False]
