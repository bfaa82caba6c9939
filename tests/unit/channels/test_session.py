from __future__ import annotations

import pytest
from pamqp import commands

from amqpd.base.errors import AccessRefused
from amqpd.channels.session import Session
from amqpd.wire.methods import encode_method, new_method
from amqpd.wire.outbox import Outbox
from tests.behaviour.harness import BrokerHarness
from tests.fakes.core import logged, new_message, new_queue

QOS_OK = encode_method(new_method(commands.Basic.QosOk))


def new_session(broker: BrokerHarness, outbox: Outbox) -> Session:
    return broker.broker.new_session(77, outbox, broker.broker.vhosts["/"], "guest")


def test_a_reply_with_nothing_to_wait_for_goes_at_once(broker: BrokerHarness) -> None:
    outbox = Outbox(77, [])
    session = new_session(broker, outbox)
    session.reply_when_durable(3, QOS_OK)
    assert outbox.take() == b"\x01\x00\x03\x00\x00\x00\x04" + QOS_OK + b"\xce"
    assert not session.is_held


def test_a_reply_waits_for_what_is_logged_and_holds_the_connection(broker: BrokerHarness) -> None:
    outbox = Outbox(77, [])
    session = new_session(broker, outbox)
    agenda = broker.broker.agenda
    logged(agenda, new_message(1), new_queue(agenda, durable=True))
    mark = agenda.log.mark
    session.reply_when_durable(3, QOS_OK)
    assert session.is_held
    assert session.committed(mark - 1)
    assert outbox.take() == b""
    assert not session.committed(mark)
    assert QOS_OK in outbox.take()
    assert not session.is_held
    assert session.released == [session]


def test_a_reply_waits_for_topology_too(broker: BrokerHarness) -> None:
    outbox = Outbox(77, [])
    session = new_session(broker, outbox)
    session.vhost.changes.put_vhost("other")
    session.reply_when_durable(0, QOS_OK)
    assert session.is_held
    assert outbox.take() == b""


def test_permissions_are_those_of_the_user_in_this_vhost(broker: BrokerHarness) -> None:
    session = new_session(broker, Outbox(77, []))
    session.check("write", "queue", "q")
    session.access.set_permissions("guest", "/", "^mine$", ".*", "")
    session.check("configure", "queue", "mine")
    with pytest.raises(AccessRefused) as caught:
        session.check("read", "queue", "mine")
    assert (
        caught.value.reply_text == "ACCESS_REFUSED - read access to queue 'mine' in vhost '/' refused for user 'guest'"
    )


@pytest.mark.parametrize("wants", [True, False])
def test_blocked_and_unblocked_are_told_once_to_those_who_asked(broker: BrokerHarness, wants: bool) -> None:
    outbox = Outbox(77, [])
    session = new_session(broker, outbox)
    session.wants_blocked = wants
    session.unblock()
    assert outbox.take() == b""
    session.agenda.alarm_reason = "low on memory"
    session.block()
    session.block()
    assert session.is_blocked
    assert outbox.take().count(b"low on memory") == (1 if wants else 0)
    session.unblock()
    assert not session.is_blocked
    assert (outbox.take() != b"") is wants
    assert session.released == [session]
