from __future__ import annotations

import json
from pathlib import Path

from amqpd.runtime.file_disk import FileDisk
from amqpd.runtime.lost import LOST_NAME, line_of, read_lost
from amqpd.store.lost import Lost, loss_of_unknown


def lost_message(message_id: int) -> Lost:
    lost = Lost(3, message_id, 2, 96, 250)
    lost.vhost, lost.queue, lost.wall_ms = "/", "qü", 1_700_000_000_000
    return lost


def test_a_line_has_all_that_is_known() -> None:
    assert json.loads(line_of(lost_message(7))) == {
        "time": "2023-11-14T22:13:20+00:00",
        "vhost": "/",
        "queue": "qü",
        "queue_id": 3,
        "message_id": 7,
        "segment": 2,
        "offset": 96,
        "size_bytes": 250,
    }
    assert json.loads(line_of(loss_of_unknown("gone"))) == {"time": "1970-01-01T00:00:00+00:00", "what": "gone"}


def test_the_list_grows_and_the_same_loss_is_in_it_once(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path)
    assert read_lost(tmp_path) == ([], 0)
    disk.keep_lost([line_of(lost_message(7)), line_of(loss_of_unknown("gone"))])
    disk.keep_lost([line_of(lost_message(8)), line_of(lost_message(7)), line_of(loss_of_unknown("gone"))])
    found, bad_count = read_lost(tmp_path)
    assert [each.get("message_id") for each in found] == [7, None, 8]
    assert bad_count == 0
    assert (tmp_path / LOST_NAME).stat().st_mode & 0o777 == 0o600


def test_a_line_that_is_cut_or_rubbish_hides_no_other(tmp_path: Path) -> None:
    lines = [line_of(lost_message(7)), b"[]\n", b"\xff\n", line_of(lost_message(8)), line_of(lost_message(9))[:-9]]
    (tmp_path / LOST_NAME).write_bytes(b"".join(lines))
    found, bad_count = read_lost(tmp_path)
    assert [each["message_id"] for each in found] == [7, 8]
    assert bad_count == 3
