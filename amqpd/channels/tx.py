"""One channel in tx mode: what it published and settled since tx.select or the last commit.

Owns what is held. Does not own how it is done: the channel publishes and settles at commit. A commit happens inside one
turn, hence inside one log batch: after a crash all of it is there or nothing.
Names are looked up and messages routed at commit; permissions and the exchange are checked at publish.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import Limits
from amqpd.channels.publishing import Inspected
from amqpd.queues.entry import Entry


@final
class HeldPublish:
    def __init__(self, route_key: bytes, body: bytes, seen: Inspected, mandatory: bool) -> None:
        self.route_key = route_key
        self.body = body
        self.seen = seen
        self.mandatory = mandatory


@final
class HeldSettle:
    """The entry stays unacked until the commit, and can't be settled twice: `Entry.is_held`."""

    def __init__(self, delivery_tag: i64, entry: Entry, verdict: i64) -> None:
        self.delivery_tag = delivery_tag
        self.entry = entry
        self.verdict = verdict


@final
class Transaction:
    def __init__(self, limits: Limits) -> None:
        self.publishes: list[HeldPublish] = []
        self.settles: list[HeldSettle] = []
        self._bytes: i64 = 0
        self._bytes_max: i64 = limits.tx_bytes_max
        self._count_max: i64 = limits.tx_operations_max

    def hold_publish(self, publish: HeldPublish) -> None:
        self._bytes += len(publish.body) + len(publish.seen.header)
        self.publishes.append(publish)
        self._check_size()

    def hold_settle(self, settle: HeldSettle) -> None:
        self.settles.append(settle)
        settle.entry.is_held = True
        self._check_size()

    def _check_size(self) -> None:
        if self._bytes > self._bytes_max:
            raise PreconditionFailed(f"transaction is larger than {self._bytes_max} bytes")
        if len(self.publishes) + len(self.settles) > self._count_max:
            raise PreconditionFailed(f"transaction has more than {self._count_max} operations")

    def clear(self) -> list[HeldSettle]:
        """Nothing is held any more; returns the settles, whose deliveries are unacked as if nothing had been said."""
        settles = self.settles
        for settle in settles:
            settle.entry.is_held = False
        self.publishes = []
        self.settles = []
        self._bytes = 0
        return settles
