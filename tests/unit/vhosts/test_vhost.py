from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.errors import AccessRefused, NotFound, PreconditionFailed, ResourceLocked
from amqpd.base.limits import DEFAULTS
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.registry import PREDECLARED
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.policies import Policy
from amqpd.vhosts.routing import find_route
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table
from tests.fakes.core import new_agenda, new_message


def new_vhost(**limits: int) -> VHost:
    return VHost("/", dataclasses.replace(DEFAULTS, **limits), new_agenda(), Changes(1))


def declare_queue(vhost: VHost, name: str = "q", durable: bool = False, arguments: FieldTable = EMPTY_TABLE) -> None:
    vhost.declare_queue(name, durable, False, False, 7, arguments, False)


def declare_exchange(vhost: VHost, name: str = "x", durable: bool = False, auto_delete: bool = False) -> None:
    vhost.declare_exchange(name, "fanout", durable, auto_delete, False, EMPTY_TABLE)


def binding(source: str = "x", destination: str = "q", to_exchange: bool = False, key: str = "") -> Binding:
    return Binding(source, destination, to_exchange, key, EMPTY_TABLE)


def told(vhost: VHost) -> list[tuple[str, bool]]:
    """What the topology store heard since the last look: table, and whether it was a delete."""
    return [(change.table, change.is_delete) for change in vhost.changes.take(1)]


def test_every_vhost_has_the_predeclared_exchanges_and_tells_nobody() -> None:
    vhost = new_vhost()
    assert [(name, each.type_name, each.durable) for name, each in vhost.exchanges.items()] == [
        (name, type_name, True) for name, type_name in PREDECLARED
    ]
    assert [name for name, each in vhost.exchanges.items() if each.internal] == ["amq.rabbitmq.trace"]
    assert told(vhost) == []


def test_what_is_not_there_is_not_found() -> None:
    vhost = new_vhost()
    with pytest.raises(NotFound, match="no queue 'q' in vhost '/'"):
        vhost.find_queue("q", 1)
    with pytest.raises(NotFound, match="no exchange 'x' in vhost '/'"):
        vhost.find_exchange("x")
    assert vhost.find_queue_or_reply("q") is None


def test_declaring_twice_gives_the_same_thing() -> None:
    vhost = new_vhost()
    one = vhost.declare_queue("q", True, False, False, 7, EMPTY_TABLE, False)
    assert vhost.declare_queue("q", True, False, False, 8, EMPTY_TABLE, False) is one
    exchange = vhost.declare_exchange("x", "direct", False, False, False, EMPTY_TABLE)
    assert vhost.declare_exchange("x", "direct", False, False, False, EMPTY_TABLE) is exchange
    with pytest.raises(PreconditionFailed, match="inequivalent arg 'type' for exchange 'x' in vhost '/'"):
        vhost.declare_exchange("x", "fanout", False, False, False, EMPTY_TABLE)


def test_the_store_hears_of_what_is_durable_only() -> None:
    vhost = new_vhost()
    declare_queue(vhost)
    declare_exchange(vhost)
    vhost.bind(binding())
    assert told(vhost) == []
    declare_queue(vhost, "dq", durable=True)
    declare_exchange(vhost, "dx", durable=True)
    assert told(vhost) == [("queues", False), ("exchanges", False)]
    vhost.bind(binding("dx", "q"))
    vhost.bind(binding("x", "dq"))
    assert told(vhost) == []
    vhost.bind(binding("dx", "dq"))
    vhost.bind(binding("dx", "dq"))
    assert told(vhost) == [("bindings", False)]
    vhost.unbind(binding("dx", "dq"))
    assert told(vhost) == [("bindings", True)]
    vhost.delete_queue(vhost.queues["dq"])
    vhost.delete_exchange("dx", False)
    assert told(vhost) == [("queues", True), ("exchanges", True)]


def test_an_exclusive_queue_is_not_stored_even_if_durable() -> None:
    vhost = new_vhost()
    vhost.declare_queue("q", True, True, False, 7, EMPTY_TABLE, False)
    assert told(vhost) == []


def test_an_exclusive_queue_is_its_owners() -> None:
    vhost = new_vhost()
    queue = vhost.declare_queue("q", False, True, False, 7, EMPTY_TABLE, False)
    assert vhost.find_queue("q", 7) is queue
    with pytest.raises(ResourceLocked):
        vhost.find_queue("q", 8)
    assert vhost.find_queue_or_reply("q") is queue
    vhost.delete_queues_of(8)
    vhost.delete_queues_of(7)
    assert vhost.queues == {}


def test_queue_ids_are_never_used_again() -> None:
    vhost = new_vhost()
    declare_queue(vhost)
    first = vhost.queues["q"].queue_id
    vhost.delete_queue(vhost.queues["q"])
    declare_queue(vhost)
    assert vhost.queues["q"].queue_id > first


