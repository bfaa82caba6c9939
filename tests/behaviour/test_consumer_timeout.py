"""Consumer timeout: a lease on each delivery, which gives back just that one; or RabbitMQ's form, which closes the channel."""

from __future__ import annotations

import dataclasses

import pytest
from pamqp import commands
from pamqp.commands import Basic as B

from amqpd.base.limits import DEFAULTS
from amqpd.queues.agenda import TURN_BUDGET
from amqpd.vhosts.policies import checked_policy
from amqpd.wire.field_table import FieldTable, encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client, content_frames, method_frame

CLOSES_AFTER_1000_MS = (
    "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms. "
    "This timeout value can be configured, see consumers doc guide to learn more"
)


def harness(consumer_timeout_ms: int = 0, action: str = "return") -> BrokerHarness:
    return BrokerHarness(
        dataclasses.replace(DEFAULTS, consumer_timeout_ms=consumer_timeout_ms, consumer_timeout_action=action)
    )


def timeout(ms: object) -> FieldTable:
    return encode_table({"x-consumer-timeout": ms})


def consume(client: Client, queue: str = "q", tag: str = "t", ms: int | None = None, prefetch: int = 0) -> None:
    client.call(1, new_method(B.Qos, prefetch_count=prefetch))
    arguments = timeout(ms) if ms is not None else encode_table({})
    client.send(1, new_method(B.Consume, queue=queue, consumer_tag=tag, arguments=arguments))
    (ok,) = client.take_all(B.ConsumeOk)
    assert ok.method.consumer_tag == tag


def cancel(client: Client, tag: str = "t") -> None:
    client.call(1, new_method(B.Cancel, consumer_tag=tag))


def deliveries(client: Client) -> list[tuple[int, bytes, bool]]:
    return [(d.method.delivery_tag, d.body, d.method.redelivered) for d in client.take_all(B.Deliver)]


def ready_and_unacked(broker: BrokerHarness, queue: str = "q") -> tuple[int, int]:
    found = broker.broker.vhosts["/"].queues[queue]
    return int(found.ready.count), int(found.unacked_count)


def set_timeout(broker: BrokerHarness, ms: int) -> None:
    broker.broker.set_policy(checked_policy("/", "p", "", 0, "queues", {"consumer-timeout": ms}, False))
    broker.settle()


def ack(client: Client, tag: int, multiple: bool = False) -> None:
    client.send(1, new_method(B.Ack, delivery_tag=tag, multiple=multiple))


def close_text(client: Client) -> str:
    (close,) = client.take_all(commands.Channel.Close)
    text: str = close.method.reply_text
    return text


# The lease


