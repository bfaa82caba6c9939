"""What clients said and heard over many lives of a node, and the verdicts on it.

Owns: every publish and every *copy*, which is one publish in one queue. A dead letter is another copy, in the queue behind
the dead letter exchange ("d1<s1": in d1, from s1). Does not own the clients, nor when everything is looked at (auditor.py).

How sure it is that a copy is settled: NOT, MAYBE (said, and whether it was heard is not known), HEARD (in this life), DURABLE.
Known to be durable: the same connection got a reply afterwards that waits for the disk, or the node was stopped in order.

    LOST         confirmed, or found after an earlier crash, and now it is nowhere though nobody settled it
    UNEXPECTED   came without having been published there, was refused or rolled back, is damaged, or transient from an earlier life
    ZOMBIE       came again although its settle was heard
    TWICE        came while somebody holds it, or is twice in one queue
    DUPLICATE    came although another with the same deduplication id did, or was confirmed before it was sent
    BOTH         in a queue and in the queue for its dead letters
    HALF         a dead letter in one of its two queues only
    EARLY        comes before its delay, or its wait for another try, is over
    ORDER        of one publisher and in one queue after a later one
    UNFLAGGED    came again without `redelivered`
    TX           a transaction done by half
    COUNT        a queue says that it holds another number of messages than come
    CONFIRM      a confirm or return that nobody waits for, or none where there should be one
    TOPOLOGY     a queue is gone, or back
    CLOSED       the broker closed a channel or connection on a client that did nothing wrong
    STUCK        the node went quiet and something is still owed
    SPACE        a quiet disk holds more than twice what is live and two segments
    ACCOUNTS     a segment holds more or less than the log believes
    INTACT       bytes went bad, and what was not hit is not served
    DAMAGE       recovery speaks of damage, or refuses, though the disk did nothing but stop
    BUG          an exception left the core, or made it close a connection with 541
"""

from __future__ import annotations

import zlib

from tests.sim.plan import QueueSpec, Route
from tests.sim.story import Story

OPEN = "open"
CONFIRMED = "confirmed"
REFUSED = "refused"
UNDONE = "undone"

NOT = 0
MAYBE = 1
HEARD = 2
DURABLE = 3

ACK = "ack"
REJECT = "reject"

# What bad bytes on the disk excuse, once recovery has said that there were some.
EXCUSED = ("LOST", "ZOMBIE", "BOTH", "HALF", "TX", "DUPLICATE", "COUNT")


class Violation(Exception):
    def __init__(self, kind: str, what: str, words: tuple[str, ...] = ()) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind
        # Names in the story that it is about.
        self.words = words


class Publish:
    def __init__(self, uid: int, publisher: str, route: Route, is_persistent: bool, life: int, sent_ms: int) -> None:
        self.uid = uid
        self.name = f"m{uid}"
        self.publisher = publisher
        self.route = route
        self.is_persistent = is_persistent
        self.life = life
        self.sent_ms = sent_ms
        self.priority = 0
        self.expiration_ms = -1
        # Below 0 if it goes straight into its queues.
        self.delay_ms = -1
        # Its deduplication id; another one with the same that was confirmed before this one was sent.
        self.dedup_id = ""
        self.confirmed_twin = ""
        self.confirmed_ms = 0
        self.is_mandatory = False
        self.is_returned = False
        self.state = OPEN
        self.body = b""


class Copy:
    def __init__(self, publish: Publish, place: str, spec: QueueSpec) -> None:
        self.publish = publish
        self.place = place
        self.spec = spec
        self.is_seen = False
        self.seen_life = 0
        self.seen_event = 0
        self.held_by = ""
        self.settle = NOT
        self.settle_kind = ""
        self.settle_life = 0
        # Whose word the settle is, as long as that connection stands.
        self.settler = ""
        # Nacked, and not before then may it come again; below 0 if nothing is known.
        self.not_before_ms = -1
        # Found after a crash, so it is durable, confirmed or not.
        self.is_known = False

    @property
    def name(self) -> str:
        return f"{self.publish.name} in {self.place}"

    def is_surely_settled(self, life: int) -> bool:
        return self.settle == DURABLE or (self.settle == HEARD and self.settle_life == life)


class Transaction:
    def __init__(self, name: str) -> None:
        self.name = name
        self.publishes: list[Publish] = []
        self.acks: list[Copy] = []
        self.sent_life = 0
        # Since then nobody will tell how it ended.
        self.doubt_event = -1


