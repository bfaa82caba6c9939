"""What a behaviour is written with: connections and channels whose every word goes into the transcript.

Owns: opening and closing connections, unique names, answering close with close-ok, the clean-up afterwards.
Does not own: bytes (codec), the socket (client), how a line looks (transcript).
Lines read `A.1 > method` for what connection A sends on channel 1 and `A.1 < method` for what it receives. What arrives
is written down when the script reads it, so the order of lines is the script's, not the network's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from . import codec
from .client import CLOSED, WAIT_S, Client, Ended, Event, Stuck
from .transcript import Transcript, render_bytes, render_event, render_properties, render_sent, render_text

# How long to listen before writing that nothing came. Short: a broker on the same machine answers in a millisecond.
SILENCE_S = 0.08
POLL_S = 0.02

# What a broker may send at any time; a call leaves it in the inbox for a later read.
ASYNCHRONOUS = frozenset({"basic.deliver", "basic.return", "basic.ack", "basic.nack", "basic.cancel"})

ENDINGS = frozenset({"channel.close", "connection.close", CLOSED})

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

    @classmethod
    def of(cls, url: str) -> Address:
        parts = urlsplit(url)
        virtual_host = unquote(parts.path[1:]) if len(parts.path) > 1 else "/"
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        return cls(parts.hostname or "127.0.0.1", parts.port or 5672, user, password, virtual_host)


class Lane:
    """One channel number of one connection: send, call, read. Everything said is written down."""

    def __init__(
        self, session: Session, client: Client, connection: Connection | None, number: int, label: str
    ) -> None:
        self.session = session
        self.client = client
        self.number = number
        self.label = label
        self._connection = connection
        self._unconfirmed: list[int] = []
        self._publish_count = 0
        self._is_confirming = False

    @property
    def connection(self) -> Connection:
        assert self._connection is not None
        return self._connection

    @property
    def connection_label(self) -> str:
        return self.label.partition(".")[0]

    # Saying

    def log(self, text: str) -> None:
        self.session.log(f"{self.label} {text}")

    def send(self, name: str, **arguments: Any) -> None:
        """One method without content."""
        self.log("> " + render_sent(name, arguments))
        self.client.write(codec.frame(codec.FRAME_METHOD, self.number, codec.method(name, arguments)))
        if name == "confirm.select":
            self._is_confirming = True

    def send_frame(self, kind: int, payload: bytes, end: int = codec.FRAME_END, *, note: str = "") -> None:
        """A frame of our making; `note` says what is in it, otherwise its octets are written down."""
        tail = "" if end == codec.FRAME_END else f" end={end:#04x}"
        self.log(f"> frame {kind} {note or payload[:40].hex(' ')}{tail}")
        self.client.write(codec.frame(kind, self.number, payload, end))

    def send_header(self, body_size: int, **properties: Any) -> None:
        payload = codec.header(body_size, codec.properties(properties))
        self.send_frame(codec.FRAME_HEADER, payload, note=f"header body_size={body_size}")

    def send_body(self, body: bytes) -> None:
        self.send_frame(codec.FRAME_BODY, body, note=f"body {render_bytes(body)}")

    def send_raw(self, raw: bytes, note: str) -> None:
        self.log(f"> {note}")
        self.client.write(raw)

    # Hearing

    def read(self, count: int = 1, *, sort: bool = False) -> list[Event]:
        """The next `count` events, whatever they are. With `sort` their order is left out of the transcript."""
        events: list[Event] = []
        lines: list[str] = []
        for _ in range(count):
            event = self._next(())
            if sort and event.name in ASYNCHRONOUS:
                lines.append(self.session.transcript.normalise(f"{self.label} < {render_event(event)}"))
            else:
                self._take(event)
            events.append(event)
            if event.name in ENDINGS:
                break
        for line in sorted(lines):
            self.session.log(line)
        return events

    def read_one(self) -> Event:
        return self.read()[0]

    def fault(self) -> None:
        """The next event ends the channel or the connection; its explanation is each broker's own and left out.

        RabbitMQ explains broken frames with Erlang terms that nobody should have to imitate.
        """
        event = self._next(())
        if "reply_text" in event.arguments:
            event.arguments["reply_text"] = event["reply_text"].partition(" - ")[0]
        self._take(event)

    def reply(self) -> Event:
        """The next event that is not a delivery, a return, a confirm or a consumer's cancellation."""
        event = self._next(ASYNCHRONOUS)
        self._take(event)
        return event

    def call(self, name: str, **arguments: Any) -> Event:
        self.send(name, **arguments)
        return self.reply()

    def nothing(self) -> None:
        """Listen for a moment, and write down whether anything came."""
        try:
            event = self.client.next_event(self.number, wait_s=SILENCE_S)
        except Ended:
            self.log("< (closed)")
            return
        if event is None:
            self.log("< nothing")
        else:
            self.log("< (unexpected)")
            self._take(event)

    def end(self, wait_s: float = WAIT_S) -> None:
        """The broker is to close the socket without a word."""
        if self.client.read_end(wait_s):
            self.log("< (closed)")
        else:
            self.log("< (still open)")

    def confirms(self) -> None:
        """Every publish not yet settled gets its ack or nack; how many share one method is the broker's business."""
        verdicts: list[str] = []
        others = {*codec.BY_NAME} - {"basic.ack", "basic.nack", "channel.close", "connection.close"}
        while self._unconfirmed:
            event = self._next(others)
            if event.name in ENDINGS:
                self._take(event)
                break
            settled = self._settle(event)
            verdicts += [f"{tag} {event.name[6:]}" for tag in settled] or [f"{event['delivery_tag']} again"]
        self.log("< confirmed: " + (", ".join(verdicts) or "none"))

    def _settle(self, event: Event) -> list[int]:
        tag, multiple = event["delivery_tag"], event["multiple"]
        settled = [mine for mine in self._unconfirmed if mine == tag or (multiple and (mine <= tag or tag == 0))]
        self._unconfirmed = [mine for mine in self._unconfirmed if mine not in settled]
        return settled

    def _next(self, skip: Iterable[str]) -> Event:
        try:
            event = self.client.next_event(self.number, frozenset(skip))
        except Ended:
            # News once; a script that goes on as if nothing had happened is stopped.
            if self.connection_label in self.session.ended:
                raise
            self.session.ended[self.connection_label] = None
            return Event(CLOSED, self.number)
        if event is None:
            raise Stuck(f"{self.label} waited in vain")
        return event

    def _take(self, event: Event) -> None:
        """Write an event down and do what every client must: answer a close."""
        if event.name in (CLOSED, "connection.close"):
            self.session.log(f"{self.connection_label} < {render_event(event)}")
        if event.name == CLOSED:
            return
        if event.name == "connection.close":
            close_ok = codec.method("connection.close-ok", {})
            self.client.write(codec.frame(codec.FRAME_METHOD, 0, close_ok))
            self.client.read_end()
            return
        self.log("< " + render_event(event))
        if event.name == "channel.close":
            self.client.write(codec.frame(codec.FRAME_METHOD, self.number, codec.method("channel.close-ok", {})))
        elif event.name in ("basic.ack", "basic.nack"):
            self._settle(event)


