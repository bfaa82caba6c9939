"""Policies, operator policies and definitions, live: what is in the queues already, what is declared later, and restarts."""

from __future__ import annotations

from typing import Any

import pytest
from pamqp import commands

from amqpd.base.limits import Limits
from amqpd.broker import Broker
from amqpd.store.log import Log, fresh_start
from amqpd.store.recovered import Recovered
from amqpd.store.topology import POLICIES, QUEUES, QueueRow, Topology, VhostRow
from amqpd.vhosts.definition_entry import DefinitionsError
from amqpd.vhosts.policies import checked_policy
from amqpd.wire.field_table import FieldTable, encode_table
from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client, CountingEntropy


def set_policy(
    broker: BrokerHarness, name: str = "p", pattern: str = "", is_operator: bool = False, **definition: Any
) -> None:
    keys: dict[str, object] = {key.replace("_", "-"): value for key, value in definition.items()}
    broker.broker.set_policy(checked_policy("/", name, pattern, 0, "all", keys, is_operator))
    broker.settle()


def delete_policy(broker: BrokerHarness, name: str = "p", is_operator: bool = False) -> bool:
    deleted = broker.broker.delete_policy("/", name, is_operator)
    broker.settle()
    return deleted


def load(broker: BrokerHarness, document: object, is_whole: bool = False) -> list[str]:
    notices = broker.broker.load_definitions(document, is_whole)
    broker.settle()
    return notices


def arguments(**values: object) -> FieldTable:
    return encode_table({f"x-{key.replace('_', '-')}": value for key, value in values.items()})


def count(client: Client, queue: str) -> int:
    ready: int = client.declare(queue, passive=True).message_count
    return ready


def drain(client: Client, queue: str) -> list[bytes]:
    bodies = []
    while (got := client.get(queue, no_ack=True)) is not None:
        bodies.append(got.body)
    return bodies


def confirmed(client: Client, routing_key: str, body: bytes) -> type:
    """basic.ack or basic.nack."""
    client.take_all()
    client.publish(routing_key, body)
    (answer,) = client.take_all()
    return type(answer.method)


# Time


