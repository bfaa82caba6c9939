from __future__ import annotations

from amqpd.vhosts.access import SHA256, Access, Permission, User
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.definition_users import (
    NAMED_MAX,
    note_absent,
    note_who_cannot_log_in,
    remove_absent,
)
from amqpd.vhosts.definitions import Definitions


def access_of(*users: str) -> Access:
    """Each has a password, and permissions in vhost `/`."""
    access = Access()
    for name in users:
        access.add_user(name, b"p", b"salt")
        access.set_permissions(name, "/", "", "", "")
    return access


def defining(users: tuple[str, ...], permitted: tuple[str, ...] | None = None) -> Definitions:
    definitions = Definitions()
    definitions.has_users = definitions.has_permissions = True
    definitions.users = [User(name, "hash", SHA256, ()) for name in users]
    definitions.permissions = [
        Permission(name, "/", "", "", "") for name in (users if permitted is None else permitted)
    ]
    return definitions


def test_who_is_not_in_a_complete_document_is_removed_with_all_permissions() -> None:
    access, changes = access_of("a", "b", "c"), Changes(1)
    definitions = defining(("a", "b"), ("a",))
    before = access.version
    assert remove_absent(definitions, access, changes) == ["c"]
    assert [user.name for user in access.list_users()] == ["a", "b"]
    assert [permission.user for permission in access.list_permissions()] == ["a"]
    assert access.version > before
    assert [(change.table, change.row) for change in changes.take(1) if change.is_delete] == [
        ("permissions", {"user": "b", "vhost": "/"}),
        ("permissions", {"user": "c", "vhost": "/"}),
        ("users", {"name": "c"}),
    ]
    assert definitions.notices == [
        "removed, for the definitions don't have them: users 'c'",
        "removed, for the definitions don't have them: permissions of 'b' in vhost '/'",
    ]


def test_nothing_is_removed_that_the_document_has() -> None:
    access, changes = access_of("a"), Changes(1)
    assert remove_absent(defining(("a",)), access, changes) == []
    assert not changes.pending


def test_without_that_it_is_said_who_stays() -> None:
    access = access_of("a", "b", "c")
    definitions = defining(("a", "b"), ("a",))
    note_absent(definitions, access)
    stay = "not in the definitions, but there (definitions.is_complete = true removes them)"
    assert definitions.notices == [f"{stay}: users 'c'", f"{stay}: permissions of 'b' in vhost '/'"]
    assert len(access.list_users()) == 3


def test_a_document_without_users_says_nothing_about_them() -> None:
    definitions = Definitions()
    note_absent(definitions, access_of("a"))
    note_who_cannot_log_in(definitions, Access())
    assert definitions.notices == []


def test_a_long_list_of_names_is_cut() -> None:
    definitions = defining(())
    note_absent(definitions, access_of(*[f"user{number:02}" for number in range(NAMED_MAX + 3)]))
    assert definitions.notices[0].endswith(", 'user09' and 3 more")


def test_it_is_said_who_can_not_log_in() -> None:
    access = access_of("a")
    definitions = defining(("a", "b", "c"))
    definitions.users[1].password_hash = ""
    note_who_cannot_log_in(definitions, access)
    assert definitions.notices == [
        "users without a password, who can't log in: 'b'",
        "users without permissions, who may enter no vhost: 'b', 'c'",
    ]


def test_it_is_said_that_nobody_may_log_in() -> None:
    definitions = defining(())
    note_who_cannot_log_in(definitions, Access())
    assert definitions.notices == ["nobody may log in: no user has both a password and permissions in a vhost"]
