"""Does the log count right how much of each segment is still needed?

Owns the count made anew, from everything that queues, consumers and dead letters hold. Looks into the core, as no client
can: what is counted wrong shows outside only when a segment goes too early, or never.
"""

from __future__ import annotations

from amqpd.base.message import Message
from amqpd.broker import Broker
from amqpd.queues.entry import Entry


def miscounted(broker: Broker) -> str:
    """Between two turns; what is wrong, or ""."""
    counts: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for message in _held(broker):
        if message.segment is not None:
            number = int(message.segment.number)
            counts[number] = counts.get(number, 0) + 1
            sizes[number] = sizes.get(number, 0) + (message.logged_bytes >> message.share_shift)
    for vhost in broker.vhosts.values():
        for queue in vhost.all_queues():
            for page in queue.ready.pages():
                number = int(page.segment.number)
                counts[number] = counts.get(number, 0) + page.count
                sizes[number] = sizes.get(number, 0) + page.live_bytes
    for segment in broker.agenda.log.segments:
        count, size = counts.pop(int(segment.number), 0), sizes.get(int(segment.number), 0)
        if (segment.live_count, segment.live_bytes) != (count, size):
            is_said = f"{segment.live_count} messages of {segment.live_bytes} bytes"
            return f"segment {segment.number} is said to hold {is_said}, and it is {count} of {size}"
    return f"segments {list(counts)} are still needed, and forgotten" if counts else ""


def _held(broker: Broker) -> list[Message]:
    entries: list[Entry] = []
    for vhost in broker.vhosts.values():
        for queue in vhost.all_queues():
            if queue.is_stored:
                entries += queue.ready.entries() + queue.waiting.entries() + queue.held_entries()
    for connection in broker.connections.values():
        for channel in connection.channels.values():
            entries += [entry for entry in channel.unacked.entries() if entry.queue.is_stored]
    return [entry.message for entry in entries]