class Channel(Lane):
    """One channel, with short words for what behaviours do all the time."""

    def open(self) -> None:
        """Open, or open again, without writing it down."""
        self.client.write(codec.frame(codec.FRAME_METHOD, self.number, codec.method("channel.open", {})))
        event = self._next(ASYNCHRONOUS)
        if event.name != "channel.open-ok":
            self._take(event)
        self._unconfirmed, self._publish_count, self._is_confirming = [], 0, False

    def close(self) -> None:
        self.call("channel.close", reply_code=200)

    def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes = b"",
        *,
        mandatory: bool = False,
        immediate: bool = False,
        **properties: Any,
    ) -> None:
        """basic.publish with header and body, the body cut at the negotiated frame_max."""
        arguments: dict[str, Any] = {"exchange": exchange, "routing_key": routing_key}
        arguments |= {"mandatory": True} if mandatory else {}
        arguments |= {"immediate": True} if immediate else {}
        property_bytes = codec.properties(properties)
        shown = " " + render_properties(property_bytes) if properties else ""
        self.log(f"> {render_sent('basic.publish', arguments)}{shown} {render_bytes(body)}")
        frames = [codec.frame(codec.FRAME_METHOD, self.number, codec.method("basic.publish", arguments))]
        frames.append(codec.frame(codec.FRAME_HEADER, self.number, codec.header(len(body), property_bytes)))
        step = self.connection.frame_max - 8
        frames += [codec.frame(codec.FRAME_BODY, self.number, body[at : at + step]) for at in range(0, len(body), step)]
        self.client.write(b"".join(frames))
        self._publish_count += 1
        if self._is_confirming:
            self._unconfirmed.append(self._publish_count)

    def publish_each(self, queue: str, *bodies: bytes) -> None:
        """One message per body to a queue through the default exchange."""
        for body in bodies:
            self.publish("", queue, body)

    def select_confirms(self) -> None:
        self.call("confirm.select")
        self._publish_count = 0

    def queue(self, label: str = "q", **arguments: Any) -> str:
        """Declare a queue under a name unique to this run; '' lets the broker choose."""
        event = self.call("queue.declare", queue=self.session.name(label) if label else "", **arguments)
        name = event.arguments.get("queue", "")
        self.session.remember(name)
        return str(name)

    def exchange(self, label: str = "x", type: str = "direct", **arguments: Any) -> str:
        name = self.session.name(label)
        self.call("exchange.declare", exchange=name, type=type, **arguments)
        return name

    def bind(self, queue: str, exchange: str, routing_key: str = "", **arguments: Any) -> Event:
        return self.call("queue.bind", queue=queue, exchange=exchange, routing_key=routing_key, **arguments)

    def get(self, queue: str, *, no_ack: bool = False) -> Event:
        return self.call("basic.get", queue=queue, **({"no_ack": True} if no_ack else {}))

    def consume(self, queue: str, consumer_tag: str = "", **arguments: Any) -> Event:
        return self.call("basic.consume", queue=queue, consumer_tag=consumer_tag, **arguments)

    def ack(self, delivery_tag: int, multiple: bool = False) -> None:
        self.send("basic.ack", delivery_tag=delivery_tag, multiple=multiple)

    def nack(self, delivery_tag: int, multiple: bool = False, requeue: bool = True) -> None:
        self.send("basic.nack", delivery_tag=delivery_tag, multiple=multiple, requeue=requeue)

    def reject(self, delivery_tag: int, requeue: bool = True) -> None:
        self.send("basic.reject", delivery_tag=delivery_tag, requeue=requeue)

    def sync(self) -> None:
        """Two round trips, not written down: whatever was sent before on this channel has been seen by the broker."""
        for _ in range(2):
            arguments = {"exchange": "amq.direct", "passive": True}
            payload = codec.method("exchange.declare", arguments)
            self.client.write(codec.frame(codec.FRAME_METHOD, self.number, payload))
            event = self._next(ASYNCHRONOUS)
            if event.name != "exchange.declare-ok":
                self._take(event)
                return

    def drain(self, *queues: str) -> None:
        """Take everything out of the queues; bodies in order, a star where redelivered is set."""
        for queue in queues:
            words = []
            while True:
                payload = codec.method("basic.get", {"queue": queue, "no_ack": True})
                self.client.write(codec.frame(codec.FRAME_METHOD, self.number, payload))
                event = self._next(ASYNCHRONOUS)
                if event.name == "basic.get-empty":
                    break
                if event.name != "basic.get-ok":
                    self._take(event)
                    return
                words.append(render_bytes(event.body) + ("*" if event["redelivered"] else ""))
            self.log(f"= {queue} held: {' '.join(words) or 'nothing'}")

    def counts(self, queue: str, messages: int, consumers: int | None = None) -> None:
        """Wait until a passive declare tells these counts, and write down what it tells in the end."""
        deadline = time.monotonic() + WAIT_S / 3
        while True:
            payload = codec.method("queue.declare", {"queue": queue, "passive": True})
            self.client.write(codec.frame(codec.FRAME_METHOD, self.number, payload))
            event = self._next(ASYNCHRONOUS)
            if event.name != "queue.declare-ok":
                self._take(event)
                return
            found = (event["message_count"], event["consumer_count"])
            is_reached = found[0] == messages and consumers in (None, found[1])
            if is_reached or time.monotonic() > deadline:
                shown = f", {found[1]} consumers" if consumers is not None else ""
                self.log(f"= {queue} has {found[0]} ready{shown}")
                return
            time.sleep(POLL_S)


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
        self._monitor: Connection | None = None

    def log(self, line: str) -> None:
        self.transcript.add(line)

    def name(self, label: str) -> str:
        """A name that no other run uses; the transcript shows the label only."""
        name = f"{label}-{self.token}"
        self.remember(name)
        return name

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
