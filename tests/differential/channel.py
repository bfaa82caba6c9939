"""An open channel, with short words for what behaviours do all the time: publish, get, ack, drain a queue."""

from __future__ import annotations

import time
from typing import Any

from . import codec
from .client import WAIT_S, Event
from .lane import ASYNCHRONOUS, Lane
from .transcript import render_bytes, render_properties, render_sent

POLL_S = 0.02


class Channel(Lane):
    """One channel, with short words for what behaviours do all the time."""

    def open(self) -> None:
        """Open, or open again, without writing it down."""
        self.client.write(codec.frame(codec.FRAME_METHOD, self.number, codec.method("channel.open", {})))
        event = self._next(ASYNCHRONOUS)
        if event.name != "channel.open-ok":
            self._take(event)
        self._unconfirmed, self._publish_count, self._is_confirming = [], 0, False

    def attempt(self, name: str, **arguments: Any) -> Event:
        """A call that may close the channel, which is then opened again."""
        event = self.call(name, **arguments)
        if event.name == "channel.close":
            self.open()
        return event

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

    def await_message(self, queue: str, *, no_ack: bool = False) -> Event:
        """Get until there is something to get, or until the time is over; not written down."""
        deadline = time.monotonic() + WAIT_S / 3
        while True:
            payload = codec.method("basic.get", {"queue": queue, "no_ack": no_ack})
            self.client.write(codec.frame(codec.FRAME_METHOD, self.number, payload))
            event = self.reply_unwritten()
            if event.name != "basic.get-empty" or time.monotonic() > deadline:
                return event
            time.sleep(POLL_S)

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
