"""By what two messages are one: the headers `x-dedup-id`, for queues, and `x-deduplication-header`, for exchanges.

Owns how an id is read, and its form in memory and in the log: equal values have equal forms, whatever their width on the
wire, and a form has a bounded size. Does not own what is done with it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.exchanges.canonical import match_form
from amqpd.wire.field_table import FieldTable, type_name

X_DEDUP_ID: Final = "x-dedup-id"
X_DEDUPLICATION_HEADER: Final = "x-deduplication-header"
X_CACHE_TTL: Final = "x-cache-ttl"

# What is longer is known by its SHA-256, so that ids can't fill the memory by their size.
FORM_BYTES_MAX: Final = 64


def check_dedup_id(table: FieldTable | None) -> None:
    """Raise PreconditionFailed for an id that is no string, byte array or integer.

    Who sends one relies on it. To ignore it would let duplicates through without a word.
    """
    if table is not None and table.has(X_DEDUP_ID) and read_dedup_id(table) is None:
        raise PreconditionFailed(f"invalid {X_DEDUP_ID}: a {type_name(table.tag(X_DEDUP_ID))} is no deduplication id")


def read_dedup_id(table: FieldTable | None) -> bytes | None:
    """The form of the id by which queues know a message; None if it has none, or something that is none."""
    if table is None:
        return None
    value = table.get(X_DEDUP_ID)
    if isinstance(value, bool) or not isinstance(value, (str, bytes, int)):
        return None
    return _form(value)


def read_deduplication_header(table: FieldTable | None) -> bytes | None:
    """As for queues, but by the plugin's header, which may be of any type."""
    if table is None or not table.has(X_DEDUPLICATION_HEADER):
        return None
    return _form(table.get(X_DEDUPLICATION_HEADER))


def read_cache_ttl_ms(table: FieldTable) -> i64:
    """How long this one id is to be known; -1 if the message does not say, 0 for not at all."""
    value = table.get(X_CACHE_TTL)
    if isinstance(value, bool) or not isinstance(value, int):
        return -1
    return max(value, 0)


def _form(value: object) -> bytes:
    form = match_form(value)
    return form if len(form) <= FORM_BYTES_MAX else b"h" + sha256(form).digest()