def test_deleting_a_queue_takes_its_messages_and_bindings_and_is_done_once() -> None:
    vhost = new_vhost()
    declare_queue(vhost)
    vhost.bind(binding("amq.fanout"))
    queue = vhost.queues["q"]
    queue.publish(new_message(1))
    assert vhost.delete_queue(queue) == 1
    assert vhost.delete_queue(queue) == 0
    assert vhost.exchanges["amq.fanout"].bindings == {}
    assert vhost.bindings_to(False, "q") == []


def test_an_exchange_that_is_bound_is_in_use() -> None:
    vhost = new_vhost()
    declare_queue(vhost)
    declare_exchange(vhost)
    vhost.bind(binding())
    with pytest.raises(PreconditionFailed, match="in use"):
        vhost.delete_exchange("x", True)
    vhost.delete_exchange("x", False)
    vhost.delete_exchange("x", False)
    assert vhost.bindings_to(False, "q") == []


@pytest.mark.parametrize("name", ["amq.direct", "amq.rabbitmq.trace"])
def test_predeclared_exchanges_stay(name: str) -> None:
    with pytest.raises(AccessRefused):
        new_vhost().delete_exchange(name, False)


def test_an_auto_delete_exchange_goes_with_its_last_binding_and_not_before_its_first() -> None:
    vhost = new_vhost()
    declare_queue(vhost)
    declare_exchange(vhost, auto_delete=True)
    vhost.unbind(binding())
    assert "x" in vhost.exchanges
    vhost.bind(binding(key="1"))
    vhost.bind(binding(key="2"))
    vhost.unbind(binding(key="1"))
    assert "x" in vhost.exchanges
    vhost.unbind(binding(key="2"))
    assert "x" not in vhost.exchanges


def test_auto_delete_cascades_along_a_long_chain() -> None:
    vhost = new_vhost()
    declare_queue(vhost)
    for number in range(2000):
        declare_exchange(vhost, f"x{number}", auto_delete=True)
        to_exchange = number > 0
        vhost.bind(binding(f"x{number}", f"x{number - 1}" if to_exchange else "q", to_exchange))
    vhost.delete_queue(vhost.queues["q"])
    assert len(vhost.exchanges) == len(PREDECLARED)
    assert vhost.binding_count == 0


def test_limits_hold_for_new_things_and_not_for_those_that_exist() -> None:
    vhost = new_vhost(queues_max=1, exchanges_max=len(PREDECLARED) + 1, bindings_max=1)
    declare_queue(vhost)
    declare_queue(vhost)
    with pytest.raises(PreconditionFailed, match="1 queues"):
        declare_queue(vhost, "r")
    declare_exchange(vhost)
    declare_exchange(vhost)
    with pytest.raises(PreconditionFailed, match="exchanges"):
        declare_exchange(vhost, "y")
    vhost.bind(binding())
    with pytest.raises(PreconditionFailed, match="1 bindings"):
        vhost.bind(binding(key="2"))
    # One that is there needs no room.
    vhost.bind(binding())
    vhost.unbind(binding())
    vhost.bind(binding(key="2"))


def test_the_limit_of_one_queue_holds_for_its_new_bindings_only() -> None:
    vhost = new_vhost(bindings_per_queue_max=1)
    declare_exchange(vhost)
    for name in ("q", "r"):
        declare_queue(vhost, name)
        vhost.bind(binding(destination=name))
        vhost.bind(binding(destination=name))
        with pytest.raises(PreconditionFailed, match=f"queue '{name}' in vhost '/' has the most bindings it may have"):
            vhost.bind(binding(destination=name, key="2"))
    declare_exchange(vhost, "y")
    for key in "abc":
        vhost.bind(binding(destination="y", to_exchange=True, key=key))


def test_an_operator_hears_of_arguments_without_effect() -> None:
    vhost = new_vhost()
    declare_queue(vhost, arguments=encode_table({"x-mine": 1}))
    declare_queue(vhost, "r", arguments=encode_table({f"x-mine-{number}": 1 for number in range(1000)}))
    assert "unknown argument 'x-mine', kept and ignored" in vhost._agenda.lines[0]
    assert "unknown argument 'x-mine-0' and 999 others, kept" in vhost._agenda.lines[1]
    assert len(vhost._agenda.lines) == 2


def test_a_refused_declare_leaves_nothing() -> None:
    vhost = new_vhost()
    with pytest.raises(PreconditionFailed):
        declare_queue(vhost, durable=True, arguments=encode_table({"x-expires": 0}))
    assert (vhost.queues, told(vhost)) == ({}, [])


