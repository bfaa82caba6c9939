"""One entry of a definitions document: its values by their keys, each of its type, or one sentence that says what is not.

Owns the types. Does not own which keys an entry has, nor what they mean (definitions_reader.py). `what` in the sentence
is the entry, as `queue 'q' in vhost '/'`.
"""

from __future__ import annotations

from typing import Final

from amqpd.vhosts.policy_keys import shown
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table

NAME_BYTES_MAX: Final = 255


class DefinitionsError(ValueError):
    """What is wrong with a document, as one sentence that names the entry."""


def text_of(entry: dict[str, object], key: str, what: str, default: str | None = None) -> str:
    value = entry.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        how = "is missing" if value is None else f"must be a string, not {shown(value)}"
        raise DefinitionsError(f"{what}: {key} {how}")
    return value


def name_of(entry: dict[str, object], kind: str) -> str:
    name = text_of(entry, "name", f"a {kind}")
    if not 0 < len(name.encode("utf-8")) <= NAME_BYTES_MAX:
        raise DefinitionsError(f"{kind} '{name[:50]}': a name has 1 to {NAME_BYTES_MAX} bytes")
    return name


def flag_of(entry: dict[str, object], key: str, what: str, default: bool) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        raise DefinitionsError(f"{what}: {key} must be true or false, not {shown(value)}")
    return value


def tags_of(entry: dict[str, object], what: str) -> tuple[str, ...]:
    """A list, or until RabbitMQ 3.9 a string with commas."""
    value = entry.get("tags")
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        raise DefinitionsError(f"{what}: tags must be a list of strings")
    for tag in value:
        if not isinstance(tag, str) or "," in tag:
            raise DefinitionsError(f"{what}: {shown(tag)} is no tag")
    return tuple([tag.strip() for tag in value if tag.strip() != ""])


def arguments_of(entry: dict[str, object], what: str) -> FieldTable:
    value = entry.get("arguments")
    if value is None or value == []:
        return EMPTY_TABLE
    if not isinstance(value, dict):
        raise DefinitionsError(f"{what}: arguments must be an object, not {shown(value)}")
    try:
        return encode_table(value)
    except ValueError as error:
        raise DefinitionsError(f"{what}: {error}") from error
