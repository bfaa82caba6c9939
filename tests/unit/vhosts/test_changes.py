from __future__ import annotations

from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.registry import create
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.policies import Policy
from amqpd.wire.field_table import EMPTY_TABLE, encode_table


def test_nothing_is_pending_at_first_and_after_a_take() -> None:
    changes = Changes(1)
    assert not changes.pending
    assert changes.take(1) == []
    changes.put_vhost("v")
    assert changes.pending
    assert len(changes.take(1)) == 1
    assert not changes.pending
    assert changes.take(1) == []


def test_queue_ids_begin_where_the_last_run_ended_and_never_repeat() -> None:
    changes = Changes(41)
    assert [changes.next_queue_id() for _ in range(3)] == [41, 42, 43]


def test_rows_say_what_they_are_about_in_the_order_in_which_it_happened() -> None:
    changes = Changes(1)
    arguments = encode_table({"a": 1})
    exchange = create("topic", "x", True, True, False, arguments)
    changes.put_vhost("v")
    changes.put_exchange("v", exchange)
    changes.put_queue("v", 9, "q", True, arguments)
    changes.delete_queue("v", 9, "q")
    changes.delete_exchange("v", "x")
    changes.delete_vhost("v")
    taken = changes.take(1)
    assert [(each.table, each.is_delete) for each in taken] == [
        ("vhosts", False),
        ("exchanges", False),
        ("queues", False),
        ("queues", True),
        ("exchanges", True),
        ("vhosts", True),
    ]
    assert taken[1].row["type"] == "topic"
    assert taken[1].row["arguments"] == arguments.raw
    assert taken[2].row == {
        "queue_id": 9,
        "vhost": "v",
        "name": "q",
        "auto_delete": 1,
        "arguments": arguments.raw,
        "kind": "queue",
    }
    assert taken[3].row == {"queue_id": 9}


def test_a_binding_is_deleted_by_the_row_that_it_was_put_as() -> None:
    changes = Changes(1)
    binding = Binding("x", "q", False, "k\udcff", EMPTY_TABLE)
    changes.put_binding("v", binding)
    changes.delete_binding("v", binding)
    put, delete = changes.take(1)
    assert put.row == delete.row
    assert put.row["routing_key"] == b"k\xff"


def test_users_and_permissions_are_rows_as_they_are() -> None:
    changes = Changes(1)
    user = {"name": "u", "password_hash": "", "hashing_algorithm": "", "tags": ""}
    changes.put_user(user)
    changes.put_permission({"user": "u", "vhost": "v", "configure": "", "write": "", "read": ""})
    assert [each.table for each in changes.take(1)] == ["users", "permissions"]


def test_a_policy_and_an_operator_policy_are_rows_of_two_tables() -> None:
    changes = Changes(1)
    for is_operator in (False, True):
        policy = Policy("v", "p", "a", 0, "queues", {"max-length": 1}, is_operator)
        changes.put_policy(policy)
        changes.delete_policy(policy)
    taken = changes.take(1)
    assert [(each.table, each.is_delete) for each in taken] == [
        ("policies", False),
        ("policies", True),
        ("parameters", False),
        ("parameters", True),
    ]
    assert taken[1].row == {"vhost": "v", "name": "p"}
    assert taken[3].row == {"vhost": "v", "component": "operator_policy", "name": "p"}


def test_a_user_that_goes_is_named() -> None:
    changes = Changes(1)
    changes.delete_user("u")
    assert [(each.table, each.is_delete, each.row) for each in changes.take(1)] == [("users", True, {"name": "u"})]
