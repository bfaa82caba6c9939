"""Properties on which a publish can fail, and those that change where it goes."""

from __future__ import annotations

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.channels.publishing import check_expiration
from amqpd.wire.field_table import encode_table
from amqpd.wire.properties import headers
from tests.behaviour.harness import BrokerHarness, Client


def with_headers(values: dict[str, object]) -> bytes:
    raw = encode_table(values).raw
    return b"\x20\x00" + len(raw).to_bytes(4, "big") + raw


def with_user(name: bytes) -> bytes:
    return b"\x00\x10" + bytes([len(name)]) + name


@pytest.mark.parametrize("raw", [b"0", b"1", b"007", b"315360000000"])
def test_an_expiration_is_digits_up_to_ten_years(raw: bytes) -> None:
    check_expiration(raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no_integer"),
        (b"abc", "no_integer"),
        (b"-", "no_integer"),
        (b"10s", '{leftover_string,"s"}'),
        (b"-1", "{value_negative,-1}"),
        (b"315360000001", "{value_too_large,315360000001}"),
    ],
)
def test_any_other_expiration_is_refused_with_rabbitmqs_words(raw: bytes, why: str) -> None:
    with pytest.raises(PreconditionFailed) as caught:
        check_expiration(raw)
    assert caught.value.explanation == f"invalid expiration '{raw.decode()}': {why}"


@pytest.mark.parametrize("raw", [b"\xff\xfe", "٣".encode(), "²".encode(), b"\x00", b"9" * 255, b" 1", b"1 "])
def test_an_expiration_of_any_bytes_is_refused_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(PreconditionFailed):
        check_expiration(raw)


def test_cc_and_bcc_name_more_routing_keys_and_bcc_is_hidden(client: Client) -> None:
    for name in ("a", "b", "c"):
        client.declare(name)
    client.publish("a", b"x", properties=with_headers({"CC": ["b", "a"], "BCC": ["c"], "kept": 1}))
    for name in ("a", "b", "c"):
        got = client.get(name, no_ack=True)
        assert got is not None
        table = headers(got.header)
        assert table is not None
        assert table.keys() == ["CC", "kept"]
        assert client.get(name) is None


@pytest.mark.parametrize("key", ["CC", "BCC"])
def test_copies_that_are_no_list_are_refused(client: Client, key: str) -> None:
    client.publish("a", b"x", properties=with_headers({key: "b"}))
    assert client.received[0].method.reply_text == (
        f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{key}",longstr}}'
    )


def test_copies_that_are_no_text_are_ignored(client: Client) -> None:
    client.declare("a")
    client.publish("a", b"x", properties=with_headers({"CC": [1, "a", True]}))
    assert client.received == []


def test_too_many_copies_are_refused(client: Client) -> None:
    client.publish("a", b"x", properties=with_headers({"CC": ["k"] * 129}))
    assert client.received[0].method.reply_code == 406


def test_a_user_id_is_the_user_who_is_logged_in(client: Client) -> None:
    client.declare("a")
    client.publish("a", b"x", properties=with_user(b"guest"))
    assert client.received == []
    client.publish("a", b"x", properties=with_user(b"other"))
    assert client.received[0].method.reply_text == (
        "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'"
    )


def test_an_impersonator_may_name_another_user(broker: BrokerHarness, client: Client) -> None:
    broker.broker.access.set_tags("guest", ("impersonator",))
    client.declare("a")
    client.publish("a", b"x", properties=with_user(b"other"))
    assert client.received == []


def test_a_reply_to_without_a_reply_consumer_is_refused(client: Client) -> None:
    name = b"amq.rabbitmq.reply-to"
    client.publish("a", b"x", properties=b"\x02\x00" + bytes([len(name)]) + name)
    assert client.received[0].method.reply_text == "PRECONDITION_FAILED - fast reply consumer does not exist"


def test_malformed_properties_close_the_connection(client: Client) -> None:
    client.publish("a", b"x", properties=b"\x20\x00\x00\x00\x00\x09ab")
    assert client.received[0].method.reply_code == 502
