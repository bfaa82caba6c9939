"""A definitions document, decoded JSON as RabbitMQ writes it, to `Definitions` that are sure to apply.

Owns what an entry may say, and that all that is wrong is told at once, each with its place: `queues[3].arguments.x-expires:
...`. Does not own the rules of declaring and binding: what is new is declared in a copy of its vhost (rehearsal.py) as a
client would declare it. Changes nothing. Things that only RabbitMQ has are left out with a notice if that is wished, else
wrong; an entry about another one that is wrong or left out is passed over, for that one was told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, final

from amqpd.base.errors import AmqpError
from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.exchanges.exchange import Binding
from amqpd.exchanges.registry import TYPES
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import CLASSIC, QUORUM
from amqpd.store.topology import VhostRow
from amqpd.vhosts.access import ALGORITHMS, SALT_BYTES, SHA256, Access, Permission, hash_password
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.declare import RESERVED_PREFIX, check_same_queue, exchange_in, queue_in
from amqpd.vhosts.definition_entry import (
    NAME_BYTES_MAX,
    EntryError,
    Problems,
    arguments_of,
    flag_of,
    name_of,
    refused,
    tags_of,
    text_of,
)
from amqpd.vhosts.definition_parts import ignored_keys, ignored_parts
from amqpd.vhosts.definitions import DefinedQueue, Definitions
from amqpd.vhosts.policies import OPERATOR_POLICY, checked_policy
from amqpd.vhosts.policy_keys import KEYS, shown
from amqpd.vhosts.rehearsal import rehearsal_of
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import encode_table

# Names of things that were left out, in the line that says so.
LEFT_OUT_NAMED_MAX: Final = 20

# Of what kind, in which vhost, by which name.
Thing = tuple[str, str, str]


class PassedOver(Exception):
    """An entry about a thing that is wrong, or that was left out."""


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
        skip_unsupported: bool = False,
    ) -> None:
        self._vhosts = dict(vhosts)
        self._changes = changes
        self._limits = limits
        self._agenda = agenda
        self._entropy = entropy
        self._skips = skip_unsupported
        self._definitions = Definitions()
        self._problems = Problems()
        # The users that would be.
        self._access = Access()
        self._access.load(access.user_rows(), [])
        # Copies of the vhosts in which something is new.
        self._rehearsals: dict[str, VHost] = {}
        # What is wrong or left out.
        self._missing: dict[Thing, None] = {}
        # What is left out, by part.
        self._left_out: dict[str, list[str]] = {}
        # How many entries were about that, by part.
        self._passed_over: dict[str, int] = {}

    def read(self, document: object) -> Definitions:
        """Raises DefinitionsError with all that is wrong."""
        self._read_document(document)
        self._problems.raise_if_any()
        for part, names in self._left_out.items():
            more = f" and {len(names) - LEFT_OUT_NAMED_MAX} more" if len(names) > LEFT_OUT_NAMED_MAX else ""
            self._note(f"left out of the {part}, for amqpd has no such: {', '.join(names[:LEFT_OUT_NAMED_MAX])}{more}")
        if len(self._passed_over) > 0:
            counts = ", ".join([f"{count} of the {part}" for part, count in self._passed_over.items()])
            self._note(f"left out with them: {counts}")
        return self._definitions

    def _read_document(self, document: object) -> None:
        if not isinstance(document, dict):
            self._problems.add("", EntryError("definitions are a JSON object"))
            return
        try:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        except (UnicodeEncodeError, RecursionError, TypeError, ValueError) as error:
            self._problems.add("", EntryError(f"definitions hold what is no text: {error}"))
            return
        for line in ignored_parts(document):
            self._note(line)
        self._read_part(document, "users", self._read_user)
        self._read_part(document, "vhosts", self._read_vhost)
        self._read_part(document, "permissions", self._read_permission)
        self._read_part(document, "policies", self._read_policy)
        self._read_part(document, "parameters", self._read_parameter)
        self._read_part(document, "exchanges", self._read_exchange)
        self._read_part(document, "queues", self._read_queue)
        self._read_part(document, "bindings", self._read_binding)
        definitions = self._definitions
        definitions.has_users = "users" in document
        definitions.has_permissions = "permissions" in document
        definitions.has_policies = "policies" in document
        definitions.has_operator_policies = "parameters" in document

    # The document

    def _note(self, line: str) -> None:
        self._definitions.note(line)

    def _read_part(
        self, document: dict[str, object], part: str, read_entry: Callable[[dict[str, object]], None]
    ) -> None:
        value = document.get(part)
        if value is None:
            return
        if not isinstance(value, list):
            self._problems.add(part, EntryError("must be a list of objects"))
            return
        for number, entry in enumerate(value):
            try:
                if not isinstance(entry, dict):
                    raise EntryError(f"must be an object, not {shown(entry)}")
                for line in ignored_keys(part, entry):
                    self._note(line)
                read_entry(entry)
            except PassedOver:
                self._passed_over[part] = self._passed_over.get(part, 0) + 1
            except EntryError as error:
                self._fail(part, number, entry, error)

    def _fail(self, part: str, number: int, entry: object, error: EntryError) -> None:
        name = entry.get("name") if isinstance(entry, dict) else None
        vhost = entry.get("vhost") if isinstance(entry, dict) else None
        if isinstance(name, str):
            self._missing[(part, vhost if isinstance(vhost, str) else "", name)] = None
        if error.is_unsupported and self._skips:
            self._left_out.setdefault(part, []).append(f"'{name}'")
        else:
            self._problems.add(f"{part}[{number}]", error)

    def _pass_over_if_missing(self, part: str, vhost: str, name: str) -> None:
        if (part, vhost, name) in self._missing:
            raise PassedOver

    def _vhost_of(self, entry: dict[str, object], what: str) -> VHost:
        name = text_of(entry, "vhost", what)
        vhost = self._vhosts.get(name)
        if vhost is None:
            self._pass_over_if_missing("vhosts", "", name)
            raise EntryError(f"{what}: there is no vhost '{name}'", "vhost")
        return vhost

    def _rehearsal(self, vhost: VHost) -> VHost:
        found = self._rehearsals.get(vhost.name)
        if found is None:
            found = self._rehearsals[vhost.name] = rehearsal_of(vhost, self._limits)
        return found

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
        if algorithm not in ALGORITHMS:
            raise EntryError(f"{what}: unknown hashing algorithm '{algorithm}'", "hashing_algorithm", True)
        if entry.get("limits") not in (None, {}, []):
            self._note(f"the limits of {what} are ignored")
        tags = tags_of(entry, what)
        try:
            user = self._access.put_user(name, password_hash, algorithm, tags)
        except ValueError as error:
            raise EntryError(f"{what}: {error}", "password_hash") from error
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
        if default_queue_type not in ("", CLASSIC):
            self._note(f"the default queue type of {what} is kept and has no effect")
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
        self._pass_over_if_missing("users", "", user)
        if self._access.user(user) is None:
            raise EntryError(f"{what}: there is no such user", "user")
        configure, write, read = (text_of(entry, key, what) for key in ("configure", "write", "read"))
        try:
            self._definitions.permissions.append(Permission(user, vhost, configure, write, read))
        except ValueError as error:
            raise EntryError(f"{what}: {error}") from error

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
            raise EntryError(f"operator policy '{name}' in vhost '{vhost.name}': its value must be an object", "value")
        self._add_policy(vhost.name, name, value, True)

    def _add_policy(self, vhost: str, name: str, entry: dict[str, object], is_operator: bool) -> None:
        definition = entry.get("definition")
        try:
            policy = checked_policy(
                vhost,
                name,
                entry.get("pattern"),
                entry.get("priority", 0),
                entry.get("apply-to", "queues" if is_operator else "all"),
                definition,
                is_operator,
            )
        except ValueError as error:
            # A plugin's, or of a version to come.
            is_foreign = isinstance(definition, dict) and any(key not in KEYS for key in definition)
            raise EntryError(str(error), "value" if is_operator else "", is_foreign) from error
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
        if existing is not None:
            difference = existing.difference(type_name, durable, auto_delete, internal, arguments)
            if difference is not None:
                self._note(f"{difference.text(what)}; it stays as it is")
            return
        if type_name != "" and type_name not in TYPES:
            raise EntryError(f"{what}: unknown exchange type '{type_name}'", "type", True)
        copy = self._rehearsal(vhost)
        is_new = name not in copy.exchanges
        try:
            exchange = copy.declare_exchange(name, type_name, durable, auto_delete, internal, arguments)
        except AmqpError as error:
            raise _refused(what, error, entry, is_new) from error
        if is_new:
            self._definitions.exchanges.append((vhost.name, exchange))

    def _read_queue(self, entry: dict[str, object]) -> None:
        name = name_of(entry, "queue")
        vhost = self._vhost_of(entry, f"queue '{name}'")
        what = queue_in(name, vhost.name)
        durable, auto_delete = flag_of(entry, "durable", what, True), flag_of(entry, "auto_delete", what, False)
        arguments = arguments_of(entry, what)
        queue_type = text_of(entry, "type", what, CLASSIC)
        if arguments.has("x-queue-type"):
            queue_type = str(arguments.get("x-queue-type"))
        elif queue_type not in (CLASSIC, "undefined"):
            arguments = encode_table({**arguments.to_dict(), "x-queue-type": queue_type})
        queue = DefinedQueue(vhost.name, name, durable, auto_delete, arguments)
        if name in vhost.queues:
            self._note_difference(queue)
            return
        copy = self._rehearsal(vhost)
        is_new = name not in copy.queues
        try:
            copy.declare_queue(name, durable, False, auto_delete, 0, arguments, False)
        except AmqpError as error:
            refusal = _refused(what, error, entry, is_new)
            if arguments.tag("x-queue-type") == "S" and queue_type not in (CLASSIC, QUORUM):
                refusal.is_unsupported = True
                refusal.key = refusal.key or "type"
            raise refusal from error
        if is_new:
            self._definitions.queues.append(queue)

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
            raise EntryError(f"{what}: destination_type must be queue or exchange", "destination_type")
        if source == "":
            # Every queue has it by itself.
            return
        if destination == "":
            raise EntryError(f"{what}: there is no {kind} ''", "destination")
        self._pass_over_if_missing("exchanges", vhost.name, source)
        self._pass_over_if_missing(f"{kind}s", vhost.name, destination)
        routing_key = text_of(entry, "routing_key", what, "")
        if len(routing_key.encode("utf-8")) > NAME_BYTES_MAX:
            raise EntryError(f"{what}: a routing key has at most {NAME_BYTES_MAX} bytes", "routing_key")
        binding = Binding(source, destination, kind == "exchange", routing_key, arguments_of(entry, what))
        existing = vhost.exchanges.get(source)
        if existing is not None and binding.key in existing.bindings:
            return
        try:
            self._rehearsal(vhost).bind(binding)
        except AmqpError as error:
            raise refused(what, error, entry) from error
        self._definitions.bindings.append((vhost.name, binding))


def _refused(what: str, error: AmqpError, entry: dict[str, object], is_new: bool) -> EntryError:
    """A declare that failed. RabbitMQ exports names that it gave itself; here a client that declared one is refused too."""
    refusal = refused(what, error, entry)
    if is_new and str(entry["name"]).startswith(RESERVED_PREFIX):
        refusal.key = "name"
        refusal.is_unsupported = True
    return refusal
