"""The definitions file: read, decoded, handed to the core.

Owns what can be wrong with a file, and how all of it is told. Does not own what is in it (vhosts/definitions_reader.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from amqpd.runtime.logs import escape
from amqpd.vhosts.definition_entry import DefinitionsError

if TYPE_CHECKING:
    from amqpd.broker import Broker

# A hundred thousand queues take some 20 MiB.
FILE_BYTES_MAX: Final = 256 * 1024 * 1024


class BadDefinitions(Exception):
    """Why the file was not loaded, as one sentence; nothing of it was. With several problems, a line for each follows."""

    def __init__(self, sentence: str, problems: list[str] | None = None) -> None:
        super().__init__("\n    ".join([sentence, *(problems or [])]))


def load_definitions(
    broker: Broker, path: Path, is_complete: bool = False, skip_unsupported: bool = False
) -> list[str]:
    """What the operator should know of it. The file is all there is to policies: others are deleted.

    `is_complete`: and to users and permissions. `skip_unsupported`: what the broker does not have is left out.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise BadDefinitions(f"{path} is larger than {FILE_BYTES_MAX} bytes, the most a definitions file may have")
        document = json.loads(text)
    except OSError as error:
        raise BadDefinitions(f"can't read the definitions file {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadDefinitions(f"{path} is not valid JSON: {error}") from None
    if is_complete and isinstance(document, dict):
        _check_complete(document, path)
    try:
        return broker.load_definitions(document, True, is_complete, skip_unsupported)
    except DefinitionsError as error:
        raise _refusal(path, error) from None


def _check_complete(document: dict[str, object], path: Path) -> None:
    """A part of a file in the place of all of it would throw everybody out."""
    for part in ("users", "permissions"):
        if part not in document:
            raise BadDefinitions(f"{path} has no {part}, and definitions.is_complete = true makes it the whole truth")


def _refusal(path: Path, error: DefinitionsError) -> BadDefinitions:
    problems = [escape(problem) for problem in error.problems]
    hint = ""
    if error.unsupported_count > 0:
        all_of_them = "it" if error.count == 1 else "them"
        which = all_of_them if error.unsupported_count == error.count else f"{error.unsupported_count} of them"
        hint = f" (amqpd has no such: definitions.skip_unsupported = true leaves {which} out)"
    if error.count == 1:
        return BadDefinitions(f"{path}: {problems[0]}{hint}")
    if error.count > len(problems):
        problems.append(f"and {error.count - len(problems)} more")
    return BadDefinitions(f"{path} has {error.count} problems, and nothing of it was loaded{hint}:", problems)
