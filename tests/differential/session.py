"""What a behaviour begins with: a session opens connections, makes unique names, and cleans up afterwards.

Owns: the handshake when nobody looks at it, names, looking whether something exists, the clean-up.
Does not own: what is said on a channel (lane, channel).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from . import codec
from .channel import POLL_S, Channel
from .client import WAIT_S, Client, Event, Stuck
from .control import Control, HttpControl, Policy
from .lane import Lane
from .transcript import Transcript, render_text

CAPABILITIES = (
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "exchange_exchange_bindings",
    "publisher_confirms",
)

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class Address(NamedTuple):
    """Where a broker is and who we are there."""

    host: str
    port: int
    user: str = "guest"
    password: str = "guest"
    virtual_host: str = "/"
    # None where nothing but AMQP is spoken: behaviours of policies are left out then.
    control: Control | None = None

    @classmethod
    def of(cls, url: str) -> Address:
        """An amqp:// URL; `?management=PORT` says where RabbitMQ's HTTP API is."""
        parts = urlsplit(url)
        virtual_host = unquote(parts.path[1:]) if len(parts.path) > 1 else "/"
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        ports = parse_qs(parts.query).get("management", [])
        control = HttpControl(int(ports[0]), user, password) if ports else None
        return cls(parts.hostname or "127.0.0.1", parts.port or 5672, user, password, virtual_host, control)


class Connection(Lane):
    """Channel 0 of a connection, and the way to its other channels."""

    def __init__(self, session: Session, client: Client, label: str) -> None:
        super().__init__(session, client, None, 0, label)
        self.frame_max = 131072
        self._last_channel = 0

    def send_protocol_header(self, header: bytes = PROTOCOL_HEADER) -> None:
        self.send_raw(header, f"protocol-header {header.hex(' ')}")

    def lane(self, number: int) -> Channel:
        """A channel number, with no channel.open sent."""
        return Channel(self.session, self.client, self, number, f"{self.label}.{number}")

    def channel(self, number: int = 0) -> Channel:
        """An open channel."""
        self._last_channel = number or self._last_channel + 1
        channel = self.lane(self._last_channel)
        channel.open()
        return channel

    def close(self) -> None:
        """Close politely; not written down."""
        arguments = {"reply_code": 200, "reply_text": "bye"}
        self.client.write(codec.frame(codec.FRAME_METHOD, 0, codec.method("connection.close", arguments)))
        self.client.next_event(0)
        # RabbitMQ leaves closing the socket to the peer that asked to close.
        self.client.close()

    def drop(self) -> None:
        """Cut the socket."""
        self.log("> (drops the connection)")
        self.client.close()

    # Handshake, step by step; `start` is what most of its behaviours begin with.

    def start(self) -> Event:
        self.client.write(PROTOCOL_HEADER)
        return self._quiet("connection.start")

    def start_ok(self, user: str, password: str, **client_properties: Any) -> None:
        self.client.write(
            codec.frame(
                codec.FRAME_METHOD,
                0,
                codec.method(
                    "connection.start-ok",
                    {
                        "client_properties": client_properties,
                        "mechanism": "PLAIN",
                        "response": f"\0{user}\0{password}",
                        "locale": "en_US",
                    },
                ),
            )
        )

    def log_in(self, capabilities: Iterable[str] = CAPABILITIES) -> Event:
        """Up to the broker's tune, not written down."""
        self.start()
        address = self.session.address
        self.start_ok(
            address.user,
            address.password,
            product="differential test",
            capabilities=dict.fromkeys(capabilities, True),
        )
        return self._quiet("connection.tune")

    def tune_ok(self, channel_max: int = 2047, frame_max: int = 131072, heartbeat: int = 0) -> None:
        self.frame_max = frame_max
        arguments = {"channel_max": channel_max, "frame_max": frame_max, "heartbeat": heartbeat}
        self.client.write(codec.frame(codec.FRAME_METHOD, 0, codec.method("connection.tune-ok", arguments)))

    def open(self) -> None:
        arguments = {"virtual_host": self.session.address.virtual_host}
        self.client.write(codec.frame(codec.FRAME_METHOD, 0, codec.method("connection.open", arguments)))
        self._quiet("connection.open-ok")

    def _quiet(self, name: str) -> Event:
        event = self._next(())
        if event.name != name:
            self._take(event)
            raise Stuck(f"{self.label} got {event.name} in the place of {name}")
        return event


