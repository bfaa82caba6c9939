from __future__ import annotations

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.message_deduplication import cache_size, cache_ttl_ms, is_in_memory
from amqpd.exchanges.registry import create
from amqpd.wire.field_table import EMPTY_TABLE, encode_table

TYPE = "x-message-deduplication"


def check(**arguments: object) -> None:
    table = encode_table({key.replace("_", "-"): value for key, value in arguments.items()})
    create(TYPE, "x", True, False, False, table).check_arguments("exchange 'x' in vhost '/'")


def test_it_routes_as_a_fanout_and_asks_for_deduplication() -> None:
    exchange = create(TYPE, "x", True, False, False, encode_table({"x-cache-size": 10}))
    exchange.bind(Binding("x", "a", False, "k", EMPTY_TABLE))
    exchange.bind(Binding("x", "b", False, "other", EMPTY_TABLE))
    assert [binding.destination for binding in exchange.route("whatever", None)] == ["a", "b"]
    assert exchange.deduplicates and not exchange.by_key_only


@pytest.mark.parametrize("size", [1, 100_000, "100"])
def test_a_size_is_a_number_above_zero(size: object) -> None:
    check(x_cache_size=size)


@pytest.mark.parametrize("size", [0, -1, "", "x", "0", True, 1.5, None])
def test_any_other_size_is_refused(size: object) -> None:
    with pytest.raises(PreconditionFailed, match="Missing or invalid argument, 'x-cache-size' must be an integer"):
        check(x_cache_size=size)


def test_a_size_is_needed() -> None:
    with pytest.raises(PreconditionFailed, match="x-cache-size"):
        check()


@pytest.mark.parametrize("ttl", [0, -1, "x", None, False])
def test_a_wrong_ttl_is_refused(ttl: object) -> None:
    check(x_cache_size=1, x_cache_ttl=1)
    check(x_cache_size=1, x_cache_ttl="500")
    with pytest.raises(PreconditionFailed, match="Invalid argument, 'x-cache-ttl' must be an integer greater than 0"):
        check(x_cache_size=1, x_cache_ttl=ttl)


@pytest.mark.parametrize("persistence", ["", "Disk", 1, None])
def test_a_wrong_persistence_is_refused(persistence: object) -> None:
    check(x_cache_size=1, x_cache_persistence="disk")
    check(x_cache_size=1, x_cache_persistence="memory")
    with pytest.raises(PreconditionFailed, match="must be either 'disk' or 'memory'"):
        check(x_cache_size=1, x_cache_persistence=persistence)


def test_arguments_are_read_as_they_were_meant() -> None:
    table = encode_table({"x-cache-size": "20", "x-cache-ttl": 500, "x-cache-persistence": "memory"})
    assert (cache_size(table), cache_ttl_ms(table), is_in_memory(table)) == (20, 500, True)
    # Never fail on what an older version has stored.
    assert (cache_size(EMPTY_TABLE), cache_ttl_ms(EMPTY_TABLE), is_in_memory(EMPTY_TABLE)) == (1, -1, False)


def test_an_exchange_that_delays_may_deduplicate_when_the_time_has_come() -> None:
    table = encode_table({"x-delayed-type": TYPE, "x-cache-size": 5})
    assert create("x-delayed-message", "x", True, False, False, table).deduplicates
    assert not create(
        "x-delayed-message", "x", True, False, False, encode_table({"x-delayed-type": "direct"})
    ).deduplicates
