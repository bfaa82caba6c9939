from __future__ import annotations

import pytest

from amqpd.base.limits import DEFAULTS
from amqpd.vhosts.access import Access
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.definition_entry import DefinitionsError
from amqpd.vhosts.definitions_loader import DefinitionsLoader
from amqpd.vhosts.vhost import VHost
from tests.behaviour.harness import CountingEntropy
from tests.fakes.core import new_agenda

ADMIN = {
    "users": [{"name": "admin", "password": "secret"}],
    "permissions": [{"user": "admin", "vhost": "/", "configure": "", "write": "", "read": ""}],
}


class World:
    """What a first start makes: guest."""

    def __init__(self, is_first_start: bool = True) -> None:
        agenda, changes = new_agenda(), Changes(1)
        self.access = Access()
        self.access.add_user("guest", b"guest", b"salt")
        self.access.set_permissions("guest", "/", "", "", "")
        vhosts = {"/": VHost("/", DEFAULTS, agenda, changes)}
        self.loader = DefinitionsLoader(
            vhosts, self.access, changes, DEFAULTS, agenda, CountingEntropy(), is_first_start
        )

    @property
    def users(self) -> list[str]:
        return [user.name for user in self.access.list_users()]


def test_on_a_first_start_users_in_the_document_take_the_place_of_guest() -> None:
    world = World()
    assert world.loader.load(ADMIN, True, False, False).notices == []
    assert world.users == ["admin"]


def test_a_first_start_without_users_in_the_document_keeps_guest_and_is_the_only_first_one() -> None:
    world = World()
    world.loader.load({}, True, False, False)
    (notice,) = world.loader.load(ADMIN, True, False, False).notices[:1]
    assert notice.endswith("users 'guest'")
    assert world.users == ["admin", "guest"]


def test_a_document_that_is_not_whole_says_nothing_about_others() -> None:
    world = World(is_first_start=False)
    assert world.loader.load(ADMIN, False, False, False).notices == []
    assert world.users == ["admin", "guest"]


def test_a_complete_document_names_who_was_removed() -> None:
    world = World(is_first_start=False)
    assert world.loader.load(ADMIN, True, True, False).removed_users == ["guest"]
    assert world.users == ["admin"]


def test_a_wrong_document_removes_nobody_and_leaves_the_first_start_to_the_next() -> None:
    world = World()
    with pytest.raises(DefinitionsError):
        world.loader.load({**ADMIN, "queues": 5}, True, True, False)
    assert world.users == ["guest"]
    world.loader.load(ADMIN, True, False, False)
    assert world.users == ["admin"]
