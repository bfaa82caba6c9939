"""What is declared before a run and removed after it, and in which order."""

from __future__ import annotations

from typing import cast

from pamqp import commands
from pamqp.base import Frame

from amqpd.cli.load import topology
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.settings import Settings


class RecordingControl:
    """Answers every call, with 5 messages in every queue."""

    def __init__(self) -> None:
        self.calls: list[Frame] = []

    def call(self, method: Frame, reply: type[Frame]) -> Frame:
        self.calls.append(method)
        if reply is commands.Queue.DeclareOk:
            return commands.Queue.DeclareOk("q", 5, 0)
        return reply()

    @property
    def names(self) -> list[str]:
        return [method.name for method in self.calls]


def declared(settings: Settings) -> tuple[RecordingControl, int]:
    control = RecordingControl()
    return control, topology.declare(cast(LoadConnection, control), settings)


def test_queues_are_declared_with_their_arguments_and_their_messages_counted() -> None:
    control, ready_count = declared(Settings(queue="q", queues=2, durable=True, queue_arg=["x-max-length=10"]))
    assert ready_count == 10
    assert [cast(commands.Queue.Declare, each).queue for each in control.calls] == ["q-0", "q-1"]
    first = control.calls[0]
    assert isinstance(first, commands.Queue.Declare)
    assert first.durable
    assert first.arguments == {"x-max-length": 10}


def test_purged_queue_holds_nothing() -> None:
    control, ready_count = declared(Settings(purge=True))
    assert control.names == ["Queue.Declare", "Queue.Purge"]
    assert ready_count == 0


def test_exchange_comes_before_the_bindings_of_its_queues() -> None:
    control, _ = declared(Settings(exchange="x", exchange_type="topic", bind=["a.%d", "b"], queues=2, queue="q"))
    binds = ["Queue.Bind", "Queue.Bind"]
    assert control.names == ["Exchange.Declare", "Queue.Declare", *binds, "Queue.Declare", *binds]
    keys = [each.routing_key for each in control.calls if isinstance(each, commands.Queue.Bind)]
    assert keys == ["a.0", "b", "a.1", "b"]


def test_predeclared_exchange_is_bound_only_when_asked() -> None:
    assert declared(Settings(exchange="amq.topic", exchange_type="topic"))[0].names == ["Queue.Declare"]
    control, _ = declared(Settings(exchange="amq.topic", bind=["#"]))
    assert control.names == ["Queue.Declare", "Queue.Bind"]


def test_nothing_is_declared_or_bound_when_things_are_used_as_they_are() -> None:
    control, ready_count = declared(Settings(no_declare=True, exchange="x", exchange_type="topic", durable=True))
    (look,) = control.calls
    assert isinstance(look, commands.Queue.Declare)
    assert look.passive
    assert not look.durable
    assert ready_count == 5


def test_consumer_subscribes_to_each_of_its_queues() -> None:
    control = RecordingControl()
    topology.consume(cast(LoadConnection, control), Settings(queue="q", queues=3, consumers=2, ack_every=0), 0)
    consumes = [each for each in control.calls if isinstance(each, commands.Basic.Consume)]
    assert [(each.queue, each.no_ack) for each in consumes] == [("q-0", True), ("q-2", True)]
    assert len({each.consumer_tag for each in consumes}) == 2


def test_what_is_left_is_unknown_when_queues_go_with_their_consumers() -> None:
    control = cast(LoadConnection, RecordingControl())
    assert topology.count_left(control, Settings(queues=2)) == 10
    assert topology.count_left(control, Settings(auto_delete=True)) == -1


def test_queues_are_deleted_before_the_exchange() -> None:
    control = RecordingControl()
    topology.delete(cast(LoadConnection, control), Settings(exchange="x", exchange_type="fanout", queues=2))
    assert control.names == ["Queue.Delete", "Queue.Delete", "Exchange.Delete"]
