"""Verdicts of an audit: everything that can be found was found, so what is not there is gone.

Owns what must be there and what must not be, given the ledger. Does not own the looking (auditor.py).
"""

from __future__ import annotations

from tests.sim.ledger import ACK, CONFIRMED, DURABLE, HEARD, MAYBE, NOT, UNDONE, Copy, Ledger, Transaction

# So much later than due a delayed message may come.
DELAY_GRAIN_MS = 200

Found = dict[tuple[int, str], Copy]


class Judge:
    def __init__(self, ledger: Ledger, found: Found, is_fresh: bool, begun_ms: int) -> None:
        """`is_fresh`: nothing but recovery happened in this life. The looking began at `begun_ms`."""
        self._ledger = ledger
        self._found = found
        self._is_fresh = is_fresh
        self._begun_ms = begun_ms
        self._life = ledger.life
        self._now_ms = ledger.story.now_ms

    def judge(self) -> None:
        doubtful = self._ledger.doubtful
        self._ledger.doubtful = []
        for transaction in doubtful if not self._ledger.is_damaged else []:
            self._judge_transaction(transaction)
        for copy in list(self._ledger.copies.values()):
            if not copy.spec.is_target:
                self._judge_copy(copy)

    def _judge_copy(self, copy: Copy) -> None:
        is_here = (copy.publish.uid, copy.place) in self._found
        dead = self._ledger.dead_copies(copy) if copy.spec.dead_targets else []
        surely = [each for each in dead if self._is_surely_there(each)]
        possibly = [each for each in dead if self._is_possibly_there(each)]
        if is_here and surely:
            self._ledger.violate("BOTH", f"{copy.name} is also {surely[0].name}", copy.publish.name)
        if is_here or possibly:
            if (
                not is_here
                and surely
                and len(possibly) < len(dead)
                and self._survives(copy)
                and not self._is_early(copy)
            ):
                missing = next(each for each in dead if each not in possibly)
                self._ledger.violate("HALF", f"{surely[0].name} is not also {missing.name}", copy.publish.name)
            if self._is_fresh and copy.publish.is_persistent and copy.spec.durable and (is_here or surely):
                copy.is_known = True
            return
        if self._is_required(copy):
            where = f" nor in {','.join(copy.spec.dead_targets)}" if dead else ""
            why = "it was confirmed" if copy.publish.state == CONFIRMED else "it had survived a crash"
            self._ledger.violate("LOST", f"{copy.name} is not there{where}, and {why}", copy.publish.name)
            if copy.publish.uid in self._ledger.intact:
                self._ledger.violate("INTACT", f"{copy.name} is not there, and its bytes are", copy.publish.name)

    def _is_required(self, copy: Copy) -> bool:
        ledger = self._ledger
        publish = copy.publish
        is_owed = publish.state == CONFIRMED or copy.is_known
        if not is_owed or copy.spec.drops() or ledger.may_be_dropped(copy) or copy.place in ledger.gone:
            return False
        if copy.settle != NOT and (copy.settle_kind == ACK or not copy.spec.dead_targets):
            return False
        if publish.dedup_id and not copy.is_known:
            # One of those with its id is enough.
            twins = [ledger.copies[twin.uid, copy.place] for twin in ledger.twins(publish)]
            if any(self._is_possibly_there(twin) for twin in twins):
                return False
        return self._survives(copy) and not self._is_overdue(copy)

    def _survives(self, copy: Copy) -> bool:
        """Does it outlive restarts, or was there none; and does nobody take it without an ack?"""
        publish = copy.publish
        if any(place in self._ledger.lossy for place in (copy.place, *copy.spec.dead_targets)):
            return False
        return publish.life == self._life or (publish.is_persistent and copy.spec.durable)

    def _is_overdue(self, copy: Copy) -> bool:
        """May it be gone already, or not yet be there?"""
        publish = copy.publish
        if self._is_early(copy):
            return True
        if copy.spec.dead_targets:
            return False
        times = [each for each in (copy.spec.ttl_ms, publish.expiration_ms) if each >= 0]
        return bool(times) and self._now_ms >= publish.sent_ms + min(times)

    def _is_early(self, copy: Copy) -> bool:
        """Was its delay perhaps not over when the looking began?"""
        publish = copy.publish
        if publish.delay_ms < 0 or copy.is_known:
            return False
        is_over = self._begun_ms >= publish.confirmed_ms + publish.delay_ms + DELAY_GRAIN_MS
        return publish.state != CONFIRMED or not is_over

    def _is_surely_there(self, copy: Copy) -> bool:
        """Now, or until it was settled there."""
        return (copy.publish.uid, copy.place) in self._found or copy.is_surely_settled(self._life)

    def _is_possibly_there(self, copy: Copy) -> bool:
        return self._is_surely_there(copy) or copy.settle != NOT

    # Transactions that nobody heard the end of

    def _judge_transaction(self, transaction: Transaction) -> None:
        """All or nothing: what is left of it must agree."""
        ledger = self._ledger
        published = [copy for publish in transaction.publishes for copy in self._telling(publish.uid)]
        acked = [copy for copy in transaction.acks if self._is_telling(copy)]
        there = [copy for copy in published if self._was_published(copy, transaction)]
        absent = [copy for copy in published if copy not in there and self._is_absent(copy)]
        back = [copy for copy in acked if copy.seen_event > transaction.doubt_event]
        words = tuple(copy.publish.name for copy in (*published, *acked))
        if there and absent:
            what = f"{there[0].name} is there and {absent[0].name} is not"
            ledger.violate("TX", f"{transaction.name}: {what}", *words)
        if there and back:
            what = f"{there[0].name} is there, and {back[0].name} is back though it was acked"
            ledger.violate("TX", f"{transaction.name}: {what}", *words)
        if there:
            ledger.story.tell("* {} turns out to be done", transaction.name)
            for publish in transaction.publishes:
                publish.state = CONFIRMED
                publish.confirmed_ms = self._now_ms
            for copy in acked:
                if copy.settle != NOT:
                    copy.settle = max(copy.settle, DURABLE if self._is_fresh else HEARD)
                    copy.settle_life = self._life
        elif absent or back:
            ledger.story.tell("* {} turns out to be undone", transaction.name)
            for publish in transaction.publishes:
                publish.state = UNDONE
            for copy in acked:
                if copy not in back and copy.settle == MAYBE and (copy.publish.uid, copy.place) not in self._found:
                    gone = f"{copy.name} was acked in it and is gone"
                    if self._would_be_required(copy):
                        ledger.violate("TX", f"{transaction.name} is undone, and {gone}", *words)

    def _would_be_required(self, copy: Copy) -> bool:
        settle, copy.settle = copy.settle, NOT
        required = self._is_required(copy) and not any(
            self._is_possibly_there(each) for each in self._ledger.dead_copies(copy)
        )
        copy.settle = settle
        return required

    def _telling(self, uid: int) -> list[Copy]:
        publish = self._ledger.publishes[uid - 1]
        copies = [self._ledger.copies[uid, queue] for queue in publish.route.queues]
        return [copy for copy in copies if self._is_telling(copy)]

    def _is_telling(self, copy: Copy) -> bool:
        """Would it be there if it had been published, and for good?"""
        spec = copy.spec
        plain = (
            spec.ttl_ms < 0
            and not spec.is_target
            and not spec.drops()
            and not spec.dead_targets
            and copy.publish.expiration_ms < 0
            and copy.publish.delay_ms < 0
        )
        return plain and spec.durable and copy.publish.is_persistent and copy.place not in self._ledger.lossy

    def _was_published(self, copy: Copy, transaction: Transaction) -> bool:
        is_back = copy.is_seen and copy.seen_life > transaction.sent_life
        return is_back or self._is_surely_there(copy)

    def _is_absent(self, copy: Copy) -> bool:
        return copy.settle == NOT and (copy.publish.uid, copy.place) not in self._found
