"""Recorded sessions of a client, ways to spoil them, and a broker that is fed with the result.

`SESSIONS` are valid: a client that is logged in, with channel 1 open, sends their frames in this order. `spoil` changes
some of it with a given `random.Random`, so a stream is repeated by its seed. `Trial` feeds one stream to a broker through
the harness and says in one sentence what is wrong with the outcome, "" if nothing.
"""

from __future__ import annotations

import random

from pamqp import commands

from amqpd.base.timers import TimingWheel
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import encode_method, new_method
from tests.behaviour.harness import PERSISTENT, BrokerHarness, Client

# kind, channel, payload
Frame = tuple[int, int, bytes]

CONSUME_OK = b"\x00\x3c\x00\x15"
DELIVER = b"\x00\x3c\x00\x3c"
ACK = b"\x00\x3c\x00\x50"
NACK = b"\x00\x3c\x00\x78"
OPEN_OK = b"\x00\x14\x00\x0b"
# channel.close and close-ok, connection.close and close-ok.
ENDS = (b"\x00\x14\x00\x28", b"\x00\x14\x00\x29", b"\x00\x0a\x00\x32", b"\x00\x0a\x00\x33")


def method(method_class: type, channel: int = 1, **values: object) -> Frame:
    return 1, channel, encode_method(new_method(method_class, **values))


def message(
    routing_key: str, body: bytes, exchange: str = "", properties: bytes = b"\x00\x00", channel: int = 1, **bits: bool
) -> list[Frame]:
    """publish, header and up to two body frames."""
    frames = [method(commands.Basic.Publish, channel, exchange=exchange, routing_key=routing_key, **bits)]
    frames.append((2, channel, b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + properties))
    half = len(body) // 2 if len(body) > 8 else len(body)
    frames += [(3, channel, part) for part in (body[:half], body[half:]) if part != b""]
    return frames


def headers_property(values: dict[str, object]) -> bytes:
    raw = encode_table(values).raw
    return b"\x20\x00" + len(raw).to_bytes(4, "big") + raw


def _handshake() -> list[Frame]:
    properties = encode_table({"product": "fuzz", "capabilities": encode_table({"consumer_cancel_notify": True})})
    return [
        method(
            commands.Connection.StartOk,
            0,
            client_properties=properties,
            mechanism="PLAIN",
            response="\0guest\0guest",
            locale="en_US",
        ),
        method(commands.Connection.TuneOk, 0, channel_max=16, frame_max=4096, heartbeat=0),
        method(commands.Connection.Open, 0, virtual_host="/"),
        method(commands.Channel.Open),
    ]


