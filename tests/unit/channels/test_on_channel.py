from __future__ import annotations

from pamqp import commands

from amqpd.wire.methods import new_method
from tests.behaviour.harness import Client


def test_flow_stops_and_restarts_deliveries_and_is_answered(client: Client) -> None:
    client.declare("q")
    client.send(1, new_method(commands.Basic.Consume, queue="q"))
    client.received.clear()
    assert client.call(1, new_method(commands.Channel.Flow, active=False)).active is False
    client.publish("q", b"x")
    assert client.bodies() == []
    client.send(1, new_method(commands.Channel.Flow, active=True))
    assert client.bodies() == [b"x"]


def test_confirm_select_twice_goes_on_counting(client: Client) -> None:
    client.call(1, new_method(commands.Confirm.Select))
    client.publish("nowhere", b"x")
    client.call(1, new_method(commands.Confirm.Select))
    client.publish("nowhere", b"x")
    assert [each.method.delivery_tag for each in client.take_all(commands.Basic.Ack)] == [1, 2]


def test_nowait_select_is_not_answered(client: Client) -> None:
    client.send(1, new_method(commands.Confirm.Select, nowait=True))
    assert client.received == []
    client.publish("nowhere", b"x")
    assert len(client.take_all(commands.Basic.Ack)) == 1


def test_a_transaction_can_not_become_confirming(client: Client) -> None:
    client.call(1, new_method(commands.Tx.Select))
    close = client.call(1, new_method(commands.Confirm.Select))
    assert close.reply_text == "PRECONDITION_FAILED - cannot switch from tx to confirm mode"
