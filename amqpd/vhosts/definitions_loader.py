"""What loading a definitions document is: read, apply, and say or do something about those who are not in it.

Owns the order of these, and that a first start with users in its document has no user whose password everybody knows. Does
not own connections: those of users that were removed are the broker's to close.
"""

from __future__ import annotations

from typing import final

from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.queues.agenda import Agenda
from amqpd.vhosts.access import Access, User
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.definition_users import note_absent, note_who_cannot_log_in, remove_absent
from amqpd.vhosts.definitions import apply_definitions
from amqpd.vhosts.definitions_reader import DefinitionsReader
from amqpd.vhosts.restore import DEFAULT_USER
from amqpd.vhosts.vhost import VHost


@final
class Loaded:
    def __init__(self, notices: list[str], removed_users: list[str]) -> None:
        # What the operator should know.
        self.notices = notices
        self.removed_users = removed_users


@final
class DefinitionsLoader:
    def __init__(
        self,
        vhosts: dict[str, VHost],
        access: Access,
        changes: Changes,
        limits: Limits,
        agenda: Agenda,
        entropy: Entropy,
        is_first_start: bool,
    ) -> None:
        self._vhosts = vhosts
        self._access = access
        self._changes = changes
        self._limits = limits
        self._agenda = agenda
        self._entropy = entropy
        # True until definitions had their chance to say who may log in.
        self._is_first_start = is_first_start

    def load(self, document: object, is_whole: bool, is_complete: bool, skip_unsupported: bool) -> Loaded:
        """See Broker.load_definitions."""
        access, changes = self._access, self._changes
        reader = DefinitionsReader(
            self._vhosts, access, changes, self._limits, self._agenda, self._entropy, skip_unsupported
        )
        definitions = reader.read(document)
        apply_definitions(definitions, self._vhosts, access, changes, is_whole)
        if is_whole and self._is_first_start and len(definitions.users) > 0:
            self._forget_default_user(definitions.users)
        self._is_first_start = False
        removed_users: list[str] = []
        if is_complete:
            removed_users = remove_absent(definitions, access, changes)
        elif is_whole:
            note_absent(definitions, access)
        note_who_cannot_log_in(definitions, access)
        for vhost in self._vhosts.values():
            # Routes that channels remember carry the permission to use them.
            vhost.routes.drop()
        return Loaded(definitions.notices, removed_users)

    def _forget_default_user(self, users: list[User]) -> None:
        """RabbitMQ: a node that starts with definitions has no user whose password everybody knows."""
        if DEFAULT_USER not in [user.name for user in users] and self._access.delete_user(DEFAULT_USER):
            self._changes.delete_user(DEFAULT_USER)
