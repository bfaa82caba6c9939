"""Every bound of the core, and the few names by which it presents itself.

Owns: the defaults and which values are sensible at all (`refusal`). Does not own where they come from: config.py
reads them from file, environment and flags, and hands one frozen object down. Invariant: every quantity that a peer
can make grow has a field here, with its unit last; 0 never means "unlimited" unless the field says so.
"""

from __future__ import annotations

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

    def refusal(self) -> str:
        """One sentence about the first value that can't work; "" if all can."""
        if not FRAME_MIN_SIZE <= self.frame_max_min <= self.frame_max:
            return f"frame_max_min must be at least {FRAME_MIN_SIZE} and not above frame_max ({self.frame_max})"
        if self.frame_max > 16 * MIB:
            return f"frame_max must not be above {16 * MIB}"
        if self.frame_bytes_before_tune_max < FRAME_MIN_SIZE:
            return f"frame_bytes_before_tune_max must be at least {FRAME_MIN_SIZE}"
        if min(self.connections_max, self.connections_unauthenticated_max) < 1:
            return "connections_max and connections_unauthenticated_max must be at least 1"
        if min(self.handshakes_max, self.handshakes_per_host_max) < 1:
            return "handshakes_max and handshakes_per_host_max must be at least 1"
        if not 1 <= self.channel_max <= CHANNEL_NUMBER_MAX:
            return f"channel_max must be from 1 to {CHANNEL_NUMBER_MAX}"
        if not 0 <= self.heartbeat_s <= 65_535:
            return "heartbeat_s must be from 0 to 65535"
        if not 1 <= self.message_bytes_max <= 512 * MIB:
            return f"message_bytes_max must be from 1 to {512 * MIB}"
        if self.partial_bytes_max < self.message_bytes_max:
            return "partial_bytes_max must not be below message_bytes_max"
        if self.consumer_timeout_action not in CONSUMER_TIMEOUT_ACTIONS:
            actions = " or ".join(CONSUMER_TIMEOUT_ACTIONS)
            return f"consumer_timeout_action must be {actions}, not {self.consumer_timeout_action!r}"
        if self.alarm_action not in ALARM_ACTIONS:
            return f"alarm_action must be {' or '.join(ALARM_ACTIONS)}, not {self.alarm_action!r}"
        if self.passive_declare_permissions not in PASSIVE_DECLARE_PERMISSIONS:
            choices = " or ".join(PASSIVE_DECLARE_PERMISSIONS)
            return f"passive_declare_permissions must be {choices}, not {self.passive_declare_permissions!r}"
        if not MIB <= self.segment_bytes <= 1024 * MIB:
            return f"segment_bytes must be from {MIB} to {1024 * MIB}"
        if len(self.version.split(".")) != 3 or not self.version.replace(".", "").isdigit():
            return f"version must be three integers with dots between them, not {self.version!r}"
        return ""


DEFAULTS: Final = Limits()
