"""What happened in one run: lines for people, and a hash that two equal runs share bit for bit.

Owns simulated time as it is told, and the sentences. A line is kept as a template with its arguments and written out only
when somebody reads the story; the hash covers every line and every byte that went over a wire or to the disk.
"""

from __future__ import annotations

import hashlib

Line = tuple[int, str, tuple[object, ...]]


class Story:
    def __init__(self) -> None:
        self.now_ms = 0
        self.lines: list[Line] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self.note = self._hash.update

    def tell(self, template: str, *arguments: object) -> None:
        self.lines.append((self.now_ms, template, arguments))

    def digest(self) -> str:
        """Of everything so far."""
        whole = self._hash.copy()
        whole.update(repr(self.lines).encode())
        return whole.hexdigest()

    def text(self, words: tuple[str, ...] = (), last_count: int = 0) -> list[str]:
        """The lines, or only those that speak of one of `words` or of what happens to everybody, and the last ones."""
        told: list[str] = []
        first_of_last = len(self.lines) - last_count
        for index, (at_ms, template, arguments) in enumerate(self.lines):
            line = template.format(*(_named(each) for each in arguments))
            is_common = not words or line.isupper() or line[:1].isupper() or line.startswith(("!", "*"))
            if is_common or index >= first_of_last or any(_speaks_of(line, word) for word in words):
                told.append(f"t={at_ms / 1000:.3f}s  {line}")
        return told


def _named(value: object) -> object:
    if isinstance(value, list | tuple):
        return ",".join(str(each) for each in value) or "nothing"
    return value


def _speaks_of(line: str, word: str) -> bool:
    """Whole words only: m1 is not m17."""
    at = line.find(word)
    while at >= 0:
        end = at + len(word)
        before = line[at - 1] if at > 0 else " "
        after = line[end] if end < len(line) else " "
        if not before.isalnum() and not after.isalnum():
            return True
        at = line.find(word, at + 1)
    return False
