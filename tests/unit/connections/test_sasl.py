from __future__ import annotations

import pytest

from amqpd.connections.sasl import (
    MECHANISMS,
    RESPONSE_BYTES_MAX,
    Credentials,
    is_offered,
    parse_amqplain,
    parse_plain,
    parse_response,
    refusal_text,
)
from amqpd.wire.field_table import encode_table

GUEST = Credentials("guest", b"secret")


def test_plain_is_two_fields_each_after_a_nul() -> None:
    assert parse_plain(b"\x00guest\x00secret") == GUEST


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x00",
        b"\x00\x00",
        b"guest",
        b"guest\x00secret",
        b"\x00guest",
        b"\x00guest\x00",
        b"\x00\x00secret",
        b"someone\x00guest\x00secret",
        b"\x00guest\x00secret\x00",
        b"\x00guest\x00secret\x00more",
        b"\x00guest\x00" + b"x" * RESPONSE_BYTES_MAX,
    ],
)
def test_any_other_plain_response_is_refused(response: bytes) -> None:
    assert parse_plain(response) is None


def test_a_name_that_is_not_utf_8_is_a_name_nobody_has() -> None:
    credentials = parse_plain(b"\x00\xff\x00\xfe")
    assert credentials == Credentials("\udcff", b"\xfe")


def test_amqplain_is_a_table_without_its_size() -> None:
    assert parse_amqplain(encode_table({"LOGIN": "guest", "PASSWORD": "secret"}).raw) == GUEST
    assert parse_amqplain(encode_table({"PASSWORD": b"secret", "X": None, "LOGIN": b"guest"}).raw) == GUEST
    assert parse_amqplain(b"\x05LOGINx\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x06secret") == GUEST


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"LOGIN": "guest"},
        {"PASSWORD": "secret"},
        {"login": "guest", "password": "secret"},
        {"LOGIN": "guest", "PASSWORD": ""},
        {"LOGIN": "", "PASSWORD": "secret"},
        {"LOGIN": 1, "PASSWORD": "secret"},
        {"LOGIN": "guest", "PASSWORD": None},
        {"LOGIN": "guest", "PASSWORD": ["secret"]},
        {"LOGIN": "gu\x00est", "PASSWORD": "secret"},
        {"LOGIN": "guest", "PASSWORD": "secret\x00"},
    ],
)
def test_amqplain_without_two_strings_is_refused(values: dict[str, object]) -> None:
    assert parse_amqplain(encode_table(values).raw) is None


def test_a_malformed_amqplain_table_is_refused_and_not_an_error() -> None:
    whole = encode_table({"LOGIN": "guest", "PASSWORD": "secret"}).raw
    for size in range(len(whole)):
        assert parse_amqplain(whole[:size]) is None
    assert parse_amqplain(len(whole).to_bytes(4, "big") + whole) is None
    assert parse_amqplain(b"\x05LOGINq") is None


def test_the_mechanism_picks_the_reader() -> None:
    assert parse_response("PLAIN", b"\x00guest\x00secret") == GUEST
    assert parse_response("AMQPLAIN", encode_table({"LOGIN": "guest", "PASSWORD": "secret"}).raw) == GUEST
    for name in ("plain", "", "EXTERNAL", "ANONYMOUS"):
        assert not is_offered(name)
        assert parse_response(name, b"\x00guest\x00secret") is None
    assert all(is_offered(name) for name in MECHANISMS.split())


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(GUEST)
    assert "secret" not in f"{GUEST} {[GUEST]}"


def test_the_refusal_is_in_rabbitmqs_words() -> None:
    expected = "Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    assert refusal_text("PLAIN") == expected