def test_a_ttl_by_policy_counts_from_the_arrival_of_what_is_there(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", durable=True)
    client.publish("q", b"old", properties=PERSISTENT)
    broker.advance(5_000)
    client.publish("q", b"new", properties=PERSISTENT)
    set_policy(broker, message_ttl=5_000)
    broker.advance(100)
    assert count(client, "q") == 1
    broker.advance(5_000)
    assert count(client, "q") == 0


def test_a_transient_message_counts_from_the_policy_or_from_what_came_after_it(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q", durable=True)
    client.publish("q", b"transient, before")
    client.publish("q", b"persistent", properties=PERSISTENT)
    client.publish("q", b"transient, after")
    broker.advance(3_000)
    set_policy(broker, message_ttl=5_000)
    broker.advance(2_200)
    assert count(client, "q") == 1
    broker.advance(3_000)
    assert count(client, "q") == 0


def test_a_policy_that_goes_takes_its_ttl_along(broker: BrokerHarness, client: Client) -> None:
    set_policy(broker, message_ttl=1_000)
    client.declare("q")
    client.publish("q", b"x")
    assert delete_policy(broker)
    assert not delete_policy(broker)
    broker.advance(2_000)
    assert count(client, "q") == 1


def test_a_ttl_by_policy_also_holds_for_what_is_delivered_and_comes_back(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", durable=True)
    client.publish("q", b"x", properties=PERSISTENT)
    got = client.get("q")
    assert got is not None
    set_policy(broker, message_ttl=1_000)
    broker.advance(1_100)
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=got.method.delivery_tag, requeue=True))
    assert count(client, "q") == 0


def test_an_unused_queue_is_given_its_full_time_from_the_policy_on(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    broker.advance(10_000)
    set_policy(broker, expires=1_000)
    broker.advance(800)
    assert "q" in broker.broker.vhosts["/"].queues
    broker.advance(400)
    assert "q" not in broker.broker.vhosts["/"].queues


def test_a_queue_whose_expiry_was_taken_back_stays(broker: BrokerHarness, client: Client) -> None:
    set_policy(broker, expires=1_000)
    client.declare("q")
    delete_policy(broker)
    broker.advance(2_000)
    assert "q" in broker.broker.vhosts["/"].queues


# Length


def test_a_limit_by_policy_drops_the_head_of_what_is_too_long(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.declare("dead")
    for body in (b"1", b"2", b"3"):
        client.publish("q", body)
    set_policy(broker, pattern="^q$", max_length=1, dead_letter_exchange="", dead_letter_routing_key="dead")
    assert drain(client, "q") == [b"3"]
    assert drain(client, "dead") == [b"1", b"2"]


def test_a_limit_in_bytes_comes_and_goes(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"12345")
    client.publish("q", b"678")
    set_policy(broker, max_length_bytes=7)
    client.publish("q", b"90ab")
    assert count(client, "q") == 2
    delete_policy(broker)
    client.publish("q", b"12345678")
    assert drain(client, "q") == [b"678", b"90ab", b"12345678"]


def test_with_reject_publish_what_is_there_stays_and_what_comes_is_refused(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Confirm.Select))
    assert confirmed(client, "q", b"1") is commands.Basic.Ack
    assert confirmed(client, "q", b"2") is commands.Basic.Ack
    set_policy(broker, max_length=1, overflow="reject-publish")
    assert confirmed(client, "q", b"3") is commands.Basic.Nack
    assert drain(client, "q") == [b"1", b"2"]
    assert confirmed(client, "q", b"4") is commands.Basic.Ack
    delete_policy(broker)
    assert confirmed(client, "q", b"5") is commands.Basic.Ack


def test_a_priority_queue_is_measured_too(broker: BrokerHarness, client: Client) -> None:
    client.declare("q", arguments=arguments(max_priority=3))
    client.publish("q", b"low")
    client.publish("q", b"high", properties=b"\x08\x00\x03")
    set_policy(broker, max_length_bytes=5)
    delete_policy(broker)
    set_policy(broker, max_length=5)
    assert drain(client, "q") == [b"high"]


# The rest


def test_a_delivery_limit_by_policy_counts_what_was_delivered_before(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    for _ in range(2):
        got = client.get("q")
        assert got is not None
        client.send(1, new_method(commands.Basic.Nack, delivery_tag=got.method.delivery_tag, requeue=True))
    set_policy(broker, delivery_limit=2)
    got = client.get("q")
    assert got is not None
    client.send(1, new_method(commands.Basic.Nack, delivery_tag=got.method.delivery_tag, requeue=True))
    assert count(client, "q") == 0


def test_an_alternate_exchange_by_policy_catches_what_has_no_way(broker: BrokerHarness, client: Client) -> None:
    client.declare("caught")
    client.call(1, new_method(commands.Exchange.Declare, exchange="x", exchange_type="direct"))
    client.call(1, new_method(commands.Queue.Bind, queue="caught", exchange="amq.fanout"))
    client.publish("nowhere", b"lost", exchange="x")
    set_policy(broker, pattern="^x$", alternate_exchange="amq.fanout")
    client.publish("nowhere", b"caught", exchange="x")
    delete_policy(broker)
    client.publish("nowhere", b"lost", exchange="x")
    assert drain(client, "caught") == [b"caught"]


def test_an_exchange_may_delay_by_policy(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.call(1, new_method(commands.Exchange.Declare, exchange="x", exchange_type="fanout"))
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="x"))
    table = encode_table({"x-delay": 1_000}).raw
    delayed = b"\x20\x00" + len(table).to_bytes(4, "big") + table
    client.publish("", b"now", exchange="x", properties=delayed)
    set_policy(broker, pattern="^x$", delayed_message=True)
    client.publish("", b"later", exchange="x", properties=delayed)
    assert drain(client, "q") == [b"now"]
    broker.advance(1_200)
    assert drain(client, "q") == [b"later"]
    delete_policy(broker)
    client.publish("", b"now", exchange="x", properties=delayed)
    assert drain(client, "q") == [b"now"]


def test_what_is_declared_later_is_born_with_its_policy(broker: BrokerHarness, client: Client) -> None:
    set_policy(broker, "q", "^q$", max_length=1)
    set_policy(broker, "x", "^x$", alternate_exchange="amq.fanout")
    client.declare("q")
    client.call(1, new_method(commands.Exchange.Declare, exchange="x", exchange_type="direct"))
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="amq.fanout"))
    client.publish("k", b"1", exchange="x")
    client.publish("k", b"2", exchange="x")
    assert drain(client, "q") == [b"2"]


def test_a_policy_is_no_argument_when_a_queue_is_declared_again(broker: BrokerHarness, client: Client) -> None:
    set_policy(broker, max_length=1, message_ttl=5)
    client.declare("q", arguments=arguments(max_length=9))
    assert isinstance(client.declare("q", arguments=arguments(max_length=9)), commands.Queue.DeclareOk)
    assert isinstance(client.declare("q", arguments=arguments(max_length=1)), commands.Channel.Close)


def test_an_operator_policy_limits_what_policy_and_arguments_allow(broker: BrokerHarness, client: Client) -> None:
    set_policy(broker, max_length=4)
    client.declare("q", arguments=arguments(max_length=9))
    for number in range(6):
        client.publish("q", b"%d" % number)
    assert count(client, "q") == 4
    set_policy(broker, is_operator=True, max_length=2)
    assert count(client, "q") == 2
    set_policy(broker, max_length=1)
    assert count(client, "q") == 1


