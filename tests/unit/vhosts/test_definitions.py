from __future__ import annotations

from amqpd.base.limits import DEFAULTS
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.registry import create
from amqpd.store.topology import VhostRow
from amqpd.vhosts.access import SHA256, Access, Permission, User, hash_password
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.definitions import DefinedQueue, Definitions, apply_definitions
from amqpd.vhosts.policies import Policy
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE
from tests.fakes.core import new_agenda


def policy(name: str, is_operator: bool = False) -> Policy:
    return Policy("/", name, "", 0, "all", {"max-length": 3}, is_operator)


def world() -> tuple[dict[str, VHost], Access, Changes]:
    changes = Changes(1)
    return {"/": VHost("/", DEFAULTS, new_agenda(), changes)}, Access(), changes


def test_everything_becomes_real_and_is_stored() -> None:
    vhosts, access, changes = world()
    definitions = Definitions()
    definitions.users = [User("u", hash_password(b"p", b"salt"), SHA256, ("administrator",))]
    definitions.new_vhosts = [VHost("v", DEFAULTS, new_agenda(), changes)]
    definitions.vhost_rows = [VhostRow("v", "the v", "a,b", "quorum")]
    definitions.permissions = [Permission("u", "v", "a", "b", "c")]
    definitions.exchanges = [("v", create("topic", "x", True, False, False, EMPTY_TABLE))]
    definitions.queues = [DefinedQueue("v", "q", True, False, EMPTY_TABLE)]
    definitions.bindings = [("v", Binding("x", "q", False, "k", EMPTY_TABLE))]
    definitions.policies = [policy("p"), policy("o", True)]
    apply_definitions(definitions, vhosts, access, changes, False)
    assert access.authenticate("u", b"p", "127.0.0.1") == ""
    assert access.allows("u", "v", "configure", "a")
    v = vhosts["v"]
    assert list(v.queues) == ["q"]
    assert [each.destination for each in v.exchanges["x"].route("k", None)] == ["q"]
    assert [(change.table, change.is_delete) for change in changes.take(1)] == [
        ("users", False),
        ("vhosts", False),
        ("permissions", False),
        ("policies", False),
        ("parameters", False),
        ("exchanges", False),
        ("queues", False),
        ("bindings", False),
    ]


def test_a_queue_is_born_with_the_policies_of_its_document() -> None:
    vhosts, access, changes = world()
    definitions = Definitions()
    definitions.queues = [DefinedQueue("/", "q", True, False, EMPTY_TABLE)]
    definitions.policies = [policy("p")]
    apply_definitions(definitions, vhosts, access, changes, False)
    assert vhosts["/"].queues["q"].options.max_length == 3


def test_only_a_whole_document_deletes_policies_and_only_of_the_kinds_that_it_has() -> None:
    vhosts, access, changes = world()
    vhost = vhosts["/"]
    for each in (policy("a"), policy("b"), policy("o", True)):
        vhost.put_policy(each)
    vhost.declare_queue("q", False, False, False, 0, EMPTY_TABLE, False)
    definitions = Definitions()
    definitions.policies = [policy("b")]
    definitions.has_policies = True
    apply_definitions(definitions, vhosts, access, changes, False)
    assert [each.name for each in vhost.policies.all(False)] == ["a", "b"]
    apply_definitions(definitions, vhosts, access, changes, True)
    assert [each.name for each in vhost.policies.all(False)] == ["b"]
    assert [each.name for each in vhost.policies.all(True)] == ["o"]
    definitions.policies = []
    definitions.has_operator_policies = True
    apply_definitions(definitions, vhosts, access, changes, True)
    assert vhost.policies.all(False) == vhost.policies.all(True) == []
    assert vhost.queues["q"].options.max_length == -1
    assert [change.table for change in changes.take(1) if change.is_delete] == ["policies", "policies", "parameters"]


def test_loading_again_what_is_there_changes_no_policy() -> None:
    vhosts, access, changes = world()
    definitions = Definitions()
    definitions.policies = [policy("p")]
    apply_definitions(definitions, vhosts, access, changes, True)
    changes.take(1)
    definitions.policies = [policy("p")]
    apply_definitions(definitions, vhosts, access, changes, True)
    assert not changes.pending
