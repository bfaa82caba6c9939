from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.errors import NotFound
from amqpd.base.limits import DEFAULTS
from amqpd.exchanges.exchange import Binding
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.routing import Route, RouteCache, find_route, split_route_key
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from tests.fakes.core import new_agenda


def new_vhost() -> VHost:
    return VHost("/", DEFAULTS, new_agenda(), Changes(1))


def declare_queues(vhost: VHost, *names: str, durable: bool = False) -> None:
    for name in names:
        vhost.declare_queue(name, durable, False, False, 1, EMPTY_TABLE, False)


def declare_exchange(vhost: VHost, name: str, type_name: str = "fanout", alternate: str = "") -> None:
    arguments = encode_table({"alternate-exchange": alternate} if alternate else {})
    vhost.declare_exchange(name, type_name, False, False, False, arguments)


def bind(vhost: VHost, source: str, destination: str, key: str = "", to_exchange: bool = False) -> None:
    vhost.bind(Binding(source, destination, to_exchange, key, EMPTY_TABLE))


def reached(vhost: VHost, exchange: str, *keys: str) -> list[str]:
    return [queue.name for queue in find_route(vhost, exchange, list(keys), None).queues]


def test_the_default_exchange_leads_to_the_queue_of_that_name() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "a", "b")
    assert reached(vhost, "", "a") == ["a"]
    assert reached(vhost, "", "a", "b", "a", "none") == ["a", "b"]
    assert reached(vhost, "", "none") == []


def test_a_missing_exchange_is_not_found() -> None:
    with pytest.raises(NotFound, match="no exchange 'x' in vhost '/'"):
        find_route(new_vhost(), "x", ["k"], None)


def test_a_queue_is_reached_once_however_many_ways_lead_to_it() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "q")
    declare_exchange(vhost, "a")
    declare_exchange(vhost, "b")
    bind(vhost, "a", "q", "1")
    bind(vhost, "a", "q", "2")
    bind(vhost, "a", "b", "3", to_exchange=True)
    bind(vhost, "b", "q", "4")
    assert reached(vhost, "a", "k", "l") == ["q"]


def test_a_cycle_of_exchanges_ends() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "q")
    for name in "abc":
        declare_exchange(vhost, name)
    for source, destination in ("ab", "bc", "ca", "aa"):
        bind(vhost, source, destination, to_exchange=True)
    bind(vhost, "c", "q")
    assert reached(vhost, "a", "k") == ["q"]


def test_an_alternate_exchange_is_used_only_where_nothing_matches_and_its_cycles_end() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "q", "lost")
    declare_exchange(vhost, "a", "direct", alternate="b")
    declare_exchange(vhost, "b", "direct", alternate="c")
    declare_exchange(vhost, "c", "direct", alternate="a")
    bind(vhost, "a", "q", "k")
    bind(vhost, "c", "lost", "other")
    assert reached(vhost, "a", "k") == ["q"]
    assert reached(vhost, "a", "other") == ["lost"]
    assert reached(vhost, "a", "none") == []


def test_all_keys_go_on_through_a_binding_that_one_of_them_matched() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "q")
    declare_exchange(vhost, "d", "direct")
    declare_exchange(vhost, "t", "topic")
    bind(vhost, "d", "t", "k1", to_exchange=True)
    bind(vhost, "t", "q", "k2")
    assert reached(vhost, "d", "k1", "k2") == ["q"]
    assert reached(vhost, "d", "k2", "k1") == ["q"]
    assert reached(vhost, "d", "k1") == []
    assert reached(vhost, "d", "k2", "none") == []


def test_an_alternate_exchange_gets_only_what_no_key_matches() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "q", "lost")
    declare_exchange(vhost, "lost")
    declare_exchange(vhost, "d", "direct", alternate="lost")
    bind(vhost, "d", "q", "k")
    bind(vhost, "lost", "lost")
    assert reached(vhost, "d", "k", "none") == ["q"]
    assert reached(vhost, "d", "none", "k") == ["q"]
    assert reached(vhost, "d", "none", "other") == ["lost"]


def test_keys_that_lead_through_a_delayed_exchange_are_tried_as_its_inner_type_does() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "q", "r")
    for name, inner in (("t", "topic"), ("h", "x-modulus-hash")):
        arguments = encode_table({"x-delayed-type": inner})
        vhost.declare_exchange(name, "x-delayed-message", False, False, False, arguments)
        bind(vhost, name, "q", "a.*")
        bind(vhost, name, "r", "b.*")
    assert reached(vhost, "t", "b.1", "a.1") == ["r", "q"]
    assert len(reached(vhost, "h", "b.1", "a.1", "c", "d", "e")) == 1


