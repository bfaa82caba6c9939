from __future__ import annotations

from typing import Any

import pytest

from amqpd.base.limits import DEFAULTS, Limits
from amqpd.exchanges.exchange import Binding
from amqpd.vhosts.access import Access, verify_password
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.definition_entry import DefinitionsError
from amqpd.vhosts.definitions import Definitions
from amqpd.vhosts.definitions_reader import DefinitionsReader
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from tests.behaviour.harness import CountingEntropy
from tests.fakes.core import new_agenda

HASH = "B/XvoXLuCy+lr3d3HDBtf8VXJUQNC9qwhxCoXxXeIaGRkAtO"


class World:
    """A vhost `/` with queue q and exchange x, and a user guest."""

    def __init__(self, limits: Limits = DEFAULTS) -> None:
        self.limits = limits
        self.agenda = new_agenda()
        self.changes = Changes(1)
        self.vhosts = {"/": VHost("/", limits, self.agenda, self.changes)}
        self.access = Access()
        self.access.add_user("guest", b"guest", b"salt")
        self.vhosts["/"].declare_queue("q", True, False, False, 0, encode_table({"x-max-length": 5}), False)
        self.vhosts["/"].declare_exchange("x", "topic", True, False, False, EMPTY_TABLE)
        self.changes.take(1)

    def read(self, document: object, skip_unsupported: bool = False) -> Definitions:
        reader = DefinitionsReader(
            self.vhosts, self.access, self.changes, self.limits, self.agenda, CountingEntropy(), skip_unsupported
        )
        return reader.read(document)

    def refused(self, document: object, skip_unsupported: bool = False) -> DefinitionsError:
        with pytest.raises(DefinitionsError) as caught:
            self.read(document, skip_unsupported)
        assert not self.changes.pending
        assert list(self.vhosts) == ["/"]
        assert list(self.vhosts["/"].queues) == ["q"]
        return caught.value

    def refusal(self, document: object) -> str:
        """The only one."""
        (problem,) = self.refused(document).problems
        return problem


def entry(**values: Any) -> dict[str, Any]:
    return {"vhost": "/", **{key.replace("apply_to", "apply-to"): value for key, value in values.items()}}


