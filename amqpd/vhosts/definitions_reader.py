"""A definitions document, decoded JSON as RabbitMQ writes it, to `Definitions` that are sure to apply.

Owns every check, against the rules and against what is there already, and the sentence for what fails one. Changes
nothing. Keys that RabbitMQ has and this broker does not act on, and keys that nobody knows, are ignored with a notice.
"""

from __future__ import annotations

import json
from typing import Final, final

from amqpd.base.errors import AmqpError
from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.exchanges.exchange import Binding, Exchange
from amqpd.exchanges.registry import create
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import read_options
from amqpd.store.topology import VhostRow
from amqpd.vhosts.access import SALT_BYTES, SHA256, Access, Permission, hash_password
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.declare import RESERVED_PREFIX, check_properties_of_type, check_same_queue, exchange_in, queue_in
from amqpd.vhosts.definition_entry import (
    NAME_BYTES_MAX,
    DefinitionsError,
    arguments_of,
    flag_of,
    name_of,
    tags_of,
    text_of,
)
from amqpd.vhosts.definitions import DefinedQueue, Definitions
from amqpd.vhosts.policies import OPERATOR_POLICY, checked_policy
from amqpd.vhosts.policy_keys import shown
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import encode_table

# Parts that are acted on, each with the keys of its entries.
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "users": ("name", "password_hash", "password", "hashing_algorithm", "tags", "limits"),
    "vhosts": ("name", "description", "tags", "default_queue_type", "metadata", "limits"),
    "permissions": ("user", "vhost", "configure", "write", "read"),
    "exchanges": ("name", "vhost", "type", "durable", "auto_delete", "internal", "arguments"),
    "queues": ("name", "vhost", "type", "durable", "auto_delete", "arguments"),
    "bindings": ("source", "vhost", "destination", "destination_type", "routing_key", "arguments", "properties_key"),
    "policies": ("vhost", "name", "pattern", "apply-to", "definition", "priority"),
    "parameters": ("component", "vhost", "name", "value"),
}
# Who wrote the document: no need to say that it is ignored.
ABOUT: Final = (
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "metadata",
)
# RabbitMQ keeps names of its own there.
CLUSTER_PARAMETERS: Final = ("cluster_name", "internal_cluster_id", "cluster_tags", "imported_definition_hash_value")