def test_a_server_named_queue_may_be_named_amq() -> None:
    vhost = new_vhost()
    vhost.declare_queue("amq.gen-x", False, False, False, 7, EMPTY_TABLE, True)
    with pytest.raises(AccessRefused):
        declare_queue(vhost, "amq.mine")


NAMES = st.sampled_from("abc")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["queue", "exchange", "bind", "bind", "bind", "unbind", "drop queue", "drop exchange"]),
        NAMES,
        NAMES,
        st.booleans(),
    ),
    max_size=50,
)


@given(STEPS)
def test_a_binding_stands_at_both_its_ends_or_nowhere(steps: list[tuple[str, str, str, bool]]) -> None:
    vhost = new_vhost()
    for what, one, other, flag in steps:
        if what == "queue" and one not in vhost.queues:
            declare_queue(vhost, one, durable=flag)
        elif what == "exchange" and one not in vhost.exchanges:
            declare_exchange(vhost, one, auto_delete=flag)
        elif (
            what in ("bind", "unbind")
            and one in vhost.exchanges
            and other in (vhost.exchanges if flag else vhost.queues)
        ):
            way = binding(one, other, flag)
            if what == "bind":
                vhost.bind(way)
            else:
                vhost.unbind(way)
        elif what == "drop queue" and one in vhost.queues:
            vhost.delete_queue(vhost.queues[one])
        elif what == "drop exchange":
            vhost.delete_exchange(one, False)
        at_sources = {(b.source, b.key) for each in vhost.exchanges.values() for b in each.bindings.values()}
        at_targets = {(b.source, b.key) for target in vhost._bindings_to.values() for b in target.values()}
        assert at_sources == at_targets
        assert vhost.binding_count == len(at_sources)
        for is_exchange, name in vhost._bindings_to:
            assert name in (vhost.exchanges if is_exchange else vhost.queues)
        for exchange in vhost.exchanges.values():
            assert not (exchange.auto_delete and exchange.was_bound and len(exchange.bindings) == 0)


def policy(name: str = "p", pattern: str = "", is_operator: bool = False, **definition: object) -> Policy:
    return Policy("/", name, pattern, 0, "all", {k.replace("_", "-"): v for k, v in definition.items()}, is_operator)


def test_a_policy_reaches_what_is_there_and_what_comes() -> None:
    vhost = new_vhost()
    declare_queue(vhost, "before")
    declare_exchange(vhost, "x")
    vhost.set_policy(policy(max_length=3, alternate_exchange="amq.fanout"))
    declare_queue(vhost, "after")
    declare_exchange(vhost, "y")
    assert [queue.options.max_length for queue in vhost.queues.values()] == [3, 3]
    assert [vhost.exchanges[name].alternate for name in ("x", "y", "amq.topic")] == ["amq.fanout"] * 3
    assert vhost.delete_policy("p", False)
    assert not vhost.delete_policy("p", False)
    assert [queue.options.max_length for queue in vhost.queues.values()] == [-1, -1]
    assert vhost.exchanges["x"].alternate is None
    assert told(vhost) == [("policies", False), ("policies", True)]


def test_a_policy_that_changes_nothing_is_not_stored_again() -> None:
    vhost = new_vhost()
    vhost.set_policy(policy(max_length=3))
    vhost.set_policy(policy(max_length=3))
    assert told(vhost) == [("policies", False)]


def test_a_policy_makes_remembered_routes_stale() -> None:
    vhost = new_vhost()
    declare_queue(vhost)
    route = find_route(vhost, "", ["q"], None)
    vhost.routes.put(b"\x00\x01q", route)
    vhost.set_policy(policy(max_length=1, overflow="reject-publish"))
    assert route.is_stale
    assert find_route(vhost, "", ["q"], None).may_be_refused


def test_wrong_arguments_are_refused_with_policies_as_without() -> None:
    vhost = new_vhost()
    vhost.set_policy(policy(max_length=3))
    with pytest.raises(PreconditionFailed, match="invalid arg 'x-max-length'"):
        declare_queue(vhost, arguments=encode_table({"x-max-length": -1}))


def test_a_vhost_that_keeps_queues_compares_no_arguments() -> None:
    vhost = VHost("/", dataclasses.replace(DEFAULTS, redeclare_keep=("*",)), new_agenda(), Changes(1))
    declare_queue(vhost, arguments=encode_table({"x-max-length": 3}))
    declare_queue(vhost, arguments=encode_table({"x-max-length": 4}))
    assert vhost.queues["q"].options.max_length == 3
    with pytest.raises(PreconditionFailed, match="durable"):
        declare_queue(vhost, durable=True)
    other = VHost("o", dataclasses.replace(DEFAULTS, redeclare_keep=("/",)), new_agenda(), Changes(1))
    declare_queue(other)
    with pytest.raises(PreconditionFailed, match="x-max-length"):
        declare_queue(other, arguments=encode_table({"x-max-length": 4}))