def test_what_rabbitmq_exports_is_read_without_a_notice() -> None:
    exported = {
        "rabbit_version": "3.10.8",
        "rabbitmq_version": "3.10.8",
        "product_name": "RabbitMQ",
        "product_version": "3.10.8",
        "users": [
            {
                "name": "guest",
                "password_hash": HASH,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"],
                "limits": {},
            }
        ],
        "vhosts": [{"limits": [], "metadata": {"description": "Default", "tags": ["a", "b"]}, "name": "v"}],
        "permissions": [{"user": "guest", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"}],
        "topic_permissions": [],
        "parameters": [],
        "global_parameters": [{"name": "internal_cluster_id", "value": "x"}],
        "policies": [entry(name="p", pattern="a", apply_to="all", definition={"expires": 5000}, priority=0)],
        "queues": [entry(name="new", durable=True, auto_delete=False, arguments={"x-queue-type": "classic"})],
        "exchanges": [entry(name="e", type="fanout", durable=True, auto_delete=False, internal=False, arguments={})],
        "bindings": [entry(source="e", destination="new", destination_type="queue", routing_key="", arguments={})],
    }
    found = World().read(exported)
    assert found.notices == []
    assert [each.name for each in found.users] == ["guest"]
    assert [each.name for each in found.new_vhosts] == ["v"]
    row = found.vhost_rows[0]
    assert (row.description, row.tags) == ("Default", "a,b")
    assert [(vhost, exchange.name) for vhost, exchange in found.exchanges] == [("/", "e")]
    assert [queue.name for queue in found.queues] == ["new"]
    assert [(vhost, binding.destination) for vhost, binding in found.bindings] == [("/", "new")]
    assert [policy.name for policy in found.policies] == ["p"]
    assert (found.has_policies, found.has_operator_policies) == (True, True)


def test_reading_changes_nothing() -> None:
    world = World()
    world.read({"users": [{"name": "u", "password": "p"}], "vhosts": [{"name": "v"}], "queues": [entry(name="n")]})
    assert list(world.vhosts) == ["/"]
    assert list(world.vhosts["/"].queues) == ["q"]
    assert world.access.user("u") is None
    assert not world.changes.pending


def test_a_password_in_plain_words_is_hashed() -> None:
    user = World().read({"users": [{"name": "u", "password": "secret", "tags": "management"}]}).users[0]
    assert verify_password(b"secret", user.password_hash, user.hashing_algorithm)
    assert user.tags == ("management",)


def test_an_operator_policy_is_a_parameter() -> None:
    found = World().read(
        {
            "parameters": [
                entry(component="operator_policy", name="o", value={"pattern": "a", "definition": {"max-length": 1}}),
                entry(component="shovel", name="s", value={}),
            ]
        }
    )
    policy = found.policies[0]
    assert (policy.name, policy.is_operator, policy.apply_to, policy.priority) == ("o", True, "queues", 0)
    assert found.notices == ['parameters of component "shovel" in the definitions are ignored']


def test_a_queue_type_beside_the_arguments_is_one_of_them() -> None:
    found = World().read({"queues": [entry(name="n", type="quorum"), entry(name="m", type="classic")]})
    assert [queue.arguments.to_dict() for queue in found.queues] == [{"x-queue-type": "quorum"}, {}]


def test_what_is_there_stays_with_a_notice_if_it_is_another() -> None:
    found = World().read(
        {
            "queues": [entry(name="q", arguments={"x-max-length": 9})],
            "exchanges": [entry(name="x", type="fanout"), entry(name="amq.topic", type="topic")],
        }
    )
    assert (found.queues, found.exchanges) == ([], [])
    assert found.notices == [
        "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'; it stays as it is",
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '9' but current is '5'; it stays as it is",
    ]
    assert World().read({"queues": [entry(name="q", arguments={"x-max-length": 5})]}).notices == []


def test_what_nobody_knows_is_ignored_with_a_notice() -> None:
    found = World().read(
        {
            "topic_permissions": [{"user": "guest"}],
            "future": {"a": 1},
            "global_parameters": [{"name": "mine", "value": 1}],
            "queues": [entry(name="n", colour="red"), entry(name="m", colour="red")],
            "users": [{"name": "u", "limits": {"max-connections": 1}}],
            "vhosts": [{"name": "/", "default_queue_type": "classic"}, {"name": "v", "default_queue_type": "quorum"}],
        }
    )
    assert found.notices == [
        '"topic_permissions" in the definitions is ignored',
        '"future" in the definitions is ignored',
        '"global_parameters" in the definitions is ignored',
        "the limits of user 'u' are ignored",
        "the default queue type of vhost 'v' is kept and has no effect",
        '"colour" in the definitions\' queues is ignored',
    ]


def test_a_binding_from_the_default_exchange_is_there_by_itself() -> None:
    assert World().read({"bindings": [entry(source="", destination="gone")]}).bindings == []


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "definitions are a JSON object"),
        ({"x": "\ud800"}, "definitions hold what is no text"),
        ({"queues": {}}, "queues: must be a list of objects"),
        ({"queues": [entry(name="a"), 5]}, "queues[1]: must be an object, not 5"),
        ({"queues": [{"name": "n"}]}, "queues[0].vhost: queue 'n': vhost is missing"),
        ({"queues": [{"name": "n", "vhost": "v"}]}, "queues[0].vhost: queue 'n': there is no vhost 'v'"),
        (
            {"queues": [entry(name="n", durable="yes")]},
            "queues[0].durable: queue 'n' in vhost '/': durable must be true or false",
        ),
        (
            {"queues": [entry(name="n", arguments={"x-message-ttl": -1})]},
            "queues[0].arguments.x-message-ttl: invalid arg 'x-message-ttl' for queue 'n' in vhost '/'",
        ),
        ({"queues": [entry(name="n", type="stream")]}, "invalid arg 'x-queue-type' for queue 'n' in vhost '/'"),
        ({"queues": [entry(name="n", type="quorum", durable=False)]}, "invalid property 'non-durable' for queue 'n'"),
        ({"exchanges": [entry(name="e", type="magic")]}, "exchange 'e' in vhost '/': unknown exchange type 'magic'"),
        ({"exchanges": [entry(name="e")]}, "exchange 'e' in vhost '/': type is missing"),
        (
            {"exchanges": [entry(name="e", type="direct", arguments={"alternate-exchange": 5})]},
            "invalid type",
        ),
        (
            {"bindings": [entry(source="gone", destination="q")]},
            "the binding from exchange 'gone' to queue 'q' in vhost '/': no exchange 'gone' in vhost '/'",
        ),
        (
            {"bindings": [entry(source="x", destination="gone")]},
            "the binding from exchange 'x' to queue 'gone' in vhost '/': no queue 'gone' in vhost '/'",
        ),
        (
            {"bindings": [entry(source="x", destination="q", destination_type="exchange")]},
            "the binding from exchange 'x' to exchange 'q' in vhost '/': no exchange 'q' in vhost '/'",
        ),
        ({"bindings": [entry(source="x", destination="q", destination_type="bin")]}, "must be queue or exchange"),
        ({"bindings": [entry(source="x", destination="q", routing_key="k" * 256)]}, "at most 255 bytes"),
        ({"users": [{"name": "u", "password_hash": "x"}]}, "user 'u': the password hash of user 'u' is not one of"),
        ({"users": [{"name": "u", "hashing_algorithm": "rot13"}]}, "user 'u': unknown hashing algorithm 'rot13'"),
        (
            {"permissions": [entry(user="u", configure="", write="", read="")]},
            "the permission of user 'u' in vhost '/': there is no such user",
        ),
        (
            {"permissions": [entry(user="guest", configure="(", write="", read="")]},
            "the permission of user 'guest' in vhost '/': invalid configure pattern",
        ),
        ({"permissions": [entry(user="guest")]}, "the permission of user 'guest' in vhost '/': configure is missing"),
        (
            {"policies": [entry(name="p", pattern="a", definition={"max-length": -1})]},
            "policy 'p' in vhost '/': -1 is not a valid maximum length",
        ),
        (
            {"parameters": [entry(component="operator_policy", name="o", value=5)]},
            "operator policy 'o' in vhost '/': its value must be an object",
        ),
        (
            {"parameters": [entry(component="operator_policy", name="o", value={"pattern": "a", "definition": {}})]},
            "operator policy 'o' in vhost '/': no policy provided",
        ),
    ],
)
def test_a_wrong_entry_is_one_sentence_that_names_it(document: object, sentence: str) -> None:
    found = World().refusal(document)
    assert sentence in found
    assert "\n" not in found


