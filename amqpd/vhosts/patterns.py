"""Regular expressions that people write for names: permissions and policies.

Owns: the syntax (what RabbitMQ's PCRE and Python have in common) and a matcher whose work is bounded. Python's `re`
backtracks without bound, RabbitMQ's stops after a number of steps; neither will do for a check that every client can
trigger with names of its own choice. Here a pattern is a small program that all its alternatives run in step, one
character at a time (Thompson 1968), so `(a+)+$` costs what `a+$` costs.

Refused, because they can't be matched this way: back references, lookbehind, atomic groups and possessive quantifiers.
Lookahead works; it is the one thing that can make work pile up, and STEPS_MAX bounds it: beyond, the answer is no.
`$` matches at the very end only, unlike in PCRE where a newline may follow: a grant for `^q$` is no grant for "q\\n".
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

PATTERN_CHARACTERS_MAX: Final = 1024
GROUP_DEPTH_MAX: Final = 32
PROGRAM_SIZE_MAX: Final = 2048
REPEAT_MAX: Final = 1000
# A list of 500 names as alternatives, the largest thing people write, takes a name of 255 characters 400,000. RabbitMQ
# grants PCRE 50,000 of its own, larger, steps.
STEPS_MAX: Final = 1_000_000

# Nodes of a parsed pattern; those with a set or nothing are instructions as well.
_SET: Final = 0
_SEQUENCE: Final = 1
_EITHER: Final = 2
_REPEAT: Final = 3
_START: Final = 4
_END: Final = 5
_WORD_EDGE: Final = 6
_NO_WORD_EDGE: Final = 7
_AHEAD: Final = 8
_NOT_AHEAD: Final = 9
# Instructions only.
_JUMP: Final = 10
_SPLIT: Final = 11
_MATCH: Final = 12

_CODE_MAX: Final = 0x10FFFF
_DIGIT: Final = [(48, 57)]
_WORD: Final = [(48, 57), (65, 90), (95, 95), (97, 122)]
_SPACE: Final = [(9, 13), (32, 32)]
_POSIX: Final[dict[str, list[tuple[int, int]]]] = {
    "alnum": [(48, 57), (65, 90), (97, 122)],
    "alpha": [(65, 90), (97, 122)],
    "blank": [(9, 9), (32, 32)],
    "cntrl": [(0, 31), (127, 127)],
    "digit": _DIGIT,
    "graph": [(33, 126)],
    "lower": [(97, 122)],
    "print": [(32, 126)],
    "punct": [(33, 47), (58, 64), (91, 96), (123, 126)],
    "space": _SPACE,
    "upper": [(65, 90)],
    "word": _WORD,
    "xdigit": [(48, 57), (65, 70), (97, 102)],
}
_CONTROLS: Final[dict[str, int]] = {"a": 7, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}


@final
class _Node:
    def __init__(self, kind: int, ranges: list[tuple[int, int]], children: list[_Node]) -> None:
        self.kind = kind
        self.ranges = ranges
        self.children = children
        # Of a repeat; -1 is without end.
        self.least = 0
        self.most = 0


def _complement(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    rest: list[tuple[int, int]] = []
    at = 0
    for low, high in sorted(ranges):
        if low > at:
            rest.append((at, low - 1))
        at = max(at, high + 1)
    if at <= _CODE_MAX:
        rest.append((at, _CODE_MAX))
    return rest


def _both_cases(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    # ASCII only, like PCRE without its Unicode option.
    found = list(ranges)
    for low, high in ranges:
        if low <= 90 and high >= 65:
            found.append((max(low, 65) + 32, min(high, 90) + 32))
        if low <= 122 and high >= 97:
            found.append((max(low, 97) - 32, min(high, 122) - 32))
    return found


@final
class _Parser:
    """Recursive descent over one pattern; ValueError with the reason for whatever is not one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._quoted = False
        self._ignore_case = text.startswith("(?i)")
        if self._ignore_case:
            self._at = 4

    def parse(self) -> _Node:
        node = self._either()
        if self._at < len(self._text):
            raise ValueError("unmatched )")
        return node

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self, prefix: str) -> bool:
        if not self._text.startswith(prefix, self._at):
            return False
        self._at += len(prefix)
        return True

    def _set(self, ranges: list[tuple[int, int]]) -> _Node:
        return _Node(_SET, _both_cases(ranges) if self._ignore_case else ranges, [])

    def _either(self) -> _Node:
        self._depth += 1
        if self._depth > GROUP_DEPTH_MAX:
            raise ValueError(f"groups nested deeper than {GROUP_DEPTH_MAX}")
        choices = [self._sequence()]
        while self._take("|"):
            choices.append(self._sequence())
        self._depth -= 1
        return choices[0] if len(choices) == 1 else _Node(_EITHER, [], choices)

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while True:
            if not self._quoted and self._take("\\Q"):
                self._quoted = True
            elif self._take("\\E"):
                self._quoted = False
            elif self._at >= len(self._text) or (not self._quoted and self._peek() in "|)"):
                return parts[0] if len(parts) == 1 else _Node(_SEQUENCE, [], parts)
            else:
                parts.append(self._repeated(self._atom()))

    def _repeated(self, node: _Node) -> _Node:
        """The node with the quantifiers that follow it."""
        while not self._quoted:
            least, most = 0, -1
            if self._take("*"):
                pass
            elif self._take("+"):
                least = 1
            elif self._take("?"):
                most = 1
            else:
                counted = self._counts()
                if counted is None:
                    return node
                least, most = counted
            # Lazy or greedy makes no difference to whether there is a match.
            if not self._take("?") and self._take("+"):
                raise ValueError("possessive quantifiers are not supported")
            repeat = _Node(_REPEAT, [], [node])
            repeat.least = least
            repeat.most = most
            node = repeat
        return node

    def _counts(self) -> tuple[int, int] | None:
        """{n}, {n,} or {n,m}; anything else that starts with a brace stands for itself."""
        close = self._text.find("}", self._at)
        if self._peek() != "{" or close < 0:
            return None
        low, comma, high = self._text[self._at + 1 : close].partition(",")
        if not _is_number(low) or not (_is_number(high) or high == ""):
            return None
        self._at = close + 1
        least = int(low)
        most = int(high) if high != "" else (-1 if comma == "," else least)
        if least > REPEAT_MAX or most > REPEAT_MAX:
            raise ValueError(f"more than {REPEAT_MAX} repeats")
        if 0 <= most < least:
            raise ValueError("numbers out of order in {} quantifier")
        return least, most

    def _atom(self) -> _Node:
        character = self._text[self._at]
        self._at += 1
        if self._quoted:
            return self._set([(ord(character), ord(character))])
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        if character == ".":
            return _Node(_SET, _complement([(10, 10)]), [])
        if character == "^":
            return _Node(_START, [], [])
        if character == "$":
            return _Node(_END, [], [])
        if character in "*+?":
            raise ValueError("nothing to repeat")
        return self._set([(ord(character), ord(character))])

    def _group(self) -> _Node:
        kind = -1
        if self._take("?="):
            kind = _AHEAD
        elif self._take("?!"):
            kind = _NOT_AHEAD
        elif self._peek() == "?" and not self._take("?:"):
            name_ends = self._text.find(">", self._at)
            if not (self._take("?P<") or self._take("?<")) or name_ends < 0 or not self._text[self._at].isalpha():
                raise ValueError("this kind of group is not supported")
            self._at = name_ends + 1
        node = self._either()
        if not self._take(")"):
            raise ValueError("missing )")
        return node if kind < 0 else _Node(kind, [], [node])

    def _escape(self) -> _Node:
        name = self._peek()
        if name == "b" or name == "B":
            self._at += 1
            return _Node(_WORD_EDGE if name == "b" else _NO_WORD_EDGE, [], [])
        if name == "A":
            self._at += 1
            return _Node(_START, [], [])
        if name == "z" or name == "Z":
            self._at += 1
            return _Node(_END, [], [])
        return self._set(self._escaped())

    def _escaped(self) -> list[tuple[int, int]]:
        """What stands after a backslash, inside a class or out of it."""
        name = self._peek()
        self._at += 1
        if name == "":
            raise ValueError("\\ at end of pattern")
        lower = name.lower()
        if lower in "dws":
            ranges = _DIGIT if lower == "d" else (_WORD if lower == "w" else _SPACE)
            return ranges if name == lower else _complement(ranges)
        code = ord(name)
        if name == "x":
            code = self._hexadecimal()
        elif name in _CONTROLS:
            code = _CONTROLS[name]
        elif name.isalnum():
            raise ValueError(f"\\{name} is not supported")
        return [(code, code)]

    def _hexadecimal(self) -> int:
        if self._take("{"):
            end = self._text.find("}", self._at)
            digits = self._text[self._at : end] if end > 0 else ""
            self._at = end + 1
        else:
            digits = self._text[self._at : self._at + 2]
            self._at += len(digits)
        if digits == "" or len(digits) > 6 or digits.strip("0123456789abcdefABCDEF") != "":
            raise ValueError("bad \\x")
        return min(int(digits, 16), _CODE_MAX)

    def _class(self) -> _Node:
        is_negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        is_first = True
        while is_first or self._peek() != "]":
            if self._at >= len(self._text):
                raise ValueError("missing terminating ] for character class")
            is_first = False
            low = self._class_item()
            if (
                len(low) == 1
                and low[0][0] == low[0][1]
                and self._peek() == "-"
                and self._text[self._at + 1 :][:1] != "]"
            ):
                self._at += 1
                if self._at >= len(self._text):
                    raise ValueError("missing terminating ] for character class")
                high = self._class_item()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    raise ValueError("range out of order in character class")
                low = [(low[0][0], high[0][0])]
            ranges.extend(low)
        self._at += 1
        if self._ignore_case:
            ranges = _both_cases(ranges)
        return _Node(_SET, _complement(ranges) if is_negated else ranges, [])

    def _class_item(self) -> list[tuple[int, int]]:
        if self._take("[:"):
            end = self._text.find(":]", self._at)
            name = self._text[self._at : end] if end >= 0 else ""
            is_negated = name.startswith("^")
            known = _POSIX.get(name[1:] if is_negated else name)
            if known is None:
                raise ValueError("unknown POSIX class name")
            self._at = end + 2
            return _complement(known) if is_negated else known
        if self._take("\\"):
            if self._take("b"):
                return [(8, 8)]
            return self._escaped()
        code = ord(self._text[self._at])
        self._at += 1
        return [(code, code)]


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 6 and text.isascii() and text.isdigit()


