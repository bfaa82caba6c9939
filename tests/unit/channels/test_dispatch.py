"""Every method of the protocol on an open channel is answered in one of the ways that exist."""

from __future__ import annotations

import pytest
from pamqp import commands
from pamqp.base import Frame

from amqpd.wire.methods import AccessRequest, new_method
from tests.behaviour.harness import BrokerHarness, Client

INDICES = sorted(commands.INDEX_MAPPING)
# Sent by clients and not answered on their own: content follows, or nothing does.
SILENT = ("Basic.Publish", "Basic.RecoverAsync")
# Zero values that something is wrong with.
REFUSED = {
    "Channel.Open": 504,
    "Basic.Ack": 406,
    "Basic.Nack": 406,
    "Basic.Reject": 406,
    "Basic.Consume": 404,
    "Basic.Get": 404,
    "Queue.Bind": 404,
    "Queue.Unbind": 404,
    "Queue.Purge": 404,
    "Queue.Delete": 404,
    "Exchange.Delete": 403,
    "Exchange.Bind": 403,
    "Exchange.Unbind": 403,
    "Tx.Commit": 406,
    "Tx.Rollback": 406,
}


@pytest.mark.parametrize("index", INDICES, ids=lambda index: commands.INDEX_MAPPING[index].name)
def test_a_method_is_answered_with_its_ok_or_a_close(broker: BrokerHarness, client: Client, index: int) -> None:
    method_class: type[Frame] = commands.INDEX_MAPPING[index]
    name = method_class.name
    client.send(1, new_method(method_class))
    answers = [each.method for each in client.received]
    assert not any("internal error" in notice for notice in broker.broker.agenda.lines)
    if name in SILENT:
        assert answers == []
    elif answers[0].name in ("Channel.Close", "Connection.Close"):
        close = answers[0]
        assert (close.class_id, close.method_id) == (index >> 16, index & 0xFFFF)
        # What only a server says, and what does not belong on a channel, is 503.
        assert close.reply_code == REFUSED.get(name, 503)
    else:
        assert [answer.name for answer in answers] == [answers[0].name]
        assert answers[0].name in method_class.valid_responses


def test_access_request_of_old_clients_is_granted_ticket_1(client: Client) -> None:
    answer = client.call(1, new_method(AccessRequest, realm="/data"))
    assert (answer.name, answer.ticket) == ("Access.RequestOk", 1)


def test_recover_async_is_obeyed_and_not_answered(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    client.get("q")
    client.send(1, new_method(commands.INDEX_MAPPING[0x003C0064], requeue=True))
    assert client.received == []
    assert client.declare("q").message_count == 1


def test_a_second_open_is_a_channel_error_of_the_connection(client: Client) -> None:
    client.send(1, new_method(commands.Channel.Open))
    close = client.received[0].method
    assert (close.name, close.reply_text) == ("Connection.Close", "CHANNEL_ERROR - second 'channel.open' seen")
