from __future__ import annotations

import random
import re

import pytest

from amqpd.vhosts.patterns import PATTERN_CHARACTERS_MAX, Pattern


@pytest.mark.parametrize(
    "pattern, name, expected",
    [
        ("", "anything", True),
        (".*", "", True),
        ("^$", "", True),
        ("^$", "x", False),
        ("ell", "hello", True),
        ("^ell", "hello", False),
        ("^(a|b)-.*$", "b-x", True),
        ("^(a|b)-.*$", "c-x", False),
        (r"^amq\.gen.*", "amq.gen-x", True),
        (r"^amq\.gen.*", "amqxgen-x", False),
        (r"^(?!amq\.)", "amq.direct", False),
        (r"^(?!amq\.)", "orders", True),
        (r"^(?=.*x)(?=.*y)", "..y..x", True),
        (r"^\Qa.b+\E$", "a.b+", True),
        (r"^\Qa.b\E$", "axb", False),
        ("(?i)^ABC[d-f][^g]$", "abcEx", True),
        ("(?i)^ABC[d-f][^g]$", "abcEG", False),
        ("^[[:alpha:]_]+$", "a_Z", True),
        ("^[[:^alpha:]]+$", "a1", False),
        (r"^\w+\.\d{2,3}$", "q_1.123", True),
        (r"^\w+\.\d{2,3}$", "q_1.1", False),
        ("^x{0}y{2}z{1,}$", "yyzzz", True),
        ("(?P<name>a)(?:b)(?<other>c)", "abc", True),
        ("{", "{", True),
        ("a{,2}", "a{,2}", True),
        ("[]a]", "]", True),
        ("[a-]", "-", True),
        (r"[\]\-]", "-", True),
        (r"^\x41\x{e9}$", "Aé", True),
        ("^é+$", "éé", True),
        (r"\bjob\b", "a job.", True),
        (r"\bjob\b", "jobs", False),
        (r"\Aq\z", "q", True),
        ("a*?b+?", "b", True),
        ("^.$", "\n", False),
    ],
)
def test_patterns_mean_what_they_mean_in_rabbitmq(pattern: str, name: str, expected: bool) -> None:
    assert Pattern(pattern).matches(name) is expected


def test_the_end_is_the_very_end() -> None:
    assert not Pattern("^q$").matches("q\n")


@pytest.mark.parametrize(
    "pattern, why",
    [
        ("(", r"missing \)"),
        ("a)", r"unmatched \)"),
        ("*a", "nothing to repeat"),
        ("a|+", "nothing to repeat"),
        ("[a", "missing terminating ]"),
        ("[a-", "missing terminating ]"),
        ("[b-a]", "range out of order"),
        ("[[:foo:]]", "unknown POSIX class"),
        ("a{2,1}", "numbers out of order"),
        ("a{1001}", "more than 1000 repeats"),
        ("\\", "at end of pattern"),
        (r"\1", "not supported"),
        (r"\y", "not supported"),
        (r"\x{", "bad"),
        (r"\x{110000000}", "bad"),
        ("(?<=a)b", "not supported"),
        ("(?>a)", "not supported"),
        ("a++", "not supported"),
        ("(?", "not supported"),
        ("(?<", "not supported"),
        ("(?P<n", "not supported"),
        ("(" * 33 + ")" * 33, "nested deeper"),
        ("(((a{100}){100}){100}){100}", "too large"),
        ("((){1000}){1000}", "too large"),
        ("x" * (PATTERN_CHARACTERS_MAX + 1), "at most 1024 characters"),
    ],
)
def test_what_is_no_pattern_here_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Pattern(pattern)


def test_a_pattern_of_the_largest_size_is_taken() -> None:
    pattern = Pattern("x|" * (PATTERN_CHARACTERS_MAX // 2 - 1) + "yz")
    assert len(pattern.text) == PATTERN_CHARACTERS_MAX
    assert pattern.matches("a" * 253 + "yz")
    assert not pattern.matches("a" * 255)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "^(a|a)*$", "(.*.*.*.*.*.*)x$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a?){100}a{100}$"]
)
def test_patterns_that_hang_other_engines_are_answered_exactly(pattern: str) -> None:
    # Not by the clock: an engine that tried every way would never come back at all.
    assert not Pattern(pattern).matches("a" * 99 + "b")


def test_work_beyond_the_limit_means_no_also_for_a_negation() -> None:
    pattern = Pattern("^(?:(?!(.*a?){100}z).)*$")
    assert pattern.matches("aaa")
    assert not pattern.matches("aza")
    assert not pattern.matches("a" * 255)
    assert pattern.matches("aaa")


def _random_pattern(chance: random.Random, depth: int) -> str:
    roll = chance.random()
    if depth > 3 or roll < 0.35:
        return chance.choice(["a", "b", "c", ".", "\\.", "[ab]", "[^a]", "\\w", "\\d", "_", "^", "$", "\\b", "[a-c.]"])
    if roll < 0.55:
        return _random_pattern(chance, depth + 1) + _random_pattern(chance, depth + 1)
    if roll < 0.7:
        return f"(?:{_random_pattern(chance, depth + 1)}|{_random_pattern(chance, depth + 1)})"
    if roll < 0.85:
        return f"({_random_pattern(chance, depth + 1)}){chance.choice(['*', '+', '?', '{2}', '{1,2}', '{1,}', '*?'])}"
    if roll < 0.95:
        return f"(?{chance.choice('=!')}{_random_pattern(chance, depth + 1)})"
    return chance.choice("ab.") + chance.choice("*+?")


def test_random_patterns_agree_with_pythons_engine() -> None:
    chance = random.Random(2)
    compared = 0
    while compared < 5_000:
        text = _random_pattern(chance, 0)
        try:
            # Python's $ lets a newline follow; ours does not.
            reference = re.compile(text.replace("$", "\\Z"), re.ASCII)
        except re.error:
            continue
        pattern = Pattern(text)
        for _ in range(4):
            name = "".join(chance.choice("abc._1") for _ in range(chance.randrange(7)))
            assert pattern.matches(name) is (reference.search(name) is not None), (text, name)
            compared += 1