@final
class Pattern:
    """One compiled pattern. `matches` looks for it anywhere in a name, as RabbitMQ does."""

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_CHARACTERS_MAX:
            raise ValueError(f"a pattern has at most {PATTERN_CHARACTERS_MAX} characters")
        self.text = text
        self._ops: list[int] = []
        # Where an instruction goes on: a split has two ways; a lookahead's second is the program it tries.
        self._next: list[int] = []
        self._other: list[int] = []
        self._sets: list[list[tuple[int, int]]] = []
        self._steps: i64 = 0
        self._emit(_Parser(text).parse())
        self._add(_MATCH, [])

    def matches(self, name: str) -> bool:
        """Whether the pattern occurs in `name`; False too when finding out takes more than STEPS_MAX steps."""
        self._steps = 0
        return self._run(name, 0, 0, False)

    # Compiling: every node becomes at least one instruction, so that nested repeats meet the bound on the size.

    def _add(self, op: int, ranges: list[tuple[int, int]]) -> int:
        place = len(self._ops)
        if place >= PROGRAM_SIZE_MAX:
            raise ValueError("the pattern is too large")
        self._ops.append(op)
        self._next.append(place + 1)
        self._other.append(0)
        self._sets.append(ranges)
        return place

    def _emit(self, node: _Node) -> None:
        kind = node.kind
        if kind == _SEQUENCE:
            self._add(_JUMP, [])
            for child in node.children:
                self._emit(child)
        elif kind == _EITHER:
            self._emit_either(node.children)
        elif kind == _REPEAT:
            self._emit_repeat(node)
        elif kind in (_AHEAD, _NOT_AHEAD):
            look = self._add(kind, [])
            self._other[look] = look + 1
            self._emit(node.children[0])
            self._add(_MATCH, [])
            self._next[look] = len(self._ops)
        else:
            self._add(kind, node.ranges)

    def _emit_either(self, choices: list[_Node]) -> None:
        jumps: list[int] = []
        for i in range(len(choices)):
            split = self._add(_SPLIT, []) if i < len(choices) - 1 else -1
            self._emit(choices[i])
            jumps.append(self._add(_JUMP, []))
            if split >= 0:
                self._other[split] = len(self._ops)
        for jump in jumps:
            self._next[jump] = len(self._ops)

    def _emit_repeat(self, node: _Node) -> None:
        body = node.children[0]
        for _ in range(node.least):
            self._emit(body)
        if node.most < 0:
            split = self._add(_SPLIT, [])
            self._emit(body)
            self._next[self._add(_JUMP, [])] = split
            self._other[split] = len(self._ops)
            return
        splits: list[int] = [self._add(_JUMP, [])]
        for _ in range(node.most - node.least):
            splits.append(self._add(_SPLIT, []))
            self._emit(body)
        for split in splits[1:]:
            self._other[split] = len(self._ops)

    # Running.

    def _run(self, name: str, start: int, at: int, is_anchored: bool) -> bool:
        """Whether the program from `start` matches beginning at `at`, or anywhere after if not anchored."""
        self._steps += len(self._ops) >> 4
        # For each instruction the last position at which it was entered: entering once is enough.
        entered = [-1] * len(self._ops)
        current: list[int] = []
        here = at
        while True:
            if (here == at or not is_anchored) and self._enter(name, start, here, current, entered):
                return True
            if here >= len(name) or (is_anchored and len(current) == 0) or self._steps > STEPS_MAX:
                return False
            code = ord(name[here])
            here += 1
            following: list[int] = []
            for place in current:
                ranges = self._sets[place]
                self._steps += len(ranges)
                if _contains(ranges, code):
                    if self._enter(name, self._next[place], here, following, entered):
                        return True
            current = following

    def _enter(self, name: str, start: int, at: int, current: list[int], entered: list[int]) -> bool:
        """Add to `current` every set that is reached from `start` without taking a character; True at a match."""
        waiting = [start]
        while len(waiting) > 0:
            place = waiting.pop()
            if entered[place] == at:
                continue
            entered[place] = at
            self._steps += 1
            op = self._ops[place]
            if op == _SET:
                current.append(place)
            elif op == _MATCH:
                return True
            elif op == _SPLIT:
                waiting.append(self._other[place])
                waiting.append(self._next[place])
            elif op == _JUMP or self._holds(op, name, place, at):
                waiting.append(self._next[place])
        return False

    def _holds(self, op: int, name: str, place: int, at: int) -> bool:
        if op == _START:
            return at == 0
        if op == _END:
            return at == len(name)
        if op in (_AHEAD, _NOT_AHEAD):
            found = self._run(name, self._other[place], at, True)
            # Out of steps means no, also where "not found" would mean yes.
            return found == (op == _AHEAD) and self._steps <= STEPS_MAX
        is_edge = _is_word(name, at - 1) != _is_word(name, at)
        return is_edge == (op == _WORD_EDGE)


def _contains(ranges: list[tuple[int, int]], code: int) -> bool:
    for low, high in ranges:
        if low <= code <= high:
            return True
    return False


def _is_word(name: str, at: int) -> bool:
    return 0 <= at < len(name) and _contains(_WORD, ord(name[at]))
