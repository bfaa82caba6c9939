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


def test_tx_select_twice_keeps_what_is_held(client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Tx.Select))
    client.publish("q", b"x")
    client.call(1, new_method(commands.Tx.Select))
    client.call(1, new_method(commands.Tx.Commit))
    assert client.declare("q").message_count == 1


def test_commit_and_rollback_need_a_transaction(client: Client) -> None:
    for channel, method in ((1, commands.Tx.Commit), (2, commands.Tx.Rollback)):
        if channel == 2:
            client.call(2, new_method(commands.Channel.Open))
        close = client.call(channel, new_method(method))
        assert close.reply_text == "PRECONDITION_FAILED - channel is not transactional"


def test_a_transaction_can_not_become_confirming(client: Client) -> None:
    client.call(1, new_method(commands.Tx.Select))
    close = client.call(1, new_method(commands.Confirm.Select))
    assert close.reply_text == "PRECONDITION_FAILED - cannot switch from tx to confirm mode"


def test_what_a_transaction_published_to_a_queue_that_went_is_dropped_at_commit(client: Client) -> None:
    client.declare("q")
    client.declare("p")
    for name in ("p", "q"):
        client.call(1, new_method(commands.Queue.Bind, queue=name, exchange="amq.fanout"))
    client.call(1, new_method(commands.Tx.Select))
    client.publish("", b"x", "amq.fanout")
    client.call(1, new_method(commands.Queue.Delete, queue="q"))
    assert isinstance(client.call(1, new_method(commands.Tx.Commit)), commands.Tx.CommitOk)
    assert client.declare("p").message_count == 1
