from __future__ import annotations

import base64
import json

import pytest

from amqpd.base.errors import UnknownFormat
from amqpd.cli.log_records import Dump, preview, text, when
from amqpd.store.inspect import Chain
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.store_model import LOG_ID, StoreModel

NAMES = {1: "queue 'a' in vhost '/'"}


def segment() -> bytes:
    model = StoreModel(FaultyDisk(), [1, 2], 1 << 20)
    moved = model.publish(b"body \xff", 1, 2)
    model.requeue_oldest(2)
    model.log.append_delivered(1, moved.message_id)
    model.queues[1][1].message = model.log.append_move(1, moved)
    model.commit()
    model.settle_oldest(1)
    model.commit()
    return model.disk.segments[1].content


def lines(dump: Dump, data: bytes, capsys: pytest.CaptureFixture[str]) -> list[str]:
    dump.segment(data, LOG_ID, 1, Chain())
    return capsys.readouterr().out.splitlines()


def test_record_of_each_kind_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(Dump(NAMES, {}, False, 0), segment(), capsys) == [
        "1:116  MESSAGE  id 1  queue 'a' in vhost '/', queue_id 2  exchange '' key 'q'"
        "  1970-01-01 00:00:01.000+00:00  6 bytes b'body \\xff'",
        "1:170  REQUEUE  id 1  queue_id 2  delivery count 1",
        "1:187  DELIVERED  id 1  queue 'a' in vhost '/'  and everything before it may have been seen",
        "1:200  MOVE  id 1  queue 'a' in vhost '/'  exchange '' key 'q'"
        "  1970-01-01 00:00:01.000+00:00  6 bytes b'body \\xff'",
        "1:318  SETTLE  id 1  queue 'a' in vhost '/'",
    ]


def test_json_has_header_and_body_whole(capsys: pytest.CaptureFixture[str]) -> None:
    message, requeue, *_ = map(json.loads, lines(Dump(NAMES, {}, True, 0), segment(), capsys))
    assert base64.b64decode(message["header"]) == b"header"
    assert base64.b64decode(message["body"]) == b"body \xff"
    assert (message["exchange"], message["routing_key"], message["mark"]) == ("", "q", 1)
    assert requeue["delivery_count"] == 1


def test_only_records_of_the_queue_up_to_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(Dump(NAMES, {1: None}, False, 0), segment(), capsys)
    assert [line.split("  ")[1] for line in found] == ["MESSAGE", "DELIVERED", "MOVE", "SETTLE"]
    dump = Dump(NAMES, {1: None}, False, 2)
    assert not dump.segment(segment(), LOG_ID, 1, Chain())
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_damage_is_shown_where_it_is(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    data = segment()
    at = data.index(b"body")
    data = data[:at] + b"\xff" + data[at + 1 :]
    damage, settle = lines(Dump(NAMES, {}, as_json, 0), data, capsys)
    assert "SETTLE" in settle
    if as_json:
        found = json.loads(damage)
        assert (found["kind"], found["offset"], found["size"]) == ("DAMAGE", 48, 202)
        assert found["what"].startswith("a batch of 4 records")
    else:
        assert damage.startswith(
            "1:48 202 bytes that are no batch (a batch of 4 records, mark 1; 1 message for queue 'a'"
        )


def test_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"one", 1)
    batch = model.log.seal([])
    assert batch is not None
    batch.records = b"\x1f" + batch.records[1:]
    model.writer.commit(batch)
    with pytest.raises(UnknownFormat, match="record at byte 116"):
        lines(Dump({}, {}, False, 0), model.disk.segments[1].content, capsys)


def test_names_times_and_bodies_that_are_no_text_stay_visible() -> None:
    assert text(b"eu.\xff") == "eu.\\xff"
    assert when(1 << 62).endswith(" ms")
    assert preview(b"x" * 61) == f"b'{'x' * 60}'..."