def test_more_than_a_vhost_may_have_is_refused_as_for_clients() -> None:
    limits = Limits(queues_max=2, exchanges_max=9, bindings_max=1)
    many = [entry(name="a"), entry(name="b")]
    assert World(limits).refusal({"queues": many}) == (
        "queues[1]: queue 'b' in vhost '/': vhost '/' has 2 queues, the most it may have"
    )
    exchanges = [entry(name=name, type="direct") for name in "ab"]
    assert "has 9 exchanges, the most it may have" in World(limits).refusal({"exchanges": exchanges})
    bindings = [entry(source="x", destination="q", routing_key=key) for key in "ab"]
    assert "has 1 bindings, the most it may have" in World(limits).refusal({"bindings": bindings})


def test_more_bindings_than_one_queue_may_have_are_refused_and_those_that_it_has_are_not() -> None:
    world = World(Limits(bindings_per_queue_max=2))
    for key in "ab":
        world.vhosts["/"].bind(Binding("x", "q", False, key, EMPTY_TABLE))
    world.changes.take(1)
    there = [entry(source="x", destination="q", routing_key=key) for key in "ab"]
    assert world.read({"bindings": there}).bindings == []
    one_more = entry(source="x", destination="q", routing_key="c")
    assert world.refusal({"bindings": [*there, one_more]}) == (
        "bindings[2]: the binding from exchange 'x' to queue 'q' in vhost '/': "
        "queue 'q' in vhost '/' has the most bindings it may have"
    )


