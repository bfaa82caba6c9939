from __future__ import annotations

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import Limits
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.topic import TopicExchange, pattern_words, split_words
from amqpd.wire.field_table import EMPTY_TABLE, encode_table

# What RabbitMQ 3.10.8 answered: routing key -> the patterns, of those below, that matched.
PATTERNS = [
    "",
    "#",
    "*",
    "#.#",
    "*.#",
    "#.*",
    "a.#",
    "#.b",
    "a",
    "a.",
    ".a",
    ".",
    "..",
    "ab*",
    "a*.b",
    "#a",
    "a.#.b",
    "*.*",
    "#.#.#",
    "a.*.b",
    "a..b",
    "a.#.#.b",
    "#.*.#",
    "*a",
    "A",
]
ONE_WORD = ["#", "*", "#.#", "*.#", "#.*", "#.#.#", "#.*.#"]
MANY_WORDS = ["#", "#.#", "*.#", "#.*", "#.#.#", "#.*.#"]
MATCHES = {
    "": ["", "#", "#.#", "#.#.#"],
    "a": [*ONE_WORD, "a.#", "a"],
    "b": [*ONE_WORD, "#.b"],
    "a.": [*MANY_WORDS, "a.#", "a.", "*.*"],
    ".a": [*MANY_WORDS, ".a", "*.*"],
    ".": [*MANY_WORDS, ".", "*.*"],
    "..": [*MANY_WORDS, ".."],
    "a.b": [*MANY_WORDS, "a.#", "#.b", "a.#.b", "*.*", "a.#.#.b"],
    "a..b": [*MANY_WORDS, "a.#", "#.b", "a.#.b", "a.*.b", "a..b", "a.#.#.b"],
    "a.c.b": [*MANY_WORDS, "a.#", "#.b", "a.#.b", "a.*.b", "a.#.#.b"],
    "a.b.b": [*MANY_WORDS, "a.#", "#.b", "a.#.b", "a.*.b", "a.#.#.b"],
    "ab*": [*ONE_WORD, "ab*"],
    "abc": ONE_WORD,
    "#": ONE_WORD,
    "*": ONE_WORD,
    "#a": [*ONE_WORD, "#a"],
    "xa": ONE_WORD,
    "a*.b": [*MANY_WORDS, "#.b", "a*.b", "*.*"],
    "A": [*ONE_WORD, "A"],
    " a": ONE_WORD,
    "é": ONE_WORD,
}


def make() -> TopicExchange:
    return TopicExchange("topic", "x", True, False, False, EMPTY_TABLE)


def binding(pattern: str, destination: str = "q") -> Binding:
    return Binding("x", destination, False, pattern, EMPTY_TABLE)


def bound(*patterns: str) -> TopicExchange:
    exchange = make()
    for pattern in patterns:
        exchange.bind(binding(pattern))
    return exchange


def matches(exchange: TopicExchange, key: str) -> list[str]:
    return sorted(each.routing_key for each in exchange.route(key, None))


@pytest.mark.parametrize("key", list(MATCHES))
def test_all_patterns_together_match_as_in_rabbitmq(key: str) -> None:
    assert matches(bound(*PATTERNS), key) == sorted(MATCHES[key])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_alone_matches_as_in_rabbitmq(pattern: str) -> None:
    exchange = bound(pattern)
    assert [key for key in MATCHES if exchange.route(key, None)] == [
        k for k, found in MATCHES.items() if pattern in found
    ]


def test_empty_key_has_no_words_and_adjacent_hashes_are_one() -> None:
    assert split_words("") == []
    assert split_words(".") == ["", ""]
    assert pattern_words("#.#.a.#.#.#") == ["#", "a", "#"]
    assert pattern_words("*.*.##.##") == ["*", "*", "##", "##"]


