from __future__ import annotations

from amqpd.vhosts.definition_parts import ABOUT, PARTS, ignored_keys, ignored_parts


def test_parts_that_are_acted_on_and_those_about_the_writer_are_not_ignored() -> None:
    assert ignored_parts({key: [1] for key in (*PARTS, *ABOUT)}) == []


def test_other_parts_are_ignored_unless_they_are_empty() -> None:
    assert ignored_parts({"topic_permissions": [], "x": {}, "y": None, "future": [1]}) == [
        '"future" in the definitions is ignored'
    ]


def test_rabbitmq_s_own_global_parameters_go_without_saying() -> None:
    own = {"name": "cluster_name", "value": "rabbit@x"}
    assert ignored_parts({"global_parameters": [own]}) == []
    assert ignored_parts({"global_parameters": [own, {"name": "mine"}]}) == [
        '"global_parameters" in the definitions is ignored'
    ]


def test_unknown_keys_of_an_entry_are_ignored() -> None:
    assert ignored_keys("queues", {"name": "q", "vhost": "/", "colour": "red"}) == [
        '"colour" in the definitions\' queues is ignored'
    ]
