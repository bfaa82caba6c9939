from __future__ import annotations

import pytest

from amqpd.base.limits import DEFAULTS
from amqpd.base.notice import ERROR, WARNING
from amqpd.store.log import fresh_start
from amqpd.store.recovered import Recovered, RecoveredEntry, RecoveredId
from amqpd.store.topology import (
    DEDUP,
    DELAY,
    PLAIN,
    UNDECIDED,
    BindingRow,
    ExchangeRow,
    QueueRow,
    Topology,
    VhostRow,
)
from amqpd.vhosts.access import Access
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.policies import Policy
from amqpd.vhosts.restore import restore_access, restore_vhosts
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import encode_table
from tests.behaviour.harness import CountingEntropy
from tests.fakes.core import new_agenda, new_message


def restored(
    topology: Topology, recovered: Recovered | None = None, changes: Changes | None = None
) -> dict[str, VHost]:
    return restore_vhosts(
        topology, recovered or Recovered(fresh_start(1)), DEFAULTS, new_agenda(), changes or Changes(1)
    )


def stored() -> Topology:
    topology = Topology()
    topology.vhosts = [VhostRow("/"), VhostRow("other")]
    topology.exchanges = [ExchangeRow("other", "x", "topic", True, True, encode_table({"alternate-exchange": "y"}).raw)]
    topology.queues = [QueueRow(5, "other", "q", True, encode_table({"x-expires": 60_000}).raw)]
    topology.bindings = [
        BindingRow("other", "x", "q", False, "a.#", b""),
        BindingRow("other", "amq.direct", "x", True, "k", encode_table({"n": 1}).raw),
    ]
    return topology


def test_a_first_start_makes_the_default_vhost_and_stores_it() -> None:
    changes = Changes(1)
    assert list(restored(Topology(), changes=changes)) == ["/"]
    assert [change.table for change in changes.take(1)] == ["vhosts"]


def test_everything_stored_is_there_again_and_nothing_is_stored_again() -> None:
    changes = Changes(1)
    vhosts = restored(stored(), changes=changes)
    assert not changes.pending
    assert list(vhosts) == ["/", "other"]
    assert vhosts["/"].queues == {}
    other = vhosts["other"]
    exchange, queue = other.exchanges["x"], other.queues["q"]
    assert (exchange.type_name, exchange.durable, exchange.auto_delete, exchange.internal, exchange.alternate) == (
        "topic",
        True,
        True,
        True,
        "y",
    )
    assert (queue.queue_id, queue.durable, queue.auto_delete, queue.owner) == (5, True, True, 0)
    assert queue.options.expires_ms == 60_000
    assert [each.destination for each in exchange.route("a.b", None)] == ["q"]
    assert [each.source for each in other.bindings_to(True, "x")] == ["amq.direct"]


def test_messages_go_into_their_queues_with_what_the_log_knows_of_them() -> None:
    recovered = Recovered(fresh_start(1))
    entries = [RecoveredEntry(new_message(number)) for number in (1, 2, 3)]
    entries[0].delivery_count, entries[0].redelivered = 2, True
    recovered.queues = {5: entries, 6: [RecoveredEntry(new_message(4))]}
    recovered.delivered_to = {5: 1}
    queue = restored(stored(), recovered)["other"].queues["q"]
    assert [(each.message.message_id, each.delivery_count, each.redelivered) for each in queue.ready.entries()] == [
        (1, 2, True),
        (2, 0, False),
        (3, 0, False),
    ]
    # They moved; what is left belongs to no queue.
    assert list(recovered.queues) == [6]


def test_rows_of_a_vhost_that_is_gone_are_left_out() -> None:
    topology = stored()
    topology.vhosts = [VhostRow("/")]
    assert list(restored(topology)) == ["/"]


def test_a_first_start_has_guest_who_may_do_everything() -> None:
    changes = Changes(1)
    access = restore_access(Topology(), DEFAULTS, changes, CountingEntropy())
    assert access.authenticate("guest", b"guest", "127.0.0.1") == ""
    assert access.allows("guest", "/", "configure", "anything")
    assert access.has_tag("guest", "administrator")
    assert [change.table for change in changes.take(1)] == ["users", "permissions"]


def test_guest_is_not_made_again_where_there_are_users() -> None:
    before = Access()
    before.add_user("u", b"p", b"salt")
    before.set_permissions("u", "/", "a", "b", "c")
    topology = Topology()
    topology.users, topology.permissions = before.user_rows(), before.permission_rows()
    changes = Changes(1)
    access = restore_access(topology, DEFAULTS, changes, CountingEntropy())
    assert [user.name for user in access.list_users()] == ["u"]
    assert access.authenticate("u", b"p", "10.0.0.1") == ""
    assert access.permission_rows() == before.permission_rows()
    assert not changes.pending


