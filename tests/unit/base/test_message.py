from __future__ import annotations

from amqpd.base.message import Message, SegmentUse


def test_a_new_message_is_in_memory_only_and_no_queue_holds_it() -> None:
    message = Message(7, b"\x00\x01q", b"header", b"body")
    assert (message.message_id, message.route_key, message.header, message.body) == (
        7,
        b"\x00\x01q",
        b"header",
        b"body",
    )
    assert message.segment is None
    assert (message.offset, message.logged_bytes, message.holders, message.enqueued_ms) == (0, 0, 0, 0)


def test_a_new_segment_is_needed_by_nobody() -> None:
    use = SegmentUse(3)
    assert (use.number, use.size_bytes, use.live_count, use.live_bytes) == (3, 0, 0, 0)
