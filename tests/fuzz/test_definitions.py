"""Any document: it is refused with sentences and nothing has changed, or it is loaded as it was read."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from amqpd.vhosts.definition_entry import PROBLEMS_MAX, DefinitionsError
from tests.behaviour.harness import BrokerHarness

WHOLE: dict[str, list[dict[str, Any]]] = {
    "users": [{"name": "u", "password": "p", "tags": "administrator"}],
    "vhosts": [{"name": "/"}, {"name": "v", "metadata": {"description": "d", "tags": ["a"]}}],
    "permissions": [{"user": "u", "vhost": "v", "configure": ".*", "write": "^a", "read": ""}],
    "policies": [{"vhost": "/", "name": "p", "pattern": "q", "definition": {"max-length": 5}, "priority": 1}],
    "parameters": [
        {
            "vhost": "/",
            "component": "operator_policy",
            "name": "o",
            "value": {"pattern": "", "definition": {"expires": 9}},
        }
    ],
    "exchanges": [
        {
            "name": "x",
            "vhost": "/",
            "type": "topic",
            "durable": True,
            "arguments": {"alternate-exchange": "amq.fanout"},
        },
        {"name": "d", "vhost": "v", "type": "x-delayed-message", "arguments": {"x-delayed-type": "direct"}},
        {"name": "h", "vhost": "/", "type": "x-consistent-hash"},
    ],
    "queues": [
        {"name": "q", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {"x-max-priority": 3}},
        {"name": "r", "vhost": "v", "type": "quorum", "arguments": {"x-delivery-limit": 2}},
    ],
    "bindings": [
        {"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "#"},
        {"source": "h", "vhost": "/", "destination": "x", "destination_type": "exchange", "routing_key": "1"},
        {"source": "amq.headers", "vhost": "/", "destination": "q", "arguments": {"x-match": "any", "a": 1}},
        {"source": "d", "vhost": "v", "destination": "r", "routing_key": "k"},
    ],
}
# Words that mean something somewhere.
WORDS = st.sampled_from(
    ["", "/", "v", "q", "x", "amq.topic", "amq.q", "topic", "stream", "x-delayed-type", "(", "\ud800", "é\n"]
)
NUMBERS = st.sampled_from([-1, 0, 1, 255, 256, 2**31, 2**63, 2**64, 10**400, 0.5, float("inf"), float("nan")])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """The whole one with a few values replaced, added or taken out, at any depth."""
    document: dict[str, Any] = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(0, 4))):
        at: Any = document
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and draw(st.integers(0, 3)) > 0:
                at = at[key]
                continue
            if draw(st.booleans()):
                at[key] = draw(VALUES)
            elif draw(st.booleans()):
                del at[key]
            elif isinstance(at, dict):
                at[draw(WORDS | st.sampled_from(["x-expires", "x-queue-type", "type", "limits"]))] = draw(VALUES)
            else:
                at.append(draw(VALUES))
            break
    return document


def names(broker: BrokerHarness) -> dict[str, tuple[list[str], list[str], int]]:
    vhosts = broker.broker.vhosts
    return {
        name: (list(vhost.queues), list(vhost.exchanges), int(vhost.binding_count)) for name, vhost in vhosts.items()
    }


def test_the_whole_document_is_loaded_without_a_word() -> None:
    assert BrokerHarness().broker.load_definitions(copy.deepcopy(WHOLE)) == []


@given(documents(), st.booleans(), st.booleans())
def test_a_document_is_loaded_or_refused_as_a_whole(document: Any, is_complete: bool, skip: bool) -> None:
    broker = BrokerHarness()
    before = (names(broker), len(broker.batches), broker.broker.access.version)
    refusal: DefinitionsError | None = None
    try:
        notices = broker.broker.load_definitions(document, True, is_complete, skip)
    except DefinitionsError as error:
        refusal = error
    broker.settle()
    if refusal is not None:
        assert (names(broker), len(broker.batches), broker.broker.access.version) == before
        assert 1 <= len(refusal.problems) == min(refusal.count, PROBLEMS_MAX)
        return
    assert all(isinstance(line, str) for line in notices)
    # Once more: everything is there already.
    after = names(broker)
    broker.broker.load_definitions(document, True, is_complete, skip)
    assert names(broker) == after
    json.dumps(broker.broker.access.permission_rows())
