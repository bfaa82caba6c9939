"""What was said and heard, and what of it must never be: lost, unexpected, zombie, twice, out of order.

Owns: the record of every publish, confirm, delivery and settle of a run over many lives of a broker, and the verdicts. Does
not own the clients. A *place* is one message in one queue. Bodies name their publisher, sequence and queues, so that
every delivery can be held against what was attempted.

    LOST        confirmed persistent place that was never settled, although everything was drained at the end
    UNEXPECTED  delivered, but never attempted there, nacked, rolled back, damaged, or transient from an earlier life
    ZOMBIE      delivered again although its ack is known to be durable, or was handled in this very life
    TWICE       delivered while a consumer still holds it: two copies of one publish
    DISORDER    first deliveries of one publisher out of publish order
    UNFLAGGED   delivered again without `redelivered`, although the first delivery is known to be durable or was in this life
    TX          a transaction done by half, or a token lost or doubled (transfers.py)
    TOPOLOGY    a queue or binding gone, back, or with a wrong count (declares.py)
    CONFIRM     a confirm that nobody waited for
    REFUSED     the broker closed a channel or connection on a client that did nothing wrong

Known to be durable: the peer that acked (or received) has published something persistent afterwards on the same
connection, and that was confirmed. The log keeps the order of a connection, so the confirm covers what came before.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

BODY_HEAD: Final = struct.Struct(">HIB")
BODY_CRC: Final = struct.Struct(">I")
BODY_SIZE_MIN: Final = BODY_HEAD.size + BODY_CRC.size
TRANSIENT: Final = 0x80
EXAMPLES_MAX: Final = 5

# A publish: what is known of it.
CONFIRMED: Final = 1
FORBIDDEN: Final = 2
# A place: what is known of it.
SEEN: Final = 1
SEEN_DURABLE: Final = 2
SETTLED: Final = 4
SETTLED_DURABLE: Final = 8

VIOLATIONS: Final = (
    "LOST",
    "UNEXPECTED",
    "ZOMBIE",
    "TWICE",
    "DISORDER",
    "UNFLAGGED",
    "TX",
    "TOPOLOGY",
    "CONFIRM",
    "REFUSED",
)


class Place(NamedTuple):
    queue: int
    publisher: int
    sequence: int


class Publisher:
    """Everything one publisher ever attempted, by sequence."""

    def __init__(self, name: str, queue_count: int) -> None:
        self.name = name
        self.masks = bytearray()
        self.lives: list[int] = []
        self.known = bytearray()
        self.places = [bytearray() for _ in range(queue_count)]
        # Highest sequence whose first delivery was seen, by queue.
        self.newest = [-1] * queue_count

    @property
    def count(self) -> int:
        return len(self.masks)


class Checker:
    def __init__(self, queue_names: list[str], ordered: set[int], filler: bytes) -> None:
        """`ordered` are the queues with one consumer: there the order is checked over all lives, not per consumer."""
        self.queue_names = queue_names
        self.publishers: list[Publisher] = []
        self.life = 0
        self.violations = dict.fromkeys(VIOLATIONS, 0)
        self.examples: dict[str, list[str]] = {}
        self.attempted_count = 0
        self.confirmed_count = 0
        self.nacked_count = 0
        self.delivered_count = 0
        self.redelivered_count = 0
        self.settled_count = 0
        self.durable_settle_count = 0
        # Delivered again without the flag inside the window: the kill came before the first delivery was durable.
        self.unflagged_in_window_count = 0
        # Flagged although we never saw it: legal, the first delivery was on its way to us.
        self.flagged_unseen_count = 0
        # Places that wait in the broker, more or less: only for pacing.
        self.backlog_count = 0
        self._ordered = ordered
        self._filler = filler
        self._held: set[Place] = set()
        self._settled_now: set[Place] = set()
        self._seen_now: set[Place] = set()
        self._newest_of: dict[tuple[object, int, int], int] = {}

    # What clients tell

    def new_life(self, backlog_count: int) -> None:
        """The broker has been started again; nobody holds anything."""
        self.life += 1
        self.backlog_count = backlog_count
        self._held.clear()
        self._settled_now.clear()
        self._seen_now.clear()
        self._newest_of.clear()

    def new_publisher(self, name: str) -> int:
        self.publishers.append(Publisher(name, len(self.queue_names)))
        return len(self.publishers) - 1

    def attempt(self, publisher: int, mask: int, size: int, is_transient: bool = False) -> bytes:
        """The body of the publisher's next message, which goes to the queues of `mask`."""
        who = self.publishers[publisher]
        sequence = who.count
        mask |= TRANSIENT if is_transient else 0
        who.masks.append(mask)
        who.lives.append(self.life)
        who.known.append(0)
        for queue, places in enumerate(who.places):
            # A place that is not there counts as settled.
            places.append(0 if mask >> queue & 1 else SETTLED)
        self.attempted_count += 1
        self.backlog_count += (mask & ~TRANSIENT).bit_count()
        head = BODY_HEAD.pack(publisher, sequence, mask)
        at = sequence % 251
        body = head + self._filler[at : at + max(0, size - BODY_SIZE_MIN)]
        return body + BODY_CRC.pack(zlib.crc32(body))

    def confirm(self, publisher: int, first: int, last: int) -> None:
        known = self.publishers[publisher].known
        for sequence in range(first, last + 1):
            if known[sequence] & CONFIRMED:
                self.violate("CONFIRM", f"{self.publishers[publisher].name} {sequence} was confirmed twice")
            known[sequence] |= CONFIRMED
            self.confirmed_count += 1

    def forbid(self, publisher: int, first: int, last: int) -> None:
        """From now on these must not be seen: nacked, or their transaction was rolled back or undone."""
        known = self.publishers[publisher].known
        for sequence in range(first, last + 1):
            known[sequence] |= FORBIDDEN
            self.nacked_count += 1

    def is_confirmed(self, publisher: int, sequence: int) -> bool:
        return self.publishers[publisher].known[sequence] & CONFIRMED != 0

    def delivered(self, queue: int, body: bytes, redelivered: bool, consumer: object) -> Place | None:
        """Judge one delivery; None if it can't be attributed to a publish."""
        self.delivered_count += 1
        self.redelivered_count += redelivered
        place = self._attribute(queue, body)
        if place is None:
            return None
        who = self.publishers[place.publisher]
        places = who.places[queue]
        state = places[place.sequence]
        what = f"{who.name} {place.sequence} in {self.queue_names[queue]}"
        if who.known[place.sequence] & FORBIDDEN:
            self.violate("UNEXPECTED", f"{what}: nacked or rolled back")
        if state & SETTLED_DURABLE:
            self.violate("ZOMBIE", f"{what}: its ack was durable")
        elif place in self._settled_now:
            self.violate("ZOMBIE", f"{what}: acked in this life")
        if place in self._held:
            self.violate("TWICE", f"{what}: delivered while it is held")
        if state & SEEN:
            self._judge_again(place, state, redelivered, what)
        else:
            self._judge_first(place, redelivered, consumer, what)
        places[place.sequence] = state | SEEN
        self._held.add(place)
        self._seen_now.add(place)
        return place

    def delivered_late(self, queue: int, body: bytes) -> Place | None:
        """A delivery that was on its way when we closed its channel: another socket may have told of the next one first."""
        self.delivered_count += 1
        place = self._attribute(queue, body)
        if place is not None:
            self.publishers[place.publisher].places[queue][place.sequence] |= SEEN
        return place

    def released(self, place: Place) -> None:
        """It goes back: nack with requeue, or the end of the channel or connection that held it."""
        self._held.discard(place)

    def settled(self, place: Place) -> None:
        """An ack was sent."""
        self._held.discard(place)
        self._settled_now.add(place)
        self.settled_count += 1
        self.backlog_count -= 1
        self.publishers[place.publisher].places[place.queue][place.sequence] |= SETTLED

    def unsure(self, place: Place) -> None:
        """Its ack was sent on a connection that we have dropped: it may not have been heard."""
        self._settled_now.discard(place)

    def seen_is_durable(self, places: list[Place]) -> None:
        for place in places:
            self.publishers[place.publisher].places[place.queue][place.sequence] |= SEEN_DURABLE

    def settled_is_durable(self, places: list[Place]) -> None:
        self.durable_settle_count += len(places)
        for place in places:
            self.publishers[place.publisher].places[place.queue][place.sequence] |= SETTLED_DURABLE

    # Verdicts

    def violate(self, kind: str, what: str) -> None:
        self.violations[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES_MAX:
            examples.append(f"life {self.life}: {what}")

    @property
    def violation_count(self) -> int:
        return sum(self.violations.values())

    def judge_losses(self) -> None:
        """After everything was drained: every confirmed persistent place must have been settled."""
        for who in self.publishers:
            for queue, places in enumerate(who.places):
                for sequence, state in enumerate(places):
                    if state & SETTLED or not who.known[sequence] & CONFIRMED or who.masks[sequence] & TRANSIENT:
                        continue
                    seen = "delivered, never acked, and gone" if state & SEEN else "never seen"
                    where = f"in {self.queue_names[queue]}, published in life {who.lives[sequence]}"
                    self.violate("LOST", f"{who.name} {sequence} {where}: {seen}")

    def _attribute(self, queue: int, body: bytes) -> Place | None:
        where = self.queue_names[queue]
        if len(body) < BODY_SIZE_MIN or zlib.crc32(body[:-4]) != BODY_CRC.unpack_from(body, len(body) - 4)[0]:
            self.violate("UNEXPECTED", f"a damaged body of {len(body)} bytes in {where}")
            return None
        publisher, sequence, mask = BODY_HEAD.unpack_from(body)
        if publisher >= len(self.publishers) or sequence >= self.publishers[publisher].count:
            self.violate("UNEXPECTED", f"publisher {publisher} never attempted {sequence}, seen in {where}")
            return None
        who = self.publishers[publisher]
        if mask != who.masks[sequence] or not mask >> queue & 1:
            self.violate("UNEXPECTED", f"{who.name} {sequence} was not published to {where}")
            return None
        if mask & TRANSIENT and who.lives[sequence] != self.life:
            self.violate(
                "UNEXPECTED", f"{who.name} {sequence} in {where} is transient and of life {who.lives[sequence]}"
            )
        return Place(queue, publisher, sequence)

    def _judge_again(self, place: Place, state: int, redelivered: bool, what: str) -> None:
        if redelivered:
            return
        if state & SEEN_DURABLE or place in self._seen_now:
            self.violate("UNFLAGGED", f"{what}: delivered before, and not marked as redelivered")
        else:
            self.unflagged_in_window_count += 1

    def _judge_first(self, place: Place, redelivered: bool, consumer: object, what: str) -> None:
        if place.queue in self._ordered:
            newest = self.publishers[place.publisher].newest
            if place.sequence < newest[place.queue]:
                self.violate("DISORDER", f"{what} came after {newest[place.queue]}")
            newest[place.queue] = max(newest[place.queue], place.sequence)
        elif not redelivered:
            # What another consumer was sent and never read comes back flagged, and stands before newer ones.
            key = (consumer, place.queue, place.publisher)
            newest_here = self._newest_of.get(key, -1)
            if place.sequence < newest_here:
                self.violate("DISORDER", f"{what} came after {newest_here} to one consumer")
            self._newest_of[key] = place.sequence
        self.flagged_unseen_count += redelivered
