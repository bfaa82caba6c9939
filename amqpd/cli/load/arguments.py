"""Texts of the command line as values: numbers with k and M, field tables, URIs.

Owns: what such a text may be, and the sentence that refuses it. Does not own the options that take them.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from amqpd.cli.load import LoadError

# What a field table of a declare or of a message may hold here.
Field = int | bool | str

PORT = 5672
FACTORS = {"k": 1e3, "K": 1e3, "M": 1e6}


def parse_number(text: str) -> float:
    """A number from zero that may end in k or M."""
    factor = FACTORS.get(text[-1:], 1.0)
    try:
        number = float(text[:-1] if factor != 1.0 else text) * factor
    except ValueError:
        raise LoadError(f"'{text}' is not a number") from None
    if not 0 <= number < float("inf"):
        raise LoadError(f"'{text}' is not a number that can be used here")
    return number


def parse_count(text: str) -> int:
    """A whole number from zero that may end in k or M."""
    number = parse_number(text)
    if number != int(number):
        raise LoadError(f"'{text}' is not a whole number")
    return int(number)


def parse_fields(pairs: list[str] | None) -> dict[str, Field]:
    """`key=value` pairs as a field table: integers and true/false by their looks, `s:` forces a string."""
    fields: dict[str, Field] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise LoadError(f"expected key=value instead of '{pair}'")
        fields[key] = parse_field(text)
    return fields


def parse_field(text: str) -> Field:
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        return text.removeprefix("s:")


def parse_uri(uri: str) -> dict[str, str | int]:
    """Host, port, user, password and vhost of an amqp URI; an absent path is the vhost `/`."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise LoadError(f"'{uri}' is not an amqp URI: {error}") from None
    if parts.scheme != "amqp" or not parts.hostname:
        raise LoadError("expected amqp://user:password@host:port/vhost as the URI")
    return {
        "host": parts.hostname,
        "port": PORT if port is None else port,
        "user": unquote(parts.username or "guest"),
        "password": unquote(parts.password or "guest"),
        "vhost": unquote(parts.path[1:]) or "/",
    }


def expand(template: str, number: int, producer: int = 0) -> str:
    """`%d` becomes the number, `%p` the producer, `%%` a per cent sign."""
    return "%".join(part.replace("%d", str(number)).replace("%p", str(producer)) for part in template.split("%%"))
