"""SASL: what the two password mechanisms put into their response.

Owns: PLAIN (RFC 4616) and AMQPLAIN (AMQP 0-8's: a field table without its size). Does not own whether the credentials
are right (vhosts/access.py). Invariant: a malformed response is None, never an exception, and becomes the same refusal
as a wrong password; a password never appears in a repr.
"""

from __future__ import annotations

from typing import Final, final

from amqpd.base.errors import SyntaxFault
from amqpd.wire.field_table import FieldTable, check_table

# In the order in which connection.start offers them.
MECHANISMS: Final = "PLAIN AMQPLAIN"
# Enough for any name and for tokens in the place of passwords.
RESPONSE_BYTES_MAX: Final = 4096


@final
class Credentials:
    def __init__(self, user: str, password: bytes) -> None:
        self.user = user
        self.password = password

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and self.user == other.user and self.password == other.password

    def __hash__(self) -> int:
        return hash(self.user)

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, ***)"


def is_offered(mechanism: str) -> bool:
    return mechanism in ("PLAIN", "AMQPLAIN")


def parse_response(mechanism: str, response: bytes) -> Credentials | None:
    """The credentials in a start-ok; None for a malformed response and for a mechanism that is not offered."""
    if mechanism == "PLAIN":
        return parse_plain(response)
    if mechanism == "AMQPLAIN":
        return parse_amqplain(response)
    return None


def parse_plain(response: bytes) -> Credentials | None:
    """NUL user NUL password. RFC 4616 allows an identity to act as before the first NUL; RabbitMQ refuses one."""
    if len(response) > RESPONSE_BYTES_MAX:
        return None
    fields = response.split(b"\x00")
    if len(fields) != 3 or fields[0] != b"":
        return None
    return _credentials(fields[1], fields[2])


def parse_amqplain(response: bytes) -> Credentials | None:
    """The entries LOGIN and PASSWORD, long strings or byte arrays; others are ignored, as RabbitMQ does."""
    if len(response) > RESPONSE_BYTES_MAX:
        return None
    try:
        check_table(response)
    except SyntaxFault:
        return None
    table = FieldTable(response)
    user = _octets(table, "LOGIN")
    password = _octets(table, "PASSWORD")
    return _credentials(user, password)


def _octets(table: FieldTable, key: str) -> bytes:
    value = table.get(key)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) else b""


def _credentials(user: bytes, password: bytes) -> Credentials | None:
    # An empty password would make an account without one an open door; NUL is what separates fields elsewhere.
    if user == b"" or password == b"" or b"\x00" in user or b"\x00" in password:
        return None
    return Credentials(user.decode("utf-8", "surrogateescape"), password)


def refusal_text(mechanism: str) -> str:
    """RabbitMQ's words, the same for every reason; the reason is for the log."""
    return f"Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
