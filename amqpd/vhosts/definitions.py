"""RabbitMQ's definitions: a document that was checked, and how it becomes vhosts, users, exchanges, queues and policies.

Owns the order in which its parts are applied. Does not own the checks: definitions_reader.py makes a `Definitions` whose
every part can be applied, or raises, so nothing is ever half-applied. What is there already stays: a queue or an
exchange of the same name is not touched, a user, permission or policy of the same name is replaced. Nothing is deleted,
except by a document that is `whole`: policies that it does not have, and the user that a first start made; users and
permissions see definition_users.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.store.topology import VhostRow
from amqpd.vhosts.access import Access, Permission, User
from amqpd.vhosts.policies import Policy
from amqpd.wire.field_table import FieldTable

if TYPE_CHECKING:
    from amqpd.vhosts.changes import Changes
    from amqpd.vhosts.vhost import VHost


@final
class DefinedQueue:
    def __init__(self, vhost: str, name: str, durable: bool, auto_delete: bool, arguments: FieldTable) -> None:
        self.vhost = vhost
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.arguments = arguments


@final
class Definitions:
    def __init__(self) -> None:
        self.users: list[User] = []
        # Made but not yet known to anybody, with what the store is to keep of them.
        self.new_vhosts: list[VHost] = []
        self.vhost_rows: list[VhostRow] = []
        self.permissions: list[Permission] = []
        # Vhost and exchange, only those that are new; so are the queues.
        self.exchanges: list[tuple[str, Exchange]] = []
        self.queues: list[DefinedQueue] = []
        self.bindings: list[tuple[str, Binding]] = []
        self.policies: list[Policy] = []
        # True if the document has these parts at all, though they may be empty.
        self.has_users = False
        self.has_permissions = False
        self.has_policies = False
        self.has_operator_policies = False
        # What was ignored, and what is otherwise than the document has it.
        self.notices: list[str] = []
        self._noted: set[str] = set()

    def note(self, line: str) -> None:
        """Once, however often."""
        if line not in self._noted:
            self._noted.add(line)
            self.notices.append(line)


def apply_definitions(
    definitions: Definitions, vhosts: dict[str, VHost], access: Access, changes: Changes, is_whole: bool
) -> None:
    for user in definitions.users:
        kept = access.put_user(user.name, user.password_hash, user.hashing_algorithm, user.tags)
        changes.put_user(kept.row())
    for vhost in definitions.new_vhosts:
        vhosts[vhost.name] = vhost
    for row in definitions.vhost_rows:
        changes.put_vhost(row.name, row.description, row.tags, row.default_queue_type)
    for each in definitions.permissions:
        permission = access.set_permissions(each.user, each.vhost, each.configure, each.write, each.read)
        changes.put_permission(permission.row())
    # Policies first: what is declared then is born with them.
    _apply_policies(definitions, vhosts, changes, is_whole)
    for vhost_name, exchange in definitions.exchanges:
        vhosts[vhost_name].declare_exchange(
            exchange.name,
            exchange.type_name,
            exchange.durable,
            exchange.auto_delete,
            exchange.internal,
            exchange.arguments,
        )
    for queue in definitions.queues:
        vhosts[queue.vhost].declare_queue(
            queue.name, queue.durable, False, queue.auto_delete, 0, queue.arguments, False
        )
    for vhost_name, binding in definitions.bindings:
        vhosts[vhost_name].bind(binding)


def _apply_policies(definitions: Definitions, vhosts: dict[str, VHost], changes: Changes, is_whole: bool) -> None:
    changed: dict[str, None] = {}
    defined: dict[tuple[str, str, bool], None] = {}
    for policy in definitions.policies:
        defined[(policy.vhost, policy.name, policy.is_operator)] = None
        if vhosts[policy.vhost].put_policy(policy):
            changed[policy.vhost] = None
    if is_whole:
        for vhost in vhosts.values():
            for is_operator in (False, True):
                if not (definitions.has_operator_policies if is_operator else definitions.has_policies):
                    continue
                for policy in vhost.policies.all(is_operator):
                    if (vhost.name, policy.name, is_operator) not in defined:
                        vhost.policies.delete(policy.name, is_operator)
                        changes.delete_policy(policy)
                        changed[vhost.name] = None
    for name in changed:
        vhosts[name].apply_policies()
