"""Topic exchanges: which binding keys match which routing keys."""

from __future__ import annotations

from ..registry import behaviour
from ..session import Session


def _matches(s: Session, patterns: list[str], keys: list[str]) -> None:
    """One queue per pattern; each key is published as the body, so that a queue's content tells what matched."""
    ch = s.channel()
    x = ch.exchange("x", "topic")
    queues = []
    for number, pattern in enumerate(patterns):
        queue = ch.queue(f"q{number}")
        ch.bind(queue, x, pattern)
        queues.append(queue)
    for key in keys:
        ch.publish(x, key, key.encode() or b"(empty)")
    ch.drain(*queues)


@behaviour("topic")
def key_without_wildcards_matches_itself(s: Session) -> None:
    _matches(s, ["a", "a.b", "a.b.c"], ["a", "a.b", "a.b.c", "a.b.c.d", "A.B"])


@behaviour("topic")
def star_is_exactly_one_word(s: Session) -> None:
    _matches(s, ["*", "a.*", "*.b", "a.*.c", "*.*"], ["a", "a.b", "a.b.c", "x.b", "a.", ".b", ""])


@behaviour("topic")
def hash_is_any_number_of_words(s: Session) -> None:
    _matches(s, ["#", "a.#", "#.b", "a.#.c"], ["", "a", "b", "a.b", "a.c", "a.b.c", "a.b.b.c", "x.y.b"])


@behaviour("topic")
def empty_key_has_no_words(s: Session) -> None:
    _matches(s, ["", "#", "*", "#.#", "*.#", "."], ["", "a", "."])


@behaviour("topic")
def words_between_dots_may_be_empty(s: Session) -> None:
    _matches(s, ["a..b", "a.*.b", "a.#.b", "*.*", "*.*.*", "."], ["a..b", ".", "..", "a.", ".a", "a.b"])


@behaviour("topic")
def dots_at_the_ends_make_empty_words(s: Session) -> None:
    _matches(s, ["a", "a.", ".a", "a.*", "*.a", "a.#"], ["a", "a.", ".a", "a..", "..a"])


@behaviour("topic")
def wildcards_inside_a_word_are_letters(s: Session) -> None:
    _matches(s, ["ab*", "*b", "a#", "#a.b", "**", "##"], ["ab*", "abc", "ab", "a#", "a", "#a.b", "**", "##", "x"])


@behaviour("topic")
def wildcards_in_a_routing_key_are_letters(s: Session) -> None:
    _matches(s, ["a.b", "a.*", "#", "a.#"], ["a.*", "a.#", "*", "#", "*.b"])


@behaviour("topic")
def several_hashes_in_one_key(s: Session) -> None:
    _matches(
        s, ["#.a.#", "#.#", "a.#.#", "#.*", "*.#.b", "#.a.#.b.#"], ["", "a", "x.a", "a.x", "x.a.y", "a.b", "a.x.b"]
    )


@behaviour("topic")
def hash_and_star_together_need_a_word(s: Session) -> None:
    _matches(s, ["#.*", "*.#", "*.#.*", "#.*.#"], ["", "a", "a.b", "a.b.c"])


@behaviour("topic")
def queue_with_several_matching_keys_gets_one_copy(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "topic"), ch.queue()
    for key in ("a.b", "a.*", "#", "*.b", "#.b"):
        ch.bind(q, x, key)
    ch.publish(x, "a.b", b"once")
    ch.drain(q)


@behaviour("topic")
def unbinding_one_key_leaves_the_others(s: Session) -> None:
    ch = s.channel()
    x, q = ch.exchange("x", "topic"), ch.queue()
    ch.bind(q, x, "a.#")
    ch.bind(q, x, "a.*")
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a.#")
    for key in ("a", "a.b", "a.b.c"):
        ch.publish(x, key, key.encode())
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a.*")
    ch.publish(x, "a.b", b"unbound")
    ch.drain(q)


@behaviour("topic")
def route_taken_before_a_binding_changes_with_it(s: Session) -> None:
    ch = s.channel()
    x, one, two = ch.exchange("x", "topic"), ch.queue("one"), ch.queue("two")
    ch.bind(one, x, "a.*")
    ch.publish(x, "a.b", b"first")
    ch.bind(two, x, "#.b")
    ch.publish(x, "a.b", b"second")
    ch.call("queue.unbind", queue=one, exchange=x, routing_key="a.*")
    ch.publish(x, "a.b", b"third")
    ch.call("queue.delete", queue=two)
    ch.publish(x, "a.b", b"fourth")
    ch.queue("two")
    ch.publish(x, "a.b", b"fifth")
    ch.drain(one, two)


@behaviour("topic")
def same_key_for_many_queues(s: Session) -> None:
    ch = s.channel()
    x = ch.exchange("x", "topic")
    queues = [ch.queue(f"q{number}") for number in range(5)]
    for queue in queues:
        ch.bind(queue, x, "#.log")
    ch.publish(x, "disk.log", b"m")
    ch.drain(*queues)


@behaviour("topic")
def long_keys_and_deep_patterns_match(s: Session) -> None:
    # RabbitMQ 3.10 tries every way through several `#`: more than a few in one pattern keep it busy for hours.
    _matches(s, ["#.z", ".".join("*" * 60), "a.#.a.#.z"], [".".join("a" * 60), ".".join("a" * 59) + ".z"])


@behaviour("topic")
def words_may_be_any_utf_8(s: Session) -> None:
    _matches(s, ["naïve.*", "*.☃", "☃.#"], ["naïve.☃", "☃", "☃.naïve"])
