"""Record layouts of the log: what a batch is made of.

Owns how one record is written and read. Does not own batches (batch.py), nor what a record means (replay.py).
All integers are little endian. The first byte is the kind:

    1 MESSAGE    kind(1) message_id(8) enqueued_ms(8) route_key_size(2) queue_count(4) header_size(4) body_size(4)
                 queue_id(4) x queue_count, route_key, header, body
    2 SETTLE     kind(1) queue_id(4) message_id(8)                        the queue is done with the message
    3 REQUEUE    kind(1) queue_id(4) message_id(8) delivery_count(4)      it came back; the count is absolute
    4 DELIVERED  kind(1) queue_id(4) message_id(8)                        everything up to message_id may have been seen
    5 MOVE       as MESSAGE: a copy at a new address, for the queues that it names, which hold it already (for all that
                 hold it if it names none: written by amqpd 0.1)
    6 RETRY      kind(1) queue_id(4) message_id(8) delivery_count(4) ready_at_ms(8)
                                                                          it came back, and is ready again at that time
                                                                          (2^62: never by itself, it is parked)
    7 DEDUP      kind(1) queue_id(4) noted_ms(8) ttl_ms(8) id_size(2) id  a message with this id was taken at that time
    8 SETTLES    kind(1) queue_id(4) first_id(8) last_id(8)               the queue is done with all between, both included
    9 SPILLED    as MESSAGE, for no queue: what no durable queue holds, here while memory is short, nothing to a restart
   11 TOPOLOGY   kind(1) version(8)                                     the topology was at least at this version
    >= 32        kind(1) size(4) CBOR                                     rare kinds; none is defined yet

Of a DEDUP, `noted_ms` is wall clock, and `ttl_ms` how long this id counts, -1 for as long as the window's owner says; the
owner is a queue, or an exchange, which has a number among the queues' for it. A TOPOLOGY stands in the first batch of a
start and of a segment, and in the next one after each change of the topology: a topology of a smaller version is an old copy.
Kinds up to 31 are kept for further fixed layouts. Every record says what is, not what changed: replaying a run of records
twice gives the state that replaying it once gives.
"""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, read_i16_le, read_i32_le, write_i16_le, write_i32_le, write_i64_le
from mypy_extensions import i16, i32, i64

from amqpd.base.message import Message

MESSAGE: Final = 1
SETTLE: Final = 2
REQUEUE: Final = 3
DELIVERED: Final = 4
MOVE: Final = 5
RETRY: Final = 6
DEDUP: Final = 7
SETTLES: Final = 8
SPILLED: Final = 9
TOPOLOGY: Final = 11
CBOR_KIND_MIN: Final = 32

MESSAGE_FIXED_SIZE: Final = 31
SETTLE_SIZE: Final = 13
REQUEUE_SIZE: Final = 17
DELIVERED_SIZE: Final = 13
RETRY_SIZE: Final = 25
DEDUP_FIXED_SIZE: Final = 23
SETTLES_SIZE: Final = 21
TOPOLOGY_SIZE: Final = 9

# A RETRY that is ready again at this time is parked: something went wrong with it, and it waits for a person.
PARKED_MS: Final = 1 << 62

QUEUE_ID_MAX: Final = (1 << 31) - 1


def read_u16(data: bytes, index: i64) -> i64:
    value = i64(read_i16_le(data, index))
    return value & 0xFFFF


def read_u32(data: bytes, index: i64) -> i64:
    value = i64(read_i32_le(data, index))
    return value & 0xFFFFFFFF


def write_u16(writer: BytesWriter, value: i64) -> None:
    assert 0 <= value <= 0xFFFF
    if value >= 0x8000:
        value -= 0x10000
    write_i16_le(writer, i16(value))


def write_u32(writer: BytesWriter, value: i64) -> None:
    assert 0 <= value <= 0xFFFFFFFF
    if value >= 0x80000000:
        value -= 0x100000000
    write_i32_le(writer, i32(value))


