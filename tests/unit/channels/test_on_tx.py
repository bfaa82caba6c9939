from __future__ import annotations

from pamqp import commands

from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import Client


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


def test_a_transaction_for_which_a_queue_has_no_room_does_nothing_at_all(client: Client) -> None:
    client.declare("full", arguments=encode_table({"x-max-length": 1, "x-overflow": "reject-publish"}))
    client.declare("other")
    client.call(1, new_method(commands.Tx.Select))
    for queue in ("other", "full", "full"):
        client.publish(queue, b"x")
    close = client.call(1, new_method(commands.Tx.Commit))
    assert close.reply_text == "PRECONDITION_FAILED - partial tx completion"
    client.send(1, new_method(commands.Channel.CloseOk))
    client.call(1, new_method(commands.Channel.Open))
    counts = [client.declare(queue, passive=True).message_count for queue in ("full", "other")]
    assert counts == [0, 0]
