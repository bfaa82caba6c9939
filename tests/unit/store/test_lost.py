from __future__ import annotations

from amqpd.store.lost import Lost, loss_of_unknown


def test_a_lost_message_is_named_by_queue_and_place() -> None:
    lost = Lost(3, 7, 2, 96, 250)
    assert (lost.queue_id, lost.message_id, lost.segment_number, lost.offset, lost.size_bytes) == (3, 7, 2, 96, 250)
    assert lost.what == ""


def test_where_no_message_can_be_named_what_was_found_is_said() -> None:
    assert loss_of_unknown("segments 5 to 5 are gone").what == "segments 5 to 5 are gone"