def queue_id_bytes(queue_id: int) -> bytes:
    """The four bytes by which a MESSAGE names a queue; concatenated, they are the `queue_ids` of append_message."""
    assert 0 < queue_id <= QUEUE_ID_MAX
    return queue_id.to_bytes(4, "little")


def write_message(writer: BytesWriter, kind: i64, message: Message, queue_ids: bytes) -> None:
    """A MESSAGE, MOVE or SPILLED, straight into its place."""
    route_key = message.route_key
    header = message.header
    body = message.body
    writer.append(kind)
    write_i64_le(writer, message.message_id)
    write_i64_le(writer, message.enqueued_ms)
    write_i16_le(writer, len(route_key))
    write_i32_le(writer, len(queue_ids) >> 2)
    write_i32_le(writer, len(header))
    write_i32_le(writer, len(body))
    writer.write(queue_ids)
    writer.write(route_key)
    writer.write(header)
    writer.write(body)


def write_settle(writer: BytesWriter, queue_id: i64, message_id: i64) -> None:
    writer.append(SETTLE)
    write_i32_le(writer, i32(queue_id))
    write_i64_le(writer, message_id)


def write_settle_range(writer: BytesWriter, queue_id: i64, first_id: i64, last_id: i64) -> None:
    writer.append(SETTLES)
    write_i32_le(writer, i32(queue_id))
    write_i64_le(writer, first_id)
    write_i64_le(writer, last_id)


def write_topology(writer: BytesWriter, version: i64) -> None:
    writer.append(TOPOLOGY)
    write_i64_le(writer, version)


def write_requeue(writer: BytesWriter, queue_id: i64, message_id: i64, delivery_count: i64) -> None:
    writer.append(REQUEUE)
    write_i32_le(writer, i32(queue_id))
    write_i64_le(writer, message_id)
    write_i32_le(writer, i32(delivery_count))


def write_delivered(writer: BytesWriter, queue_id: i64, message_id: i64) -> None:
    writer.append(DELIVERED)
    write_i32_le(writer, i32(queue_id))
    write_i64_le(writer, message_id)


def write_retry(writer: BytesWriter, queue_id: i64, message_id: i64, delivery_count: i64, ready_at_ms: i64) -> None:
    """`ready_at_ms` is wall clock: a restart knows no other."""
    writer.append(RETRY)
    write_i32_le(writer, i32(queue_id))
    write_i64_le(writer, message_id)
    write_i32_le(writer, i32(delivery_count))
    write_i64_le(writer, ready_at_ms)


def write_dedup(writer: BytesWriter, kind: i64, queue_id: i64, noted_ms: i64, ttl_ms: i64, dedup_id: bytes) -> None:
    """A DEDUP; a checkpoint has the same item under a number of its own."""
    writer.append(kind)
    write_i32_le(writer, i32(queue_id))
    write_i64_le(writer, noted_ms)
    write_i64_le(writer, ttl_ms)
    write_u16(writer, len(dedup_id))
    writer.write(dedup_id)


def record_size(data: bytes, at: i64, end: i64) -> i64:
    """The size of the record at `at`; 0 if there is no whole record of a known kind."""
    kind: i64 = data[at]
    size: i64 = 0
    if kind in (MESSAGE, MOVE, SPILLED):
        if at + MESSAGE_FIXED_SIZE > end:
            return 0
        size = MESSAGE_FIXED_SIZE + read_u16(data, at + 17) + 4 * read_u32(data, at + 19)
        size += read_u32(data, at + 23) + read_u32(data, at + 27)
    elif kind == SETTLE:
        size = SETTLE_SIZE
    elif kind == REQUEUE:
        size = REQUEUE_SIZE
    elif kind == DELIVERED:
        size = DELIVERED_SIZE
    elif kind == RETRY:
        size = RETRY_SIZE
    elif kind == DEDUP:
        if at + DEDUP_FIXED_SIZE > end:
            return 0
        size = DEDUP_FIXED_SIZE + read_u16(data, at + 21)
    elif kind == SETTLES:
        size = SETTLES_SIZE
    elif kind == TOPOLOGY:
        size = TOPOLOGY_SIZE
    return size if at + size <= end else 0
