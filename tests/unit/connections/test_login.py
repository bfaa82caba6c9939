from __future__ import annotations

import pytest
from pamqp import commands

from amqpd.base.notice import INFO, WARNING
from amqpd.connections.handshake import CLOSED, CLOSING, OPEN, REFUSED, START_SENT, TUNE_SENT
from amqpd.connections.login import has_capability
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client

C = commands.Connection


def start(broker: BrokerHarness, mechanism: str, response: bytes, **capabilities: bool) -> Client:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.received.clear()
    properties = encode_table({"connection_name": "worker 7", "capabilities": encode_table(dict(capabilities))})
    client.send(
        0,
        new_method(
            C.StartOk,
            client_properties=properties,
            mechanism=mechanism,
            response=response.decode("utf-8", "surrogateescape"),
        ),
    )
    return client


AMQPLAIN = encode_table({"LOGIN": "guest", "PASSWORD": "guest"}).raw


@pytest.mark.parametrize(("mechanism", "response"), [("PLAIN", b"\0guest\0guest"), ("AMQPLAIN", AMQPLAIN)])
def test_a_right_login_is_answered_with_tune(broker: BrokerHarness, mechanism: str, response: bytes) -> None:
    client = start(broker, mechanism, response)
    assert client.connection.state == TUNE_SENT
    assert client.received[0].method.name == "Connection.Tune"
    assert client.connection.describe() == "127.0.0.1:50000 'worker 7' user 'guest'"


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
@pytest.mark.parametrize(
    "response", [b"", b"\0guest\0", b"\0guest\0no", b"\0nobody\0guest", b"\xff" * 5, b"x\0guest\0guest"]
)
@pytest.mark.parametrize("is_told", [True, False])
def test_every_wrong_login_looks_the_same(
    broker: BrokerHarness, mechanism: str, response: bytes, is_told: bool
) -> None:
    client = start(broker, mechanism, response, authentication_failure_close=is_told)
    assert client.connection.state == (CLOSING if is_told else REFUSED)
    assert [each.method.reply_text for each in client.received] == (
        [
            f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. "
            "For details see the broker logfile."
        ]
        if is_told
        else []
    )
    assert any("refused" in notice for notice in broker.broker.agenda.lines)
    assert not any("guest\0" in notice for notice in broker.broker.agenda.lines)


def test_an_unknown_mechanism_is_a_wrong_command(broker: BrokerHarness) -> None:
    client = start(broker, "ANONYMOUS", b"")
    assert client.received[0].method.reply_text == "COMMAND_INVALID - unknown authentication mechanism 'ANONYMOUS'"


@pytest.mark.parametrize(
    ("channel_max", "frame_max", "agreed_channel_max", "agreed_frame_max"),
    [(0, 0, 2047, 131072), (1, 4096, 1, 4096), (2047, 131072, 2047, 131072)],
)
def test_limits_are_the_lower_of_both(
    broker: BrokerHarness, channel_max: int, frame_max: int, agreed_channel_max: int, agreed_frame_max: int
) -> None:
    client = start(broker, "PLAIN", b"\0guest\0guest")
    client.send(0, new_method(C.TuneOk, channel_max=channel_max, frame_max=frame_max, heartbeat=0))
    connection = client.connection
    assert connection._table.channel_max == agreed_channel_max
    assert connection.frame_max == agreed_frame_max
    assert connection.outbox.payload_bytes_max == agreed_frame_max - 8


def open_vhost(broker: BrokerHarness, name: str, **capabilities: bool) -> Client:
    client = start(broker, "PLAIN", b"\0guest\0guest", **capabilities)
    client.send(0, new_method(C.TuneOk))
    client.received.clear()
    client.send(0, new_method(C.Open, virtual_host=name))
    return client


def test_a_vhost_needs_a_permission(broker: BrokerHarness) -> None:
    broker.broker.access.clear_permissions("guest", "/")
    client = open_vhost(broker, "/")
    assert client.received[0].method.reply_text == "NOT_ALLOWED - access to vhost '/' refused for user 'guest'"


