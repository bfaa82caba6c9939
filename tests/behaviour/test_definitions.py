"""Users and permissions that come and go with a definitions document, while their clients are connected."""

from __future__ import annotations

import pytest
from pamqp import commands

from amqpd.wire.methods import new_method
from tests.behaviour.harness import BrokerHarness

ALL = {"configure": ".*", "write": ".*", "read": ".*"}
ADMIN = {"name": "admin", "password": "secret"}
GUEST = {"name": "guest", "password": "guest"}


@pytest.fixture
def broker() -> BrokerHarness:
    """It has admin and guest; the next document is not that of a first start."""
    harness = BrokerHarness()
    harness.broker.load_definitions(document("admin", "guest"))
    harness.settle()
    return harness


def document(*users: str, permitted: tuple[str, ...] | None = None) -> dict[str, object]:
    known = {"admin": ADMIN, "guest": GUEST}
    permissions = [{"user": user, "vhost": "/", **ALL} for user in (users if permitted is None else permitted)]
    return {"users": [known[user] for user in users], "permissions": permissions}


def load(broker: BrokerHarness, what: dict[str, object], is_complete: bool) -> list[str]:
    notices = broker.broker.load_definitions(what, True, is_complete)
    broker.settle()
    return notices


def test_connections_of_a_user_who_is_gone_are_closed_and_others_are_not(broker: BrokerHarness) -> None:
    client = broker.connect()
    beginner = broker.raw()
    beginner.send_bytes(b"AMQP\x00\x00\x09\x01")
    beginner.take_all()
    load(broker, document("admin"), is_complete=True)
    (close,) = client.take_all(commands.Connection.Close)
    assert (close.method.reply_code, close.method.reply_text) == (
        320,
        "CONNECTION_FORCED - user 'guest' is deleted",
    )
    assert not beginner.take_all()
    assert [user.name for user in broker.broker.access.list_users()] == ["admin"]


def test_who_had_logged_in_and_not_yet_opened_is_closed_too(broker: BrokerHarness) -> None:
    client = broker.raw()
    client.send_bytes(b"AMQP\x00\x00\x09\x01")
    client.call(
        0, new_method(commands.Connection.StartOk, mechanism="PLAIN", response="\0guest\0guest", locale="en_US")
    )
    load(broker, document("admin"), is_complete=True)
    (close,) = client.take_all(commands.Connection.Close)
    assert close.method.reply_text == "CONNECTION_FORCED - user 'guest' is deleted"


def test_a_publisher_whose_permissions_are_gone_is_refused_by_the_next_publish(broker: BrokerHarness) -> None:
    client = broker.connect()
    client.declare("q")
    client.publish("q", b"1")
    load(broker, document("admin", "guest", permitted=("admin",)), is_complete=True)
    assert not client.take_all()
    client.publish("q", b"2")
    (close,) = client.take_all(commands.Channel.Close)
    assert close.method.reply_code == 403


def test_what_is_removed_is_removed_in_the_store_with_what_replaces_it(broker: BrokerHarness) -> None:
    before = len(broker.batches)
    load(broker, document("admin", permitted=()), is_complete=True)
    (batch,) = broker.batches[before:]
    assert [change.table for change in batch.topology if change.is_delete] == ["permissions", "permissions", "users"]


def test_queues_exchanges_bindings_and_messages_are_never_removed(broker: BrokerHarness) -> None:
    client = broker.connect()
    client.declare("q", durable=True)
    client.publish("q", b"1")
    load(broker, {**document("admin", "guest"), "queues": [], "exchanges": [], "bindings": []}, is_complete=True)
    found = client.get("q")
    assert found is not None
    assert found.body == b"1"


def test_without_is_complete_nobody_is_removed_and_it_is_said_who_is_not_in_the_document(broker: BrokerHarness) -> None:
    client = broker.connect()
    assert load(broker, document("admin"), is_complete=False) == [
        "not in the definitions, but there (definitions.is_complete = true removes them): users 'guest'"
    ]
    client.declare("q")


def test_definitions_that_would_lock_everybody_out_are_loaded_and_say_so() -> None:
    broker = BrokerHarness()
    assert load(broker, document(), is_complete=True) == [
        "removed, for the definitions don't have them: users 'guest'",
        "nobody may log in: no user has both a password and permissions in a vhost",
    ]


def test_a_queue_in_the_name_of_the_broker_s_own_is_refused_before_anything_is_lost_in_it() -> None:
    broker = BrokerHarness()
    with pytest.raises(ValueError, match="contains reserved prefix"):
        load(broker, {"queues": [{"name": "amq.dedup.x", "vhost": "/", "durable": True}]}, is_complete=False)
    assert broker.broker.vhosts["/"].all_queues() == []