@pytest.mark.parametrize("name", ["amq.q", "amq.delayed.x", "amq.dedup.x", "amq.gen-JzTY20BRgKO-HjmUJj0wLg"])
def test_names_of_the_broker_s_own_are_refused_as_for_clients(name: str) -> None:
    assert World().refusal({"queues": [entry(name=name)]}) == (
        f"queues[0].name: queue '{name}' in vhost '/': queue name '{name}' contains reserved prefix 'amq.*'"
    )
    assert World().refusal({"exchanges": [entry(name=name, type="fanout")]}) == (
        f"exchanges[0].name: exchange '{name}' in vhost '/': exchange name '{name}' contains reserved prefix 'amq.*'"
    )


def test_the_same_queue_twice_is_one_and_two_different_ones_of_a_name_are_refused() -> None:
    assert len(World().read({"queues": [entry(name="a"), entry(name="a")]}).queues) == 1
    different = [entry(name="a"), entry(name="a", arguments={"x-max-length": 1})]
    assert "queues[1].arguments.x-max-length: inequivalent arg" in World().refusal({"queues": different})


def test_all_that_is_wrong_is_told_at_once_and_what_follows_from_it_is_not() -> None:
    document = {
        "vhosts": [{"name": "v", "description": 5}],
        "users": [{"name": "u", "tags": 5}],
        "permissions": [{"user": "u", "vhost": "v"}, entry(user="u", configure="", write="", read="")],
        "exchanges": [entry(name="e", type="magic"), {"name": "f", "vhost": "v", "type": "direct"}],
        "queues": [entry(name="n", type="stream"), entry(name="m", arguments={"x-expires": 0})],
        "bindings": [
            entry(source="e", destination="q"),
            entry(source="x", destination="n"),
            entry(source="x", destination="gone"),
        ],
    }
    error = World().refused(document)
    assert [problem.split(":")[0] for problem in error.problems] == [
        "users[0].tags",
        "vhosts[0].description",
        "exchanges[0].type",
        "queues[0].type",
        "queues[1].arguments.x-expires",
        "bindings[2]",
    ]
    assert (error.count, error.unsupported_count) == (6, 2)


def test_what_only_rabbitmq_has_is_left_out_with_all_that_goes_with_it_if_that_is_wished() -> None:
    document = {
        "users": [{"name": "u", "hashing_algorithm": "rot13"}],
        "permissions": [entry(user="u", configure="", write="", read="")],
        "policies": [entry(name="p", pattern="", definition={"shards-per-node": 2})],
        "exchanges": [entry(name="e", type="x-recent-history"), entry(name="amq.mine", type="fanout")],
        "queues": [
            entry(name="s", arguments={"x-queue-type": "stream"}),
            entry(name="amq.gen-1"),
            entry(name="n", arguments={"x-queue-type": "quorum"}),
        ],
        "bindings": [
            entry(source="e", destination="n"),
            entry(source="x", destination="s"),
            entry(source="x", destination="n"),
        ],
    }
    assert World().refused(document).unsupported_count == 6
    found = World().read(document, skip_unsupported=True)
    assert [queue.name for queue in found.queues] == ["n"]
    assert [(binding.source, binding.destination) for _, binding in found.bindings] == [("x", "n")]
    assert (found.users, found.permissions, found.policies, found.exchanges) == ([], [], [], [])
    assert found.notices == [
        "left out of the users, for amqpd has no such: 'u'",
        "left out of the policies, for amqpd has no such: 'p'",
        "left out of the exchanges, for amqpd has no such: 'e', 'amq.mine'",
        "left out of the queues, for amqpd has no such: 's', 'amq.gen-1'",
        "left out with them: 1 of the permissions, 2 of the bindings",
    ]


def test_what_is_wrong_is_not_left_out_with_what_is_not_supported() -> None:
    document = {"queues": [entry(name="s", type="stream"), entry(name="m", arguments={"x-expires": 0})]}
    assert [each.split(":")[0] for each in World().refused(document, skip_unsupported=True).problems] == [
        "queues[1].arguments.x-expires"
    ]


def test_deep_tables_are_refused_and_end_nothing() -> None:
    deep: object = {}
    for _ in range(900):
        deep = {"a": deep}
    assert "arguments" in World().refusal({"queues": [entry(name="n", arguments=deep)]})
