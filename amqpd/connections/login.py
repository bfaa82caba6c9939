"""From connection.start-ok to connection.open: who is it, what do we agree on, where does it want to go.

Owns the three answers of the client and what is wrong with them. Does not own the order in which they may come
(handshake.py), passwords and permissions (vhosts/access.py), nor the connection's state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pamqp import commands

from amqpd.base.errors import CommandInvalid, LoginRefused, NotAllowed
from amqpd.connections.handshake import agreed, tune_method
from amqpd.connections.heartbeats import Heartbeats
from amqpd.connections.sasl import is_offered, parse_response, refusal_text
from amqpd.connections.throttle import Attempt
from amqpd.vhosts.access import printable
from amqpd.wire.field_table import FieldTable
from amqpd.wire.methods import new_method, octets_of, table_of

if TYPE_CHECKING:
    from amqpd.connections.connection import Connection


def on_start_ok(connection: Connection, method: commands.Connection.StartOk) -> None:
    """PLAIN or AMQPLAIN; a refused login is told why only in the log, or guessing would be easier."""
    properties = table_of(method, "client_properties")
    connection.client_properties = properties
    name = properties.get("connection_name")
    if isinstance(name, str):
        connection.client_name = name
    mechanism = method.mechanism
    if not is_offered(mechanism):
        raise CommandInvalid(f"unknown authentication mechanism '{mechanism}'")
    credentials = parse_response(mechanism, octets_of(method, "response"))
    user = credentials.user if credentials is not None else ""
    throttle = connection.broker.throttle
    now_ms = connection.agenda.monotonic_ms
    attempt = throttle.attempt(connection.peer_host, user, credentials, mechanism, now_ms)
    if throttle.is_due(attempt, now_ms):
        decide(connection, attempt)
    else:
        connection.attempt = attempt


def decide(connection: Connection, attempt: Attempt) -> None:
    """Is the password right? Answers with tune, or with a refusal, which may be a LoginRefused."""
    credentials = attempt.credentials
    throttle = connection.broker.throttle
    reason = "malformed credentials"
    if attempt.is_too_much:
        reason = f"user '{printable(attempt.user)}' - not looked at, too many wrong ones wait already"
    elif credentials is not None:
        access = connection.broker.access
        reason = access.authenticate(credentials.user, credentials.password, connection.peer_host)
    if credentials is None or reason != "":
        throttle.failed(attempt, connection.agenda.monotonic_ms)
        connection.agenda.warn(f"login from {connection.describe()} refused: {reason}")
        if has_capability(connection.client_properties, "authentication_failure_close"):
            raise LoginRefused(refusal_text(attempt.mechanism))
        connection.refuse()
        return
    throttle.succeeded(attempt, connection.agenda.monotonic_ms)
    connection.user = credentials.user
    connection.send(tune_method(connection.limits))


def on_tune_ok(connection: Connection, method: commands.Connection.TuneOk) -> None:
    limits = connection.limits
    connection.set_channel_max(agreed("channel_max", method.channel_max, limits.channel_max, 1))
    connection.frame_max = agreed("frame_max", method.frame_max, limits.frame_max, limits.frame_max_min)
    connection.outbox.payload_bytes_max = connection.frame_max - 8
    connection.heartbeats = Heartbeats(method.heartbeat, connection.agenda.monotonic_ms)


def on_open(connection: Connection, method: commands.Connection.Open) -> None:
    broker = connection.broker
    name = method.virtual_host
    vhost = broker.vhosts.get(name)
    if vhost is None:
        raise NotAllowed(f"vhost {name} not found")
    if not broker.access.may_enter(connection.user, name):
        raise NotAllowed(f"access to vhost '{name}' refused for user '{connection.user}'")
    session = broker.new_session(connection.number, connection.outbox, vhost, connection.user)
    session.wants_cancel_notify = has_capability(connection.client_properties, "consumer_cancel_notify")
    session.wants_blocked = has_capability(connection.client_properties, "connection.blocked")
    session.peer = connection.describe()
    connection.session = session
    connection.agenda.notice(f"{connection.describe()} is connected to vhost '{name}'")
    connection.send(new_method(commands.Connection.OpenOk))


def has_capability(properties: FieldTable, name: str) -> bool:
    capabilities = properties.get("capabilities")
    return isinstance(capabilities, FieldTable) and capabilities.get(name) is True