class Session:
    """One run of one behaviour against one broker."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.token = secrets.token_hex(4)
        self.transcript = Transcript(self.token)
        self.ended: dict[str, None] = {}
        self._clients: list[Client] = []
        self._names: dict[str, None] = {}
        self._policies: dict[str, Policy] = {}
        self._monitor: Connection | None = None

    def log(self, line: str) -> None:
        self.transcript.add(line)

    def name(self, label: str) -> str:
        """A name that no other run uses; the transcript shows the label only."""
        name = f"{label}-{self.token}"
        self.remember(name)
        return name

    def pause(self, wait_ms: int) -> None:
        """Let time pass: for behaviours in which something is to expire, or is not to."""
        self.log(f"= {wait_ms} ms later")
        time.sleep(wait_ms / 1000)

    def policy(self, label: str, target: str, definition: dict[str, Any], **options: Any) -> None:
        """Set a policy for one queue or exchange; in force when this returns."""
        policy = Policy(f"{label}-{self.token}", f"^{re.escape(target)}$", definition, **options)
        said = ", ".join(f"{key}={value!r}" for key, value in (definition | options).items())
        self.log(f"= policy {label!r} for {target!r}: {said}")
        self._policies[label] = policy
        self._control().set_policy(policy)

    def clear_policy(self, label: str) -> None:
        self.log(f"= policy {label!r} is cleared")
        self._control().clear_policy(self._policies.pop(label))

    def _control(self) -> Control:
        assert self.address.control is not None
        return self.address.control

    def remember(self, name: str) -> None:
        """Delete this queue or exchange in the end."""
        self._names[name] = None

    def dial(self) -> Connection:
        """A connected socket on which nothing has been said."""
        client = Client(self.address.host, self.address.port)
        label = chr(ord("A") + len(self._clients))
        self._clients.append(client)
        return Connection(self, client, label)

    def connect(
        self,
        *,
        capabilities: Iterable[str] = CAPABILITIES,
        channel_max: int = 2047,
        frame_max: int = 131072,
        heartbeat: int = 0,
    ) -> Connection:
        """An open connection; its handshake is not written down."""
        connection = self.dial()
        connection.log_in(capabilities)
        connection.tune_ok(channel_max, frame_max, heartbeat)
        connection.open()
        return connection

    def channel(self, **arguments: Any) -> Channel:
        """The first channel of a new connection."""
        return self.connect(**arguments).channel()

    def queue_exists(self, name: str, is_expected: bool) -> None:
        self._log_existence("queue", name, is_expected)

    def exchange_exists(self, name: str, is_expected: bool) -> None:
        self._log_existence("exchange", name, is_expected)

    def has_exchange(self, name: str) -> bool:
        """The same, once, not written down."""
        return self._exists("exchange", name)

    def _log_existence(self, kind: str, name: str, is_expected: bool) -> None:
        """Look from another connection until it is as expected or the time is over; write down what is so."""
        deadline = time.monotonic() + WAIT_S / 3
        while True:
            is_there = self._exists(kind, name)
            if is_there == is_expected or time.monotonic() > deadline:
                self.log(f"= {kind} {render_text(name)} " + ("exists" if is_there else "does not exist"))
                return
            time.sleep(POLL_S)

    def _exists(self, kind: str, name: str) -> bool:
        if self._monitor is None:
            self._monitor = self._anonymous()
        client = self._monitor.client
        event = _ask(client, f"{kind}.declare", {kind: name, "passive": True})
        # A queue that is exclusive to another connection is there all the same.
        return event.name != "channel.close" or bool(event["reply_code"] != 404)

    def _anonymous(self) -> Connection:
        """A connection outside the transcript."""
        connection = Connection(self, Client(self.address.host, self.address.port), "-")
        connection.log_in()
        connection.tune_ok()
        connection.open()
        return connection

    def clean_up(self) -> None:
        """Close everything and delete every name that was handed out."""
        for client in self._clients:
            client.close()
        if self._monitor is not None:
            self._monitor.client.close()
        for policy in self._policies.values():
            self._control().clear_policy(policy)
        if not self._names:
            return
        sweeper = self._anonymous()
        for name in self._names:
            if name and not name.startswith("amq.rabbitmq."):
                _ask(sweeper.client, "queue.delete", {"queue": name})
            if name and not name.startswith("amq."):
                _ask(sweeper.client, "exchange.delete", {"exchange": name})
        sweeper.close()


def _ask(client: Client, method: str, arguments: dict[str, Any]) -> Event:
    """One method on a channel opened and closed for it."""
    answer = None
    for name, given in (("channel.open", {}), (method, arguments), ("channel.close", {"reply_code": 200})):
        client.write(codec.frame(codec.FRAME_METHOD, 1, codec.method(name, given)))
        event = client.next_event(1)
        if event is None or event.name == "connection.close":
            raise Stuck(f"no answer to {name} from a second connection")
        answer = event if name == method else answer
        if event.name == "channel.close":
            client.write(codec.frame(codec.FRAME_METHOD, 1, codec.method("channel.close-ok", {})))
            break
    assert answer is not None
    return answer
