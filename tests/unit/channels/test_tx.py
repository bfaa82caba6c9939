from __future__ import annotations

import dataclasses

import pytest

from amqpd.base.errors import PreconditionFailed
from amqpd.base.limits import DEFAULTS, Limits
from amqpd.channels.publishing import Inspected
from amqpd.channels.settling import ACK, REQUEUE
from amqpd.channels.tx import HeldPublish, HeldSettle, Transaction
from tests.fakes.core import HEADER, new_entry


def limits(**values: int) -> Limits:
    return dataclasses.replace(DEFAULTS, **values)


def publish(body: bytes = b"x") -> HeldPublish:
    return HeldPublish(b"\x00\x01q", body, Inspected(HEADER, None, [], -1), False)


def test_what_is_held_comes_out_in_the_order_in_which_it_went_in() -> None:
    transaction = Transaction(DEFAULTS)
    one, two = publish(b"1"), publish(b"2")
    transaction.hold_publish(one)
    transaction.hold_publish(two)
    settle = HeldSettle(5, new_entry(1), REQUEUE)
    transaction.hold_settle(settle)
    assert transaction.publishes == [one, two]
    assert transaction.settles == [settle]
    assert (settle.delivery_tag, settle.verdict) == (5, REQUEUE)


def test_more_bytes_than_allowed_are_refused() -> None:
    transaction = Transaction(limits(tx_bytes_max=2 * (len(HEADER) + 10)))
    transaction.hold_publish(publish(b"x" * 10))
    transaction.hold_publish(publish(b"x" * 10))
    with pytest.raises(PreconditionFailed, match="larger than"):
        transaction.hold_publish(publish(b""))


def test_more_operations_than_allowed_are_refused() -> None:
    transaction = Transaction(limits(tx_operations_max=2))
    transaction.hold_publish(publish())
    transaction.hold_settle(HeldSettle(1, new_entry(1), ACK))
    with pytest.raises(PreconditionFailed, match="more than 2 operations"):
        transaction.hold_settle(HeldSettle(2, new_entry(2), ACK))


def test_a_cleared_transaction_has_all_its_room_again() -> None:
    transaction = Transaction(limits(tx_operations_max=1, tx_bytes_max=len(HEADER) + 1))
    for _ in range(3):
        transaction.hold_publish(publish())
        transaction.clear()
    assert (transaction.publishes, transaction.settles) == ([], [])
