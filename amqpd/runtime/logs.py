"""How the log looks: human lines, or JSON lines, on stderr.

Owns: the format, and that nothing a peer sends can forge a line, colour a terminal or fill a disk: control characters
are escaped and a line is cut at 2 KiB. Does not own what is said, nor who may say a secret: nobody may, anywhere.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Final

from amqpd.base.notice import ERROR, INFO, WARNING, Notice

LINE_BYTES_MAX: Final = 2048
# Of each level: what comes by the thousand must not push out what matters more.
NOTICES_PER_SECOND_MAX: Final = 200
_CUT: Final = "..."
LEVELS: Final = {INFO: logging.INFO, WARNING: logging.WARNING, ERROR: logging.ERROR}


def escape(text: str) -> str:
    """`text` as one line: everything that is not printable in its escaped form."""
    # The common case is a plain line, and str.isprintable is one C call. It is also true for all that we keep.
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def cut(text: str, size: int = LINE_BYTES_MAX) -> str:
    if len(text) * 4 <= size:
        return text
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= size:
        return text
    return raw[: size - len(_CUT)].decode("utf-8", "ignore") + _CUT


def _time(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


class HumanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        lines = [cut(f"{_time(record)} {record.levelname.lower():<7} {escape(record.getMessage())}")]
        if record.exc_info:
            traceback = self.formatException(record.exc_info).splitlines()
            lines += [cut("    | " + escape(line)) for line in traceback]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # json.dumps escapes what is not ASCII, control characters included; the cut leaves room for the frame.
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "message": cut(escape(record.getMessage()), LINE_BYTES_MAX - 128),
        }
        if record.exc_info:
            entry["traceback"] = cut(self.formatException(record.exc_info), 4 * LINE_BYTES_MAX)
        return json.dumps(entry)


def set_up(level: str, line_format: str) -> logging.Logger:
    """Send everything, libraries included, to stderr in our format; return the broker's own logger."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if line_format == "json" else HumanFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # A broken pipe behind stderr must not take the broker down, nor print tracebacks into it.
    logging.raiseExceptions = False
    ours = logging.getLogger("amqpd")
    ours.setLevel(level.upper())
    return ours


class Notices:
    """The core's lines on their way into the log; what comes too fast is counted instead of written."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._second = 0
        self._said_count: dict[int, int] = {}
        self._left_out_count: dict[int, int] = {}

    def say(self, notices: list[Notice]) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self.settle()
            self._second = second
            self._said_count.clear()
        for notice in notices:
            head, traceback = _split_traceback(notice.text)
            level = LEVELS[ERROR if traceback else notice.level]
            if not self._logger.isEnabledFor(level):
                continue
            said_count = self._said_count.get(level, 0)
            if said_count >= NOTICES_PER_SECOND_MAX:
                self._left_out_count[level] = self._left_out_count.get(level, 0) + 1
                continue
            self._said_count[level] = said_count + 1
            self._logger.log(level, "%s", head)
            for more in traceback:
                self._logger.log(level, "    | %s", more)

    def settle(self) -> None:
        """Say how many lines were left out."""
        for level, count in self._left_out_count.items():
            self._logger.log(level, "%d more lines of this level were left out in one second", count)
        self._left_out_count.clear()


def _split_traceback(line: str) -> tuple[str, list[str]]:
    """A notice of our own error carries a traceback; line breaks in any other are a peer's and stay escaped."""
    if not line.startswith("internal error"):
        return line, []
    head, mark, traceback = line.rpartition(":\nTraceback ")
    if not mark:
        return line, []
    return head, f"Traceback {traceback}".splitlines()
