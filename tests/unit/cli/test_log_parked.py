from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from amqpd.base.message import Message
from amqpd.cli.main import app
from amqpd.runtime.files import DataDirectory
from amqpd.store.log import Log
from amqpd.store.record import PARKED_MS
from amqpd.store.segment import SegmentWriter

GOLDEN = Path(__file__).resolve().parents[2] / "golden/data-2"


def parked_in(tmp_path: Path) -> tuple[Path, int]:
    """A directory in which one message of queue 1 is parked; and its number."""
    path = tmp_path / "data"
    shutil.copytree(GOLDEN, path)
    directory = DataDirectory(path)
    _, recovered = directory.load()
    ids = [int(entry.message.message_id) for entry in recovered.queues[1]]
    ids += [int(page.message_id(0)) for page in recovered.pages.get(1, [])]
    log = Log(recovered.start)
    log.append_retry(1, Message(ids[0], b"", b"", b""), 3, PARKED_MS)
    batch = log.seal([])
    assert batch is not None
    SegmentWriter(directory.disk, int(recovered.start.previous_crc)).commit(batch)
    directory.release()
    return path, ids[0]


def run(*arguments: object) -> list[str]:
    result = CliRunner().invoke(app, ["log", "parked", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_a_parked_message_is_one_line(tmp_path: Path) -> None:
    path, message_id = parked_in(tmp_path)
    (line,) = run(path)
    assert f"message {message_id}, " in line
    assert line.endswith("came back 3 times")


def test_as_json_it_has_its_body(tmp_path: Path) -> None:
    path, message_id = parked_in(tmp_path)
    (line,) = run(path, "--json")
    found = json.loads(line)
    assert found["message_id"] == message_id
    assert base64.b64decode(found["body"]) != b""


def test_where_nothing_is_parked_nothing_is_printed(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "data")
    assert run(tmp_path / "data") == []
