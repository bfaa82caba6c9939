"""Texts of the command line as values."""

from __future__ import annotations

import pytest

from amqpd.cli.load import LoadError
from amqpd.cli.load.arguments import expand, parse_count, parse_field, parse_fields, parse_number, parse_uri


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("12", 12), ("2k", 2000), ("2K", 2000), ("1.5M", 1_500_000), ("0.25", 0.25)]
)
def test_number_may_end_in_k_or_m(text: str, number: float) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "k", "12x", "-1", "nan", "inf", "1e400", "1 2"])
def test_number_that_is_none_is_refused_with_itself(text: str) -> None:
    with pytest.raises(LoadError, match="not a number"):
        parse_number(text)


def test_count_is_a_whole_number() -> None:
    assert parse_count("1.5k") == 1500
    with pytest.raises(LoadError, match="not a whole number"):
        parse_count("1.5")


def test_field_takes_its_type_from_its_looks_unless_forced_to_be_a_string() -> None:
    assert parse_field("12") == 12
    assert parse_field("-12") == -12
    assert parse_field("true") is True
    assert parse_field("false") is False
    assert parse_field("lazy") == "lazy"
    assert parse_field("s:12") == "12"


def test_field_value_may_hold_an_equals_sign_and_may_be_empty() -> None:
    assert parse_fields(["a=b=c", "empty="]) == {"a": "b=c", "empty": ""}
    assert parse_fields(None) == {}


@pytest.mark.parametrize("pair", ["key", "=value", ""])
def test_field_without_key_or_value_is_refused(pair: str) -> None:
    with pytest.raises(LoadError, match="key=value"):
        parse_fields([pair])


def test_uri_is_taken_apart_and_unquoted() -> None:
    parts = parse_uri("amqp://us%40er:p%2Fw@broker:5673/my%2Fvhost")
    assert parts == {"host": "broker", "port": 5673, "user": "us@er", "password": "p/w", "vhost": "my/vhost"}


@pytest.mark.parametrize("uri", ["amqp://broker", "amqp://broker/"])
def test_uri_without_more_than_a_host_means_the_defaults(uri: str) -> None:
    assert parse_uri(uri) == {"host": "broker", "port": 5672, "user": "guest", "password": "guest", "vhost": "/"}


@pytest.mark.parametrize("uri", ["http://broker", "broker:5672", "amqp://", "amqp://broker:port"])
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(LoadError, match="amqp"):
        parse_uri(uri)


def test_routing_key_templates_know_numbers_producers_and_a_per_cent_sign() -> None:
    assert expand("k.%d.%p", 3, 7) == "k.3.7"
    assert expand("100%%d", 3) == "100%d"
