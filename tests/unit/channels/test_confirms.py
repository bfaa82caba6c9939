"""Each sequence is confirmed exactly once, in order, as soon as its mark and all before it are committed, never sooner."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqpd.channels.commits import Commits
from amqpd.channels.confirms import Confirms
from amqpd.queues.agenda import Agenda
from amqpd.store.log import Log, fresh_start
from amqpd.wire.outbox import Outbox

ACK, NACK = 0x50, 0x78


class Publisher:
    def __init__(self) -> None:
        self.commits = Commits(0, Agenda(Log(fresh_start(1))))
        self.outbox = Outbox(1, [])
        self.confirms = Confirms(self.outbox, 7, self.commits)
        # Of each sequence: the newest mark among it and all before it, and whether it was refused.
        self.owed: list[tuple[int, bool]] = []
        self.answered: list[bool] = []
        self.returned: list[int] = []
        self.open_mark = 1
        self.newest_mark = 0

    def publish(self, mark: int, is_refused: bool = False, is_returned: bool = False) -> None:
        self.newest_mark = max(self.newest_mark, mark)
        self.owed.append((self.newest_mark, is_refused))
        if is_refused:
            self.confirms.refused()
        elif is_returned:
            self.returned.append(len(self.owed))
            self.confirms.returning()
            self.read()
            self.check_all_payable_is_paid(len(self.owed) - 1)
            self.confirms.published(mark)
        else:
            self.confirms.published(mark)

    def read(self) -> list[tuple[int, int, bool]]:
        """New answers as (ack or nack, tag, multiple); each is checked against what is owed."""
        data = self.outbox.take()
        answers = []
        for at in range(0, len(data), 21):
            assert data[at : at + 10] == b"\x01\x00\x07\x00\x00\x00\x0d\x00\x3c\x00"
            kind, tag = data[at + 10], int.from_bytes(data[at + 11 : at + 19], "big")
            is_multiple = data[at + 19] == 1
            assert data[at + 20] == 0xCE
            answers.append((kind, tag, is_multiple))
            first = len(self.answered) + 1
            assert tag == first if not is_multiple else tag > first
            assert not is_multiple or not any(first <= each <= tag for each in self.returned)
            for sequence in range(first, tag + 1):
                mark, is_refused = self.owed[sequence - 1]
                assert mark <= self.commits.mark
                assert (kind == NACK) == is_refused
                self.answered.append(is_refused)
        return answers

    def check_all_payable_is_paid(self, count: int | None = None) -> None:
        """Of the first `count` publishes."""
        owed = self.owed[:count]
        assert len(self.answered) == len([mark for mark, _ in owed if mark <= self.commits.mark])


STEPS = st.lists(
    st.sampled_from(["transient", "logged", "logged", "refused", "returned", "seal", "turn", "commit", "lag"]),
    max_size=80,
)


@given(STEPS)
def test_every_sequence_is_answered_once_in_order_and_when_due(steps: list[str]) -> None:
    publisher = Publisher()
    for step in steps:
        if step == "transient":
            publisher.publish(0)
        elif step == "logged":
            publisher.publish(publisher.open_mark)
        elif step == "refused":
            publisher.publish(0, is_refused=True)
        elif step == "returned":
            publisher.publish(0, is_returned=True)
        elif step == "seal":
            publisher.open_mark += 1
        elif step == "turn":
            publisher.commits.pay_fresh()
            publisher.read()
            publisher.check_all_payable_is_paid()
        else:
            # Only what is sealed is committed, and the disk may be one batch behind.
            mark = publisher.open_mark - (1 if step == "commit" else 2)
            publisher.commits.pay_fresh()
            if mark >= publisher.commits.mark:
                publisher.commits.committed(mark)
            publisher.read()
            publisher.check_all_payable_is_paid()
    publisher.commits.pay_fresh()
    publisher.commits.committed(publisher.open_mark)
    publisher.read()
    assert publisher.answered == [is_refused for _, is_refused in publisher.owed]
    assert not publisher.confirms.is_waiting


def test_one_ack_pays_for_a_whole_batch() -> None:
    publisher = Publisher()
    for _ in range(5):
        publisher.publish(1)
    publisher.commits.pay_fresh()
    assert publisher.read() == []
    publisher.commits.committed(1)
    assert publisher.read() == [(ACK, 5, True)]


def test_a_single_confirm_is_not_multiple() -> None:
    publisher = Publisher()
    publisher.publish(0)
    publisher.commits.pay_fresh()
    assert publisher.read() == [(ACK, 1, False)]


def test_a_transient_publish_waits_behind_a_persistent_one() -> None:
    publisher = Publisher()
    publisher.publish(1)
    publisher.publish(0)
    publisher.commits.pay_fresh()
    assert publisher.read() == []
    publisher.commits.committed(1)
    assert publisher.read() == [(ACK, 2, True)]


def test_a_refusal_is_a_nack_of_its_own_between_acks() -> None:
    publisher = Publisher()
    for is_refused in (False, False, True, False, True, True):
        publisher.publish(0, is_refused)
    publisher.commits.pay_fresh()
    assert publisher.read() == [(ACK, 2, True), (NACK, 3, False), (ACK, 4, False), (NACK, 5, False), (NACK, 6, False)]


def test_a_returned_publish_has_an_ack_of_its_own_and_what_may_be_paid_before_it_is() -> None:
    publisher = Publisher()
    publisher.publish(0)
    publisher.publish(0)
    publisher.confirms.returning()
    assert publisher.read() == [(ACK, 2, True)]
    publisher.publish(0)
    publisher.publish(0)
    publisher.commits.pay_fresh()
    assert publisher.read() == [(ACK, 3, False), (ACK, 4, False)]


def test_a_returned_publish_that_waits_behind_the_disk_is_not_merged_with_what_it_waits_for() -> None:
    publisher = Publisher()
    publisher.publish(1)
    publisher.publish(1)
    publisher.publish(0, is_returned=True)
    publisher.publish(1)
    publisher.publish(1)
    publisher.commits.pay_fresh()
    assert publisher.read() == []
    publisher.commits.committed(1)
    assert publisher.read() == [(ACK, 2, True), (ACK, 3, False), (ACK, 5, True)]


def test_a_closed_channel_is_told_nothing_more() -> None:
    publisher = Publisher()
    publisher.publish(1)
    publisher.commits.pay_fresh()
    publisher.confirms.is_closed = True
    publisher.commits.committed(1)
    assert publisher.outbox.take() == b""
    assert not publisher.confirms.is_waiting
