"""One channel number of one connection: what is said there and what is heard, all written down.

Owns: sending methods and frames, reading events, waiting, answering close with close-ok.
Does not own: bytes (codec), the socket (client), how a line looks (transcript), opening anything.
Lines read `A.1 > method` for what connection A sends on channel 1 and `A.1 < method` for what it receives. What arrives
is written down when the script reads it, so the order of lines is the script's, not the network's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import codec
from .client import CLOSED, WAIT_S, Client, Ended, Event, Stuck
from .transcript import render_bytes, render_event, render_sent

if TYPE_CHECKING:
    from .session import Connection, Session

# How long to listen before writing that nothing came. Short: a broker on the same machine answers in a millisecond.
SILENCE_S = 0.08
PATIENCE_S = 1.0

# What a broker may send at any time; a call leaves it in the inbox for a later read.
ASYNCHRONOUS = frozenset({"basic.deliver", "basic.return", "basic.ack", "basic.nack", "basic.cancel"})

ENDINGS = frozenset({"channel.close", "connection.close", CLOSED})


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

    def read_unwritten(self) -> Event:
        """The next event, not written down: the script writes what it wants of it."""
        event = self._next(())
        if event.name in ENDINGS:
            self._take(event)
        return event

    def reply_unwritten(self) -> Event:
        """The same, not written down; for what is asked again until the answer is the one that is waited for."""
        event = self._next(ASYNCHRONOUS)
        if event.name in ENDINGS:
            self._take(event)
        return event

    def call(self, name: str, **arguments: Any) -> Event:
        self.send(name, **arguments)
        return self.reply()

    def nothing(self) -> None:
        """Nothing is to come: listen for a moment, and write down what came instead."""
        self._listen(SILENCE_S)

    def perhaps(self) -> None:
        """Something may come, and another broker may well stay silent: give it a second."""
        self._listen(PATIENCE_S)

    def _listen(self, wait_s: float) -> None:
        try:
            event = self.client.next_event(self.number, wait_s=wait_s)
        except Ended:
            self.log("< (closed)")
            return
        if event is None:
            self.log("< nothing")
        else:
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

    def returns(self, count: int) -> None:
        """The bodies of the next returned messages; confirms between them are left for `confirms`."""
        others = {*codec.BY_NAME} - {"basic.return", "channel.close", "connection.close"}
        bodies = [render_bytes(self._next(others).body) for _ in range(count)]
        self.log(f"< returned: {' '.join(bodies)}")

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