def test_policies_hold_from_the_first_moment() -> None:
    topology = stored()
    topology.policies = [Policy("other", "p", "", 0, "all", {"max-length": 5, "alternate-exchange": "a"}, False).row()]
    topology.parameters = [
        Policy("other", "o", "", 0, "queues", {"expires": 5_000}, True).row(),
        {"vhost": "other", "component": "shovel", "name": "s", "value": "{}"},
        Policy("gone", "o", "", 0, "queues", {"expires": 1}, True).row(),
    ]
    changes = Changes(1)
    other = restored(topology, changes=changes)["other"]
    options = other.queues["q"].options
    assert (options.max_length, options.expires_ms) == (5, 5_000)
    assert (other.exchanges["x"].alternate, other.exchanges["amq.topic"].alternate) == ("y", "a")
    assert not changes.pending


# What a row is


def rows_of(name: str, kind: str, exchange_type: str | None = None, arguments: bytes = b"") -> Topology:
    topology = Topology()
    topology.vhosts = [VhostRow("/")]
    topology.queues = [QueueRow(5, "/", name, False, arguments, kind)]
    if exchange_type is not None:
        delayed = encode_table({"x-delayed-type": "direct", "x-cache-size": 10}).raw
        topology.exchanges = [ExchangeRow("/", "x", exchange_type, False, False, delayed)]
    return topology


def with_message(queue_id: int = 5) -> Recovered:
    recovered = Recovered(fresh_start(1))
    recovered.queues = {queue_id: [RecoveredEntry(new_message(1))]}
    return recovered


@pytest.mark.parametrize("name", ["amq.delayed.x", "amq.dedup.x", "amq.delayed.", "amq.dedup."])
@pytest.mark.parametrize("kind", [PLAIN, UNDECIDED])
@pytest.mark.parametrize("exchange_type", [None, "direct"])
def test_a_queue_whose_name_looks_hidden_is_a_queue_and_keeps_its_messages(
    name: str, kind: str, exchange_type: str | None
) -> None:
    changes = Changes(10)
    vhost = restored(rows_of(name, kind, exchange_type), with_message(), changes)["/"]
    assert vhost.queues[name].ready.count == 1
    assert vhost.delays.queues() == []
    assert [change.row["kind"] for change in changes.take(1)] == ([PLAIN] if kind == UNDECIDED else [])


@pytest.mark.parametrize("kind", [DELAY, UNDECIDED])
def test_the_hidden_store_of_an_exchange_that_delays_is_found_again(kind: str) -> None:
    changes = Changes(10)
    vhost = restored(rows_of("amq.delayed.x", kind, "x-delayed-message"), with_message(), changes)["/"]
    assert vhost.queues == {}
    delayed = vhost.delays.of("x")
    assert delayed is not None
    assert delayed.count == 1
    assert [change.row["kind"] for change in changes.take(1)] == ([DELAY] if kind == UNDECIDED else [])


def test_a_store_of_an_exchange_that_a_policy_lets_delay_is_found_again() -> None:
    topology = rows_of("amq.delayed.amq.topic", UNDECIDED)
    topology.policies = [Policy("/", "p", "", 0, "exchanges", {"delayed-message": True}, False).row()]
    vhost = restored(topology, with_message())["/"]
    assert vhost.policies.delays("amq.topic")
    assert vhost.delays.of("amq.topic") is not None
    assert vhost.queues == {}


@pytest.mark.parametrize("kind", [DEDUP, UNDECIDED])
def test_the_window_of_an_exchange_that_deduplicates_is_found_again(kind: str) -> None:
    recovered = Recovered(fresh_start(1))
    recovered.dedup_ids = {5: [RecoveredId(b"one", 0, -1)]}
    vhost = restored(rows_of("amq.dedup.x", kind, "x-message-deduplication"), recovered)["/"]
    assert vhost.queues == {}
    window = vhost.deduplications.of("x")
    assert window is not None
    assert window.owner_id == 5


@pytest.mark.parametrize(("kind", "prefix"), [(DELAY, "amq.delayed."), (DEDUP, "amq.dedup.")])
def test_a_hidden_store_and_a_queue_may_have_the_same_name(kind: str, prefix: str) -> None:
    exchange_type = "x-delayed-message" if kind == DELAY else "x-message-deduplication"
    topology = rows_of(prefix + "x", kind, exchange_type)
    topology.queues.append(QueueRow(6, "/", prefix + "x", False, b""))
    vhost = restored(topology, with_message(6))["/"]
    assert vhost.queues[prefix + "x"].ready.count == 1
    assert (vhost.delays.of("x") is None) is (kind == DEDUP)


