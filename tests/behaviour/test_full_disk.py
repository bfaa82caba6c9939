"""A disk that takes nothing, as long as it is full: what needs no disk goes on. tests/live/test_full_disk.py has a real one."""

from __future__ import annotations

import pytest
from pamqp import commands
from pamqp.base import Frame

from amqpd.wire.methods import new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client


@pytest.fixture
def full(broker: BrokerHarness, client: Client) -> BrokerHarness:
    """Queue q with two messages and exchange x are durable; a publish waits for room, and there is none."""
    client.declare("q", durable=True)
    client.call(1, new_method(commands.Exchange.Declare, exchange="x", exchange_type="fanout", durable=True))
    client.call(1, new_method(commands.Queue.Bind, queue="q", exchange="x", routing_key="k"))
    for body in (b"1", b"2"):
        client.publish("q", body, properties=PERSISTENT)
    broker.hold_syncs = True
    client.publish("q", b"3", properties=PERSISTENT)
    broker.broker.block("low on disk")
    return broker


NEED_NO_DISK = [
    new_method(commands.Queue.Declare, queue="q", passive=True),
    new_method(commands.Exchange.Declare, exchange="x", passive=True),
    new_method(commands.Exchange.Declare, exchange="amq.direct", passive=True),
    new_method(commands.Queue.Declare, queue="q", durable=True),
    new_method(commands.Exchange.Declare, exchange="x", exchange_type="fanout", durable=True),
    new_method(commands.Queue.Bind, queue="q", exchange="x", routing_key="k"),
    new_method(commands.Queue.Bind, queue="transient", exchange="x", routing_key="k"),
    new_method(commands.Queue.Declare, queue="transient"),
    new_method(commands.Queue.Delete, queue="transient"),
    new_method(commands.Queue.Delete, queue="missing"),
    new_method(commands.Basic.Qos, prefetch_count=3),
    new_method(commands.Basic.Consume, queue="q", consumer_tag="c"),
    new_method(commands.Basic.Cancel, consumer_tag="nobody"),
    new_method(commands.Basic.Get, queue="q"),
]


@pytest.mark.parametrize("method", NEED_NO_DISK, ids=lambda method: f"{method.name}-{getattr(method, 'queue', '')}")
def test_who_needs_no_disk_is_answered_while_it_is_full(full: BrokerHarness, method: Frame) -> None:
    other = full.connect()
    other.declare("transient")
    assert other.call(1, method).name in {method.valid_responses[0], method.valid_responses[-1]}


NEED_THE_DISK = [
    new_method(commands.Queue.Declare, queue="new", durable=True),
    new_method(commands.Exchange.Declare, exchange="new", exchange_type="fanout", durable=True),
    new_method(commands.Queue.Bind, queue="q", exchange="x", routing_key="new"),
    new_method(commands.Queue.Unbind, queue="q", exchange="x", routing_key="k"),
    new_method(commands.Queue.Delete, queue="q"),
    new_method(commands.Exchange.Delete, exchange="x"),
]


@pytest.mark.parametrize("method", NEED_THE_DISK, ids=lambda method: method.name)
def test_what_must_be_durable_is_answered_when_it_is(full: BrokerHarness, method: Frame) -> None:
    other, third = full.connect(), full.connect()
    before = len(other.received)
    other.send(1, method)
    # The same thing by another client promises as much.
    third.send(1, method)
    assert len(other.received) == before
    assert [each for each in third.received if each.channel == 1] == []
    full.hold_syncs = False
    full.settle()
    assert [each.method.name for each in other.received[before:]] == [method.valid_responses[0]]
    assert len([each for each in third.received if each.channel == 1]) == 1


def test_passive_declare_speaks_of_what_is_still_on_its_way_to_the_disk(full: BrokerHarness) -> None:
    full.connect().send(1, new_method(commands.Queue.Declare, queue="new", durable=True))
    other = full.connect()
    assert other.call(1, new_method(commands.Queue.Declare, queue="new", passive=True)).queue == "new"


def test_replies_of_a_connection_keep_their_order(full: BrokerHarness) -> None:
    other = full.connect()
    other.send(1, new_method(commands.Queue.Declare, queue="new", durable=True))
    other.send(1, new_method(commands.Queue.Declare, queue="q", passive=True))
    assert [each for each in other.received if each.channel == 1] == []
    full.hold_syncs = False
    full.settle()
    assert [each.method.queue for each in other.received if each.channel == 1] == ["new", "q"]


def test_shutdown_is_over_at_once_for_whoever_answers_also_when_held_or_blocked(
    full: BrokerHarness, client: Client
) -> None:
    held = full.connect()
    held.send(1, new_method(commands.Queue.Declare, queue="new", durable=True))
    client.publish("q", b"4")
    client.publish("q", b"5")
    assert not client.connection.reading
    full.broker.shut_down()
    full.settle()
    for each in (held, client):
        each.send(0, new_method(commands.Connection.CloseOk))
        assert each.is_closed
    full.hold_syncs = False
    full.settle()
    assert [each.method.name for each in held.received if each.channel == 1] == []
