"""x-delayed-message, as a client sees it; and what a restart leaves of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pamqp import commands

from amqpd.wire.field_table import FieldTable, encode_table
from amqpd.wire.methods import new_method
from amqpd.wire.properties import Properties, encode_header, headers
from tests.behaviour.harness import BrokerHarness, Client
from tests.fakes.restart import ready_bodies, restarted


def properties(delay: object = None, persistent: bool = True, **more: object) -> bytes:
    table = encode_table(({} if delay is None else {"x-delay": delay}) | more)
    return encode_header(0, Properties(headers=table, delivery_mode=2 if persistent else 1))[12:]


def declare_exchange(client: Client, durable: bool = True, inner: object = "direct", name: str = "x") -> Any:
    return client.call(
        1,
        new_method(
            commands.Exchange.Declare,
            exchange=name,
            exchange_type="x-delayed-message",
            durable=durable,
            arguments=encode_table({"x-delayed-type": inner}),
        ),
    )


def set_up(client: Client) -> None:
    declare_exchange(client)
    client.declare("q", durable=True)
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="x", routing_key="k"))


def drain(client: Client, queue: str = "q") -> list[bytes]:
    bodies = []
    while (got := client.get(queue, no_ack=True)) is not None:
        bodies.append(got.body)
    return bodies


def told(client: Client, kind: type) -> list[Any]:
    return [each.method for each in client.received if isinstance(each.method, kind)]


def table_of(header: bytes) -> FieldTable:
    table = headers(header)
    assert table is not None
    return table


def test_messages_come_when_they_are_due(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    client.call(1, new_method(commands.Basic.Consume, queue="q", no_ack=True))
    client.received.clear()
    for body, delay in ((b"hour", 3_600_000), (b"second", 1000), (b"none", None), (b"zero", 0)):
        client.publish("k", body, exchange="x", properties=properties(delay))
    broker.advance(1000)
    assert [each.body for each in client.received] == [b"none", b"zero", b"second"]
    assert table_of(client.received[2].header).get("x-delay") == -1000
    assert (client.received[2].method.exchange, client.received[2].method.routing_key) == ("x", "k")
    broker.advance(3_599_000)
    assert [each.body for each in client.received][3:] == [b"hour"]


def test_a_delay_that_is_too_long_closes_the_channel(client: Client) -> None:
    set_up(client)
    client.publish("k", b"m", exchange="x", properties=properties(1 << 32))
    close = told(client, commands.Channel.Close)[0]
    assert close.reply_code == 406
    assert close.reply_text == "PRECONDITION_FAILED - invalid x-delay 4294967296: the longest delay is 4294967295 ms"


@pytest.mark.parametrize("inner", [1, "x-delayed-message"])
def test_the_inner_type_is_checked(client: Client, inner: object) -> None:
    close = declare_exchange(client, inner=inner)
    assert close.reply_code == 406
    assert close.reply_text.startswith("PRECONDITION_FAILED - Invalid argument, 'x-delayed-")


def test_an_unknown_inner_type_closes_the_connection(client: Client) -> None:
    arguments = encode_table({"x-delayed-type": "nope"})
    declare = new_method(
        commands.Exchange.Declare, exchange="x", exchange_type="x-delayed-message", arguments=arguments
    )
    client.send(1, declare)
    close = told(client, commands.Connection.Close)[0]
    assert (close.reply_code, close.reply_text) == (503, "COMMAND_INVALID - unknown exchange type 'nope'")


def test_elsewhere_the_header_means_nothing(client: Client) -> None:
    client.declare("q")
    client.publish("q", b"m", properties=properties(1 << 40))
    assert drain(client) == [b"m"]


def test_a_confirm_means_that_the_waiting_message_is_safe(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    client.call(1, new_method(commands.Confirm.Select))
    client.received.clear()
    broker.hold_syncs = True
    client.publish("k", b"m", exchange="x", properties=properties(1000))
    assert told(client, commands.Basic.Ack) == []
    broker.hold_syncs = False
    broker.settle()
    assert [each.delivery_tag for each in told(client, commands.Basic.Ack)] == [1]


def test_a_delayed_message_is_never_returned(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    client.publish("nobody", b"m", exchange="x", properties=properties(1000), mandatory=True)
    broker.advance(1000)
    assert told(client, commands.Basic.Return) == []
    client.publish("nobody", b"m", exchange="x", properties=properties(), mandatory=True)
    assert len(told(client, commands.Basic.Return)) == 1


def test_a_transaction_holds_delayed_messages_back(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    client.call(1, new_method(commands.Tx.Select))
    client.publish("k", b"no", exchange="x", properties=properties(1000))
    client.call(1, new_method(commands.Tx.Rollback))
    client.publish("k", b"yes", exchange="x", properties=properties(1000, CC=["a"], BCC=["b"]))
    broker.advance(5000)
    assert drain(client) == []
    client.call(1, new_method(commands.Tx.Commit))
    broker.advance(1000)
    assert drain(client) == [b"yes"]


def test_copies_go_out_with_the_message(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    for queue in ("open", "blind"):
        client.declare(queue)
        client.call(1, new_method(commands.Queue.Bind, queue=queue, exchange="x", routing_key=queue))
    client.publish("k", b"m", exchange="x", properties=properties(1000, CC=["open"], BCC=["blind"]))
    assert [drain(client, queue) for queue in ("q", "open", "blind")] == [[], [], []]
    broker.advance(1000)
    assert [drain(client, queue) for queue in ("q", "open")] == [[b"m"], [b"m"]]
    got = client.get("blind")
    assert got is not None
    assert not table_of(got.header).has("BCC")


def test_dead_letters_are_delayed_too_but_not_again(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    client.declare("retry", arguments=encode_table({"x-dead-letter-exchange": "x", "x-dead-letter-routing-key": "k"}))
    client.publish("retry", b"m", properties=properties(1000))
    assert client.get("retry") is not None
    client.send(1, new_method(commands.Basic.Reject, delivery_tag=1, requeue=False))
    assert drain(client) == []
    broker.advance(1000)
    got = client.get("q", no_ack=True)
    assert got is not None
    assert table_of(got.header).get("x-first-death-queue") == "retry"
    assert table_of(got.header).get("x-delay") == -1000


def test_deleting_the_exchange_drops_what_waits(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    client.publish("k", b"m", exchange="x", properties=properties(1000))
    client.call(1, new_method(commands.Exchange.Delete, exchange="x"))
    declare_exchange(client)
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="x", routing_key="k"))
    broker.advance(1000)
    assert drain(client) == []


def test_the_queue_in_which_they_wait_can_not_be_reached(client: Client) -> None:
    set_up(client)
    client.publish("k", b"m", exchange="x", properties=properties(1000))
    client.publish("amq.delayed.x", b"m", mandatory=True)
    assert len(told(client, commands.Basic.Return)) == 1
    assert client.declare("amq.delayed.x", passive=True).reply_code == 404


def live(broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    for number in range(6):
        client.publish("k", b"m%d" % number, exchange="x", properties=properties(1000 + 500 * number))
    client.publish("k", b"lost", exchange="x", properties=properties(60_000, persistent=False))
    broker.advance(2000)
    delayed = broker.broker.vhosts["/"].delays.of("x")
    assert delayed is not None
    delayed.reschedule(int(delayed.page(0, 1)[0].message_id), 20_000)
    broker.settle()
    delayed.cancel(int(delayed.page(0, 1)[0].message_id))
    broker.settle()


def test_a_restart_keeps_what_waits_and_its_time(tmp_path: Path, broker: BrokerHarness, client: Client) -> None:
    live(broker, client)
    again = restarted(broker.batches, tmp_path, broker.now_ms)
    client = again.connect()
    delayed = again.broker.vhosts["/"].delays.of("x")
    assert delayed is not None
    # m3 was put off, m4 cancelled.
    assert [each.due_wall_ms - again.now_ms - 1_700_000_000_000 for each in delayed.page(0, 9)] == [1500, 20_000]
    assert drain(client) == [b"m0", b"m1", b"m2"]
    again.advance(1500)
    assert drain(client) == [b"m5"]
    again.advance(18_500)
    assert drain(client) == [b"m3"]
    assert delayed.count == 0


def test_what_was_due_while_the_broker_was_down_comes_at_once(
    tmp_path: Path, broker: BrokerHarness, client: Client
) -> None:
    live(broker, client)
    again = restarted(broker.batches, tmp_path, broker.now_ms + 60_000)
    client = again.connect()
    again.advance(100)
    assert drain(client) == [b"m0", b"m1", b"m2", b"m5", b"m3"]


DELAYS_MS = (3000, 1000, 2003, 1000, 2001)
BY_DUE_TIME = [b"m1", b"m3", b"m4", b"m2", b"m0"]


def publish_delayed(client: Client) -> None:
    set_up(client)
    declare_exchange(client, name="y")
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="y", routing_key="k"))
    for number, delay_ms in enumerate(DELAYS_MS):
        client.publish("k", b"m%d" % number, exchange="xy"[number % 2], properties=properties(delay_ms))


def test_they_come_by_order_of_their_due_times(broker: BrokerHarness, client: Client) -> None:
    publish_delayed(client)
    broker.advance(5000)
    assert drain(client) == BY_DUE_TIME


def test_what_was_due_while_the_broker_was_down_comes_by_order_of_its_due_times(
    tmp_path: Path, broker: BrokerHarness, client: Client
) -> None:
    publish_delayed(client)
    again = restarted(broker.batches, tmp_path, broker.now_ms + 60_000)
    client = again.connect()
    again.advance(100)
    assert drain(client) == BY_DUE_TIME


def test_a_checkpoint_knows_what_waits(tmp_path: Path, broker: BrokerHarness, client: Client) -> None:
    set_up(client)
    client.publish("k", b"m", exchange="x", properties=properties(1000))
    broker.broker.begin_checkpoint()
    checkpoint = broker.broker.durable_checkpoint()
    assert checkpoint is not None
    assert checkpoint.size_bytes > 0
    assert broker.broker.log_position > 0
    delayed = broker.broker.vhosts["/"].delays.of("x")
    assert delayed is not None
    assert int(delayed.page(0, 1)[0].message_id).to_bytes(8, "little") in b"".join(checkpoint.blocks())


def test_power_loss_after_any_batch_leaves_each_message_in_one_place(tmp_path: Path) -> None:
    broker = BrokerHarness()
    live(broker, broker.connect())
    for count in range(len(broker.batches) + 1):
        directory = tmp_path / str(count)
        directory.mkdir()
        again = restarted(broker.batches[:count], directory, broker.now_ms)
        vhost = again.broker.vhosts["/"]
        found = Counter(body for queue in vhost.all_queues() for body in ready_bodies(again, queue))
        assert max(found.values(), default=0) <= 1, (count, found)
        assert b"lost" not in found
        again.advance(60_000)
        if "q" in vhost.queues:
            assert vhost.queues["q"].ready.count == found.total()
