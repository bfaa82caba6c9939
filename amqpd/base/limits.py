"""Every bound of the core, and the few names by which it presents itself.

Owns: the defaults and which values are sensible at all (`refusal`). Does not own where they come from: config.py
reads them from file, environment and flags, and hands one frozen object down. Invariant: every quantity that a peer
can make grow has a field here, with its unit last; 0 never means "unlimited" unless the field says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024

# AMQP 0-9-1 4.2.3 fixes the smallest frame_max; RabbitMQ's clients never ask for less than this.
FRAME_MIN_SIZE: Final = 4096
# A channel number is 16 bits and 0 is the connection itself.
CHANNEL_NUMBER_MAX: Final = 65_535

CONSUMER_TIMEOUT_ACTIONS: Final = ("return", "close")
ALARM_ACTIONS: Final = ("block", "nack")
PASSIVE_DECLARE_PERMISSIONS: Final = ("none", "any")

# Values that are one of a few words.
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "consumer_timeout_action": CONSUMER_TIMEOUT_ACTIONS,
    "alarm_action": ALARM_ACTIONS,
    "passive_declare_permissions": PASSIVE_DECLARE_PERMISSIONS,
}

COUNT_MAX: Final = 1_000_000_000
DAY_MS: Final = 24 * 60 * 60 * 1000
TEXT_BYTES_MAX: Final = 255
# The most of a unit, for what has no bounds of its own.
UNITS: Final = (("_bytes", 1024 * 1024 * MIB), ("_ms", 3650 * DAY_MS), ("_s", 3650 * DAY_MS // 1000))
# Where that is too much, or where 0 has a meaning.
BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "frame_max": (FRAME_MIN_SIZE, 16 * MIB),
    "frame_max_min": (FRAME_MIN_SIZE, 16 * MIB),
    "frame_bytes_before_tune_max": (FRAME_MIN_SIZE, 16 * MIB),
    "bytes_before_open_max": (FRAME_MIN_SIZE, 1024 * MIB),
    "channel_max": (1, CHANNEL_NUMBER_MAX),
    "heartbeat_s": (0, 65_535),
    "consumer_timeout_ms": (0, 3650 * DAY_MS),
    "message_bytes_max": (1, 512 * MIB),
    "segment_bytes": (MIB, 1024 * MIB),
}
# The first of two may not be above the second.
ORDERED: Final = (("frame_max_min", "frame_max"), ("message_bytes_max", "partial_bytes_max"))


@dataclass(frozen=True)
class Limits:
    # What connection.start says. Clients parse the version as three integers and switch features on it.
    product: str = "RabbitMQ"
    version: str = "3.13.7"
    cluster_name: str = "amqpd@localhost"
    default_vhost: str = "/"
    # These users may only come from the same machine, whatever their password.
    loopback_users: tuple[str, ...] = ("guest",)
    # In these vhosts ("*" is all) a redeclare of a queue with other arguments is accepted, and the queue stays as it is.
    redeclare_keep: tuple[str, ...] = ()
    # What a passive declare needs: "none", as RabbitMQ until 4.2, or "any" of configure, write and read on what is asked for.
    passive_declare_permissions: str = "none"

    # The connection, before and after login.
    connections_max: int = 10_000
    connections_per_host_max: int = 10_000
    # Whoever has not logged in. Beyond it the one that has been silent for longest goes, for the newest to come.
    connections_unauthenticated_max: int = 4096
    # Beyond it that is one of the same host.
    connections_unauthenticated_per_host_max: int = 2048
    # Handshakes (TLS, AMQP) at once. Who speaks meanwhile waits at the door, hosts in turns.
    handshakes_max: int = 1024
    handshakes_per_host_max: int = 512
    # While somebody waits at the door, a handshake without a step for this long goes.
    handshake_stalled_ms: int = 5_000
    # From accept to connection.open, without the time that we let it wait.
    handshake_timeout_ms: int = 10_000
    # Wrong logins: so many of one user from one address, or of one address, cost nothing; what comes after them waits, a bit
    # longer each time. They are forgotten when there was none for the window.
    login_failures_per_user_max: int = 5
    login_failures_per_host_max: int = 10
    login_window_ms: int = 60_000
    # From then on passwords from one address are looked at one after the other, at this distance.
    login_interval_ms: int = 250
    # Who would have to wait for longer is refused.
    login_wait_ms_max: int = 30_000
    # Addresses, and users of an address, of which wrong and right logins are remembered.
    login_suspects_max: int = 10_000
    frame_max: int = 131_072
    frame_max_min: int = FRAME_MIN_SIZE
    frame_bytes_before_tune_max: int = 8192
    # What a peer may have sent of its handshake without having logged in.
    bytes_before_open_max: int = 32 * KIB
    channel_max: int = 2047
    # 0: no heartbeats unless the client asks for them.
    heartbeat_s: int = 60
    # How long a closing connection waits for the peer's close-ok before the socket is simply closed.
    close_timeout_ms: int = 10_000

    # Content.
    message_bytes_max: int = 128 * MIB
    # Messages of one connection whose content has not fully arrived, in the memory that they take.
    partial_bytes_max: int = 256 * MIB

    # One channel.
    consumers_per_channel_max: int = 1024
    # Of all channels of a connection.
    consumers_per_connection_max: int = 16_384
    # How long a delivery may stay unacked where neither its consumer nor its queue says; 0: as long as its channel lives.
    consumer_timeout_ms: int = 0
    # And then: "return" gives just that delivery back to its queue, "close" closes the channel, as RabbitMQ does.
    consumer_timeout_action: str = "return"
    # While memory or disk is short: "block" stops reading whoever publishes, as RabbitMQ does; "nack" refuses what comes on
    # channels with confirms, at once and in every queue, and stops reading the others.
    alarm_action: str = "block"
    # When more than this waits for the disk, whoever publishes is not read until the disk has followed.
    unconfirmed_bytes_max: int = 64 * MIB
    tx_operations_max: int = 65_536
    tx_bytes_max: int = 64 * MIB

    # One connection's way out: beyond it nothing more is delivered; without progress for the timeout it is closed.
    outgoing_bytes_max: int = 4 * MIB
    outgoing_stalled_timeout_ms: int = 60_000

    # What names stand for: queues, exchanges and bindings of one vhost.
    queues_max: int = 50_000
    exchanges_max: int = 50_000
    bindings_max: int = 500_000
    bindings_per_queue_max: int = 10_000
    consumers_per_queue_max: int = 10_000

    # Routing.
    topic_words_max: int = 128
    headers_arguments_max: int = 64
    extra_routing_keys_max: int = 128
    # Routes that a vhost remembers, and those that the channels of one connection do; beyond it they are found anew.
    route_cache_entries_max: int = 65_536
    route_cache_bytes_max: int = 64 * MIB
    routes_per_connection_bytes_max: int = 8 * MIB

    # The log.
    segment_bytes: int = 64 * MIB

    def refusal(self, given: Collection[str] = ()) -> str:
        """One sentence about the first value that can't work, beginning with its name; "" if all can.

        Where two contradict each other it is about the one that is in `given`, if the other one is not.
        """
        for field in dataclasses.fields(self):
            why = _fault(field.name, getattr(self, field.name))
            if why != "":
                return f"{field.name} {why}"
        for low, high in ORDERED:
            least: int = getattr(self, low)
            most: int = getattr(self, high)
            if least > most:
                if high in given and low not in given:
                    return f"{high} must be at least {low} ({least}), not {most}"
                return f"{low} must be at most {high} ({most}), not {least}"
        return ""


def _fault(name: str, value: object) -> str:
    """What is wrong with a value by itself."""
    if isinstance(value, int):
        least, most = bounds_of(name)
        return "" if least <= value <= most else f"must be from {least} to {most}, not {value}"
    choices = CHOICES.get(name)
    if choices is not None and value not in choices:
        return f"must be {' or '.join(choices)}, not {value!r}"
    if name == "version" and not _is_version(str(value)):
        return f"must be three integers with dots between them, not {value!r}"
    for text in value if isinstance(value, tuple) else (value,):
        if not 1 <= len(str(text).encode("utf-8", "surrogateescape")) <= TEXT_BYTES_MAX or not str(text).isprintable():
            return f"must have 1 to {TEXT_BYTES_MAX} printable bytes, not {value!r}"
    return ""


def _is_version(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts)


def bounds_of(name: str) -> tuple[int, int]:
    """The least and the most that a number may be: its own bounds, or those of its unit."""
    if name in BOUNDS:
        return BOUNDS[name]
    for unit, most in UNITS:
        if name.endswith((unit, f"{unit}_max")):
            return 1, most
    return 1, COUNT_MAX


DEFAULTS: Final = Limits()