def test_what_is_not_settled_in_time_goes_back_to_its_place_and_nothing_else_does(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", arguments=timeout(1000))
    for body in b"a", b"b":
        client.publish("q", body)
    client.get("q")
    broker.advance(500)
    client.get("q")
    client.publish("q", b"c")
    broker.advance(500)
    assert ready_and_unacked(broker) == (2, 1)
    first = client.get("q")
    assert first is not None and (first.body, first.method.redelivered) == (b"a", True)
    assert client.connection.channels[1].unacked.count == 2


def test_nothing_comes_back_early(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    broker.advance(999)
    assert ready_and_unacked(broker) == (0, 1)
    broker.advance(101)
    assert ready_and_unacked(broker) == (1, 0)


def test_what_was_not_settled_in_time_has_failed_and_waits_where_its_queue_has_a_back_off(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", arguments=encode_table({"x-consumer-timeout": 1000, "x-retry-initial-ms": 500}))
    client.publish("q", b"a")
    client.get("q")
    broker.advance(1000)
    assert ready_and_unacked(broker) == (0, 0)
    broker.advance(600)
    assert ready_and_unacked(broker) == (1, 0)


def test_without_a_timeout_a_delivery_may_take_for_ever(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"a")
    consume(client)
    broker.advance(100_000)
    assert ready_and_unacked(broker) == (0, 1)
    assert not client.connection.channels[1].session.has_leases


def test_the_credit_comes_back_and_another_consumer_gets_the_message(broker: BrokerHarness, client: Client) -> None:
    other = broker.connect()
    client.declare("q", arguments=timeout(1000))
    consume(client, prefetch=1)
    client.publish("q", b"a")
    client.publish("q", b"b")
    assert deliveries(client) == [(1, b"a", False)]
    broker.advance(500)
    consume(other, prefetch=1)
    assert deliveries(other) == [(1, b"b", False)]
    ack(other, 1)
    cancel(client)
    broker.advance(500)
    assert deliveries(other) == [(2, b"a", True)]
    assert client.connection.channels[1].unacked.count == 0


def test_a_consumer_with_a_prefetch_of_one_goes_on_with_another_tag(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    consume(client, prefetch=1)
    client.publish("q", b"a")
    broker.advance(1000)
    assert deliveries(client) == [(1, b"a", False), (2, b"a", True)]
    ack(client, 2)
    assert ready_and_unacked(broker) == (0, 0)


def test_settled_in_time_is_settled(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    consume(client)
    for body in b"a", b"b", b"c":
        client.publish("q", body)
    ack(client, 1)
    ack(client, 3, multiple=True)
    broker.advance(5000)
    assert ready_and_unacked(broker) == (0, 0)
    assert broker.broker.agenda.lapsed_count == 0


def test_deliveries_of_a_cancelled_consumer_have_their_lease_still(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    consume(client, ms=1000)
    client.publish("q", b"a")
    cancel(client)
    broker.advance(1000)
    assert ready_and_unacked(broker) == (1, 0)


def test_a_time_out_counts_towards_the_delivery_limit(broker: BrokerHarness, client: Client) -> None:
    client.declare("dead")
    arguments = {
        "x-consumer-timeout": 1000,
        "x-delivery-limit": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
    }
    client.declare("q", arguments=encode_table(arguments))
    consume(client, prefetch=1)
    client.publish("q", b"a")
    broker.advance(1000)
    assert ready_and_unacked(broker, "dead") == (0, 0)
    broker.advance(1000)
    assert ready_and_unacked(broker, "dead") == (1, 0)
    assert ready_and_unacked(broker) == (0, 0)


def test_a_lease_that_runs_out_after_the_queue_is_gone_is_nobodys_business(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    client.call(1, new_method(commands.Queue.Delete, queue="q"))
    broker.advance(1000)
    ack(client, 1)
    assert client.received == []


def test_no_ack_has_no_lease(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q", no_ack=True)
    assert not client.connection.channels[1].session.has_leases


# Late settles


@pytest.mark.parametrize(
    "late",
    [
        new_method(B.Ack, delivery_tag=1),
        new_method(B.Nack, delivery_tag=1, requeue=True),
        new_method(B.Nack, delivery_tag=1, requeue=False),
        new_method(B.Reject, delivery_tag=1, requeue=True),
        new_method(B.Ack, delivery_tag=1, multiple=True),
        new_method(B.Nack, delivery_tag=1, multiple=True),
    ],
)
def test_a_late_settle_is_ignored_once(late: object, broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    broker.advance(1000)
    client.send(1, late)
    assert client.received == []
    assert ready_and_unacked(broker) == (1, 0)
    client.send(1, late)
    assert close_text(client) == "PRECONDITION_FAILED - unknown delivery tag 1"


def test_a_late_tag_with_multiple_settles_what_came_before_and_is_still_there(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("slow")
    client.declare("q", arguments=timeout(1000))
    client.publish("slow", b"x")
    client.publish("q", b"a")
    client.get("slow")
    client.get("q")
    broker.advance(1000)
    ack(client, 2, multiple=True)
    assert client.received == []
    assert ready_and_unacked(broker, "slow") == (0, 0)
    assert ready_and_unacked(broker) == (1, 0)


def test_a_late_settle_in_a_transaction_is_ignored_too(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    client.call(1, new_method(commands.Tx.Select))
    broker.advance(1000)
    ack(client, 1)
    assert isinstance(client.call(1, new_method(commands.Tx.Commit)), commands.Tx.CommitOk)
    assert ready_and_unacked(broker) == (1, 0)


def test_what_a_transaction_has_settled_is_in_time_unless_it_is_rolled_back(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    client.call(1, new_method(commands.Tx.Select))
    ack(client, 1)
    broker.advance(2000)
    assert ready_and_unacked(broker) == (0, 1)
    client.call(1, new_method(commands.Tx.Rollback))
    broker.advance(1000)
    assert ready_and_unacked(broker) == (1, 0)


# Which timeout


def test_the_consumers_own_comes_before_the_queues_and_that_before_the_servers() -> None:
    broker = harness(consumer_timeout_ms=3000)
    client = broker.connect()
    client.declare("q")
    client.declare("own", arguments=timeout(2000))
    for queue, tag, ms in ("q", "server", None), ("own", "queue", None), ("own", "consumer", 5000):
        consume(client, queue, tag, ms)
    for queue in "q", "own", "own":
        client.publish(queue, b"x")
    first = [each.method.consumer_tag for each in client.take_all(B.Deliver)]
    assert first == ["server", "queue", "consumer"]
    for tag in first:
        cancel(client, tag)
    left = []
    for _ in range(5):
        broker.advance(1000)
        left.append((ready_and_unacked(broker)[1], ready_and_unacked(broker, "own")[1]))
    assert left == [(1, 2), (1, 1), (0, 1), (0, 1), (0, 0)]


@pytest.mark.parametrize(("queue_ms", "consumer_ms"), [(0, None), (1000, 0), (None, 0)])
def test_zero_is_none_whatever_is_said_further_out(queue_ms: int | None, consumer_ms: int | None) -> None:
    broker = harness(consumer_timeout_ms=1000)
    client = broker.connect()
    client.declare("q", arguments=timeout(queue_ms) if queue_ms is not None else encode_table({}))
    consume(client, ms=consumer_ms)
    client.publish("q", b"a")
    broker.advance(10_000)
    assert len(deliveries(client)) == 1
    assert ready_and_unacked(broker) == (0, 1)


@pytest.mark.parametrize(
    ("value", "fault"),
    [("1000", '"expected integer, got longstr"'), (-1, "{value_negative,-1}"), (True, '"expected integer, got bool"')],
)
def test_a_wrong_timeout_of_a_consumer_or_queue_is_refused(value: object, fault: str, client: Client) -> None:
    client.declare("q")
    for method in (
        new_method(B.Consume, queue="q", arguments=timeout(value)),
        new_method(commands.Queue.Declare, queue="q2", arguments=timeout(value)),
    ):
        client.send(1, method)
        assert close_text(client) == (
            f"PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue '{method.queue}' in vhost '/': {fault}"
        )
        client.send(1, new_method(commands.Channel.CloseOk))
        client.call(1, new_method(commands.Channel.Open))


def test_the_longest_timeout_that_can_be_said_is_a_timeout(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout((1 << 63) - 1))
    client.publish("q", b"a")
    client.get("q")
    broker.advance(1000)
    assert ready_and_unacked(broker) == (0, 1)


# Policies


def test_a_policy_holds_for_what_is_out_already_from_when_it_was_set(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"a")
    client.publish("q", b"b")
    client.get("q")
    consume(client)
    broker.advance(10_000)
    set_timeout(broker, 1000)
    broker.advance(900)
    assert ready_and_unacked(broker) == (0, 2)
    client.take_all()
    broker.advance(200)
    # Both are the consumer's now.
    assert [body for _, body, _ in deliveries(client)] == [b"a", b"b"]


def test_a_timeout_that_changes_counts_from_the_delivery(broker: BrokerHarness, client: Client) -> None:
    set_timeout(broker, 60_000)
    client.declare("q")
    client.publish("q", b"a")
    client.get("q")
    broker.advance(5000)
    set_timeout(broker, 7000)
    broker.advance(1900)
    assert ready_and_unacked(broker) == (0, 1)
    broker.advance(100)
    assert ready_and_unacked(broker) == (1, 0)


def test_a_policy_that_goes_ends_the_leases(broker: BrokerHarness, client: Client) -> None:
    set_timeout(broker, 1000)
    client.declare("q")
    consume(client)
    client.publish("q", b"a")
    broker.broker.delete_policy("/", "p", False)
    client.publish("q", b"b")
    broker.advance(10_000)
    assert ready_and_unacked(broker) == (0, 2)


def test_a_policy_does_not_touch_a_consumer_that_has_its_own(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    consume(client, ms=5000)
    client.publish("q", b"a")
    cancel(client)
    set_timeout(broker, 1000)
    broker.advance(4900)
    assert ready_and_unacked(broker) == (0, 1)
    broker.advance(100)
    assert ready_and_unacked(broker) == (1, 0)


# Who was not heard


def test_a_connection_that_is_not_read_is_given_time_to_be_heard(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    broker.broker.block("memory is short")
    client.publish("elsewhere", b"x")
    broker.advance(5000)
    ack(client, 1)
    assert ready_and_unacked(broker) == (0, 1)
    broker.broker.unblock()
    broker.settle()
    broker.advance(5000)
    assert ready_and_unacked(broker) == (0, 0)
    assert broker.broker.agenda.lapsed_count == 0


def test_after_a_stall_of_the_broker_clients_are_heard_first(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    broker.now_ms += 60_000
    broker.advance(0)
    assert ready_and_unacked(broker) == (0, 1)
    broker.advance(1000)
    assert ready_and_unacked(broker) == (1, 0)


# Who hangs


def hang_with_another(broker: BrokerHarness, **arguments: object) -> tuple[Client, Client]:
    """One consumer that comes first, by its priority or because it is the active one, has let a delivery lapse."""
    hung, other = broker.connect(), broker.connect()
    hung.declare("q", arguments=encode_table({"x-consumer-timeout": 1000} | arguments))
    for client, priority in ((hung, 5), (other, 1)):
        client.call(1, new_method(B.Qos, prefetch_count=1))
        table = encode_table({"x-priority": priority})
        client.send(1, new_method(B.Consume, queue="q", consumer_tag="t", arguments=table))
        client.take_all(B.ConsumeOk)
    hung.publish("q", b"a")
    assert deliveries(hung) == [(1, b"a", False)]
    broker.advance(1000)
    return hung, other


@pytest.mark.parametrize("arguments", [{}, {"x-single-active-consumer": True}])
def test_who_let_a_delivery_lapse_is_passed_over(broker: BrokerHarness, arguments: dict[str, object]) -> None:
    hung, other = hang_with_another(broker, **arguments)
    assert deliveries(other) == [(1, b"a", True)]
    ack(other, 1)
    for number in range(3):
        hung.publish("q", b"%d" % number)
        assert deliveries(other) == [(number + 2, b"%d" % number, False)]
        ack(other, number + 2)
    assert deliveries(hung) == []


@pytest.mark.parametrize("late", [B.Ack(1, False), B.Nack(1, False, True), B.Reject(1, False)])
def test_until_it_says_something_about_a_delivery_however_late(broker: BrokerHarness, late: object) -> None:
    hung, other = hang_with_another(broker)
    assert deliveries(other) == [(1, b"a", True)]
    hung.publish("q", b"b")
    assert ready_and_unacked(broker) == (1, 1)
    hung.send(1, late)  # type: ignore[arg-type]
    assert deliveries(hung) == [(2, b"b", False)]


def test_a_single_active_consumer_stays_active_when_the_one_that_hung_is_back(broker: BrokerHarness) -> None:
    hung, other = hang_with_another(broker, **{"x-single-active-consumer": True})
    ack(hung, 1)
    ack(other, 1)
    hung.publish("q", b"b")
    assert (len(deliveries(hung)), len(deliveries(other))) == (0, 2)


def test_if_all_hang_a_message_goes_round(broker: BrokerHarness) -> None:
    hung, other = hang_with_another(broker)
    broker.advance(3000)
    assert (len(deliveries(hung)), len(deliveries(other))) == (2, 2)


def test_very_many_that_lapse_at_once_go_back_in_several_turns(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    publish = method_frame(1, new_method(B.Publish, routing_key="q"))
    client.send_bytes((publish + content_frames(1, b"x")) * 3000)
    client.send_bytes(method_frame(1, new_method(B.Get, queue="q")) * 3000)
    client.take_all()
    broker.advance(1000)
    ready, unacked = ready_and_unacked(broker)
    assert 1000 < ready <= TURN_BUDGET
    assert ready + unacked == 3000
    broker.advance(200)
    assert ready_and_unacked(broker) == (3000, 0)


# Counted, and told


def test_what_times_out_is_counted_for_consumer_queue_and_broker(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    consume(client, prefetch=2)
    for body in b"a", b"b":
        client.publish("q", body)
    broker.advance(1000)
    assert client.connection.channels[1].consumers["t"].lapsed_count == 2
    assert broker.broker.vhosts["/"].queues["q"].lapsed_count == 2
    assert broker.broker.agenda.lapsed_count == 2


def test_the_log_names_queue_consumer_and_channel_once_in_a_while(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    consume(client, prefetch=2)
    for body in b"a", b"b":
        client.publish("q", body)
    broker.advance(50_000)
    (line,) = broker.broker.agenda.lines
    assert line == (
        "consumer 't' on channel 1 of 127.0.0.1:50000 user 'guest' has not settled a delivery of queue 'q' in vhost '/' "
        "within 1000 ms: it and 1 more of the channel are returned (timed out before: 0)"
    )
    broker.advance(20_000)
    assert len(broker.broker.agenda.lines) == 2


def test_many_channels_that_hang_at_once_do_not_fill_the_log(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=timeout(1000))
    for _ in range(20):
        client.publish("q", b"x")
        broker.connect().get("q")
    broker.advance(1000)
    assert ready_and_unacked(broker) == (20, 0)
    (line,) = broker.broker.agenda.lines
    assert line.startswith("basic.get on channel 1 of")


# RabbitMQ's form


def test_rabbitmqs_form_closes_the_channel_and_everything_of_it_goes_back() -> None:
    broker = harness(consumer_timeout_ms=1000, action="close")
    client = broker.connect()
    client.declare("q")
    for body in b"a", b"b", b"c":
        client.publish("q", body)
    client.get("q")
    broker.advance(500)
    consume(client, prefetch=1)
    assert ready_and_unacked(broker) == (1, 2)
    client.take_all()
    broker.advance(500)
    (close,) = client.take_all()
    assert (close.method.reply_code, close.method.reply_text) == (406, CLOSES_AFTER_1000_MS)
    assert (close.method.class_id, close.method.method_id) == (0, 0)
    assert ready_and_unacked(broker) == (3, 0)
    assert broker.broker.agenda.lapsed_count == 1
    # What was on its way is ignored, and the number may be used again.
    ack(client, 1)
    client.send(1, new_method(commands.Channel.CloseOk))
    client.call(1, new_method(commands.Channel.Open))
    again = client.get("q")
    assert again is not None and (again.body, again.method.redelivered) == (b"a", True)


def test_rabbitmqs_form_leaves_other_channels_of_the_connection_alone() -> None:
    broker = harness(action="close")
    client = broker.connect()
    client.declare("q", arguments=timeout(1000))
    client.publish("q", b"a")
    client.get("q")
    client.call(2, new_method(commands.Channel.Open))
    broker.advance(1000)
    assert close_text(client) == CLOSES_AFTER_1000_MS
    assert broker.broker.agenda.lines[-1].endswith("within 1000 ms: the channel is closed (timed out before: 0)")
    assert isinstance(client.call(2, new_method(B.Qos)), B.QosOk)
