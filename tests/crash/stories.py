"""What may become of each message of a scenario, whenever the power goes: its story, and who knows how far it has come.

A story is a list of stages, each the exact places of the message at one moment: one queue, or several after a fan-out,
with its deaths. Between two stages there is nothing: a restart finds exactly one of them. A message that was not confirmed
may also not be there at all. What a client was told moves `known` on, and no stage before it may come back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.stored_broker import Contents, Deaths

Place = tuple[str, Deaths]
Stage = list[Place]
GONE: Stage = []


def at(queue: str, *deaths: tuple[str, str, int]) -> Place:
    """In this queue, with these deaths, the newest first."""
    return (queue, deaths)


@dataclass
class Story:
    body: bytes
    stages: list[Stage]
    # It stays where a restart finds it; otherwise it gets to its last stage by itself or by the actors.
    is_still: bool = False
    # The first stage that may be found; -1 while it was not confirmed.
    known: int = -1

    def verdict(self, found: Stage) -> str:
        """What is wrong with these places; "" if nothing is."""
        legal = self.stages[max(self.known, 0) :] + ([GONE] if self.known < 0 else [])
        if sorted(found) in [sorted(stage) for stage in legal]:
            return ""
        return f"{self.body.decode()} is in {found}, and known to be at stage {self.known} of {self.stages}"


@dataclass
class Transaction:
    """All or nothing: the first stage of what it publishes and the second of what it settles, or none of that."""

    name: str
    published: list[Story]
    settled: list[Story]

    def verdict(self, found: dict[bytes, Stage]) -> str:
        done = {story.body: bool(found.get(story.body)) for story in self.published}
        for story in self.settled:
            done[story.body] = found.get(story.body, []) != story.stages[0]
        return "" if len(set(done.values())) < 2 else f"half of transaction {self.name} is done: {done}"


@dataclass
class Ledger:
    stories: dict[bytes, Story] = field(default_factory=dict)
    transactions: list[Transaction] = field(default_factory=list)

    def add(self, *stories: Story) -> None:
        for story in stories:
            assert story.body not in self.stories, "every message is one of its kind"
            self.stories[story.body] = story

    def check(self, contents: Contents, where: str) -> dict[bytes, Stage]:
        """Of what a restart found; returns it by message."""
        found = places(contents)
        for body in found:
            assert body in self.stories, f"{body!r} was never published for good; {where}"
        wrong = [story.verdict(found.get(story.body, [])) for story in self.stories.values()]
        wrong += [each.verdict(found) for each in self.transactions]
        assert not any(wrong), f"{[each for each in wrong if each]}; {where}"
        return found

    def check_end(self, before: dict[bytes, Stage], contents: Contents, where: str) -> None:
        """After everything that was found had the time and the consumers to get to its end."""
        after = places(contents)
        for body in after:
            assert body in before, f"{body!r} came out of nothing; {where}"
        for body, stage in before.items():
            story = self.stories[body]
            expected = stage if story.is_still else story.stages[-1]
            ended = after.get(body, [])
            assert sorted(ended) == sorted(expected), f"{body!r} was {stage} and ended as {ended}; {where}"


def places(contents: Contents) -> dict[bytes, Stage]:
    found: dict[bytes, Stage] = {}
    for queue, messages in contents.items():
        for body, deaths, _ in messages:
            found.setdefault(body, []).append((queue, deaths))
    return found