class Ledger:
    def __init__(self, story: Story, specs: dict[str, QueueSpec]) -> None:
        self.story = story
        self.specs = specs
        self.life = 0
        # Counts cuts and crashes.
        self.event = 0
        self.publishes: list[Publish] = []
        self.copies: dict[tuple[int, str], Copy] = {}
        # Transactions whose commit was sent and not answered.
        self.doubtful: list[Transaction] = []
        # Queues that may lose messages on the way to a consumer that does not ack.
        self.lossy: dict[str, None] = {}
        # Places that were deleted for good, or purged.
        self.gone: dict[str, None] = {}
        # Bytes went bad and recovery said so; `intact` are those publishes whose bytes were not hit.
        self.is_damaged = False
        self.intact: dict[int, None] = {}
        self.confirmed_count = 0
        self.delivered_count = 0
        # Queues with consumers that have a timeout: what they hold may have gone back by itself, and a settle may have come
        # too late. Deliveries of which one was over before it arrived come in any order.
        self.leased: dict[str, None] = {}
        self._newest: dict[tuple[str, str, str], int] = {}
        self._by_id: dict[str, list[Publish]] = {}
        # Copies that wait for another try, as far as clients know, by who gave them back.
        self._given_back: dict[str, list[Copy]] = {}

    def violate(self, kind: str, what: str, *words: str) -> None:
        if not self.is_damaged or kind not in EXCUSED:
            raise Violation(kind, what, words)

    def is_leased(self, copy: Copy) -> bool:
        return copy.spec.name in self.leased

    # Publishing

    def attempt(self, publisher: str, route: Route, is_persistent: bool, size: int) -> Publish:
        uid = len(self.publishes) + 1
        publish = Publish(uid, publisher, route, is_persistent, self.life, self.story.now_ms)
        head = b"m%d." % uid
        text = head + b"%d" % zlib.crc32(head) + b"." * size
        publish.body = text[: max(size, len(head) + 4)]
        self.publishes.append(publish)
        for queue in route.queues:
            self.copies[uid, queue] = Copy(publish, queue, self.specs[queue])
        return publish

    def has_id(self, publish: Publish, dedup_id: str) -> None:
        publish.dedup_id = dedup_id
        for twin in self.twins(publish):
            if twin.state == CONFIRMED:
                publish.confirmed_twin = twin.name
        self._by_id.setdefault(dedup_id, []).append(publish)

    def twins(self, publish: Publish) -> list[Publish]:
        """Others with the same deduplication id."""
        return [each for each in self._by_id.get(publish.dedup_id, []) if each is not publish]

    def confirmed(self, publish: Publish) -> None:
        if publish.state != OPEN:
            self.violate("CONFIRM", f"{publish.name} is confirmed, and it was {publish.state} before", publish.name)
        if publish.is_mandatory and not publish.route.queues and not publish.is_returned:
            self.violate(
                "CONFIRM", f"{publish.name} has no route and was not returned before its confirm", publish.name
            )
        publish.state = CONFIRMED
        publish.confirmed_ms = self.story.now_ms
        self.confirmed_count += 1

    def refused(self, publish: Publish) -> None:
        if publish.state != OPEN:
            self.violate("CONFIRM", f"{publish.name} is refused, and it was {publish.state} before", publish.name)
        if not any(self.specs[queue].refuses for queue in publish.route.queues):
            self.violate("CONFIRM", f"{publish.name} is refused by a queue that may not", publish.name)
        publish.state = REFUSED

    def returned(self, publish: Publish) -> None:
        if publish.route.queues or not publish.is_mandatory:
            self.violate("CONFIRM", f"{publish.name} was returned, but it has a route", publish.name)
        publish.is_returned = True

    # Delivering

    def delivered(self, who: str, queue: str, place: str, body: bytes, header: bytes, redelivered: bool) -> Copy:
        """Judge one delivery to `who` out of `queue`, whose present incarnation is `place`."""
        self.delivered_count += 1
        copy = self._attribute(queue, place, body, header)
        publish = copy.publish
        self.story.tell("{} gets m{} from {}{}", who, publish.uid, place, " (redelivered)" if redelivered else "")
        life = self.life
        if copy.held_by and not self.is_leased(copy):
            self.violate("TWICE", f"{copy.name} comes to {who} while {copy.held_by} holds it", publish.name)
        if copy.settler or copy.is_surely_settled(life):
            how = "durable" if copy.settle == DURABLE else "heard"
            self.violate("ZOMBIE", f"{copy.name} comes again, and its {copy.settle_kind} was {how}", publish.name)
        # What a dead letter or a delayed message becomes is a new message; a crash may undo that, and it becomes another.
        is_original = not copy.spec.is_target and publish.delay_ms < 0
        is_flagged = redelivered or self.is_leased(copy)
        if copy.is_seen and not is_flagged and (copy.seen_life == life or is_original):
            self.violate("UNFLAGGED", f"{copy.name} comes again, and is not marked as redelivered", publish.name)
        self._judge_dead_letter(copy)
        self._judge_twins(copy)
        if self.story.now_ms < copy.not_before_ms:
            self.violate("EARLY", f"{copy.name} comes before its next try is due", publish.name)
        copy.not_before_ms = -1
        if self.story.now_ms < publish.sent_ms + publish.delay_ms:
            self.violate("EARLY", f"{copy.name} comes {publish.delay_ms} ms too early at the most", publish.name)
        if not redelivered and not copy.spec.max_priority and is_original:
            key = (who, place, publish.publisher)
            newest = self._newest.get(key, 0)
            if publish.uid < newest:
                self.violate("ORDER", f"{copy.name} comes to {who} after m{newest}", publish.name, f"m{newest}")
            self._newest[key] = publish.uid
        copy.is_seen = True
        copy.seen_life = life
        copy.seen_event = self.event
        copy.held_by = who
        if not self.is_leased(copy):
            # Whatever was said of it has not been heard.
            copy.settle = NOT
        return copy

    def _attribute(self, queue: str, place: str, body: bytes, header: bytes) -> Copy:
        uid_text = body[1 : body.find(b".")]
        if not uid_text.isdigit() or not 1 <= int(uid_text) <= len(self.publishes):
            self.violate("UNEXPECTED", f"nobody ever published {body[:40]!r}, which comes from {place}", place)
        publish = self.publishes[int(uid_text) - 1]
        if body != publish.body:
            self.violate("UNEXPECTED", f"{publish.name} from {place} has another body than it had", publish.name)
        if publish.state in (REFUSED, UNDONE):
            self.violate("UNEXPECTED", f"{publish.name} comes from {place} and was {publish.state}", publish.name)
        spec = self.specs[queue]
        if (not publish.is_persistent or not spec.durable) and publish.life != self.life:
            self.violate("UNEXPECTED", f"{publish.name} from {place} is transient and of an earlier life", publish.name)
        copy = self._dead_copy(publish, queue, header) if spec.is_target else self.copies.get((publish.uid, place))
        if copy is None:
            self.violate("UNEXPECTED", f"{publish.name} comes from {place} and never was to go there", publish.name)
        assert copy is not None
        if place in self.gone:
            self.violate("UNEXPECTED", f"{copy.name} comes from a queue that was deleted", publish.name)
        return copy

    def _dead_copy(self, publish: Publish, queue: str, header: bytes) -> Copy | None:
        source = first_death_queue(header)
        if source not in publish.route.queues or queue not in self.specs[source].dead_targets:
            return None
        return self.dead_copy(publish, queue, source)

    def dead_copy(self, publish: Publish, queue: str, source: str) -> Copy:
        place = f"{queue}<{source}"
        copy = self.copies.get((publish.uid, place))
        if copy is None:
            copy = Copy(publish, place, self.specs[queue])
            self.copies[publish.uid, place] = copy
        return copy

    def dead_copies(self, copy: Copy) -> list[Copy]:
        """Of a copy in a queue with a dead letter exchange: what it becomes."""
        return [self.dead_copy(copy.publish, target, copy.place) for target in copy.spec.dead_targets]

    def _judge_dead_letter(self, copy: Copy) -> None:
        if copy.spec.is_target:
            source = self.copies[copy.publish.uid, copy.place.partition("<")[2]]
            if source.held_by and not self.is_leased(source):
                self.violate("BOTH", f"{copy.name} comes while {source.held_by} holds the original", copy.publish.name)
            return
        # With a timeout this one may be over, though it is the last to arrive.
        for dead in self.dead_copies(copy) if not self.is_leased(copy) else []:
            if (dead.is_seen and dead.seen_life == self.life) or dead.settle == DURABLE or dead.held_by:
                self.violate("BOTH", f"{copy.name} comes although it has come as {dead.name}", copy.publish.name)

    def _judge_twins(self, copy: Copy) -> None:
        publish = copy.publish
        if not publish.dedup_id:
            return
        if publish.confirmed_twin:
            what = f"{copy.name} comes although {publish.confirmed_twin} with the same id had been confirmed"
            self.violate("DUPLICATE", what, publish.name, publish.confirmed_twin)
        for twin in self.twins(publish):
            other = self.copies[twin.uid, copy.place]
            if other.is_seen and other.seen_life == self.life:
                what = f"{copy.name} comes although {twin.name} with the same id has come"
                self.violate("DUPLICATE", what, publish.name, twin.name)

    # Settling

    def settled(self, who: str, copy: Copy, kind: str) -> None:
        """The client has said ack, or reject without requeue; nobody knows whether it will be heard."""
        if copy.held_by == who or not self.is_leased(copy):
            copy.held_by = ""
        if self.is_leased(copy) and copy.settle != NOT and copy.settle_kind == ACK:
            # This one may be too late, and that one was not.
            return
        copy.settle = MAYBE
        copy.settle_kind = kind
        copy.settle_life = self.life
        copy.settler = "" if self.is_leased(copy) else who

    def released(self, who: str, copy: Copy) -> None:
        """It may come again: nack with requeue, or the end of a channel or connection."""
        if copy.held_by == who:
            copy.held_by = ""

    def given_back(self, who: str, copy: Copy) -> None:
        """By a nack."""
        self.released(who, copy)
        if copy.spec.retry_ms >= 0 and not self.is_leased(copy):
            copy.not_before_ms = self.story.now_ms + copy.spec.retry_ms
            self._given_back.setdefault(who, []).append(copy)

    def heard(self, copies: list[Copy], level: int) -> None:
        """The broker has handled these settles (HEARD), or they are on the disk (DURABLE)."""
        for copy in copies:
            if (
                copy.settle == NOT
                or self.is_leased(copy)
                or (copy.settle_kind == REJECT and self._may_be_refused(copy))
            ):
                continue
            copy.settle = max(copy.settle, level)
            copy.settle_life = self.life

    def _may_be_refused(self, copy: Copy) -> bool:
        """A dead letter that a target refuses stays where it was, and nobody is told."""
        return any(self.specs[target].refuses for target in copy.spec.dead_targets)

    def may_be_dropped(self, copy: Copy) -> bool:
        """The queue is too long, and so is where its dead letters go: what is held back bounds itself."""
        return copy.spec.is_cut() and self._may_be_refused(copy)

    def cut(self, who: str, held: list[Copy], unsure: list[Copy]) -> None:
        """The connection of a client is gone: what it held comes again, and what it said last may not have been heard."""
        self.event += 1
        for copy in held:
            if copy.held_by == who:
                copy.held_by = ""
        for copy in unsure:
            if copy.settler == who:
                copy.settler = ""
        for copy in self._given_back.pop(who, []):
            copy.not_before_ms = -1
        for key in [key for key in self._newest if key[0] == who]:
            del self._newest[key]

    def new_life(self, was_clean: bool) -> None:
        """All clients were cut before."""
        self.life += 1
        self.event += 1
        if was_clean:
            for copy in self.copies.values():
                if copy.settle == HEARD and copy.settle_life == self.life - 1:
                    copy.settle = DURABLE

    # Transactions

    def committed(self, transaction: Transaction) -> None:
        """commit-ok: everything in it is durable."""
        for publish in transaction.publishes:
            self.confirmed(publish)
        self.heard(transaction.acks, DURABLE)

    def undone(self, transaction: Transaction) -> None:
        for publish in transaction.publishes:
            publish.state = UNDONE

    def doubt(self, transaction: Transaction) -> None:
        transaction.doubt_event = self.event
        self.doubtful.append(transaction)


def first_death_queue(header: bytes) -> str:
    at = header.find(b"x-first-death-queueS")
    if at < 0:
        return ""
    at += len(b"x-first-death-queueS")
    size = int.from_bytes(header[at : at + 4], "big")
    return header[at + 4 : at + 4 + size].decode()
