from __future__ import annotations

import json
import logging

from amqpd.base.notice import ERROR, INFO, WARNING, Notice
from amqpd.runtime.logs import LINE_BYTES_MAX, HumanFormatter, JsonFormatter, Notices, cut, escape

HOSTILE = "%s{0}{x.__class__}\r\n\x1b[31m\x00\u202e"


def record(message: str, *args: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("amqpd", logging.INFO, "x.py", 1, message, args, exc_info)  # type: ignore[arg-type]


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def notices() -> tuple[Notices, list[str]]:
    logger = logging.Logger("test")
    handler = Lines()
    logger.addHandler(handler)
    return Notices(logger), handler.lines


def test_hostile_text_is_one_literal_line() -> None:
    line = HumanFormatter().format(record("queue '%s'", HOSTILE))
    assert line.isprintable()
    assert "queue '%s{0}{x.__class__}\\r\\n\\x1b[31m\\x00\\u202e'" in line


def test_hostile_text_is_one_json_line() -> None:
    line = JsonFormatter().format(record("queue '%s'", HOSTILE))
    assert line.isprintable()
    assert json.loads(line)["message"].startswith("queue '%s{0}")


def test_lone_surrogates_of_a_binary_name_can_be_logged() -> None:
    assert escape(b"\xff".decode("utf-8", "surrogateescape")) == "\\udcff"


def test_long_line_is_cut_at_two_kibibytes_whole_characters_only() -> None:
    for text in ("x" * 5000, "é" * 5000, "€" * 5000):
        line = cut(text)
        assert LINE_BYTES_MAX - 5 <= len(line.encode()) <= LINE_BYTES_MAX
        assert line.endswith("...")
    assert len(JsonFormatter().format(record("x" * 5000))) <= LINE_BYTES_MAX


def test_plain_text_stays_as_it_is() -> None:
    text = "queue 'größe' in vhost '/'"
    assert cut(escape(text)) == text


def test_traceback_follows_its_line_marked_as_such() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        text = HumanFormatter().format(record("failed", exc_info=(ValueError, error, error.__traceback__)))
    head, *rest = text.splitlines()
    assert head.endswith("failed")
    assert all(line.startswith("    | ") for line in rest)
    assert any("ValueError: first" in line for line in rest)


def test_human_line_begins_with_time_and_level() -> None:
    line = HumanFormatter().format(record("hello"))
    assert line[10] == "T"
    assert line[23:].startswith("Z info    hello")


def test_notices_beyond_the_bound_are_counted_each_level_for_itself() -> None:
    said, lines = notices()
    said.say([Notice(INFO, "hello") for _ in range(1000)] + [Notice(WARNING, "alarm"), Notice(ERROR, "damage")])
    said.settle()
    # The second may have changed in between.
    assert 200 <= lines.count("hello") <= 400
    assert lines.count("alarm") == lines.count("damage") == 1
    assert f"{1000 - lines.count('hello')} more lines of this level were left out in one second" in lines


def test_lines_that_nobody_wants_to_see_are_not_counted_either() -> None:
    said, lines = notices()
    said._logger.setLevel(logging.WARNING)
    said.say([Notice(INFO, "hello") for _ in range(1000)])
    said.settle()
    assert lines == []


def test_a_notice_has_its_level_in_the_log() -> None:
    said, _ = notices()
    levels: list[int] = []
    said._logger.addFilter(lambda record: levels.append(record.levelno) or True)
    said.say([Notice(INFO, "a"), Notice(WARNING, "b"), Notice(ERROR, "c")])
    assert levels == [logging.INFO, logging.WARNING, logging.ERROR]


def test_only_our_own_traceback_may_break_a_notice_into_lines() -> None:
    said, lines = notices()
    said.say([Notice(INFO, "peer 'x\nTraceback (most recent call last):\n  forged'")])
    said.say(
        [Notice(INFO, "internal error for 1.2.3.4:5:\nTraceback (most recent call last):\n  File x\nValueError: y\n")]
    )
    assert lines[0].startswith("peer 'x\nTraceback")
    assert lines[1:] == [
        "internal error for 1.2.3.4:5",
        "    | Traceback (most recent call last):",
        "    |   File x",
        "    | ValueError: y",
    ]