def _sessions() -> list[list[Frame]]:
    basic, queue, exchange, channel, tx = (
        commands.Basic,
        commands.Queue,
        commands.Exchange,
        commands.Channel,
        commands.Tx,
    )
    reply_to = b"amq.rabbitmq.reply-to"
    getting = [
        method(queue.Declare, queue="q", durable=True),
        *message("q", b"first", properties=PERSISTENT),
        *message("q", b"second of two frames"),
        *message("q", b""),
        method(basic.Get, queue="q"),
        method(basic.Get, queue=""),
        method(basic.Get, queue="q", no_ack=True),
        method(basic.Get, queue="q"),
        method(basic.Nack, delivery_tag=2, multiple=True, requeue=True),
        method(basic.Get, queue="q"),
        method(basic.Ack, delivery_tag=4),
        method(queue.Purge, queue="q"),
        method(queue.Delete, queue="q", if_unused=True),
    ]
    consuming = [
        method(queue.Declare, queue="c", auto_delete=True),
        method(basic.Qos, prefetch_count=2),
        method(basic.Qos, prefetch_count=3, global_=True),
        method(basic.Consume, queue="c", consumer_tag="one"),
        method(basic.Consume, queue="c", consumer_tag="two", no_ack=True),
        *message("c", b"a"),
        *message("c", b"b", properties=PERSISTENT),
        *message("c", b"c"),
        method(basic.Reject, delivery_tag=1, requeue=True),
        method(basic.Ack, delivery_tag=0, multiple=True),
        method(basic.Recover, requeue=True),
        method(basic.Cancel, consumer_tag="one"),
        method(channel.Flow, active=False),
        method(channel.Flow, active=True),
        method(basic.Cancel, consumer_tag="two"),
    ]
    confirming = [
        method(queue.Declare, queue="d", durable=True),
        method(commands.Confirm.Select),
        *message("d", b"a", properties=PERSISTENT),
        *message("nowhere", b"b", mandatory=True),
        *message("d", b"c"),
        *message("d", b"d", properties=b"\x91\x00\x04text\x02\x0560000"),
        method(queue.Delete, queue="d"),
    ]
    transacting = [
        method(queue.Declare, queue="t", durable=True),
        method(tx.Select),
        *message("t", b"a", properties=PERSISTENT),
        method(tx.Commit),
        method(basic.Get, queue="t"),
        method(basic.Ack, delivery_tag=1),
        *message("t", b"b"),
        method(tx.Rollback),
        method(basic.Reject, delivery_tag=1, requeue=True),
        method(tx.Commit),
        method(basic.Get, queue="t"),
    ]
    routing = [
        method(exchange.Declare, exchange="x", exchange_type="topic", durable=True),
        method(exchange.Declare, exchange="y", exchange_type="headers", auto_delete=True),
        method(
            exchange.Declare,
            exchange="z",
            exchange_type="fanout",
            arguments=encode_table({"alternate-exchange": "x"}),
        ),
        method(queue.Declare, queue="r", durable=True),
        method(queue.Declare, queue="s", exclusive=True),
        method(queue.Bind, queue="r", exchange="x", routing_key="a.*.#"),
        method(queue.Bind, queue="s", exchange="y", arguments=encode_table({"x-match": "any", "n": 1, "t": "u"})),
        method(exchange.Bind, source="x", destination="y", routing_key="#"),
        *message("a.b.c", b"1", "x"),
        *message("", b"2", "y", headers_property({"n": 1, "CC": ["r", "s"], "BCC": ["q"]})),
        *message("a.b", b"3", "z", PERSISTENT),
        method(basic.Get, queue="r"),
        method(exchange.Unbind, source="x", destination="y", routing_key="#"),
        method(queue.Unbind, queue="r", exchange="x", routing_key="a.*.#"),
        method(exchange.Delete, exchange="x", if_unused=True),
    ]
    replying = [
        method(basic.Consume, queue="amq.rabbitmq.reply-to", consumer_tag="r", no_ack=True),
        method(queue.Declare, queue="asked"),
        *message("asked", b"?", properties=b"\x02\x00" + bytes([len(reply_to)]) + reply_to),
        *message("amq.rabbitmq.reply-to.AAAA", b"!", mandatory=True),
        method(basic.Get, queue="asked", no_ack=True),
        method(basic.Cancel, consumer_tag="r"),
    ]
    opening = [
        method(channel.Open, 2),
        method(channel.Open, 16),
        method(queue.Declare, 2, queue="", exclusive=True),
        method(queue.Bind, 2, queue="", exchange="amq.topic", routing_key="k"),
        *message("k", b"x", "amq.topic", channel=16),
        method(basic.Get, 2, queue=""),
        method(channel.Close, 2, reply_code=200),
        method(basic.Ack, delivery_tag=9),
        method(channel.CloseOk),
        method(channel.Open),
        (8, 0, b""),
        method(commands.Connection.Close, 0, reply_code=200),
    ]
    declaring = [
        method(
            queue.Declare,
            queue="a",
            durable=True,
            arguments=encode_table({"x-expires": 60000, "x-max-priority": 5, "x-overflow": "drop-head", "other": [1]}),
        ),
        method(queue.Declare, queue="a", passive=True),
        method(
            queue.Declare, queue="b", nowait=True, arguments=encode_table({"x-message-ttl": 5, "x-queue-mode": "lazy"})
        ),
        method(queue.Declare, queue="b", arguments=encode_table({"x-message-ttl": 5, "x-queue-mode": "lazy"})),
        method(queue.Delete, queue="b", nowait=True),
    ]
    dying = [
        method(queue.Declare, queue="dead", durable=True),
        method(
            queue.Declare,
            queue="short",
            durable=True,
            arguments=encode_table(
                {"x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
            ),
        ),
        method(
            queue.Declare, queue="full", arguments=encode_table({"x-max-length": 1, "x-overflow": "reject-publish"})
        ),
        method(queue.Declare, queue="sorted", durable=True, arguments=encode_table({"x-max-priority": 5})),
        method(
            queue.Declare, queue="limited", arguments=encode_table({"x-delivery-limit": 1, "x-message-ttl": 60_000})
        ),
        method(commands.Confirm.Select),
        *message("short", b"1", properties=PERSISTENT),
        *message("short", b"2", properties=PERSISTENT),
        method(basic.Get, queue="short"),
        method(basic.Reject, delivery_tag=1),
        *message("full", b"1"),
        *message("full", b"2"),
        *message("sorted", b"low", properties=b"\x18\x00\x02\x01"),
        *message("sorted", b"high", properties=b"\x18\x00\x02\x04"),
        *message("limited", b"gone", properties=b"\x01\x00\x010"),
        *message("limited", b"kept"),
        method(basic.Get, queue="limited"),
        method(basic.Nack, delivery_tag=2, requeue=True),
        method(basic.Get, queue="sorted"),
        method(basic.Get, queue="dead"),
    ]
    return [getting, consuming, confirming, transacting, routing, replying, opening, declaring, dying]


PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HANDSHAKE = _handshake()
SESSIONS = _sessions()


def encode(frames: list[Frame]) -> bytes:
    parts = []
    for kind, channel, payload in frames:
        parts.append(b"%c%b%b%b\xce" % (kind, channel.to_bytes(2, "big"), len(payload).to_bytes(4, "big"), payload))
    return b"".join(parts)


LOG_IN = PROTOCOL_HEADER + encode(HANDSHAKE)

# Spoiling --------------------------------------------------------------------------------------------------------------

INTERESTING = (0, 1, 2, 3, 8, 0x7F, 0x80, 0xCE, 0xFE, 0xFF)
TAGS = b"tbBsuIilLfdDxSFATV"


def random_table(rng: random.Random, depth: int = 0) -> bytes:
    """Entries of a field table; mostly well-formed."""
    out = b""
    for _ in range(rng.randrange(4)):
        key = rng.choice(
            (b"", b"k", b"x-expires", b"x-match", b"CC", b"BCC", b"alternate-exchange", b"x-queue-type", b"\xff")
        )
        out += bytes([len(key)]) + key + random_value(rng, depth)
    return out


def random_value(rng: random.Random, depth: int) -> bytes:
    tag = TAGS[rng.randrange(len(TAGS))]
    if tag in b"FA" and depth < 3:
        inside = random_table(rng, depth + 1) if tag == ord("F") else random_value(rng, depth + 1)
        size = len(inside) + (rng.choice((-1, 1, 1 << 20)) if rng.random() < 0.05 else 0)
        return bytes([tag]) + (max(size, 0)).to_bytes(4, "big") + inside
    if tag in b"Sx":
        text = rng.choice((b"", b"all", b"any", b"classic", b"\xff\xfe", b"r" * rng.randrange(300)))
        return bytes([tag]) + len(text).to_bytes(4, "big") + text
    size = {"t": 1, "b": 1, "B": 1, "s": 2, "u": 2, "I": 4, "i": 4, "f": 4, "D": 5, "V": 0}.get(chr(tag), 8)
    return bytes([tag]) + rng.randbytes(size)


def spoil(rng: random.Random, frames: list[Frame]) -> bytes:
    """The encoded frames with one to four changes, inside frames that stay frames, and to the bytes as a whole."""
    frames = list(frames)
    for _ in range(rng.randrange(4)):
        _spoil_frames(rng, frames)
    data = encode(frames)
    if rng.random() < 0.4:
        data = spoil_bytes(rng, data)
    return data


def _spoil_frames(rng: random.Random, frames: list[Frame]) -> None:
    if not frames:
        return
    at = rng.randrange(len(frames))
    kind, channel, payload = frames[at]
    what = rng.randrange(12)
    if what == 0:
        del frames[at]
    elif what == 1:
        frames.insert(rng.randrange(len(frames) + 1), frames[at])
    elif what == 2:
        other = rng.randrange(len(frames))
        frames[at], frames[other] = frames[other], frames[at]
    elif what == 3:
        donor = rng.choice(SESSIONS)
        start = rng.randrange(len(donor))
        frames[at:at] = donor[start : start + rng.randrange(1, 6)]
    elif what == 4:
        frames[at] = kind, rng.choice((0, 1, 1, 2, 16, 17, 255, 65535)), payload
    elif what == 5:
        frames[at] = rng.choice((0, 1, 2, 3, 4, 8, 255)), channel, payload
    elif what == 6:
        table = random_table(rng)
        method_class = rng.choice((commands.Queue.Declare, commands.Exchange.Declare, commands.Queue.Bind))
        prefix = encode_method(new_method(method_class))[:-4]
        frames.insert(at, (1, channel, prefix + len(table).to_bytes(4, "big") + table))
    elif what == 7:
        table = random_table(rng)
        properties = b"\x20\x00" + len(table).to_bytes(4, "big") + table
        frames[at:at] = message("q", b"t", rng.choice(("", "amq.headers", "y")), properties)
    elif what == 8:
        class_id, method_id = rng.choice((10, 20, 30, 40, 50, 60, 85, 90, 0x8000, 0xFFFF)), rng.randrange(128)
        frames[at] = 1, channel, class_id.to_bytes(2, "big") + method_id.to_bytes(2, "big") + payload[4:]
    elif what == 9:
        frames[at] = kind, channel, payload[: rng.randrange(len(payload) + 1)]
    else:
        frames[at] = kind, channel, spoil_bytes(rng, payload)


def spoil_bytes(rng: random.Random, data: bytes) -> bytes:
    if data == b"":
        return rng.randbytes(rng.randrange(9))
    at = rng.randrange(len(data))
    what = rng.randrange(7)
    if what == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if what == 1:
        return data[:at] + bytes([rng.choice(INTERESTING)]) + data[at + 1 :]
    if what == 2:
        return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]
    if what == 3:
        return data[:at] + data[at + rng.randrange(1, 9) :]
    if what == 4:
        return data[:at]
    if what == 5:
        # Where a length may stand: 1, 2, 4 or 8 bytes of some other number.
        size = rng.choice((1, 2, 4, 8))
        number = rng.choice((0, 1, 255, 4088, 4096, 1 << 15, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
        return data[:at] + (number & ((1 << (8 * size)) - 1)).to_bytes(size, "big") + data[at + size :]
    start = rng.randrange(len(data))
    return data[:at] + data[start : start + rng.randrange(1, 60)] + data[at:]


# Feeding ---------------------------------------------------------------------------------------------------------------


class Peer(Client):
    """A client that keeps the bytes that come back as they are."""

    def __init__(self, harness: BrokerHarness) -> None:
        super().__init__(harness)
        self.output = b""

    def take(self, data: bytes) -> None:
        self.output += data


class Trial:
    """Streams against one broker, one after the other."""

    def __init__(self) -> None:
        self.harness = BrokerHarness()

    def feed(self, pieces: list[bytes], is_logged_in: bool = True) -> bytes:
        """All of it on a new connection that is then lost. Returns what came back after the log-in."""
        harness = self.harness
        peer = Peer(harness)
        harness.clients.append(peer)
        if is_logged_in:
            peer.send_bytes(LOG_IN)
            peer.output = b""
        for piece in pieces:
            if peer.is_closed:
                break
            peer.send_bytes(piece)
        harness.broker.lost(peer.connection)
        harness.settle()
        harness.clients.clear()
        harness.batches.clear()
        return peer.output

    def end(self) -> None:
        """Compiled, entries are not tracked by the garbage collector: a broker that is dropped must be emptied first."""
        broker = self.harness.broker
        for vhost in broker.vhosts.values():
            for queue in list(vhost.queues.values()):
                vhost.delete_queue(queue)
        broker.agenda.wheel = TimingWheel(0)

    def fault(self) -> str:
        """What of the last streams should not be; "" if all is well."""
        broker = self.harness.broker
        for notice in broker.agenda.lines:
            if "internal error" in notice or "INTERNAL_ERROR" in notice:
                return notice
        broker.agenda.notices.clear()
        if len(broker.connections) > 0:
            return f"{len(broker.connections)} connections are left"
        if len(broker.agenda.departing) > 0:
            return "a dead letter outlives its turn"
        live: dict[int, None] = {}
        for vhost in broker.vhosts.values():
            if len(vhost._reply_queues) > 0:
                return "a reply queue outlives its connection"
            for queue in vhost.queues.values():
                if queue.owner != 0:
                    return f"exclusive queue {queue.name!r} outlives its connection"
                if queue.unacked_count != 0 or len(queue.consumers.all) > 0:
                    return f"queue {queue.name!r} keeps unacked messages or consumers of a connection that is gone"
                entries = queue.ready.entries()
                ids = [entry.message.message_id for entry in entries]
                if len(ids) != queue.ready.count or len(ids) != len(set(ids)):
                    return f"queue {queue.name!r} counts {queue.ready.count} for {ids}"
                if queue.options.max_priority < 0 and ids != sorted(ids):
                    return f"queue {queue.name!r} is out of order: {ids}"
                if queue.is_stored:
                    live.update(
                        {entry.message.message_id: None for entry in entries if entry.message.segment is not None}
                    )
        live_count = sum(segment.live_count for segment in self.harness.broker.agenda.log.segments)
        if live_count != len(live):
            return f"the log counts {live_count} live messages where the queues have {len(live)}"
        return ""


def split_output(output: bytes) -> list[tuple[int, int, bytes]]:
    """The frames that the broker sent; raises AssertionError for bytes that are none."""
    frames = []
    at = 0
    while at < len(output):
        if output[at : at + 8] == PROTOCOL_HEADER:
            at += 8
            continue
        size = int.from_bytes(output[at + 3 : at + 7], "big")
        end = at + 7 + size
        assert end < len(output), "the broker sent a frame that is cut short"
        assert output[end] == 0xCE, "the broker sent a frame without its end"
        frames.append((output[at], int.from_bytes(output[at + 1 : at + 3], "big"), output[at + 7 : end]))
        at = end + 1
    return frames


Frames = list[Frame]
Confirmed = dict[tuple[int, int], list[tuple[int, bytes]]]


def comparable(output: bytes) -> tuple[Frames, Confirmed] | None:
    """What must not depend on how the input was cut: the frames, and which sequences of each channel were confirmed how.

    How many confirms one ack pays for, and where among other replies it stands, follows from turns. So does the order of
    deliveries among other replies: None where there are consumers.
    """
    frames: Frames = []
    confirmed: Confirmed = {}
    # How often each channel was opened, and how far its confirms have come since.
    opened: dict[int, int] = {}
    paid: dict[int, int] = {}
    for kind, channel, payload in split_output(output):
        start = payload[:4]
        if kind == 1 and start in (CONSUME_OK, DELIVER):
            return None
        if kind == 1 and start in (ACK, NACK):
            tag = int.from_bytes(payload[4:12], "big")
            first = paid.get(channel, 0) + 1 if payload[12] & 1 else tag
            of_channel = confirmed.setdefault((channel, opened.get(channel, 0)), [])
            of_channel.extend((each, start) for each in range(first, tag + 1))
            paid[channel] = tag
            continue
        frames.append((kind, channel, payload))
        if kind == 1 and start == OPEN_OK:
            opened[channel] = opened.get(channel, 0) + 1
            paid[channel] = 0
    return frames, confirmed


def depends_on_turns(data: bytes) -> bool:
    """Dead letters arrive when the turn ends, so what is asked of their queue depends on how the input was cut."""
    return b"x-dead-letter-exchange" in data


def difference(whole: bytes, cut: bytes) -> str:
    """What a client that cut up its input got otherwise; "" if nothing that counts.

    A channel that closes in the turn of its publishes leaves them unconfirmed, so either may confirm more than the other.
    """
    a, b = comparable(whole), comparable(cut)
    if a is None or b is None:
        return ""
    has_end = any(kind == 1 and payload[:4] in ENDS for kind, _, payload in a[0])
    same_confirms = a[1] == b[1]
    if has_end:
        same_confirms = all(
            one[: len(other)] == other or other[: len(one)] == one
            for one, other in [(a[1].get(key, []), b[1].get(key, [])) for key in {**a[1], **b[1]}]
        )
    if a[0] == b[0] and same_confirms:
        return ""
    return f"whole and cut up differ:\n  {split_output(whole)}\n  {split_output(cut)}"
