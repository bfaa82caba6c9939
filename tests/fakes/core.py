"""Small makers of the core's own objects: compiled classes take no stand-ins, so tests use the real ones."""

from __future__ import annotations

from amqpd.base.message import Message
from amqpd.queues.agenda import Agenda
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.consumers import UNLIMITED, Consumer, SharedCredit
from amqpd.queues.entry import Entry
from amqpd.queues.queue import Queue
from amqpd.store.log import Log, fresh_start
from amqpd.wire.field_table import EMPTY_TABLE
from amqpd.wire.outbox import Outbox

# class 60, weight 0, body size 0, no properties
HEADER = b"\x00\x3c\x00\x00" + bytes(8) + b"\x00\x00"


def new_agenda() -> Agenda:
    return Agenda(Log(fresh_start(1)))


def new_message(message_id: int, body: bytes = b"") -> Message:
    return Message(message_id, b"\x00\x01q", HEADER, body)


def new_queue(agenda: Agenda | None = None, name: str = "q", durable: bool = False, owner: int = 0) -> Queue:
    return Queue(1, "/", name, durable, False, owner, EMPTY_TABLE, QueueOptions(), agenda or new_agenda())


def new_entry(message_id: int, queue: Queue | None = None) -> Entry:
    return Entry(new_message(message_id), queue or new_queue())


def new_consumer(
    queue: Queue,
    tag: str = "t",
    credit: int = UNLIMITED,
    no_ack: bool = False,
    exclusive: bool = False,
    shared: SharedCredit | None = None,
) -> Consumer:
    """As far as a queue's choice of the next one goes; it can't be delivered to."""
    return Consumer(queue, tag, no_ack, exclusive, credit, shared or SharedCredit(), Outbox(1, []))


def logged(agenda: Agenda, message: Message, queue: Queue) -> Message:
    """The message as a persistent publish leaves it: in the open batch."""
    agenda.log.append_message(message, int(queue.queue_id).to_bytes(4, "little"), 0)
    return message
