"""Who is in a definitions document and who is not: said, or with a document that is complete, acted on.

Owns the removal of users and permissions that are not in the document, and the sentences about those who stay and about
those who can't log in. Does not own the end of their connections (broker.py).
"""

from __future__ import annotations

from typing import Final

from amqpd.vhosts.access import Access, Permission, User
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.definitions import Definitions

NAMED_MAX: Final = 10


def absent_users(definitions: Definitions, access: Access) -> list[User]:
    """Nobody, if the document has no users at all: then it is about other things."""
    if not definitions.has_users:
        return []
    defined = {user.name for user in definitions.users}
    return [user for user in access.list_users() if user.name not in defined]


def absent_permissions(definitions: Definitions, access: Access) -> list[Permission]:
    if not definitions.has_permissions:
        return []
    defined = {(permission.user, permission.vhost) for permission in definitions.permissions}
    return [each for each in access.list_permissions() if (each.user, each.vhost) not in defined]


def remove_absent(definitions: Definitions, access: Access, changes: Changes) -> list[str]:
    """The document is the whole truth about who may do what. Returns the users that it removed."""
    permissions = absent_permissions(definitions, access)
    users = absent_users(definitions, access)
    for permission in permissions:
        access.clear_permissions(permission.user, permission.vhost)
        changes.delete_permission(permission.row())
    for user in users:
        access.delete_user(user.name)
        changes.delete_user(user.name)
    if len(users) > 0:
        definitions.note(f"removed, for the definitions don't have them: users {_named([user.name for user in users])}")
    _note_permissions("removed, for the definitions don't have them", definitions, users, permissions)
    return [user.name for user in users]


def note_absent(definitions: Definitions, access: Access) -> None:
    """Who stays although the document does not have them."""
    users = absent_users(definitions, access)
    stay = "not in the definitions, but there (definitions.is_complete = true removes them)"
    if len(users) > 0:
        definitions.note(f"{stay}: users {_named([user.name for user in users])}")
    _note_permissions(stay, definitions, users, absent_permissions(definitions, access))


def note_who_cannot_log_in(definitions: Definitions, access: Access) -> None:
    if not definitions.has_users:
        return
    without_password = [user.name for user in definitions.users if user.password_hash == ""]
    if len(without_password) > 0:
        definitions.note(f"users without a password, who can't log in: {_named(without_password)}")
    permitted = {permission.user for permission in access.list_permissions()}
    nowhere = [user.name for user in definitions.users if user.name not in permitted]
    if len(nowhere) > 0:
        definitions.note(f"users without permissions, who may enter no vhost: {_named(nowhere)}")
    if not any(user.password_hash != "" and user.name in permitted for user in access.list_users()):
        definitions.note("nobody may log in: no user has both a password and permissions in a vhost")


def _note_permissions(what: str, definitions: Definitions, users: list[User], permissions: list[Permission]) -> None:
    """Of those who are absent themselves it goes without saying."""
    gone = {user.name for user in users}
    places = [f"'{each.user}' in vhost '{each.vhost}'" for each in permissions if each.user not in gone]
    if len(places) > 0:
        definitions.note(f"{what}: permissions of {_listed(places)}")


def _named(names: list[str]) -> str:
    return _listed([f"'{name}'" for name in names])


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - NAMED_MAX} more" if len(words) > NAMED_MAX else ""
    return ", ".join(words[:NAMED_MAX]) + more
