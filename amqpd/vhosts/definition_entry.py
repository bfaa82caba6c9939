"""One entry of a definitions document: its values by their keys, each of its type, or one sentence that says what is not.

Owns the types, and how a fault names its place. Does not own which keys an entry has, nor what they mean
(definitions_reader.py). `what` in the sentence is the entry, as `queue 'q' in vhost '/'`.
"""

from __future__ import annotations

import re
from typing import Final

from amqpd.base.errors import AmqpError
from amqpd.vhosts.policy_keys import shown
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table

NAME_BYTES_MAX: Final = 255


# Faults that are told one by one; how many there are is told of all.
PROBLEMS_MAX: Final = 50
PROBLEM_CHARACTERS_MAX: Final = 500


class EntryError(ValueError):
    """What is wrong with one entry, as a sentence that names it; `key` is where in it, "" if nowhere in particular.

    `is_unsupported`: RabbitMQ has it and this broker does not, so that it may be left out.
    """

    def __init__(self, text: str, key: str = "", is_unsupported: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.key = key
        self.is_unsupported = is_unsupported


class DefinitionsError(ValueError):
    """All that is wrong with a document: at most PROBLEMS_MAX sentences, each with its place, and how many there are."""

    def __init__(self, problems: list[str], count: int, unsupported_count: int) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.count = count
        # So many of them are only what this broker does not have.
        self.unsupported_count = unsupported_count


class Problems:
    """What was found wrong so far."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0
        self._unsupported_count = 0

    def add(self, place: str, error: EntryError) -> None:
        self._count += 1
        if error.is_unsupported:
            self._unsupported_count += 1
        if len(self._lines) < PROBLEMS_MAX:
            where = f"{place}.{error.key}" if place != "" and error.key != "" else place or error.key
            line = f"{where}: {error.text}" if where != "" else error.text
            if len(line) > PROBLEM_CHARACTERS_MAX:
                line = f"{line[: PROBLEM_CHARACTERS_MAX - 3]}..."
            self._lines.append(line)

    def raise_if_any(self) -> None:
        if self._count > 0:
            raise DefinitionsError(self._lines, self._count, self._unsupported_count)


def refused(what: str, error: AmqpError, entry: dict[str, object]) -> EntryError:
    """What a client would be told, with the argument that it is about."""
    text = error.explanation
    found = re.search(r"arg(?:ument, )?\s?'([^']*)'", text)
    arguments = entry.get("arguments")
    key = f"arguments.{found[1]}" if found and isinstance(arguments, dict) and found[1] in arguments else ""
    return EntryError(text if what in text else f"{what}: {text}", key)


def text_of(entry: dict[str, object], key: str, what: str, default: str | None = None) -> str:
    value = entry.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        how = "is missing" if value is None else f"must be a string, not {shown(value)}"
        raise EntryError(f"{what}: {key} {how}", key)
    return value


def name_of(entry: dict[str, object], kind: str) -> str:
    name = text_of(entry, "name", f"a {kind}")
    if not 0 < len(name.encode("utf-8")) <= NAME_BYTES_MAX:
        raise EntryError(f"{kind} '{name[:50]}': a name has 1 to {NAME_BYTES_MAX} bytes", "name")
    if "\n" in name or "\r" in name:
        # From the names that clients send they are taken out.
        raise EntryError(f"{kind} {shown(name)}: a name has no line breaks", "name")
    return name


def flag_of(entry: dict[str, object], key: str, what: str, default: bool) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        raise EntryError(f"{what}: {key} must be true or false, not {shown(value)}", key)
    return value


def tags_of(entry: dict[str, object], what: str) -> tuple[str, ...]:
    """A list, or until RabbitMQ 3.9 a string with commas."""
    value = entry.get("tags")
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        raise EntryError(f"{what}: tags must be a list of strings", "tags")
    for tag in value:
        if not isinstance(tag, str) or "," in tag:
            raise EntryError(f"{what}: {shown(tag)} is no tag", "tags")
    return tuple([tag.strip() for tag in value if tag.strip() != ""])


def arguments_of(entry: dict[str, object], what: str) -> FieldTable:
    value = entry.get("arguments")
    if value is None or value == []:
        return EMPTY_TABLE
    if not isinstance(value, dict):
        raise EntryError(f"{what}: arguments must be an object, not {shown(value)}", "arguments")
    try:
        return encode_table(value)
    except ValueError as error:
        raise EntryError(f"{what}: {error}", "arguments") from error