@pytest.mark.parametrize("type_name", ["x-modulus-hash", "x-consistent-hash", "x-random"])
def test_an_exchange_that_gives_each_message_to_one_binding_does_so_with_further_keys_too(type_name: str) -> None:
    vhost = new_vhost()
    declare_queues(vhost, *"abcdefgh")
    declare_exchange(vhost, "x", type_name)
    for name in "abcdefgh":
        bind(vhost, "x", name, "1")
    assert len(reached(vhost, "x", *[str(number) for number in range(20)])) == 1


def test_an_alternate_exchange_that_is_missing_is_as_none() -> None:
    vhost = new_vhost()
    declare_exchange(vhost, "a", alternate="none")
    assert reached(vhost, "a", "k") == []


def test_a_route_knows_the_one_queue_and_those_that_store() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "transient")
    declare_queues(vhost, "durable", durable=True)
    one = find_route(vhost, "", ["transient"], None)
    assert one.only is vhost.queues["transient"]
    assert one.stored_ids == b""
    both = find_route(vhost, "", ["transient", "durable"], None)
    assert both.only is None
    assert both.stored_ids == int(vhost.queues["durable"].queue_id).to_bytes(4, "little")


def test_a_route_tells_what_it_took_to_find_it() -> None:
    vhost = new_vhost()
    declare_queues(vhost, "q")
    declare_exchange(vhost, "d", "direct")
    bind(vhost, "d", "q", "k")
    assert find_route(vhost, "", ["q"], None).cost == 1
    # The look, its binding, the queue.
    assert find_route(vhost, "d", ["k"], None).cost == 3
    keys = [str(number) for number in range(100)]
    assert find_route(vhost, "d", keys, None).cost == 100
    for number in range(50):
        declare_exchange(vhost, f"x{number}")
        bind(vhost, "d", f"x{number}", "k", to_exchange=True)
    assert find_route(vhost, "d", ["k"], None).cost == 1 + 51 + 50 + 1


def test_an_exchange_that_looks_at_headers_makes_its_route_no_ones_but_the_messages() -> None:
    vhost = new_vhost()
    declare_exchange(vhost, "a")
    assert find_route(vhost, "a", ["k"], None).by_key_only
    bind(vhost, "a", "amq.headers", to_exchange=True)
    assert not find_route(vhost, "a", ["k"], None).by_key_only


def test_a_dropped_cache_makes_stale_what_it_gave_out() -> None:
    vhost = new_vhost()
    cache = RouteCache(2, 1 << 20)
    routes = [Route(vhost.exchanges[""], str(number), [], True) for number in range(3)]
    cache.put(b"0", routes[0])
    cache.put(b"1", routes[1])
    assert cache.get(b"0") is routes[0]
    # Full: all of it goes.
    cache.put(b"2", routes[2])
    assert (cache.get(b"0"), cache.get(b"2")) == (None, routes[2])
    assert [route.is_stale for route in routes] == [True, True, False]
    cache.drop()
    cache.drop()
    assert routes[2].is_stale


def test_a_cache_is_bounded_in_what_its_routes_take() -> None:
    """A route to 10,000 queues is not one to a single queue."""
    vhost = new_vhost()
    declare_queues(vhost, *[f"q{number}" for number in range(100)])
    many = list(vhost.queues.values())
    wide = [Route(vhost.exchanges[""], str(number), many, True) for number in range(4)]
    narrow = Route(vhost.exchanges[""], "n", [], True)
    assert wide[0].size_bytes > narrow.size_bytes + 100 * 8
    cache = RouteCache(1000, 3 * wide[0].size_bytes)
    for number in range(3):
        cache.put(str(number).encode(), wide[number])
    # The same once more takes no more.
    cache.put(b"2", wide[2])
    assert [route.is_stale for route in wide] == [False] * 4
    cache.put(b"3", wide[3])
    assert [route.is_stale for route in wide] == [True, True, True, False]
    cache.put(b"3", narrow)
    cache.put(b"0", wide[0])
    cache.put(b"1", wide[1])
    assert cache.get(b"3") is narrow


def test_each_change_of_names_and_bindings_makes_routes_stale() -> None:
    vhost = new_vhost()
    changes = [
        lambda: declare_queues(vhost, "q"),
        lambda: declare_exchange(vhost, "x"),
        lambda: bind(vhost, "x", "q"),
        lambda: vhost.unbind(Binding("x", "q", False, "", EMPTY_TABLE)),
        lambda: vhost.delete_exchange("x", False),
        lambda: vhost.delete_queue(vhost.queues["q"]),
    ]
    for change in changes:
        route = find_route(vhost, "amq.direct", ["k"], None)
        vhost.routes.put(b"key", route)
        change()
        assert route.is_stale


@given(st.binary(max_size=255), st.binary(max_size=255))
def test_a_route_key_holds_any_bytes(exchange: bytes, routing_key: bytes) -> None:
    route_key = bytes([len(exchange)]) + exchange + bytes([len(routing_key)]) + routing_key
    assert split_route_key(route_key) == (
        exchange.decode("utf-8", "surrogateescape"),
        routing_key.decode("utf-8", "surrogateescape"),
    )
