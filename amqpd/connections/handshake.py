"""The life of a connection as a table: which method may come when, and what comes of it.

    HEADER --protocol header--> START_SENT --start-ok--> TUNE_SENT --tune-ok--> TUNED --open--> OPEN
    START_SENT, TUNE_SENT, TUNED, OPEN --close--> CLOSED (after close-ok is written)
    any --our close--> CLOSING --close-ok or time-out--> CLOSED
    START_SENT --refused login--> REFUSED --one second--> CLOSED

After many wrong logins a start-ok waits (throttle.py), in START_SENT, and so does what comes behind it.

A missing pair is the peer's error (503 COMMAND_INVALID; once open, RabbitMQ's 504 CHANNEL_ERROR). Owns what the server says of itself and the tune rules.
"""

from __future__ import annotations

from typing import Final

from pamqp import commands
from pamqp.base import Frame

from amqpd.base.errors import ChannelFault, CommandInvalid, NotAllowed
from amqpd.base.limits import Limits
from amqpd.connections.sasl import MECHANISMS
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import method_name, new_method

HEADER: Final = 0
START_SENT: Final = 1
TUNE_SENT: Final = 2
TUNED: Final = 3
OPEN: Final = 4
REFUSED: Final = 5
CLOSING: Final = 6
CLOSED: Final = 7

START_OK: Final = 0x000A000B
TUNE_OK: Final = 0x000A001F
CONNECTION_OPEN: Final = 0x000A0028
CONNECTION_CLOSE: Final = 0x000A0032
CONNECTION_CLOSE_OK: Final = 0x000A0033
UPDATE_SECRET: Final = 0x000A0046

NEXT: Final[dict[tuple[int, int], int]] = {
    (START_SENT, START_OK): TUNE_SENT,
    (TUNE_SENT, TUNE_OK): TUNED,
    (TUNED, CONNECTION_OPEN): OPEN,
    (OPEN, UPDATE_SECRET): OPEN,
    (START_SENT, CONNECTION_CLOSE): CLOSED,
    (TUNE_SENT, CONNECTION_CLOSE): CLOSED,
    (TUNED, CONNECTION_CLOSE): CLOSED,
    (OPEN, CONNECTION_CLOSE): CLOSED,
    (CLOSING, CONNECTION_CLOSE): CLOSED,
    (CLOSING, CONNECTION_CLOSE_OK): CLOSED,
}

CAPABILITIES: Final[tuple[str, ...]] = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)


def next_state(state: int, method_index: int) -> int:
    """Raises CommandInvalid for what may not come now."""
    after = NEXT.get((state, method_index))
    if after is None:
        if state == OPEN:
            raise ChannelFault("unexpected method in connection state running")
        raise CommandInvalid(f"{method_name(method_index)} is not expected now")
    return after


def start_method(limits: Limits, amqpd_version: str) -> Frame:
    """connection.start: clients read product and version to decide what the broker can do."""
    capabilities: dict[str, object] = dict.fromkeys(CAPABILITIES, True)
    properties: dict[str, object] = {
        "capabilities": capabilities,
        "cluster_name": limits.cluster_name,
        "copyright": "The amqpd developers",
        "information": "Licensed under the Apache License 2.0",
        "platform": "amqpd",
        "product": limits.product,
        "version": limits.version,
        "amqpd_version": amqpd_version,
    }
    return new_method(
        commands.Connection.Start,
        version_major=0,
        version_minor=9,
        server_properties=encode_table(properties),
        mechanisms=MECHANISMS,
        locales="en_US",
    )


def tune_method(limits: Limits) -> Frame:
    return new_method(
        commands.Connection.Tune,
        channel_max=limits.channel_max,
        frame_max=limits.frame_max,
        heartbeat=limits.heartbeat_s,
    )


def agreed(name: str, wanted: int, offered: int, least: int) -> int:
    """What tune-ok settles for one limit; 0 asks for no limit, which means ours. Raises NotAllowed out of range."""
    if wanted == 0:
        return offered
    if wanted < least:
        raise NotAllowed(f"negotiated {name} = {wanted} is lower than the minimum allowed value ({least})")
    if wanted > offered:
        raise NotAllowed(f"negotiated {name} = {wanted} is higher than the maximum allowed value ({offered})")
    return wanted
