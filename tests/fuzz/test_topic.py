"""The topic trie against a matcher that is too simple to be wrong."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.topic import Node, TopicExchange
from amqpd.wire.field_table import EMPTY_TABLE

# Few words, so that matches and near misses are frequent; `#` often, because it is what can go wrong.
PATTERN_WORDS = st.sampled_from(["#", "#", "*", "a", "b", "", "a*", "##"])
KEY_WORDS = st.sampled_from(["a", "b", "", "a*", "*", "#", "c"])
PATTERNS = st.lists(PATTERN_WORDS, max_size=7).map(".".join)
KEYS = st.lists(KEY_WORDS, max_size=8).map(".".join)


def words(text: str) -> list[str]:
    return text.split(".") if text else []


def naive(pattern: list[str], key: list[str]) -> bool:
    if not pattern:
        return not key
    if pattern[0] == "#":
        return any(naive(pattern[1:], key[n:]) for n in range(len(key) + 1))
    return bool(key) and pattern[0] in ("*", key[0]) and naive(pattern[1:], key[1:])


def make() -> TopicExchange:
    return TopicExchange("topic", "x", True, False, False, EMPTY_TABLE)


def binding(pattern: str) -> Binding:
    return Binding("x", "q", False, pattern, EMPTY_TABLE)


def matches(exchange: TopicExchange, key: str) -> list[str]:
    return sorted(each.routing_key for each in exchange.route(key, None))


def node_count(node: Node | None) -> int:
    if node is None:
        return 0
    below = 0 if node.words is None else sum(node_count(child) for child in node.words.values())
    return 1 + below + node_count(node.star) + node_count(node.hash)


@given(patterns=st.lists(PATTERNS, max_size=12, unique=True), keys=st.lists(KEYS, min_size=1, max_size=6))
def test_trie_matches_as_the_naive_matcher_says(patterns: list[str], keys: list[str]) -> None:
    exchange = make()
    for pattern in patterns:
        exchange.bind(binding(pattern))
    for key in keys:
        assert matches(exchange, key) == sorted(p for p in patterns if naive(words(p), words(key)))
        assert exchange.last_cost <= node_count(exchange.root) * (len(words(key)) + 1)


@given(
    patterns=st.lists(PATTERNS, min_size=1, max_size=12),
    kept=st.sets(st.integers(0, 11)),
    seed=st.integers(0, 2**32),
    keys=st.lists(KEYS, min_size=1, max_size=4),
)
def test_binds_and_unbinds_in_any_order_leave_what_a_new_exchange_would_be(
    patterns: list[str], kept: set[int], seed: int, keys: list[str]
) -> None:
    order = random.Random(seed)
    exchange = make()
    bound: dict[str, None] = {}
    # Each pattern is bound twice and unbound once or twice, mixed at random; only the last word about it counts.
    todo = [(p, True) for p in patterns] * 2 + [(p, False) for p in patterns]
    order.shuffle(todo)
    todo += [(p, n in kept) for n, p in enumerate(patterns)]
    for pattern, binds in todo:
        if binds:
            assert exchange.bind(binding(pattern)) is (pattern not in bound)
            bound[pattern] = None
        else:
            assert exchange.unbind(binding(pattern)) is (pattern in bound)
            bound.pop(pattern, None)
    rebuilt = make()
    for pattern in bound:
        rebuilt.bind(binding(pattern))
    assert list(exchange.bindings) == list(rebuilt.bindings)
    assert node_count(exchange.root) == node_count(rebuilt.root)
    for key in keys:
        assert matches(exchange, key) == matches(rebuilt, key)


@given(
    pattern=st.lists(st.sampled_from(["#", "#", "*", "a"]), min_size=64, max_size=128).map(".".join),
    key=st.lists(st.sampled_from(["a", "a", "a", "b"]), min_size=100, max_size=127).map(".".join),
)
def test_no_pattern_of_many_hashes_costs_more_than_words_times_words(pattern: str, key: str) -> None:
    exchange = make()
    exchange.bind(binding(pattern))
    exchange.route(key, None)
    assert exchange.last_cost <= 129 * 129