# Redeclare


def test_a_vhost_may_keep_a_queue_as_it_is_when_it_is_declared_otherwise() -> None:
    broker = BrokerHarness(Limits(redeclare_keep=("/",)))
    client = broker.connect()
    client.declare("q", arguments=arguments(max_length=1))
    assert isinstance(client.declare("q", arguments=arguments(max_length=5)), commands.Queue.DeclareOk)
    client.publish("q", b"1")
    client.publish("q", b"2")
    assert drain(client, "q") == [b"2"]
    # What would lose messages is still refused.
    assert isinstance(client.declare("q", durable=True), commands.Channel.Close)


# Definitions


def test_definitions_are_all_or_nothing(broker: BrokerHarness) -> None:
    before = len(broker.batches)
    document = {
        "vhosts": [{"name": "v"}],
        "users": [{"name": "u", "password": "p"}],
        "queues": [{"name": "good", "vhost": "/"}, {"name": "bad", "vhost": "/", "arguments": {"x-expires": 0}}],
    }
    with pytest.raises(
        DefinitionsError,
        match=r"^queues\[1\].arguments.x-expires: invalid arg 'x-expires' for queue 'bad' in vhost '/'",
    ):
        load(broker, document)
    core = broker.broker
    assert list(core.vhosts) == ["/"]
    assert core.access.user("u") is None
    assert core.vhosts["/"].queues == {}
    assert len(broker.batches) == before


def test_definitions_work_at_once(broker: BrokerHarness, client: Client) -> None:
    document = {
        "queues": [{"name": "q", "vhost": "/", "durable": True, "arguments": {"x-max-length": 3}}],
        "exchanges": [{"name": "x", "vhost": "/", "type": "direct", "durable": True}],
        "bindings": [
            {"vhost": "/", "source": "x", "destination": "q", "destination_type": "queue", "routing_key": "k"}
        ],
        "policies": [{"vhost": "/", "name": "p", "pattern": "q", "definition": {"max-length": 2}}],
    }
    assert load(broker, document) == []
    for body in (b"1", b"2", b"3"):
        client.publish("k", body, exchange="x")
    assert drain(client, "q") == [b"2", b"3"]
    assert load(broker, document) == []


def test_a_permission_that_is_taken_away_stops_a_channel_that_has_used_it(
    broker: BrokerHarness, client: Client
) -> None:
    client.declare("q")
    client.publish("q", b"1")
    load(
        broker,
        {"permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": "^nothing$", "read": ".*"}]},
    )
    client.publish("q", b"2")
    (closed,) = client.take_all(commands.Channel.Close)
    assert closed.method.reply_code == 403


@pytest.mark.parametrize(
    ("users", "is_whole", "stays"),
    [(["admin"], True, False), (["guest"], True, True), ([], True, True), (["admin"], False, True)],
)
def test_the_user_of_a_first_start_makes_way_for_those_of_a_definitions_file(
    users: list[str], is_whole: bool, stays: bool
) -> None:
    broker = BrokerHarness()
    load(broker, {"users": [{"name": name, "password": "p"} for name in users]}, is_whole)
    assert (broker.broker.access.user("guest") is not None) == stays
    load(broker, {"users": [{"name": "later", "password": "p"}]}, True)
    assert (broker.broker.access.user("guest") is not None) == stays


# Restarts


def restarted(broker: BrokerHarness) -> Broker:
    """A broker with the topology that the store would have."""
    topology = Topology()
    topology.vhosts = [VhostRow("/")]
    for batch in broker.batches:
        for change in batch.topology:
            if change.table == POLICIES:
                topology.policies.append(change.row)
            elif change.table == "parameters":
                topology.parameters.append(change.row)
            elif change.table == QUEUES:
                row = change.row
                raw = row["arguments"]
                assert isinstance(raw, bytes)
                topology.queues.append(QueueRow(int(str(row["queue_id"])), "/", str(row["name"]), False, raw))
    log = Log(fresh_start(1))
    return Broker(Limits(), log, topology, Recovered(fresh_start(1)), CountingEntropy(), 1_000, 1_700_000_001_000)


def test_policies_survive_a_restart(broker: BrokerHarness, client: Client) -> None:
    set_policy(broker, pattern="^q$", max_length=5, expires=1_000)
    set_policy(broker, "x", "^amq.topic$", alternate_exchange="amq.fanout")
    set_policy(broker, is_operator=True, max_length=3)
    client.declare("q", durable=True)
    core = restarted(broker)
    vhost = core.vhosts["/"]
    assert vhost.queues["q"].options.max_length == 3
    assert vhost.exchanges["amq.topic"].alternate == "amq.fanout"
    for second in range(1, 4):
        core.tick(1_000 + second * 600, 1_700_000_001_000 + second * 600)
    assert "q" not in vhost.queues