def test_of_two_old_rows_with_the_name_of_a_store_the_first_is_the_store() -> None:
    topology = rows_of("amq.delayed.x", UNDECIDED, "x-delayed-message")
    topology.queues.append(QueueRow(6, "/", "amq.delayed.x", False, b"", UNDECIDED))
    vhost = restored(topology, with_message(6))["/"]
    assert vhost.delays.of("x") is not None
    assert vhost.queues["amq.delayed.x"].ready.count == 1


# What can't be


def said_by(topology: Topology, recovered: Recovered | None = None) -> tuple[dict[str, VHost], list[tuple[int, str]]]:
    agenda = new_agenda()
    vhosts = restore_vhosts(topology, recovered or Recovered(fresh_start(1)), DEFAULTS, agenda, Changes(10))
    return vhosts, [(notice.level, notice.text) for notice in agenda.notices]


def test_an_argument_that_is_no_longer_taken_keeps_no_node_from_starting() -> None:
    arguments = encode_table({"x-message-ttl": -5, "x-max-length": 3}).raw
    vhosts, said = said_by(rows_of("q", PLAIN, arguments=arguments), with_message())
    queue = vhosts["/"].queues["q"]
    assert (queue.ready.count, queue.options.max_length, queue.options.message_ttl_ms) == (1, 3, -1)
    assert queue.arguments.raw == arguments
    assert said == [
        (
            WARNING,
            "queue 'q' in vhost '/' is stored with an argument that this version does not take: 'x-message-ttl' is ignored",
        )
    ]
    vhosts["/"].apply_policies()
    assert queue.options.max_length == 3


def test_arguments_that_can_not_be_read_are_none() -> None:
    vhosts, said = said_by(rows_of("q", PLAIN, arguments=b"\xff" * 9), with_message())
    assert vhosts["/"].queues["q"].ready.count == 1
    assert [level for level, _ in said] == [ERROR]


def test_rows_that_make_no_sense_are_left_alone_and_said_and_everything_else_is_there() -> None:
    topology = stored()
    topology.exchanges += [
        ExchangeRow("other", "y", "no-such-type", False, False, b""),
        ExchangeRow("other", "z", "fanout", False, False, b"\xff"),
        ExchangeRow("gone", "x", "fanout", False, False, b""),
    ]
    topology.bindings += [
        BindingRow("other", "x", "q", False, "k", b"\xff\xff"),
        BindingRow("gone", "x", "q", False, "k", b""),
    ]
    policy = Policy("other", "p", "", 0, "all", {}, False).row()
    topology.policies = [{**policy, "definition": "{"}, {**policy, "name": "r", "priority": "many"}]
    topology.set_aside = ["a row is left alone"]
    vhosts, said = said_by(topology)
    assert set(vhosts) == {"/", "other"}
    assert list(vhosts["other"].queues) == ["q"]
    assert "y" not in vhosts["other"].exchanges
    assert [level for level, _ in said] == [ERROR] * 8


def test_a_queue_with_messages_in_a_vhost_that_is_gone_brings_the_vhost_back() -> None:
    topology = stored()
    topology.vhosts = [VhostRow("/")]
    vhosts, said = said_by(topology, with_message())
    assert vhosts["other"].queues["q"].ready.count == 1
    assert "is in a vhost that is gone" in said[-1][1] or any("is in a vhost that is gone" in line for _, line in said)


def test_of_two_queues_of_one_name_both_keep_their_messages() -> None:
    topology = rows_of("q", PLAIN)
    topology.queues.append(QueueRow(6, "/", "q", False, b""))
    recovered = with_message()
    recovered.queues[6] = [RecoveredEntry(new_message(2))]
    vhosts, said = said_by(topology, recovered)
    assert {name: int(queue.ready.count) for name, queue in vhosts["/"].queues.items()} == {"q": 1, "q (queue_id 6)": 1}
    assert len(said) == 1


def test_a_message_that_can_not_be_restored_is_parked() -> None:
    recovered = with_message()
    broken = RecoveredEntry(new_message(2))
    broken.message.header = b"\x00\x3c\x00\x00" + bytes(8) + b"\x01\x00\xff"
    broken.delivery_count = 4
    recovered.queues[5].append(broken)
    vhosts, said = said_by(rows_of("q", PLAIN), recovered)
    queue = vhosts["/"].queues["q"]
    assert [int(entry.message.message_id) for entry in queue.ready.entries()] == [1]
    assert [(int(entry.message.message_id), int(entry.delivery_count)) for entry in queue.parked] == [(2, 4)]
    assert len(said) == 1