def test_the_session_knows_what_the_client_can_hear(broker: BrokerHarness) -> None:
    client = open_vhost(broker, "/", consumer_cancel_notify=True)
    assert client.connection.state == OPEN
    session = client.connection.session
    assert session is not None
    assert (session.wants_cancel_notify, session.wants_blocked, session.user) == (True, False, "guest")


def test_a_capability_is_a_true_boolean_in_the_table_of_that_name() -> None:
    assert has_capability(encode_table({"capabilities": encode_table({"a": True})}), "a")
    assert not has_capability(encode_table({"capabilities": encode_table({"a": False})}), "a")
    assert not has_capability(encode_table({"capabilities": encode_table({"a": 1})}), "a")
    assert not has_capability(encode_table({"capabilities": "a"}), "a")
    assert not has_capability(EMPTY_TABLE, "a")


def wrong(broker: BrokerHarness, count: int) -> None:
    for _ in range(count):
        start(broker, "PLAIN", b"\0guest\0no", authentication_failure_close=True)


def test_after_many_wrong_logins_the_next_one_waits_and_so_does_what_comes_behind_it(broker: BrokerHarness) -> None:
    wrong(broker, 8)
    client = start(broker, "PLAIN", b"\0guest\0guest")
    client.send(0, new_method(C.TuneOk, heartbeat=0))
    client.send(0, new_method(C.Open, virtual_host="/"))
    assert (client.connection.state, client.received) == (START_SENT, [])
    assert client.connection.is_held_back
    broker.advance(30_000)
    assert client.connection.state == OPEN
    assert [each.method.name for each in client.received] == ["Connection.Tune", "Connection.OpenOk"]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_wrong_login_that_had_to_wait_is_refused_like_any_other(broker: BrokerHarness, is_told: bool) -> None:
    wrong(broker, 8)
    client = start(broker, "PLAIN", b"\0guest\0no", authentication_failure_close=is_told)
    assert client.received == []
    broker.advance(2_500)
    assert client.connection.state == (CLOSING if is_told else CLOSED)
    assert len(client.received) == (1 if is_told else 0)


def test_guesses_are_a_few_per_second_however_many_connections_there_are(broker: BrokerHarness) -> None:
    wrong(broker, 300)
    broker.broker.agenda.notices.clear()
    broker.advance(10_000)
    looked_at = [line for line in broker.broker.agenda.lines if "invalid credentials" in line]
    refused = [line for line in broker.broker.agenda.lines if "not looked at" in line]
    assert 20 <= len(looked_at) <= 45
    assert refused


def test_a_client_that_leaves_while_its_login_waits_is_forgotten(broker: BrokerHarness) -> None:
    wrong(broker, 8)
    client = start(broker, "PLAIN", b"\0guest\0guest")
    client.lose()
    broker.advance(10_000)
    assert client.connection.state == CLOSED


def test_a_refused_login_is_a_warning_with_address_user_and_why(broker: BrokerHarness) -> None:
    start(broker, "PLAIN", b"\0guest\0no", authentication_failure_close=True)
    assert [(each.level, each.text) for each in broker.broker.agenda.notices] == [
        (WARNING, "login from 127.0.0.1:50000 'worker 7' refused: user 'guest' - invalid credentials")
    ]


def test_one_line_tells_who_has_come_and_one_how_each_has_gone(broker: BrokerHarness) -> None:
    clients = [open_vhost(broker, "/") for _ in range(3)]
    clients[0].send(0, new_method(C.Close, reply_code=200, reply_text="", class_id=0, method_id=0))
    clients[1].lose()
    clients[2].connection.give_up("missed heartbeats")
    who = "127.0.0.1:50000 'worker 7' user 'guest'"
    said = [(each.level, each.text) for each in broker.broker.agenda.notices]
    assert said == [
        *[(INFO, f"{who} is connected to vhost '/'")] * 3,
        (INFO, f"{who} has closed its connection"),
        (WARNING, f"{who}: client unexpectedly closed TCP connection"),
        (WARNING, f"{who} is dropped: missed heartbeats"),
    ]