@final
class DefinitionsReader:
    def __init__(
        self,
        vhosts: dict[str, VHost],
        access: Access,
        changes: Changes,
        limits: Limits,
        agenda: Agenda,
        entropy: Entropy,
    ) -> None:
        self._vhosts = dict(vhosts)
        self._changes = changes
        self._limits = limits
        self._agenda = agenda
        self._entropy = entropy
        self._document: dict[str, object] = {}
        self._definitions = Definitions()
        # The users and permissions that would be: where both are tried.
        self._access = Access()
        self._access.load(access.user_rows(), [])
        # What the document adds, by vhost and name.
        self._exchanges: dict[tuple[str, str], Exchange] = {}
        self._queues: dict[tuple[str, str], DefinedQueue] = {}

    def read(self, document: object) -> Definitions:
        """Raises DefinitionsError for the first entry that is wrong."""
        if not isinstance(document, dict):
            raise DefinitionsError("definitions are a JSON object")
        try:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        except (UnicodeEncodeError, RecursionError, TypeError, ValueError) as error:
            raise DefinitionsError(f"definitions hold what is no text: {error}") from error
        self._document = document
        self._note_ignored()
        for entry in self._entries("users"):
            self._read_user(entry)
        for entry in self._entries("vhosts"):
            self._read_vhost(entry)
        for entry in self._entries("permissions"):
            self._read_permission(entry)
        for entry in self._entries("policies"):
            self._read_policy(entry)
        for entry in self._entries("parameters"):
            self._read_parameter(entry)
        for entry in self._entries("exchanges"):
            self._read_exchange(entry)
        for entry in self._entries("queues"):
            self._read_queue(entry)
        for entry in self._entries("bindings"):
            self._read_binding(entry)
        self._check_counts()
        definitions = self._definitions
        definitions.has_policies = "policies" in document
        definitions.has_operator_policies = "parameters" in document
        return definitions

    # The document

    def _note_ignored(self) -> None:
        for key, value in self._document.items():
            if key in PARTS or key in ABOUT:
                continue
            if key == "global_parameters" and isinstance(value, list):
                value = [each for each in value if not _is_cluster_parameter(each)]
            if value not in ([], {}, None):
                self._note(f"{shown(key)} in the definitions is ignored")

    def _note(self, line: str) -> None:
        if line not in self._definitions.notices:
            self._definitions.notices.append(line)

    def _entries(self, part: str) -> list[dict[str, object]]:
        value = self._document.get(part)
        if value is None:
            return []
        if not isinstance(value, list):
            raise DefinitionsError(f"{part} must be a list of objects")
        found: list[dict[str, object]] = []
        for entry in value:
            if not isinstance(entry, dict):
                raise DefinitionsError(f"{part} must be a list of objects, {shown(entry)} is none")
            for key in entry:
                if key not in PARTS[part]:
                    self._note(f"{shown(key)} in the definitions' {part} is ignored")
            found.append(entry)
        return found

    def _vhost_of(self, entry: dict[str, object], what: str) -> VHost:
        name = text_of(entry, "vhost", what)
        vhost = self._vhosts.get(name)
        if vhost is None:
            raise DefinitionsError(f"{what}: there is no vhost '{name}'")
        return vhost

    # Who

    def _read_user(self, entry: dict[str, object]) -> None:
        name = name_of(entry, "user")
        what = f"user '{name}'"
        password_hash = text_of(entry, "password_hash", what, "")
        algorithm = text_of(entry, "hashing_algorithm", what, SHA256)
        password = text_of(entry, "password", what, "")
        if password_hash == "" and password != "":
            password_hash = hash_password(password.encode("utf-8"), self._entropy.token(SALT_BYTES))
            algorithm = SHA256
        if entry.get("limits") not in (None, {}, []):
            self._note(f"the limits of {what} are ignored")
        try:
            user = self._access.put_user(name, password_hash, algorithm, tags_of(entry, what))
        except ValueError as error:
            raise DefinitionsError(f"{what}: {error}") from error
        self._definitions.users.append(user)

    def _read_vhost(self, entry: dict[str, object]) -> None:
        name = name_of(entry, "vhost")
        what = f"vhost '{name}'"
        metadata = entry.get("metadata")
        about = metadata if isinstance(metadata, dict) else entry
        if entry.get("limits") not in (None, {}, []):
            self._note(f"the limits of {what} are ignored")
        default_queue_type = text_of(about, "default_queue_type", what, "")
        if default_queue_type == "undefined":
            default_queue_type = ""
        row = VhostRow(
            name, text_of(about, "description", what, ""), ",".join(tags_of(about, what)), default_queue_type
        )
        self._definitions.vhost_rows.append(row)
        if name not in self._vhosts:
            vhost = VHost(name, self._limits, self._agenda, self._changes)
            self._vhosts[name] = vhost
            self._definitions.new_vhosts.append(vhost)

    def _read_permission(self, entry: dict[str, object]) -> None:
        user = text_of(entry, "user", "a permission")
        what = f"the permission of user '{user}'"
        vhost = self._vhost_of(entry, what).name
        what = f"{what} in vhost '{vhost}'"
        if self._access.user(user) is None:
            raise DefinitionsError(f"{what}: there is no such user")
        configure, write, read = (text_of(entry, key, what) for key in ("configure", "write", "read"))
        try:
            self._definitions.permissions.append(Permission(user, vhost, configure, write, read))
        except ValueError as error:
            raise DefinitionsError(f"{what}: {error}") from error

    # Policies

    def _read_policy(self, entry: dict[str, object]) -> None:
        name = name_of(entry, "policy")
        vhost = self._vhost_of(entry, f"policy '{name}'")
        self._add_policy(vhost.name, name, entry, False)

    def _read_parameter(self, entry: dict[str, object]) -> None:
        name = name_of(entry, "parameter")
        component = text_of(entry, "component", f"parameter '{name}'")
        if component != OPERATOR_POLICY:
            self._note(f"parameters of component {shown(component)} in the definitions are ignored")
            return
        vhost = self._vhost_of(entry, f"operator policy '{name}'")
        value = entry.get("value")
        if not isinstance(value, dict):
            raise DefinitionsError(f"operator policy '{name}' in vhost '{vhost.name}': its value must be an object")
        self._add_policy(vhost.name, name, value, True)

    def _add_policy(self, vhost: str, name: str, entry: dict[str, object], is_operator: bool) -> None:
        try:
            policy = checked_policy(
                vhost,
                name,
                entry.get("pattern"),
                entry.get("priority", 0),
                entry.get("apply-to", "queues" if is_operator else "all"),
                entry.get("definition"),
                is_operator,
            )
        except ValueError as error:
            raise DefinitionsError(str(error)) from error
        self._definitions.policies.append(policy)

    # What messages go through

    def _read_exchange(self, entry: dict[str, object]) -> None:
        name = name_of(entry, "exchange")
        vhost = self._vhost_of(entry, f"exchange '{name}'")
        what = exchange_in(name, vhost.name)
        durable, auto_delete = flag_of(entry, "durable", what, True), flag_of(entry, "auto_delete", what, False)
        internal, arguments = flag_of(entry, "internal", what, False), arguments_of(entry, what)
        type_name = text_of(entry, "type", what)
        existing = vhost.exchanges.get(name)
        try:
            if existing is not None:
                difference = existing.difference(type_name, durable, auto_delete, internal, arguments)
                if difference is not None:
                    self._note(f"{difference.text(what)}; it stays as it is")
                return
            if name.startswith(RESERVED_PREFIX):
                self._note(f"{what} is ignored: names that begin with '{RESERVED_PREFIX}' are the broker's own")
                return
            exchange = create(type_name, name, durable, auto_delete, internal, arguments)
            exchange.check_arguments(what)
        except AmqpError as error:
            raise DefinitionsError(_about(what, error)) from error
        self._exchanges[(vhost.name, name)] = exchange

    def _read_queue(self, entry: dict[str, object]) -> None:
        name = name_of(entry, "queue")
        vhost = self._vhost_of(entry, f"queue '{name}'")
        what = queue_in(name, vhost.name)
        durable, auto_delete = flag_of(entry, "durable", what, True), flag_of(entry, "auto_delete", what, False)
        arguments = arguments_of(entry, what)
        queue_type = text_of(entry, "type", what, "classic")
        if queue_type not in ("classic", "undefined") and not arguments.has("x-queue-type"):
            arguments = encode_table({**arguments.to_dict(), "x-queue-type": queue_type})
        existing = vhost.queues.get(name)
        try:
            if existing is not None:
                self._note_difference(DefinedQueue(vhost.name, name, durable, auto_delete, arguments))
                return
            options = read_options(arguments, what)
            check_properties_of_type(options.queue_type, what, durable, False, auto_delete, False)
        except AmqpError as error:
            raise DefinitionsError(_about(what, error)) from error
        self._queues[(vhost.name, name)] = DefinedQueue(vhost.name, name, durable, auto_delete, arguments)

    def _note_difference(self, queue: DefinedQueue) -> None:
        existing = self._vhosts[queue.vhost].queues[queue.name]
        try:
            check_same_queue(existing, queue.vhost, queue.durable, False, queue.auto_delete, 0, queue.arguments)
        except AmqpError as error:
            self._note(f"{error.explanation}; it stays as it is")

    def _read_binding(self, entry: dict[str, object]) -> None:
        source, destination = text_of(entry, "source", "a binding"), text_of(entry, "destination", "a binding")
        kind = text_of(entry, "destination_type", "a binding", "queue")
        what = f"the binding from exchange '{source}' to {kind} '{destination}'"
        vhost = self._vhost_of(entry, what)
        what = f"{what} in vhost '{vhost.name}'"
        if kind not in ("queue", "exchange"):
            raise DefinitionsError(f"{what}: destination_type must be queue or exchange")
        if source == "":
            # Every queue has it by itself.
            return
        exchange = self._exchange(vhost, source)
        if exchange is None:
            raise DefinitionsError(f"{what}: there is no exchange '{source}'")
        if kind == "queue":
            is_there = destination in vhost.queues or (vhost.name, destination) in self._queues
        else:
            is_there = self._exchange(vhost, destination) is not None
        if not is_there or destination == "":
            raise DefinitionsError(f"{what}: there is no {kind} '{destination}'")
        routing_key = text_of(entry, "routing_key", what, "")
        if len(routing_key.encode("utf-8")) > NAME_BYTES_MAX:
            raise DefinitionsError(f"{what}: a routing key has at most {NAME_BYTES_MAX} bytes")
        binding = Binding(source, destination, kind == "exchange", routing_key, arguments_of(entry, what))
        try:
            exchange.check_binding(binding, self._limits)
        except AmqpError as error:
            raise DefinitionsError(_about(what, error)) from error
        self._definitions.bindings.append((vhost.name, binding))

    def _exchange(self, vhost: VHost, name: str) -> Exchange | None:
        return vhost.exchanges.get(name) or self._exchanges.get((vhost.name, name))

    def _check_counts(self) -> None:
        """The last check: that what is new fits beside what is there."""
        definitions = self._definitions
        for vhost in self._vhosts.values():
            queues = [queue for (name, _), queue in self._queues.items() if name == vhost.name]
            exchanges = [exchange for (name, _), exchange in self._exchanges.items() if name == vhost.name]
            bindings = [binding for name, binding in definitions.bindings if name == vhost.name]
            _check_count("queues", len(vhost.queues) + len(queues), self._limits.queues_max, vhost.name)
            _check_count("exchanges", len(vhost.exchanges) + len(exchanges), self._limits.exchanges_max, vhost.name)
            _check_count("bindings", vhost.binding_count + len(bindings), self._limits.bindings_max, vhost.name)
            definitions.queues.extend(queues)
            for exchange in exchanges:
                definitions.exchanges.append((vhost.name, exchange))


def _check_count(things: str, count: int, count_max: int, vhost: str) -> None:
    if count > count_max:
        raise DefinitionsError(f"vhost '{vhost}' would have {count} {things}, and may have at most {count_max}")


def _is_cluster_parameter(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("name") in CLUSTER_PARAMETERS


def _about(what: str, error: AmqpError) -> str:
    return error.explanation if what in error.explanation else f"{what}: {error.explanation}"
