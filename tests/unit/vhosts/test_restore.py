from __future__ import annotations

from amqpd.base.limits import DEFAULTS
from amqpd.store.log import fresh_start
from amqpd.store.recovered import Recovered, RecoveredEntry
from amqpd.store.topology import BindingRow, ExchangeRow, QueueRow, Topology, VhostRow
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