def test_patterns_that_mean_the_same_are_still_bindings_of_their_own() -> None:
    exchange = bound("#", "#.#")
    assert matches(exchange, "a") == ["#", "#.#"]
    exchange.unbind(binding("#"))
    assert matches(exchange, "a") == ["#.#"]


def test_all_bindings_of_one_pattern_match() -> None:
    exchange = make()
    exchange.bind(binding("a.*", "q1"))
    exchange.bind(binding("a.*", "q2"))
    exchange.bind(Binding("x", "q1", False, "a.*", encode_table({"n": 1})))
    exchange.bind(Binding("x", "y", True, "a.*", EMPTY_TABLE))
    assert [each.destination for each in exchange.route("a.b", None)] == ["q1", "q2", "q1", "y"]


def test_answer_may_be_kept_by_routing_key() -> None:
    assert make().by_key_only


def test_matching_again_gives_the_same() -> None:
    exchange = bound(*PATTERNS)
    once = [matches(exchange, key) for key in MATCHES]
    assert [matches(exchange, key) for key in MATCHES] == once


def test_unbind_prunes_what_nothing_else_needs() -> None:
    exchange = bound("a.b.c", "a.b", "a.*.#")
    exchange.unbind(binding("a.b.c"))
    assert matches(exchange, "a.b.c") == ["a.*.#"]
    assert matches(exchange, "a.b") == ["a.*.#", "a.b"]
    node = exchange.root.child("a")
    assert node is not None
    below = node.child("b")
    assert below is not None and below.words is None
    exchange.unbind(binding("a.*.#"))
    assert node.star is None
    exchange.unbind(binding("a.b"))
    assert exchange.root.is_unused()


def test_unbind_of_an_inner_pattern_keeps_what_is_below_it() -> None:
    exchange = bound("a", "a.b")
    exchange.unbind(binding("a"))
    assert matches(exchange, "a.b") == ["a.b"]
    assert matches(exchange, "a") == []


def test_unbind_of_one_of_two_destinations_keeps_the_other() -> None:
    exchange = make()
    exchange.bind(binding("#", "q1"))
    exchange.bind(binding("#", "q2"))
    exchange.unbind(binding("#", "q1"))
    assert [each.destination for each in exchange.route("a.b", None)] == ["q2"]
    exchange.unbind(binding("#", "q2"))
    assert exchange.root.is_unused()


def test_pattern_of_too_many_words_is_refused() -> None:
    exchange = make()
    exchange.check_binding(binding(".".join(["a"] * 128)))
    exchange.check_binding(binding(""))
    with pytest.raises(PreconditionFailed) as refused:
        exchange.check_binding(binding("." * 128))
    assert refused.value.explanation == "topic pattern has 129 words, the most it may have is 128"
    with pytest.raises(PreconditionFailed):
        exchange.check_binding(binding("a.b.c"), Limits(topic_words_max=2))


def test_sixty_four_hashes_take_no_more_steps_than_nodes_times_words() -> None:
    pattern = ".".join(["#.a"] * 64)
    exchange = bound(pattern)
    assert matches(exchange, ".".join(["a"] * 128)) == [pattern]
    assert exchange.last_cost <= 129 * 129
    assert matches(exchange, ".".join(["a"] * 63)) == []
    assert matches(exchange, ".".join(["b"] * 128)) == []
    assert exchange.last_cost <= 2 * 129


def test_sixty_four_hashes_in_a_row_cost_as_much_as_one() -> None:
    exchange = bound(".".join(["#"] * 64))
    assert len(exchange.route(".".join(["a"] * 128), None)) == 1
    assert exchange.last_cost <= 2 + 128


def test_literal_patterns_cost_one_step_per_word() -> None:
    exchange = bound(*[f"tenant{n}.orders.created" for n in range(200)])
    assert matches(exchange, "tenant7.orders.created") == ["tenant7.orders.created"]
    assert exchange.last_cost == 4
    assert matches(exchange, "nobody.orders.created") == []
    assert exchange.last_cost == 1
