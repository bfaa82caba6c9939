"""Drives a Broker with bytes: no sockets, no sleeps, a clock that moves when it is told to.

`BrokerHarness` is the broker with a disk that syncs when told (at once by default); `Client` speaks AMQP to it and keeps
what came back as decoded frames. What is synced goes to a disk in memory once somebody wants to read it back.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, TypeVar

from pamqp import commands
from pamqp.base import Frame

from amqpd.base.limits import Limits
from amqpd.base.ports import Entropy
from amqpd.broker import Broker
from amqpd.connections.connection import Connection
from amqpd.queues.chunk import Depth, PageRead
from amqpd.store.batch import Batch
from amqpd.store.disk import Disk
from amqpd.store.log import SEGMENT_BYTES, Log, fresh_start
from amqpd.store.page_reader import PageReader
from amqpd.store.recovered import Recovered
from amqpd.store.segment import SegmentWriter
from amqpd.store.topology import Topology
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import decode_method, encode_method, new_method
from tests.fakes.faulty_disk import FaultyDisk

M = TypeVar("M", bound=Frame)

LOG_ID = 1


class CountingEntropy(Entropy):
    """Tokens that differ and repeat from run to run."""

    def __init__(self) -> None:
        self._next = 0

    def token(self, size_bytes: int) -> bytes:
        self._next += 1
        return self._next.to_bytes(size_bytes, "big")


@dataclass
class Received:
    channel: int
    method: Any
    header: bytes = b""
    body: bytes = b""


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


def method_frame(channel: int, method: Frame) -> bytes:
    return frame(1, channel, encode_method(method))


def content_frames(channel: int, body: bytes, header_tail: bytes = b"\x00\x00", frame_max: int = 131072) -> bytes:
    """Content header (class 60, these flags and properties) and body frames."""
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + header_tail
    out = frame(2, channel, header)
    step = frame_max - 8
    for at in range(0, len(body), step):
        out += frame(3, channel, body[at : at + step])
    return out


PERSISTENT = b"\x10\x00\x02"


class BrokerHarness:
    """A broker with one vhost and the user guest; its disk syncs at once unless `hold_syncs` is set.

    The same goes for reading: with `hold_reads` what queues want back stays in `reads`.
    """

    def __init__(
        self, limits: Limits | None = None, segment_bytes: int = SEGMENT_BYTES, depth: Depth | None = None
    ) -> None:
        start = fresh_start(LOG_ID)
        log = Log(start, segment_bytes)
        self.broker = Broker(limits or Limits(), log, Topology(), Recovered(start), CountingEntropy(), depth=depth)
        self.disk: Disk = FaultyDisk()
        self.writer = SegmentWriter(self.disk, 0)
        self.now_ms = 1000
        self.hold_syncs = False
        self.hold_reads = False
        self.reads: list[PageRead] = []
        # So many reads more will fail for now, or find rubbish; of every page.
        self.failing_reads = 0
        self.damaged_reads = 0
        self.read_count = 0
        self.batches: list[Batch] = []
        self._written_count = 0
        self.clients: list[Client] = []
        self.advance(0)

    def advance(self, ms: int) -> None:
        """Let time pass, in the steps in which the shell would tick."""
        target = self.now_ms + ms
        while True:
            self.broker.tick(self.now_ms, 1_700_000_000_000 + self.now_ms)
            self.settle()
            if self.now_ms >= target:
                return
            self.now_ms = min(target, self.now_ms + 100)

    def settle(self) -> None:
        """Run turns until nothing is left to do: batches are synced (unless held), output goes to its clients."""
        going = True
        while going:
            going = False
            if not self.hold_syncs and self.broker.needs_seal:
                going = self._commit()
            self.reads += self.broker.take_reads()
            while self.reads and not self.hold_reads:
                self.serve(self.reads.pop(0))
                going = True
            for connection in self.broker.woken():
                going = True
                for client in self.clients:
                    if client.connection is connection:
                        client.take(connection.take_output())
                        client.is_closed = connection.closing
            if self.broker.has_work:
                self.broker.go_on()
                going = True

    def _commit(self) -> bool:
        """What the disk does: one batch becomes durable. False if there was none."""
        batch = self.broker.seal()
        if batch is None:
            return False
        self.batches.append(batch)
        self.broker.synced(batch.mark)
        return True

    def flush(self) -> Disk:
        """The disk, with everything that was synced so far."""
        for batch in self.batches[self._written_count :]:
            if batch.record_count > 0:
                self.writer.commit(batch)
        self._written_count = len(self.batches)
        return self.disk

    def serve(self, read: PageRead) -> None:
        """What the reading thread does, and what the turn does then."""
        reader = PageReader(self.flush())
        self.read_count += 1
        read.pieces = reader.read(read.pages)
        if self.failing_reads > 0:
            self.failing_reads -= 1
            read.pieces = [None for _ in read.pages]
            read.error = OSError(errno.EMFILE, "Too many open files")
        elif self.damaged_reads > 0:
            self.damaged_reads -= 1
            read.pieces = [[] for _ in read.pages]
        self.broker.reads_done([read])

    def release_reads(self) -> None:
        self.hold_reads = False
        self.settle()

    def raw(self) -> Client:
        """A TCP connection on which nothing has been said yet."""
        client = Client(self)
        self.clients.append(client)
        return client

    def connect(self, **capabilities: bool) -> Client:
        """A client that is logged in, with channel 1 open."""
        client = self.raw()
        client.log_in(**capabilities)
        client.call(1, new_method(commands.Channel.Open))
        return client


class Client:
    def __init__(self, harness: BrokerHarness) -> None:
        self.harness = harness
        self.connection: Connection = harness.broker.connect("127.0.0.1", 50000, False)
        self.received: list[Received] = []
        self.heartbeats = 0
        self.is_closed = False
        self._input = b""

    # Out

    def send_bytes(self, data: bytes) -> None:
        self.harness.broker.receive(self.connection, data)
        self.harness.settle()

    def send(self, channel: int, method: Frame) -> None:
        self.send_bytes(method_frame(channel, method))

    def call(self, channel: int, method: Frame) -> Any:
        """Send and return the next method that comes back on this channel."""
        before = len(self.received)
        self.send(channel, method)
        for answer in self.received[before:]:
            if answer.channel == channel:
                self.received.remove(answer)
                return answer.method
        raise AssertionError(f"no answer to {method.name}")

    def publish(
        self,
        routing_key: str,
        body: bytes,
        exchange: str = "",
        properties: bytes = b"\x00\x00",
        mandatory: bool = False,
        channel: int = 1,
    ) -> None:
        publish = new_method(commands.Basic.Publish, exchange=exchange, routing_key=routing_key, mandatory=mandatory)
        self.send_bytes(method_frame(channel, publish) + content_frames(channel, body, properties))

    def log_in(self, **capabilities: bool) -> None:
        self.send_bytes(b"AMQP\x00\x00\x09\x01")
        known: dict[str, object] = {name.replace("__", "."): value for name, value in capabilities.items()}
        self.call(
            0,
            new_method(
                commands.Connection.StartOk,
                client_properties=encode_table({"capabilities": encode_table(known)}),
                mechanism="PLAIN",
                response="\0guest\0guest",
                locale="en_US",
            ),
        )
        self.received.clear()
        self.send(0, new_method(commands.Connection.TuneOk, channel_max=2047, frame_max=131072, heartbeat=0))
        self.call(0, new_method(commands.Connection.Open, virtual_host="/"))
        # That somebody has come is no part of the stories that are told with this.
        agenda = self.harness.broker.agenda
        agenda.notices = [each for each in agenda.notices if "is connected to vhost" not in each.text]

    def declare(self, queue: str, **values: Any) -> Any:
        return self.call(1, new_method(commands.Queue.Declare, queue=queue, **values))

    def get(self, queue: str, no_ack: bool = False) -> Received | None:
        before = len(self.received)
        self.send(1, new_method(commands.Basic.Get, queue=queue, no_ack=no_ack))
        answer = self.received.pop(before)
        return None if isinstance(answer.method, commands.Basic.GetEmpty) else answer

    def lose(self) -> None:
        """The socket is gone without a word."""
        self.harness.broker.lost(self.connection)
        self.harness.settle()

    # In

    def take(self, data: bytes) -> None:
        self._input += data
        while len(self._input) >= 8:
            if self._input[:4] == b"AMQP":
                self.received.append(Received(0, self._input[:8]))
                self._input = self._input[8:]
                continue
            size = int.from_bytes(self._input[3:7], "big")
            if len(self._input) < size + 8:
                return
            kind, channel = self._input[0], int.from_bytes(self._input[1:3], "big")
            payload = self._input[7 : 7 + size]
            assert self._input[7 + size] == 0xCE
            self._input = self._input[size + 8 :]
            if kind == 1:
                self.received.append(Received(channel, decode_method(payload)))
            elif kind == 8:
                self.heartbeats += 1
            else:
                last = [each for each in self.received if each.channel == channel][-1]
                if kind == 2:
                    last.header = payload
                else:
                    last.body += payload

    def take_all(self, kind: type[M] | None = None) -> list[Received]:
        """Everything received so far, or the methods of one kind; forgotten afterwards."""
        found = [each for each in self.received if kind is None or isinstance(each.method, kind)]
        self.received = [each for each in self.received if each not in found]
        return found

    def bodies(self) -> list[bytes]:
        """Bodies of the deliveries so far."""
        return [each.body for each in self.take_all(commands.Basic.Deliver)]
