"""topic: a binding's routing key is a pattern of words; `*` stands for one word, `#` for any number of them.

Words stand between dots, so that `a..b` and `a.` have an empty one; the empty key has no words at all. `*` and `#` are
special only as whole words: `ab*` is literal.

The patterns are kept as a trie with a node per word. A `#` right after a `#` adds nothing and gets no node, hence a
node that stands for `#` never has such a child. A routing key is matched by stepping through its words with the list
of all nodes that could have been reached so far:

    reached = the root, and its `#` child, which may stand for no word
    for each word:  from each reached node  go to the child for that word, and to the `*` child,
                                            and stay where you are if you stand for `#`
                    wherever you came to    is reached next, and its `#` child too
    the bindings of the nodes reached at the end match

A node is reached once per word however many ways lead there, so one match costs at most words x nodes steps, whatever
the number of `#`: 64 of them against 128 words are some thousand steps, not 2 to the 64.

Owns the trie. Invariant: every leaf has a binding; what an unbind leaves without use is pruned.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import DEFAULTS, Limits
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.wire.field_table import FieldTable


@final
class Node:
    def __init__(self, is_hash: bool) -> None:
        self.is_hash = is_hash
        # The dicts exist only where needed: most nodes have one or none.
        self.words: dict[str, Node] | None = None
        self.star: Node | None = None
        self.hash: Node | None = None
        self.bindings: dict[bytes, Binding] | None = None
        # The step that reached it last; a mark here costs less than a set of nodes.
        self.reached_at: i64 = 0

    def is_unused(self) -> bool:
        return self.words is None and self.star is None and self.hash is None and self.bindings is None

    def child(self, word: str) -> Node | None:
        if word == "*":
            return self.star
        if word == "#":
            return self.hash
        return None if self.words is None else self.words.get(word)

    def add_child(self, word: str) -> Node:
        node = Node(word == "#")
        if word == "*":
            self.star = node
        elif word == "#":
            self.hash = node
        elif self.words is None:
            self.words = {word: node}
        else:
            self.words[word] = node
        return node

    def remove_child(self, word: str) -> None:
        if word == "*":
            self.star = None
        elif word == "#":
            self.hash = None
        elif self.words is not None:
            del self.words[word]
            if len(self.words) == 0:
                self.words = None


@final
class TopicExchange(Exchange):
    def __init__(
        self, type_name: str, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: FieldTable
    ) -> None:
        super().__init__(type_name, name, durable, auto_delete, internal, arguments)
        self.tries_each_key = True
        self.root = Node(False)
        # Grows by one per word of every message, so that marks of earlier ones are never mistaken for this one's.
        self._step: i64 = 0

    def check_binding(self, binding: Binding, limits: Limits = DEFAULTS) -> None:
        count = binding.routing_key.count(".") + 1
        if count > limits.topic_words_max:
            raise PreconditionFailed(
                f"topic pattern has {count} words, the most it may have is {limits.topic_words_max}"
            )

    def route(self, routing_key: str, headers: FieldTable | None) -> list[Binding]:
        reached: list[Node] = []
        self._step += 1
        self._reach(self.root, reached)
        cost: i64 = len(reached)
        for word in split_words(routing_key):
            reached = self._after(word, reached)
            cost += len(reached)
            if len(reached) == 0:
                break
        # Nodes reached, once for each word.
        self.last_cost = cost
        found: list[Binding] = []
        for node in reached:
            if node.bindings is not None:
                found.extend(node.bindings.values())
        return found

    def _after(self, word: str, reached: list[Node]) -> list[Node]:
        """Where one more word leads from these nodes."""
        following: list[Node] = []
        self._step += 1
        for node in reached:
            if node.is_hash:
                self._reach(node, following)
            if node.words is not None:
                child = node.words.get(word)
                if child is not None:
                    self._reach(child, following)
            if node.star is not None:
                self._reach(node.star, following)
        return following

    def _reach(self, node: Node, reached: list[Node]) -> None:
        if node.reached_at == self._step:
            return
        node.reached_at = self._step
        reached.append(node)
        below = node.hash
        # Only its parent leads to a `#` node from outside, but it may have stayed where it was.
        if below is not None and below.reached_at != self._step:
            below.reached_at = self._step
            reached.append(below)

    def on_bound(self, binding: Binding) -> None:
        node = self.root
        for word in pattern_words(binding.routing_key):
            child = node.child(word)
            node = child if child is not None else node.add_child(word)
        if node.bindings is None:
            node.bindings = {}
        node.bindings[binding.key] = binding

    def on_unbound(self, binding: Binding) -> None:
        words = pattern_words(binding.routing_key)
        path: list[Node] = [self.root]
        for word in words:
            child = path[-1].child(word)
            assert child is not None, "a bound pattern is in the trie"
            path.append(child)
        bindings = path[-1].bindings
        assert bindings is not None, "a bound pattern ends at its bindings"
        del bindings[binding.key]
        if len(bindings) == 0:
            path[-1].bindings = None
        # From the leaf up, to the first node that something else needs.
        while len(path) > 1 and path[-1].is_unused():
            path.pop()
            path[-1].remove_child(words[len(path) - 1])


def split_words(routing_key: str) -> list[str]:
    return [] if routing_key == "" else routing_key.split(".")


def pattern_words(routing_key: str) -> list[str]:
    """The words of a pattern, without any `#` that follows a `#`."""
    words: list[str] = []
    for word in split_words(routing_key):
        if word != "#" or len(words) == 0 or words[-1] != "#":
            words.append(word)
    return words
