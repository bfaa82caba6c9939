from __future__ import annotations

from pamqp import commands

from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness, Client
from tests.fakes.core import logged, new_agenda, new_consumer, new_message, new_queue


def test_draining_visits_each_active_queue_once_and_forgets_it() -> None:
    agenda = new_agenda()
    queue = new_queue(agenda)
    queue.publish(new_message(1))
    queue.add_consumer(new_consumer(queue, credit=0))
    queue.wake()
    assert agenda.active == [queue]
    agenda.drain_active()
    assert agenda.active == []
    assert not queue.is_active
    queue.wake()
    assert agenda.active == [queue]


def test_watermarks_are_logged_once_for_each_queue_that_moved() -> None:
    agenda = new_agenda()
    queue = new_queue(agenda, durable=True)
    for message_id in (1, 2, 3):
        queue.publish(logged(agenda, new_message(message_id), queue))
    queue.get(False)
    queue.get(False)
    assert agenda.moved == [queue]
    agenda.log_watermarks()
    assert agenda.moved == []
    batch = agenda.log.seal([])
    assert batch is not None
    # Three messages and one watermark.
    assert batch.record_count == 4
    agenda.log_watermarks()
    assert agenda.log.seal([]) is None


def test_a_notice_is_kept_for_the_shell() -> None:
    agenda = new_agenda()
    agenda.notice("one")
    agenda.notice("two")
    assert agenda.lines == ["one", "two"]


def test_what_becomes_active_is_delivered_in_the_same_turn(broker: BrokerHarness, client: Client) -> None:
    client.declare("q")
    client.publish("q", b"x")
    client.send(1, new_method(commands.Basic.Consume, queue="q"))
    assert client.bodies() == [b"x"]
    assert broker.broker.agenda.active == []
